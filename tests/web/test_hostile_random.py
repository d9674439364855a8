"""Arbitrary bytes and arbitrary messages at a real hub, which is a process of its own.

Whatever comes, it answers, or closes with a code of the contract; whoever else is connected does
not notice; what it took from one codec it can show in the other; and its log has no traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.utils import apply_mask

from lifesigns.core.codec import JSON, MSGPACK, Codec
from tests.agent import BINARY, CLOSE, MASK, PING, TEXT, framed, upgrade
from tests.hub import HubProcess, hub_process
from tests.patience import SOON_S
from tests.server import Server

CODES = {1000, 1001, 1003, 1007, 1009, 4000, 4001, 4003, 4008, 4009, 4010, 4029}
# RFC 6455's own: the peer broke the framing, said nothing, or named a code of its own.
FRAMING = {1002, 1005}
ERRORS = {
    *("bad_json", "bad_request", "bad_value", "too_large", "unauthorized", "forbidden"),
    *("not_found", "conflict", "rate_limited", "unavailable"),
    *("unknown_type", "hello_first", "already_greeted"),
}
ANSWERS = {
    *("welcome", "ok", "checked", "pong", "error"),
    *("watching", "snapshot", "changes", "beats", "picked", "claimed", "notice", "resync"),
}
UNHURRIED = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Line:
    """A socket to the hub that waits in the plain way, so that an example needs no loop."""

    def __init__(self, hub: HubProcess, codec: Codec) -> None:
        host, _, port = hub.url.removeprefix("http://").rpartition(":")
        self.codec = codec
        self._socket = socket.create_connection((host, int(port)), timeout=SOON_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(upgrade(hub, codec))
        assert self._file.readline().startswith(b"HTTP/1.1 101")
        while self._file.readline() != b"\r\n":
            pass

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def write(self, data: bytes) -> None:
        # The hub may have closed already: what it said before can still be read.
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def say(self, message: dict[str, Any]) -> None:
        self.write(framed(BINARY if self.codec.binary else TEXT, self.codec.encode(message)))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Read frames until the stream ends."""
        with contextlib.suppress(ConnectionError):
            while len(head := self._file.read(2)) == 2:
                length = head[1]
                if length >= 126:
                    length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
                yield head[0] & 0x0F, self._file.read(length)

    def hear(self) -> dict[str, Any] | int:
        """Take the next message, or the code with which the hub ends."""
        for opcode, payload in self.frames():
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005
            if opcode != PING:
                assert opcode == (BINARY if self.codec.binary else TEXT)
                return self.codec.decode(payload)
        return 1006


class Scene:
    """A hub, somebody who stays connected to it, and a way to read what it shows."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.bystander = Line(hub, MSGPACK)
        self.bystander.say({"type": "hello", "agent": "bystander", "ttl": 86_400})
        assert isinstance(self.bystander.hear(), dict)
        host, _, port = hub.url.removeprefix("http://").rpartition(":")
        self._http = http.client.HTTPConnection(host, int(port), timeout=SOON_S)

    def get(self, path: str) -> tuple[int, Any]:
        self._http.request("GET", path, headers={"Authorization": f"Bearer {self.hub.key}"})
        answer = self._http.getresponse()
        return answer.status, json.loads(answer.read())

    def is_unharmed(self) -> None:
        self.bystander.say({"type": "ping", "ref": "still here"})
        pong = self.bystander.hear()
        assert isinstance(pong, dict)
        assert (pong["type"], pong["ref"]) == ("pong", "still here")
        assert self.get("/readyz")[0] == 200

    def close(self) -> None:
        self._http.close()
        self.bystander.__exit__()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    server = Server()
    try:
        server.start()
        with asyncio.Runner() as runner:
            running = hub_process(server.url, "--messages-per-s", "1000000")
            hub = runner.run(running.__aenter__())
            scene = Scene(hub)
            try:
                yield scene
                scene.is_unharmed()
                assert "Traceback" not in hub.log
                assert "error" not in hub.log.lower(), hub.log
            finally:
                scene.close()
                runner.run(running.__aexit__(None, None, None))
    finally:
        server.discard()


# Bytes.

opcodes = st.sampled_from([int(opcode) for opcode in Opcode]) | st.integers(0, 15)
payloads = st.binary(max_size=200) | st.sampled_from(
    [
        JSON.encode({"type": "hello", "agent": "bytes"}),
        MSGPACK.encode({"type": "hello", "agent": "bytes"}),
        JSON.encode({"type": "beat", "ref": 1}),
        b"\x81\xa4type\xa4beat",
        b"\x03\xe8",
    ]
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw a frame that is right, or wrong in one place."""
    payload = draw(payloads)
    length = draw(st.just(len(payload)) | st.integers(0, 2**64 - 1))
    bits = draw(st.sampled_from([0x80, 0x80, 0x80, 0x00, 0xC0, 0x90]))
    masked = draw(st.sampled_from([0x80, 0x80, 0x80, 0x00]))
    head = bytes([bits | draw(opcodes)])
    if length < 126:
        head += bytes([masked | length])
    elif length < 65_536:
        head += bytes([masked | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + length.to_bytes(8, "big")
    return head + (MASK + apply_mask(payload, MASK) if masked else payload)


streams = st.lists(frames() | st.binary(max_size=40), max_size=6).map(b"".join)


@given(streams, st.sampled_from([JSON, MSGPACK]), st.booleans())
@UNHURRIED
def test_arbitrary_bytes_end_in_a_code_or_an_answer(
    scene: Scene, data: bytes, codec: Codec, greets: bool
) -> None:
    with Line(scene.hub, codec) as line:
        if greets:
            line.say({"type": "hello", "agent": "bytes"})
        line.write(data)
        line.finish()
        for opcode, payload in line.frames():
            if opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                assert code in CODES | FRAMING or 3000 <= code < 5000
            elif opcode in (TEXT, BINARY):
                message = codec.decode(payload)
                assert message["type"] in ANSWERS
                assert message.get("code", "bad_value") in ERRORS
    scene.is_unharmed()


# Messages.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
statuses = st.sampled_from(["idle", "THINKING", "error", "draining", "whatever", ""])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "agent": st.sampled_from(["random", "random", "me", "a b", ""]),
    "instance": st.sampled_from(["i", "ü ü", "", "\x00"]),
    "ttl": st.sampled_from([1, 30, 86_400, 0.5, 86_401, 1.5]),
    "status": statuses | texts,
    "state": st.sampled_from(["available", "busy", "draining", "degraded", "error", "ill"]),
    "task": texts,
    "progress": texts | st.dictionaries(texts, values, max_size=3),
    "progress_ttl": st.sampled_from([0.1, 5, 0, 86_400]),
    "busy_until": st.sampled_from(["2026-03-22T14:30:00.000Z", "2999-01-01T00:00:00Z", "now"]),
    "busy_for": st.sampled_from([0, 1, 86_400, 86_401]),
    "metadata": st.dictionaries(texts, values, max_size=4),
    "context": values,
    "capabilities": st.lists(texts, max_size=4),
    "slots": st.sampled_from([0, 1, 1000, 1001, -1]),
    "did": texts,
    "name": texts,
    "group": texts,
    "host": texts,
    "version": texts,
    "claims": values,
    "reason": texts,
    "agents": st.lists(st.sampled_from(["random", "bystander", "never", "a b"]), max_size=4),
    "within": st.sampled_from([0, 10, 1e300, -1]),
    "detail": st.sampled_from(["full", "lite", "counts", "none"]),
    "filter": values,
    "watch": values,
    "since": texts,
    "probe": values,
    "timeout": values,
    "n": values,
    "claim": texts,
    "run": texts,
}
TYPES = ["beat", "beat", "beat", "check", "ping", "bye", "hello", "watch", "unwatch", "dance"]
requests = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | values},
    optional={name: good | values for name, good in FIELDS.items()}
    | {"ref": st.integers(0, 9) | texts | values},
)


def refs_of(messages: list[dict[str, Any]]) -> set[str]:
    """Tell the refs that some answer has to carry back, as comparable text."""
    return {
        repr(message["ref"])
        for message in messages
        if isinstance(message.get("ref"), str | int) and not isinstance(message["ref"], bool)
    }


@given(st.lists(requests, max_size=6), st.sampled_from([JSON, MSGPACK]), st.booleans())
@UNHURRIED
def test_arbitrary_messages_are_answered_or_end_in_a_code(
    scene: Scene, messages: list[dict[str, Any]], codec: Codec, greets: bool
) -> None:
    with Line(scene.hub, codec) as line:
        if greets:
            line.say({"type": "hello", "agent": "random", "instance": "i", "ref": "hello"})
        for message in messages:
            line.say(message)
        line.say({"type": "ping", "ref": "the end"})
        answered = set()
        wanted = refs_of(messages) | {"'the end'"} | ({"'hello'"} if greets else set())
        while not wanted <= answered:
            heard = line.hear()
            if isinstance(heard, int):
                assert heard in CODES
                break
            assert heard["type"] in ANSWERS
            if heard["type"] == "error":
                assert heard["code"] in ERRORS
                assert heard["message"]
            answered.add(repr(heard.get("ref")))
    scene.is_unharmed()
    for agent in ("random", "bystander"):
        status, shown = scene.get(f"/v1/pulse/{agent}?expand=instances")
        assert status in (200, 404)
        if status == 200:
            assert shown["id"] == agent


wide = st.recursive(
    scalars
    | st.floats()
    | st.binary(max_size=8)
    | st.integers(-(2**63), 2**64 - 1)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=4)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts | st.integers(0, 5) | st.binary(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(wide, st.sampled_from(["metadata", "context", "progress", "ref", "type", "status"]))
@UNHURRIED
def test_whatever_msgpack_can_say_is_taken_whole_or_refused_whole(
    scene: Scene, value: Any, field: str
) -> None:
    """What was taken must be read again as JSON, and be what was said."""
    said = {"type": "beat", "ref": "wide", field: value}
    with Line(scene.hub, MSGPACK) as line:
        line.say({"type": "hello", "agent": "wide", "instance": "i"})
        assert isinstance(line.hear(), dict)
        line.write(framed(BINARY, msgpack.packb(said)))
        line.say({"type": "ping", "ref": "the end"})
        verdict, over = "", False
        while not over or (not verdict and field not in ("ref", "type")):
            heard = line.hear()
            assert isinstance(heard, dict)
            if heard.get("ref") == "the end":
                over = True
            else:
                assert heard["type"] in ("ok", "error")
                verdict = heard["type"]
        status, shown = scene.get("/v1/pulse/wide")
        assert status == 200
        if field in ("metadata", "context"):
            assert shown[field] == (value if verdict == "ok" else None)
    scene.is_unharmed()
