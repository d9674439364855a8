"""All that a hub writes in a life with every kind of secret in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.agent import connected, dialed, living
from tests.hub import HubProcess, hub_process
from tests.patience import until
from tests.server import Server

MakeServer = Callable[..., Server]

ROOT = "ls_operators_own-root_key"
PASSWORD = "correct-horse-battery-staple"
TAKEN_OVER = "sk-live-0123456789abcdef"
WRONG = "ls_zzz_a-key-that-nobody-made"


async def used(http: httpx.AsyncClient, hub: HubProcess) -> list[str]:
    """Use every kind of secret, rightly and wrongly; answer those that were made."""
    made = (await http.post("/v1/keys", json={"scope": "agent", "agent": "a"})).json()["key"]
    login = (await http.post("/v1/tickets", json={"for": "login"})).json()["ticket"]
    connect = (await http.post("/v1/tickets", json={"for": "connect"})).json()["ticket"]
    taken = await http.post("/v1/keys", json={"scope": "admin", "key": TAKEN_OVER})
    assert taken.status_code == 201
    session = (await http.post("/v1/login", json={"ticket": login})).json()["key"]
    for header in ("Authorization", "X-API-Key", "X-Agent-Token"):
        for key in (made, TAKEN_OVER, WRONG):
            value = f"Bearer {key}" if header == "Authorization" else key
            answer = await http.get("/v1/keys", headers={"Authorization": "", header: value})
            assert answer.status_code in (200, 401, 403)
    assert (await http.post("/v1/login", json={"ticket": login})).status_code == 401
    assert (await http.get("/v1/pulse", params={"ticket": login})).status_code == 400
    assert (await http.put("/v1/pulse/a", content=f'{{"task": "{made}"')).status_code == 400
    async with connected(hub, key="", query=f"?ticket={connect}") as agent:
        await agent.say("hello", agent="a")
        assert (await agent.hear())["type"] == "welcome"
    for query in (f"?ticket={connect}", f"?ticket={login}", f"?ticket={WRONG}&token={made}"):
        async with connected(hub, key="", query=query) as agent:
            assert await agent.ended() == 4001
    async with living(hub, "a", key=made) as agent:
        assert await agent.refused("beat", status=1, task=made) == ("bad_value", "status")
        revoked = await http.delete(f"/v1/keys/{made.split('_')[1]}")
        assert revoked.status_code == 200
        assert await agent.ended() == 4010
    async with dialed(hub) as peer:
        await peer.write(
            f"GET /v1/connect?ticket={connect} HTTP/9\r\nX-API-Key: {made}\r\n".encode()
        )
        await peer.write(b"\x00\xff\r\n\r\n")
        await peer.gone()
    return [made, login, connect, session]


@pytest.mark.parametrize("form", ["json", "text"])
async def test_no_secret_is_written_and_every_event_is_one_line(
    form: str, valkey_server: MakeServer, folder: Path
) -> None:
    server = valkey_server("--requirepass", PASSWORD, tcp=True)
    url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
    flags = ("--log-format", form, "--log-level", "debug", "--data-dir", str(folder))
    async with hub_process(url, *flags, env={"LIFESIGNS_ADMIN_KEY": ROOT}) as hub:
        async with hub.client(ROOT) as http:
            secrets = await used(http, hub)
            server.kill()
            await until(lambda: "was lost" in hub.log)
            assert (await http.get("/v1/keys", headers={"X-API-Key": ROOT})).status_code == 503
            server.start()
            await until(lambda: "is back" in hub.log)
        assert await hub.terminate() == 0
        login_told = re.findall(r"\blt_\w+", hub.output)
        written = hub.output + hub.log
        for secret in (ROOT, PASSWORD, TAKEN_OVER, WRONG, *secrets):
            assert secret not in written
        assert len(login_told) == 1
        assert login_told[0] not in hub.log
        lines = hub.log.splitlines()
        assert lines
        if form == "json":
            events = [json.loads(line) for line in lines]
            assert all({"at", "level", "logger", "event"} <= event.keys() for event in events)
            assert "warning" in {event["level"] for event in events}
        else:
            assert all(line[:2] == "20" and line[23] == "Z" for line in lines)
