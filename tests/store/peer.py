"""Who a link may meet on loopback that is no store: a peer that answers as told, a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

from tests.server import Server


class Peer:
    """A peer of ours on loopback that answers each command as it is told: not a real store."""

    def __init__(self, answer: Callable[[list[bytes]], bytes]) -> None:
        self._answer = answer

    async def __aenter__(self) -> Peer:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                count = int((await reader.readline())[1:])
                words = []
                for _ in range(count):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                writer.write(self._answer(words))
        writer.close()


class Valve:
    """Stands before a server on loopback: what passes can be held up, and connections cut."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked, self._answered = asyncio.Event(), asyncio.Event()
        self.release()
        self._handlers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Valve:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()
        await self.cut()

    def hold_questions(self) -> None:
        """Let nothing more through to the server."""
        self._asked.clear()

    def hold_answers(self) -> None:
        """Let through what is asked, and answers no more."""
        self._answered.clear()

    def release(self) -> None:
        """Let all through, what was held up too."""
        self._asked.set()
        self._answered.set()

    async def cut(self) -> None:
        """End all connections; what was held up is gone with them, new ones are let through."""
        cut, self._writers = self._writers, set()
        for writer in cut:
            writer.transport.abort()
        while self._handlers:
            for task in self._handlers:
                task.cancel()
            await asyncio.wait(self._handlers)
        self.release()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._watch(task)
        self._writers.add(writer)
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._server.socket_path)
        self._writers.add(inner_writer)
        self._carry(reader, inner_writer, self._asked)
        self._carry(inner_reader, writer, self._answered)

    def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may: asyncio.Event
    ) -> None:
        async def carry() -> None:
            try:
                with contextlib.suppress(OSError):
                    while data := await reader.read(65536):
                        await may.wait()
                        writer.write(data)
            finally:
                writer.transport.abort()

        self._watch(asyncio.create_task(carry()))

    def _watch(self, task: asyncio.Task[None]) -> None:
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)


@contextlib.asynccontextmanager
async def proxied(
    server: Server, *, tls: ssl.SSLContext | None = None, piece: int = 65536
) -> AsyncIterator[int]:
    """Stand between link and server; give the port. Bytes are passed on in pieces of that size."""
    handlers: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(piece):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        inner = await asyncio.open_unix_connection(server.socket_path)
        await asyncio.gather(carry(reader, inner[1]), carry(inner[0], writer))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        if handlers:
            await asyncio.wait(handlers)
