"""Peers that break the protocol, break off anywhere, or say whatever comes to mind.

The hub answers or closes with a code of the contract, harms nobody else and lives on.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator

import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.web.socket import BACKLOG_BYTES
from tests.agent import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Agent,
    Peer,
    becomes,
    connected,
    dialed,
    framed,
    living,
    upgrade,
    upgraded,
)
from tests.hub import RunningHub
from tests.patience import until

both = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)

AT_ONCE = 25  # connections
HELLO = JSON.encode({"type": "hello", "agent": "a", "ref": "r"})


@pytest.fixture
async def bystander(hub: RunningHub, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Agent]:
    """Connect somebody else, who must not notice anything; in the end nothing is left behind."""
    tasks = len(asyncio.all_tasks())
    async with living(hub, "bystander", ttl=60) as bystander:
        yield bystander
        await bystander.beat(task="unharmed")
        async with hub.client() as http:
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.get("/v1/pulse/bystander")).json()["task"] == "unharmed"
    lobby = hub.hub.lobby
    await until(lambda: not lobby.open and not lobby.tasks and not hub.hub.ingest.leases)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


# The first message.


@both
async def test_first_message_that_is_no_hello_ends_the_socket(
    hub: RunningHub, bystander: Agent, codec: Codec
) -> None:
    for type_ in ("beat", "ping", "bye", "check", "dance"):
        async with connected(hub, codec=codec) as socket:
            assert (await socket.refused(type_))[0] == "hello_first"
            assert await socket.ended() == 4000
    for payload in (b"", b"nonsense", b"[1]"):
        async with upgraded(hub, codec=codec) as peer:
            await peer.write(framed(BINARY if codec.binary else TEXT, payload))
            assert (await peer.hear())["code"] == "bad_json"
            assert await peer.closed() == 4000


# Frames.


@both
async def test_frame_of_the_wrong_kind_for_the_codec_ends_with_1003(
    hub: RunningHub, bystander: Agent, codec: Codec
) -> None:
    wrong = TEXT if codec.binary else BINARY
    for hello in (None, {"agent": "a"}):
        async with upgraded(hub, codec=codec, hello=hello) as peer:
            await peer.write(framed(wrong, codec.encode({"type": "ping"})))
            assert await peer.closed() == 1003


async def test_text_that_is_not_utf_8_ends_with_1007(hub: RunningHub, bystander: Agent) -> None:
    bad = b'{"type": "beat", "task": "\xff"}'
    cut = '{"type": "beat", "task": "ü"}'.encode()[:-3]
    for payload in (bad, cut, b"\xff", b"\xed\xa0\x80"):
        async with upgraded(hub, hello={"agent": "a"}) as peer:
            await peer.write(framed(TEXT, payload))
            assert await peer.closed() == 1007
        async with upgraded(hub, hello={"agent": "a"}) as peer:
            await peer.write(framed(TEXT, payload[:1], fin=False))
            await peer.write(framed(CONTINUATION, payload[1:]))
            assert await peer.closed() == 1007


async def test_text_in_msgpack_that_is_not_utf_8_is_a_bad_value(
    hub: RunningHub, bystander: Agent
) -> None:
    async with upgraded(hub, codec=MSGPACK, hello={"agent": "a"}) as peer:
        await peer.write(framed(BINARY, b"\x82\xa4type\xa4beat\xa4task\xa1\xff"))
        error = await peer.hear()
        assert (error["code"], error["field"]) == ("bad_value", "task")


@both
async def test_message_that_is_too_long_ends_with_1009(
    hub: RunningHub, bystander: Agent, codec: Codec
) -> None:
    opcode = BINARY if codec.binary else TEXT
    filled = {"type": "beat", "metadata": {"a": "x" * 70_000}}
    check = {"type": "check", "agents": [f"{i:0120}" for i in range(1000)] * 3}
    claim = b"\xff" + (2**62).to_bytes(8, "big")  # says its length, and never comes
    for data in (
        framed(opcode, codec.encode(filled)),
        framed(opcode, codec.encode(check)),
        bytes([0x80 | opcode]) + claim,
        framed(opcode, b"x" * 200_000, fin=False) + framed(CONTINUATION, b"x" * 200_000),
    ):
        async with upgraded(hub, codec=codec, hello={"agent": "a"}) as peer:
            await peer.write(data)
            assert await peer.closed() == 1009


async def test_frame_that_breaks_rfc_6455_ends_the_socket(
    hub: RunningHub, bystander: Agent
) -> None:
    for data, code in (
        (framed(TEXT, HELLO, masked=False), 1002),
        (b"\xc1\x80MASK", 1002),  # a reserved bit
        (framed(3, b""), 1002),  # opcodes that nobody has defined
        (framed(11, b""), 1002),
        (framed(PING, b"", fin=False), 1002),
        (framed(PING, b"x" * 126), 1002),
        (framed(CONTINUATION, b"nothing to continue"), 1002),
        (framed(TEXT, b"{", fin=False) + framed(TEXT, b"}"), 1002),
        (framed(CLOSE, b"\x03"), 1002),
        (framed(CLOSE, b"\x03\xe7"), 1002),  # 999 is no code
        (framed(CLOSE, b"\x03\xed"), 1002),  # 1005 is never sent
        (framed(CLOSE, b"\x03\xe8\xff"), 1007),
        (framed(CLOSE, b""), 1005),
        (framed(CLOSE, b"\x0f\xa0mine"), 4000),
    ):
        for hello in (None, {"agent": "a"}):
            async with upgraded(hub, hello=hello) as peer:
                await peer.write(data)
                assert await peer.closed() == code, data
                await peer.gone()


async def test_message_may_come_in_fragments_with_pings_between(
    hub: RunningHub, bystander: Agent
) -> None:
    async with upgraded(hub) as peer:
        await peer.write(framed(TEXT, HELLO[:5], fin=False))
        await peer.write(framed(PING, b"1") + framed(CONTINUATION, b"", fin=False))
        await peer.write(framed(CONTINUATION, HELLO[5:9], fin=False) + framed(PONG, b""))
        await peer.write(framed(CONTINUATION, HELLO[9:]))
        assert await peer.frame() == (PONG, b"1")
        welcome = await peer.hear()
        assert (welcome["type"], welcome["ref"]) == ("welcome", "r")


async def test_message_without_an_end_is_bounded_in_memory(
    hub: RunningHub, bystander: Agent
) -> None:
    async with upgraded(hub, hello={"agent": "a"}) as peer:
        await peer.write(framed(TEXT, b"", fin=False))
        for _ in range(20_000):
            await peer.write(framed(CONTINUATION, b"", fin=False))
        for _ in range(300):
            await peer.write(framed(CONTINUATION, b"x" * 1000, fin=False))
        assert await peer.closed() == 1009


async def test_what_comes_after_the_end_is_not_heard(hub: RunningHub, bystander: Agent) -> None:
    bye = framed(TEXT, JSON.encode({"type": "bye"}))
    more = framed(TEXT, JSON.encode({"type": "beat", "task": "too late", "ref": 1}))
    async with upgraded(hub, hello={"agent": "a"}) as peer:
        await peer.write(bye + more * 3)
        assert await peer.closed() == 1000
        await peer.write(more)
    async with hub.client() as http:
        assert (await becomes(http, "a", state="offline", reason="left"))["task"] is None


# Answers that nobody reads.


async def test_peer_that_does_not_read_is_not_read_either(
    hub: RunningHub, bystander: Agent
) -> None:
    """What is asked while an answer waits is not answered yet: it would fill the hub's memory."""
    agents = [f"fat-{i}" for i in range(30)]
    async with hub.client() as http:
        beats = [{"id": agent, "context": "x" * 16_000} for agent in agents]
        await http.post("/v1/pulse", json={"beats": beats})
    async with upgraded(hub, hello={"agent": "a"}) as peer:
        for _ in range(40):
            await peer.say("check", agents=agents, ref=1)
        await until(lambda: _backlog(hub) > 0)
        for _ in range(40):
            await peer.say("check", agents=agents, ref=1)
            await bystander.beat()
            assert _backlog(hub) <= BACKLOG_BYTES
        for _ in range(80):  # all that was asked is answered once it reads
            assert (await peer.hear())["type"] == "checked"


def _backlog(hub: RunningHub) -> int:
    """Tell the size of what waits for the peer that reads least."""
    transports = [getattr(each, "_transport") for each in hub.hub.lobby.open]  # noqa: B009
    return max(transport.get_write_buffer_size() for transport in transports)


# Connections that break off.


def conversation(codec: Codec, *last: str) -> bytes:
    opcode = BINARY if codec.binary else TEXT
    messages = (
        {"type": "hello", "agent": "cut", "instance": "i", "metadata": {"ü": [1, 2.5, None]}},
        {"type": "beat", "task": "t" * 130, "ref": 1},
        {"type": "check", "agents": ["cut", "bystander"], "ref": 2},
        {"type": "ping", "ref": 3},
        {"type": "dance", "ref": 4},
        *({"type": each} for each in last),
    )
    said = [framed(opcode, codec.encode(message)) for message in messages]
    return b"".join([*said[:3], framed(PING, b"p"), *said[3:]])


async def _cut_off(
    hub: RunningHub, codec: Codec, said: bytes, at: int, limit: asyncio.Semaphore
) -> None:
    """Say the beginning and break off: reset, half-closed, or closed, in turn."""
    async with limit, upgraded(hub, codec=codec) as peer:
        await peer.write(said[:at])
        await _break_off(peer, at)


async def _break_off(peer: Peer, at: int) -> None:
    if at % 3 == 0:
        peer.abort()
    elif at % 3 == 1:
        peer.finish()
        await peer.gone()
    else:
        await asyncio.sleep(0)


@both
async def test_connection_may_break_off_after_any_byte_of_a_conversation(
    hub: RunningHub, bystander: Agent, codec: Codec
) -> None:
    said, limit = conversation(codec, "bye"), asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*[_cut_off(hub, codec, said, at, limit) for at in range(len(said) + 1)])
    async with hub.client() as http:
        assert (await http.get("/v1/pulse/cut")).status_code == 200


async def test_connection_may_break_off_after_any_byte_of_the_upgrade(
    hub: RunningHub, bystander: Agent
) -> None:
    limit = asyncio.Semaphore(AT_ONCE)
    request = upgrade(hub)

    async def cut_off(at: int) -> None:
        async with limit, dialed(hub) as peer:
            await peer.write(request[:at])
            await _break_off(peer, at)

    await asyncio.gather(*[cut_off(at) for at in range(len(request) + 1)])


@both
async def test_conversation_may_come_byte_by_byte(
    hub: RunningHub, bystander: Agent, codec: Codec
) -> None:
    said = conversation(codec)
    async with dialed(hub, codec=codec) as peer:
        for byte in upgrade(hub, codec):
            await peer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await peer.response())[0] == 101
        for byte in said:
            await peer.write(bytes([byte]))
            await asyncio.sleep(0)
        heard = {(await peer.hear())["type"] for _ in range(5)}
        assert heard == {"welcome", "ok", "checked", "pong", "error"}
        await peer.say("bye")
        assert await peer.closed() == 1000


async def test_random_bytes_in_place_of_a_request_are_refused(
    hub: RunningHub, bystander: Agent
) -> None:
    for data in (os.urandom(500), b"\x16\x03\x01\x02\x00" + os.urandom(200), b"\r\n" * 50):
        async with dialed(hub) as peer:
            await peer.write(data)
            peer.finish()
            await peer.gone()
