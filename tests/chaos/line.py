"""One WebSocket to a hub by hand: the sans-I/O client of websockets, and no task of its own.

Thousands of them live in one process. Nothing here waits longer than it is told to: a hub that is
silent is one of the things that are tried out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from lifesigns.core.codec import JSON
from tests.hub import Reachable

MESSAGE_BYTES = 1_048_576  # more than any frame of a hub


class Ended(Exception):
    """The socket is no more, or never was; ``code`` is 1006 if nobody said why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ended with {code}")
        self.code = code


class Line(asyncio.Protocol):
    """An open socket, by whole messages."""

    def __init__(self, hub: Reachable) -> None:
        self._protocol = ClientProtocol(
            parse_uri(hub.ws_url),
            subprotocols=[Subprotocol(JSON.subprotocol)],
            max_size=MESSAGE_BYTES,
        )
        self._key = hub.key
        self._heard: deque[dict[str, Any]] = deque()
        self._news = asyncio.Event()
        self._next_ref = 0
        self._transport: asyncio.Transport | None = None
        self._deaf = False
        self.on_end: Callable[[], None] = lambda: None
        self.open = False
        self.ended = False

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        request = self._protocol.connect()
        request.headers["Authorization"] = f"Bearer {self._key}"
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._heard.append(json.loads(event.data))
        self.open = self._protocol.state.name == "OPEN"
        self._news.set()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open, self.ended = False, True
        self._protocol.receive_eof()
        self._news.set()
        self.on_end()

    # What its owner calls.

    def say(self, type_: str, **fields: Any) -> None:
        if not self.open:  # perhaps the close is there, and the end of the connection is not yet
            raise Ended(self.code)
        self._protocol.send_text(json.dumps({"type": type_, **fields}).encode())
        self._flush()

    async def hear(self, patience_s: float) -> dict[str, Any]:
        """Take the next message; TimeoutError if none comes, Ended if none can come any more."""
        async with asyncio.timeout(patience_s):
            while not self._heard:
                if self.ended:
                    raise Ended(self.code)
                self._news.clear()
                await self._news.wait()
        return self._heard.popleft()

    async def ask(self, type_: str, patience_s: float, **fields: Any) -> dict[str, Any]:
        """Say something and take the answer to it, passing over what else comes."""
        self._next_ref += 1
        self.say(type_, ref=self._next_ref, **fields)
        async with asyncio.timeout(patience_s):
            while True:
                answer = await self.hear(patience_s)
                if answer.get("ref") == self._next_ref:
                    return answer

    async def upgraded(self) -> None:
        """Return when the hub has agreed to speak."""
        while not self.open:
            if self.ended:
                raise Ended(self.code)
            self._news.clear()
            await self._news.wait()

    def hush(self) -> None:
        """Hold the socket open, and answer nothing any more, pings neither."""
        self._deaf = True

    def abort(self) -> None:
        """Break off without a word."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def code(self) -> int:
        received = self._protocol.close_rcvd
        return 1006 if received is None else received.code

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()


@contextlib.asynccontextmanager
async def line_to(hub: Reachable, patience_s: float) -> AsyncIterator[Line]:
    """Open a socket, or raise Ended or TimeoutError; the block's end breaks it off."""
    host, _, port = hub.url.removeprefix("http://").rpartition(":")
    line = Line(hub)
    try:
        async with asyncio.timeout(patience_s):
            try:
                await asyncio.get_running_loop().create_connection(lambda: line, host, int(port))
            except OSError as error:
                raise Ended(1006) from error
            await line.upgraded()
        yield line
    finally:
        line.abort()
