"""The other end of a socket: a client that speaks whole messages, and one that writes any bytes.

``Agent`` is built on the client of websockets, which is not ours and answers pings by itself.
``Peer`` frames by hand, answers nothing unasked, and can break off anywhere.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.typing import Subprotocol
from websockets.utils import apply_mask

from lifesigns.core.codec import JSON, Codec
from tests.hub import Reachable
from tests.patience import SOON_S

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = (int(opcode) for opcode in Opcode)
FIN = 0x80
MASK = b"\x0f\xf0\x33\xcc"


class Agent:
    """One socket to a hub, by whole messages."""

    def __init__(self, socket: ClientConnection, codec: Codec) -> None:
        self.socket = socket
        self.codec = codec
        self.welcome: dict[str, Any] = {}
        self._next_ref = 0

    async def say(self, type_: str, **fields: Any) -> None:
        """Send a message and await nothing."""
        payload = self.codec.encode({"type": type_, **fields})
        await self.socket.send(payload, text=not self.codec.binary)

    async def hear(self) -> dict[str, Any]:
        """Take the next message."""
        async with asyncio.timeout(SOON_S):
            payload = await self.socket.recv()
        assert isinstance(payload, bytes) is self.codec.binary, "the wrong kind of frame"
        return self.codec.decode(payload if isinstance(payload, bytes) else payload.encode())

    async def ask(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Send a message with a ref, and take what comes next, which is to be the answer to it."""
        self._next_ref += 1
        await self.say(type_, ref=self._next_ref, **fields)
        answer = await self.hear()
        assert answer.get("ref") == self._next_ref, answer
        return answer

    async def beat(self, **said: Any) -> dict[str, Any]:
        """Beat, and take the ok."""
        answer = await self.ask("beat", **said)
        assert answer["type"] == "ok", answer
        return answer

    async def refused(self, type_: str, **fields: Any) -> tuple[str, str | None]:
        """Send what is refused; answer the error's code and field."""
        answer = await self.ask(type_, **fields)
        assert answer["type"] == "error", answer
        return answer["code"], answer.get("field")

    async def bye(self, **fields: Any) -> int:
        """Leave; answer the code with which the socket ended."""
        await self.say("bye", **fields)
        return await self.ended()

    async def ended(self) -> int:
        """Await the end of the socket, passing over what still comes; answer the code."""
        async with asyncio.timeout(SOON_S):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        code = self.socket.close_code
        assert code is not None
        return code

    def abort(self) -> None:
        """Break the connection off, without a word."""
        self.socket.transport.abort()


@contextlib.asynccontextmanager
async def connected(
    hub: Reachable,
    *,
    codec: Codec = JSON,
    key: str | None = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[Agent]:
    """Open a socket that has not said hello; ``key`` as for ``Reachable.client``."""
    key = hub.key if key is None else key
    shown = {"Authorization": f"Bearer {key}"} if key else {}
    socket = await connect(
        hub.ws_url + query,
        **{"subprotocols": [Subprotocol(codec.subprotocol)], **options},
        additional_headers={**shown, **(headers or {})},
        compression=None,
        ping_interval=None,
        open_timeout=SOON_S,
        proxy=None,
    )
    try:
        yield Agent(socket, codec)
    finally:
        socket.transport.abort()
        await socket.wait_closed()


@contextlib.asynccontextmanager
async def living(
    hub: Reachable,
    agent: str | None,
    *,
    codec: Codec = JSON,
    key: str | None = None,
    **described: Any,
) -> AsyncIterator[Agent]:
    """Open a socket and say hello; the block's end breaks it off."""
    async with connected(hub, codec=codec, key=key) as socket:
        named = {} if agent is None else {"agent": agent}
        await socket.say("hello", **named, **described)
        socket.welcome = await socket.hear()
        assert socket.welcome["type"] == "welcome", socket.welcome
        yield socket


def framed(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """Build one frame as a client sends it, or as it must not."""
    head = (FIN if fin else 0) | opcode
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        header = struct.pack("!BB", head, mask | len(payload))
    elif len(payload) < 65_536:
        header = struct.pack("!BBH", head, mask | 126, len(payload))
    else:
        header = struct.pack("!BBQ", head, mask | 127, len(payload))
    return header + (MASK + apply_mask(payload, MASK) if masked else payload)


def upgrade(hub: Reachable, codec: Codec = JSON, key: str | None = None, **changed: str) -> bytes:
    """Write the request with which a socket begins; ``changed`` headers replace, '' drops one."""
    headers = {
        "Host": hub.url.removeprefix("http://"),
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": codec.subprotocol,
        "Authorization": f"Bearer {hub.key if key is None else key}",
    }
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join(["GET /v1/connect HTTP/1.1", *lines, "", ""]).encode()


class Peer:
    """One TCP connection to a hub, by bytes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: Codec
    ) -> None:
        self.codec = codec
        self._reader = reader
        self._writer = writer
        self.line: socket.socket = writer.get_extra_info("socket")

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def say(self, type_: str, **fields: Any) -> None:
        """Send a message in one frame."""
        opcode = BINARY if self.codec.binary else TEXT
        await self.write(framed(opcode, self.codec.encode({"type": type_, **fields})))

    async def response(self) -> tuple[int, dict[str, str]]:
        """Read the head of an HTTP answer: its status and headers."""
        async with asyncio.timeout(SOON_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.split("\r\n")
        pairs = (line.split(":", 1) for line in lines if line)
        return int(status.split()[1]), {name.lower(): value.strip() for name, value in pairs}

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame; EOFError at the end of the stream."""
        async with asyncio.timeout(SOON_S):
            head, length = await self._exactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self._exactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self._exactly(8))
            return head & 0x0F, await self._exactly(length)

    async def hear(self) -> dict[str, Any]:
        """Read the next message, passing over pings and pongs."""
        while True:
            opcode, payload = await self.frame()
            if opcode not in (PING, PONG):
                assert opcode == (BINARY if self.codec.binary else TEXT), (opcode, payload)
                return self.codec.decode(payload)

    async def closed(self) -> int:
        """Read up to the close, passing over all else; answer its code, 1006 if there is none."""
        while True:
            try:
                opcode, payload = await self.frame()
            except EOFError:
                return 1006
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005

    async def gone(self) -> None:
        """Await the end of the stream, passing over all else."""
        async with asyncio.timeout(SOON_S):
            with contextlib.suppress(ConnectionError):
                while await self._reader.read(65_536):
                    pass

    def finish(self) -> None:
        """Say that nothing more comes, and go on reading."""
        self._writer.write_eof()

    def abort(self) -> None:
        """Break the connection off, without a word."""
        self._writer.transport.abort()

    async def _exactly(self, count: int) -> bytes:
        try:
            return await self._reader.readexactly(count)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EOFError from error


@contextlib.asynccontextmanager
async def dialed(hub: Reachable, *, codec: Codec = JSON) -> AsyncIterator[Peer]:
    """Open a TCP connection on which nothing was said."""
    host, _, port = hub.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    peer = Peer(reader, writer, codec)
    try:
        yield peer
    finally:
        peer.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def upgraded(
    hub: Reachable, *, codec: Codec = JSON, hello: Mapping[str, Any] | None = None
) -> AsyncIterator[Peer]:
    """Open a socket by hand; with ``hello``, say it and read the welcome."""
    async with dialed(hub, codec=codec) as peer:
        await peer.write(upgrade(hub, codec))
        status, _ = await peer.response()
        assert status == 101
        if hello is not None:
            await peer.say("hello", **hello)
            welcome = await peer.hear()
            assert welcome["type"] == "welcome", welcome
        yield peer


async def presence(http: httpx.AsyncClient, agent: str) -> dict[str, Any]:
    """Read one agent, as every hub shows it."""
    answer = await http.get(f"/v1/pulse/{agent}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def becomes(
    http: httpx.AsyncClient,
    agent: str,
    condition: Callable[[dict[str, Any]], object] | None = None,
    **wanted: Any,
) -> dict[str, Any]:
    """Read one agent until it can be read and is as wanted; answer it as it is then."""
    deadline = time.monotonic() + SOON_S
    while True:
        answer = await http.get(f"/v1/pulse/{agent}")
        if answer.status_code == 200:
            shown: dict[str, Any] = answer.json()
            fits = all(shown[name] == value for name, value in wanted.items())
            if fits and (condition is None or condition(shown)):
                return shown
        assert time.monotonic() < deadline, f"it did not become {wanted}: {answer.text}"
        await asyncio.sleep(0.02)
