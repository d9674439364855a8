"""A receiver of webhooks: a small HTTP server that keeps what it got, and answers as it is told.

It listens on loopback, and speaks to its peer byte by byte, so that it can also answer as no
sound server would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Got:
    """One request, as it came."""

    method: str
    target: str
    headers: dict[str, str]  # names in small letters
    body: bytes
    at: float  # by the loop's clock

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = bytes | Callable[[Got, StreamWriter], Awaitable[None]]


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Write a whole answer; underscores in the names of headers stand for hyphens."""
    named = {"Content-Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join([f"HTTP/1.1 {status} So", *lines, "", ""]).encode() + body


NO_CONTENT = answer(204)


@dataclass
class Receiver:
    """What came, and what is answered to what comes."""

    url: str = ""
    port: int = 0
    got: list[Got] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)  # of the next requests, in their order
    always: Answer = NO_CONTENT  # of all others
    open: int = 0  # connections
    most_open: int = 0

    def types(self, agent: str | None = None) -> list[str]:
        """Name the events that came, in their order."""
        told = [each.json for each in self.got]
        return [each["type"] for each in told if agent in (None, each["data"].get("id"))]

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                got = await read_request(reader)
                self.got.append(got)
                told = self.answers.pop(0) if self.answers else self.always
                if isinstance(told, bytes):
                    writer.write(told)
                    await writer.drain()
                else:
                    await told(got, writer)
        finally:
            self.open -= 1
            writer.close()


async def read_request(reader: StreamReader) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(method, target, headers, body, asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def receiver(*, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run one."""
    made = Receiver()
    server = await asyncio.start_server(made.serve, "127.0.0.1", port, ssl=tls, backlog=1024)
    made.port = server.sockets[0].getsockname()[1]
    made.url = f"http{'s' if tls else ''}://127.0.0.1:{made.port}/hook"
    try:
        yield made
    finally:
        server.close()
