"""The socket on which one agent is listened to, over real sockets and hubs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lifesigns.web.pulse_socket import SILENCE_S, PulseSocket
from tests.agent import living
from tests.hub import Reachable, RunningHub, running_hub
from tests.patience import SOON_S, until
from tests.watcher import narrow_socket


class Listener:
    """A client that knows nothing of this hub but the address."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def hear(self) -> dict[str, Any]:
        text = await self.socket.recv()
        assert isinstance(text, str)
        event: dict[str, Any] = json.loads(text)
        return event

    async def ping(self) -> dict[str, Any]:
        await self.socket.send('{"action": "ping"}')
        return await self.hear()

    async def ended(self) -> int | None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.socket.recv()
        return self.socket.close_code


@contextlib.asynccontextmanager
async def listening(
    hub: Reachable, agent: str, key: str | None = None, query: str = "", **options: Any
) -> AsyncIterator[Listener]:
    key = hub.key if key is None else key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"ws{hub.url.removeprefix('http')}/v1/pulse/{agent}/ws{query}"
    options = {"proxy": None, "open_timeout": SOON_S} | options
    async with connect(url, additional_headers=headers, **options) as socket:
        yield Listener(socket)


async def put(http: httpx.AsyncClient, agent: str, **said: Any) -> dict[str, Any]:
    answer = await http.put(f"/v1/pulse/{agent}", json=said)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_known_agent_is_introduced_and_its_every_heartbeat_told_from_whichever_hub(
    hub: RunningHub, http: httpx.AsyncClient, fresh_url: str
) -> None:
    await put(http, "a", status="idle")
    async with (
        running_hub(fresh_url) as other,
        other.client() as there,
        listening(hub, "a") as listener,
        listening(other, "a") as elsewhere,
    ):
        for each in (listener, elsewhere):
            introduced = await each.hear()
            shown = (await http.get("/v1/pulse/a")).json()
            assert introduced == {"event": "connected", **shown}
        assert set(await listener.ping()) == {"event", "ts"}
        assert (await elsewhere.ping())["event"] == "pong"
        assert (await http.get("/health")).json()["subscribers"] == 1
        for by in (http, there, http):  # twice without news
            told = await put(by, "a", status="thinking", task="x", context={"at": 1})
            for each in (listener, elsewhere):
                assert await each.hear() == {
                    "event": "pulse",
                    "status": "thinking",
                    "context": {"at": 1},
                    "task": "x",
                    "ts": told["last_heartbeat"],
                }
        await put(http, "b", status="idle")  # is none of theirs
        gone = (await there.delete("/v1/pulse/a")).json()
        for each in (listener, elsewhere):
            assert await each.hear() == {"event": "offline", "ts": gone["offline_since"]}
        back = await put(http, "a")
        assert await listener.hear() == {
            "event": "pulse",
            "status": "thinking",
            "context": {"at": 1},
            "task": "x",
            "ts": back["last_heartbeat"],
        }
    await until(lambda: not hub.hub.lobby.open and not hub.hub.lobby.fanout.watchers)


async def test_an_agent_nobody_knows_is_waited_for(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with listening(hub, "a~1:%40") as listener:
        assert (await listener.ping())["event"] == "pong"
        for nothing in ("", "{", "[]", '{"action": "dance"}', '{"ping": 1}', '"ping"', "null"):
            await listener.socket.send(nothing)
        await listener.socket.send(b"\x81\xa6")
        async with living(hub, "a~1:@", ttl=1, status="idle") as agent:
            assert (await listener.hear())["event"] == "pulse"
            await agent.say("beat")
            assert (await listener.hear())["status"] == "idle"
            assert (await listener.ping())["event"] == "pong"
            await agent.bye()
        assert (await listener.hear())["event"] == "offline"
        await put(http, "a~1:@", ttl=1)
        assert (await listener.hear())["event"] == "pulse"
        assert (await listener.hear())["event"] == "offline", "a silence ends it, too"


async def test_who_may_not_listen_is_told_before_the_upgrade(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    beating = {"scope": "agent", "agent": "a"}
    key = (await http.post("/v1/keys", json=beating)).json()["key"]
    async with listening(hub, "a", key) as listener:
        assert (await listener.ping())["event"] == "pong", "an agent's key may watch"
    project = (await http.post("/v1/keys", json={"scope": "poster", "poster": "p"})).json()
    for agent, shown, status, code in (
        ("a", "", 401, "unauthorized"),
        ("a", "nobody's", 401, "unauthorized"),
        ("a", project["key"], 403, "forbidden"),
        ("me", hub.key, 400, "bad_request"),
        ("a%20b", hub.key, 400, "bad_request"),
    ):
        with pytest.raises(InvalidStatus) as refusal:
            async with listening(hub, agent, shown):
                pass
        response = refusal.value.response
        assert response.status_code == status
        assert json.loads(response.body or b"")["code"] == code
    with pytest.raises(InvalidStatus) as refusal:
        async with listening(hub, "a", origin="http://stranger.example"):
            pass
    assert refusal.value.response.status_code == 403
    await until(lambda: not hub.hub.lobby.open)


async def test_a_revoked_key_a_ticket_and_a_drain(fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as http:
        made = (await http.post("/v1/keys", json={"scope": "watch"})).json()
        ticket = (await http.post("/v1/tickets", json={"for": "connect"})).json()["ticket"]
        async with (
            listening(hub, "a", made["key"]) as revoked,
            listening(hub, "a", "", query=f"?ticket={ticket}") as browser,
        ):
            assert (await revoked.ping())["event"] == "pong"
            assert (await browser.ping())["event"] == "pong"
            await http.delete(f"/v1/keys/{made['id']}")
            assert await revoked.ended() == 4010
            hub.hub.lobby.close()
            with pytest.raises(InvalidStatus) as refusal:
                async with listening(hub, "a"):
                    pass
            assert refusal.value.response.status_code == 503
            await hub.hub.lobby.drain()
            assert await browser.ended() == 1001


async def test_a_listener_who_is_gone_is_found_out(hub: RunningHub) -> None:
    async with listening(hub, "a") as listener:
        assert (await listener.ping())["event"] == "pong"
        (connection,) = hub.hub.lobby.open
        assert isinstance(connection, PulseSocket)
        now = hub.hub.lobby.loop.time()
        assert connection.tick(now) == now + SILENCE_S
        await listener.ping()  # it answers the hub's before it says that
        assert connection.tick(now) == now + SILENCE_S
        assert connection.tick(now) is None, "it had no time to answer"
        assert await listener.ended() == 1006


async def test_a_listener_who_does_not_read_is_owed_the_latest_alone(fresh_url: str) -> None:
    """Neither beats nor pongs may pile up for it."""
    async with (
        running_hub(fresh_url, beats_per_s=100_000.0) as hub,
        hub.client() as http,
        listening(hub, "a", sock=narrow_socket(hub), max_queue=1) as listener,
    ):
        assert (await listener.ping())["event"] == "pong"
        (connection,) = hub.hub.lobby.open
        beats = 120
        for i in range(beats):
            await put(http, "a", status="busy", task=str(i), context="x" * 15_000)
        assert isinstance(connection, PulseSocket)
        waiting = connection._transport.get_write_buffer_size()
        assert waiting < 200_000 < beats * 15_000
        heard = []
        while not heard or heard[-1]["task"] != str(beats - 1):
            heard.append(await listener.hear())
        tasks = [int(each["task"]) for each in heard]
        assert tasks == sorted(set(tasks))
        assert len(tasks) < beats
        assert (await listener.ping())["event"] == "pong"
