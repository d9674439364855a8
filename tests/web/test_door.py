"""The upgrade: who gets a socket, in which codec, and how the others are told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.instant import to_text
from tests.agent import becomes, connected, dialed, living, upgrade
from tests.hub import Reachable, RunningHub, running_hub
from tests.patience import until


async def made(http: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    """Make a key."""
    answer = await http.post("/v1/keys", json=wanted)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def ending(hub: Reachable, hello: Mapping[str, Any] | None = None, **shown: Any) -> int:
    """Connect with what is shown, perhaps say hello; answer the code with which it ends."""
    async with connected(hub, **shown) as socket:
        if hello is not None:
            with contextlib.suppress(ConnectionError):
                await socket.say("hello", **hello)
        return await socket.ended()


async def refusal(hub: Reachable, **shown: Any) -> tuple[int, Mapping[str, str]]:
    """Connect with what is shown; answer the status of HTTP with which it is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with connected(hub, **shown):
            pass
    return refused.value.response.status_code, refused.value.response.headers


async def answer_to(hub: Reachable, request: bytes) -> int:
    """Write a request by hand; answer the status, after which the connection ends."""
    async with dialed(hub) as peer:
        await peer.write(request)
        status, _ = await peer.response()
        if status != 101:
            await peer.gone()
        return status


# Keys.


async def test_wrong_key_is_told_after_the_handshake(hub: RunningHub) -> None:
    hello = {"agent": "a"}
    assert await ending(hub, key="") == 4001
    assert await ending(hub, key="ls_nobody_ofthatname") == 4001
    assert await ending(hub, hello, key="not-a-key-at-all") == 4001
    assert await ending(hub, key="", headers={"Authorization": "Basic dTpw"}) == 4001
    assert await ending(hub, key="", query="?ticket=never-given-out") == 4001
    # The own header counts, even if another one would be good.
    assert await ending(hub, key="bad-bad-bad-bad", headers={"X-API-Key": hub.key}) == 4001


async def test_key_may_come_in_any_of_the_headers(hub: RunningHub) -> None:
    for name in ("X-API-Key", "X-Agent-Token", "authorization"):
        value = f"bearer {hub.key}" if name == "authorization" else hub.key
        async with connected(hub, key="", headers={name: value}) as socket:
            assert (await socket.ask("hello", agent="a"))["type"] == "welcome"


async def test_key_that_may_not_speak_for_an_agent_is_forbidden(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    watch = (await made(http, scope="watch"))["key"]
    tied = (await made(http, scope="agent", agent="crew-1"))["key"]
    prefix = (await made(http, scope="agent", agent="crew-*"))["key"]
    untied = (await made(http, scope="agent"))["key"]
    poster = (await made(http, scope="poster", poster="p"))["key"]
    for key, agent in (
        (watch, "a"),
        (tied, "crew-2"),
        (prefix, "a"),
        (poster, "a"),
        (poster, None),
    ):
        hello = {} if agent is None else {"agent": agent}
        assert await ending(hub, hello, key=key) == 4003, (key, agent)
    for key, agent in ((watch, None), (tied, "crew-1"), (prefix, "crew-2"), (untied, "a")):
        async with living(hub, agent, key=key) as socket:
            assert socket.welcome["agent"] == agent
    assert (await http.get("/v1/pulse?alive=any")).json()["total"] == 3


async def test_key_that_has_expired_is_no_key_and_its_sockets_end(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    soon = to_text(time.time_ns() // 1_000_000 + 1500)
    key = (await made(http, scope="agent", expires_at=soon))["key"]
    async with living(hub, "a", key=key) as socket:
        assert await socket.ended() == 4010
    assert await ending(hub, key=key) == 4001


async def test_revoked_key_ends_its_sockets_on_every_hub(
    hub: RunningHub, http: httpx.AsyncClient, fresh_url: str
) -> None:
    key = await made(http, scope="agent")
    async with (
        running_hub(fresh_url) as other,
        living(hub, "here", key=key["key"]) as here,
        living(other, "there", key=key["key"]) as there,
        living(other, None, key=key["key"]) as observer,
        living(other, "another") as another,
    ):
        assert (await http.delete(f"/v1/keys/{key['id']}")).status_code == 200
        assert [await socket.ended() for socket in (here, there, observer)] == [4010] * 3
        for agent in ("here", "there"):
            shown = await becomes(http, agent, state="offline")
            assert shown["reason"] == "revoked"
        await another.beat()
        for each in (hub, other):
            assert await ending(each, key=key["key"]) == 4001


async def test_ticket_connects_once(hub: RunningHub, http: httpx.AsyncClient) -> None:
    key = (await made(http, scope="agent", agent="a"))["key"]
    async with hub.client(key) as client:
        answer = await client.post("/v1/tickets", json={"for": "connect"})
        other = await client.post("/v1/tickets", json={"for": "events"})
    query = f"?ticket={answer.json()['ticket']}"
    async with connected(hub, key="", query=query) as socket:
        assert (await socket.ask("hello", agent="a"))["type"] == "welcome"
    assert await ending(hub, key="", query=query) == 4001
    # One that was made for something else, and one that is more than its key.
    assert await ending(hub, key="", query=f"?ticket={other.json()['ticket']}") == 4001
    async with hub.client(key) as client:
        answer = await client.post("/v1/tickets", json={"for": "connect"})
    query = f"?ticket={answer.json()['ticket']}"
    assert await ending(hub, {"agent": "b"}, key="", query=query) == 4003


async def test_root_key_may_name_a_project(hub: RunningHub, http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/projects", json={"name": "tenant"})).status_code == 201
    named = {"X-Lifesigns-Project": "tenant"}
    async with connected(hub, headers=named) as socket:
        assert (await socket.ask("hello", agent="a"))["type"] == "welcome"
        assert (await http.get("/v1/pulse/a")).status_code == 404
        assert (await http.get("/v1/pulse/a", headers=named)).status_code == 200
    admin = (await made(http, scope="admin"))["key"]
    assert await ending(hub, key=admin, headers=named) == 4003


async def test_project_that_is_not_there_is_no_reason_to_try_again(hub: RunningHub) -> None:
    """It ended with 1011, after which clients reconnect for ever."""
    assert await ending(hub, headers={"X-Lifesigns-Project": "nobodys"}) == 4003


async def test_keys_of_sockets_never_stand_in_the_log(
    hub: RunningHub, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ticket = (await http.post("/v1/tickets", json={"for": "connect"})).json()["ticket"]
    secrets = ["ls_nobody_a-secret-of-his", ticket, hub.key]
    await ending(hub, key=secrets[0])
    for _ in range(2):
        async with connected(hub, key="", query=f"?ticket={ticket}"):
            pass
    async with living(hub, "a"):
        pass
    await until(lambda: not hub.hub.lobby.open)
    ours = [r for r in caplog.records if not r.name.startswith(("websockets", "httpx", "httpcore"))]
    written = "\n".join(record.getMessage() for record in ours)
    assert not [secret for secret in secrets if secret in written]


# Where it comes from, and whether there is room.


async def test_foreign_origin_is_refused_over_http(fresh_url: str) -> None:
    async with running_hub(fresh_url, origins=("https://board.example",)) as hub:
        for origin in ("https://evil.example", "null", hub.url.replace("127.0.0.1", "localhost")):
            status, _ = await refusal(hub, headers={"Origin": origin})
            assert status == 403, origin
        for origin in (hub.url, "https://board.example"):
            async with connected(hub, headers={"Origin": origin}) as socket:
                assert (await socket.ask("hello"))["type"] == "welcome"


async def test_without_keys_only_loopback_names_are_served(fresh_url: str) -> None:
    async with running_hub(fresh_url, auth=False, admin_key=None) as hub:
        assert await answer_to(hub, upgrade(hub, key="x", Host="rebound.example:8700")) == 403
        for host in ("localhost:1", "127.0.0.1", "[::1]:8700"):
            assert await answer_to(hub, upgrade(hub, key="x", Host=host)) == 101
        async with living(hub, "me-too", key="me-too") as socket:
            assert socket.welcome["agent"] == "me-too"
        async with connected(hub, key="") as socket:
            assert (await socket.ask("hello", agent="anyone"))["type"] == "welcome"


async def test_full_hub_refuses_with_503_until_somebody_leaves(fresh_url: str) -> None:
    async with running_hub(fresh_url, max_connections=2) as hub:
        async with living(hub, "a"), connected(hub):
            status, headers = await refusal(hub)
            assert status == 503
            assert int(headers["Retry-After"]) >= 1
            async with hub.client() as http:
                assert (await http.get("/v1/pulse/a")).status_code == 200
        await until(lambda: not hub.hub.lobby.open)
        async with living(hub, "b"):
            pass


async def test_hub_that_is_drained_refuses_with_503(hub: RunningHub) -> None:
    async with living(hub, "a") as agent:
        draining = asyncio.create_task(hub.hub.lobby.drain())
        goaway = await agent.hear()
        assert goaway["type"] == "goaway"
        assert 0 <= goaway["reconnect_in_ms"] <= 10_000
        assert goaway["why"]
        assert await agent.ended() == 1001
        await draining
        assert (await refusal(hub))[0] == 503
        async with hub.client() as http:
            assert (await http.get("/readyz")).status_code == 503
            assert (await http.get("/v1/pulse/a")).json()["state"] == "available"


# The codec.

Offer = Callable[..., Awaitable[str | None]]


@pytest.fixture
async def offering(hub: RunningHub) -> Offer:
    async def offer(codec: Codec, *names: str) -> str | None:
        """Offer subprotocols, and see that the codec is spoken; answer which one was taken."""
        offered = [Subprotocol(name) for name in names]
        async with connected(hub, codec=codec, subprotocols=offered or None) as socket:
            assert (await socket.ask("hello", agent="a"))["type"] == "welcome"
            return socket.socket.subprotocol

    return offer


async def test_subprotocol_decides_the_codec(offering: Offer) -> None:
    json, msgpack = JSON.subprotocol, MSGPACK.subprotocol
    assert await offering(JSON) is None
    assert await offering(JSON, json) == json
    assert await offering(MSGPACK, msgpack) == msgpack
    # The first that both know.
    assert await offering(MSGPACK, msgpack, json) == msgpack
    assert await offering(JSON, json, msgpack) == json
    assert await offering(MSGPACK, "chat", msgpack) == msgpack
    # Whoever offers only what nobody knows may talk by hand too.
    assert await offering(JSON, "chat", "superchat") is None


# Requests that are none.


async def test_bad_upgrade_is_refused_with_400(
    hub: RunningHub, caplog: pytest.LogCaptureFixture
) -> None:
    async with dialed(hub) as peer:
        await peer.write(upgrade(hub))
        assert (await peer.response())[0] == 101
    for changed in (
        {"Sec_WebSocket_Key": ""},
        {"Sec_WebSocket_Key": "too short"},
        {"Sec_WebSocket_Version": ""},
        {"Sec_WebSocket_Version": "8"},
        {"Sec_WebSocket_Protocol": "no commas, but spaces in names"},
    ):
        assert await answer_to(hub, upgrade(hub, **changed)) == 400, changed
    good = upgrade(hub)
    many = b"".join(b"X-%d: x\r\n" % i for i in range(300))
    for bad in (
        good.replace(b"GET", b"POST", 1),
        good.replace(b"GET", b"HEAD", 1),
        good.replace(b"/v1/connect", b"//[/v1/connect", 1),
        good.replace(b"/v1/connect", b"/v1/connect?x=\xff", 1),
        good.replace(b"/v1/connect", b"/v1/connect?ticket=" + b"x" * 10_000, 1),
        good[:-2] + many + b"\r\n",
        good[:-2] + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        good[:-2] + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        good[:-2] + b"Content-Length: 5\r\n\r\nhello",
    ):
        assert await answer_to(hub, bad) == 400, bad
    assert await answer_to(hub, good.replace(b"/v1/connect", b"/v1/pulse", 1)) == 404
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_bad_upgrades_leave_nothing_behind(
    hub: RunningHub, caplog: pytest.LogCaptureFixture
) -> None:
    before = len(asyncio.all_tasks())
    for _ in range(20):
        await answer_to(hub, upgrade(hub, Sec_WebSocket_Key=""))
        await ending(hub, key="bad-bad-bad-bad")
    await until(lambda: not hub.hub.lobby.open and len(asyncio.all_tasks()) <= before)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_peer_that_goes_while_its_key_is_looked_up_leaves_nothing_behind(
    hub: RunningHub, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [(await made(http, scope="agent"))["key"] for _ in range(20)]
    for turns, key in enumerate(keys):
        async with dialed(hub) as peer:
            await peer.write(upgrade(hub, key=key))
            for _ in range(turns * 3):
                await asyncio.sleep(0)
            peer.abort()
    await until(lambda: not hub.hub.lobby.open and not hub.hub.lobby.tasks)
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_hello_that_comes_while_the_key_is_looked_up_is_heard(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    key = (await made(http, scope="agent"))["key"]
    async with dialed(hub) as peer:
        await peer.write(upgrade(hub, key=key))
        assert (await peer.response())[0] == 101
        await peer.say("hello", agent="a")
        assert (await peer.hear())["type"] == "welcome"
