"""Whatever is done with secrets, rightly or wrongly: none of them ever stands in a log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.agent import connected, dialed
from tests.hub import ROOT_KEY, Reachable, hub_process
from tests.server import Server
from tests.web.refusal import takes


async def spend(hub: Reachable, http: httpx.AsyncClient) -> list[str]:
    """Use secrets of every kind, rightly and wrongly; answer them."""
    token = "sk-taken-over 0123456789/abc+def="
    guess = "ls_guess_0123456789abcdefghijk"
    made = (await http.post("/v1/keys", json={"scope": "admin", "key": token})).json()
    plain = (await http.post("/v1/keys", json={"scope": "agent"})).json()["key"]
    secrets = [hub.key, token, plain, guess]
    tickets = {}
    for purpose in ("connect", "events", "login"):
        answer = await http.post("/v1/tickets", json={"for": purpose})
        tickets[purpose] = answer.json()["ticket"]
    async with hub.client("") as stranger:
        for paper in (tickets["login"], tickets["login"], "lt_guess0123456789"):
            login = await stranger.post("/v1/login", json={"ticket": paper})
            secrets += [login.json()["key"]] if login.status_code == 200 else []
        await stranger.post("/v1/login", content=f'{{"ticket": "{tickets["events"]}"')
        await stranger.get(f"/v1/pulse?ticket={tickets['events']}")
    for header in ("Authorization", "X-API-Key", "X-Agent-Token"):
        for each in (plain, token, guess):
            value = f"Bearer {each}" if header == "Authorization" else each
            async with hub.client("", headers={header: value}) as client:
                await client.get("/v1/pulse")
                await client.put("/v1/pulse/a", content=b"{")
                await client.get(f"/v1/pulse?token={each}")
    for key, query in (
        ("", tickets["connect"]),
        ("", tickets["connect"]),
        (guess, ""),
        (plain, ""),
    ):
        shown = f"?ticket={query}" if query else ""
        async with connected(hub, key=key, query=shown) as socket:
            with contextlib.suppress(ConnectionClosed):
                await socket.say("hello", agent="a", token=plain)
                await socket.socket.send("{" + plain)
    async with dialed(hub) as peer:
        await peer.write(f"GET /{plain} HTTP/1.1\r\nAuthorization {token}\r\n\r\n".encode())
        await peer.gone()
    await http.delete(f"/v1/keys/{made['id']}")
    return [*secrets, *tickets.values()]


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_secret_ever_stands_in_a_log(
    form: str, valkey_server: Callable[..., Server]
) -> None:
    password = "the-password-of-the-store"
    server = valkey_server("--requirepass", password, tcp=True)
    url = server.url.replace("//", f"//:{password}@")
    flags = ("--log-level", "debug", "--log-format", form)
    async with hub_process(url, *flags) as hub, hub.client() as http:
        secrets = [password, *await spend(hub, http)]
        server.kill()
        assert (await http.put("/v1/pulse/a")).status_code == 503
        async with hub.client(secrets[3]) as client:
            await client.get("/v1/pulse")
        server.start()
        await takes(http, "GET", "/readyz")
        assert await hub.terminate() == 0
        assert len(secrets) > 8
        assert "uvicorn" in hub.log
        for secret in secrets:
            assert secret not in hub.log
        for secret in (*secrets, ROOT_KEY):  # but for the ticket that it is meant to show
            assert secret not in hub.output
