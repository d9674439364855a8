"""A TCP proxy that does to a connection what networks do.

Bytes flow through two pipes, one each way; what becomes of them is a fault, which can be changed at
any moment and for each way alone.

```
              up: questions              delay   they come later, in their order
 client ────────────────────▶ server     chop    they come in tiny pieces
        ◀────────────────────            hold    half-open: they wait, nothing ends, nothing is lost
             down: answers               lose    black hole: they are gone, nothing ends
                                         cut     both ends are reset, new connections are refused
```

While it holds or loses, new connections are accepted and lead nowhere either. ``resume`` ends every
fault; connections that have lost bytes are cut then, for they would only talk nonsense.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

READ_BYTES = 65_536

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Change = Callable[[bytes], bytes]  # of what is carried


def same(data: bytes) -> bytes:
    return data


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of the bytes of one way."""

    delay_s: float = 0.0
    piece: int = READ_BYTES
    held: bool = False
    lost: bool = False


SOUND = Fault()


class Pipe:
    """One way of one connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Callable[[], Fault],
        change: Change,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._fault = fault
        self._change = change
        self._moved = asyncio.Event()  # the fault is another one
        self._line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1_000)
        self.spoilt = False  # bytes are missing in its midst

    def moved(self) -> None:
        self._moved.set()

    async def carry(self) -> None:
        """Carry bytes until either end ends."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take())
                group.create_task(self._give())
        except* OSError:
            pass  # a broken end is what the other end is told by the reset below
        finally:
            self._writer.transport.abort()

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await self._reader.read(READ_BYTES):
            await self._line.put((loop.time() + self._fault().delay_s, data))
        await self._line.put((loop.time() + self._fault().delay_s, b""))

    async def _give(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._line.get()
            await asyncio.sleep(due - loop.time())
            if not await self._passes():
                self.spoilt = True
                continue
            if not data:
                raise ConnectionResetError
            await self._write(self._change(data))

    async def _passes(self) -> bool:
        """Wait while bytes are held; answer whether they are not lost."""
        while self._fault().held:
            self._moved.clear()
            await self._moved.wait()
        return not self._fault().lost

    async def _write(self, data: bytes) -> None:
        piece = self._fault().piece
        for start in range(0, len(data), piece):
            self._writer.write(data[start : start + piece])
            await self._writer.drain()
            if piece < READ_BYTES:
                await asyncio.sleep(0)  # else the kernel is handed all pieces at once


class Proxy:
    """Stands between whoever connects to ``port`` and the server that ``target`` connects to.

    ``changing`` makes for each connection what changes its questions on their way.
    """

    def __init__(
        self,
        target: Callable[[], Awaitable[Streams]],
        changing: Callable[[], Change] = lambda: same,
    ) -> None:
        self._target = target
        self._changing = changing
        self._up = self._down = SOUND
        self._refuses = False
        self._pipes: dict[asyncio.Task[None], Pipe] = {}
        self._handlers: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Proxy:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4_096)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()
        self.reset()
        for task in self._handlers:
            task.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers)

    def delay(self, seconds: float) -> None:
        self._alter(Fault(delay_s=seconds))

    def chop(self, piece: int) -> None:
        self._alter(Fault(piece=piece))

    def hold(self, *, up: bool = True, down: bool = True) -> None:
        self._alter(Fault(held=up), Fault(held=down))

    def lose(self, *, up: bool = True, down: bool = True) -> None:
        self._alter(Fault(lost=up), Fault(lost=down))

    def cut(self) -> None:
        """Reset all connections, and refuse new ones until ``resume``."""
        self._refuses = True
        self.reset()

    def resume(self) -> None:
        self._refuses = False
        self._alter(SOUND)
        for task, pipe in list(self._pipes.items()):
            if pipe.spoilt:
                task.cancel()

    def reset(self) -> None:
        """Reset all connections; new ones are welcome."""
        for writer in self._open:
            writer.transport.abort()

    def _alter(self, up: Fault, down: Fault | None = None) -> None:
        self._up, self._down = up, up if down is None else down
        for pipe in self._pipes.values():
            pipe.moved()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        self._open.add(writer)
        inner_writer = None
        try:
            if not self._refuses:
                inner_reader, inner_writer = await self._target()
                self._open.add(inner_writer)
                await self._join(
                    Pipe(reader, inner_writer, lambda: self._up, self._changing()),
                    Pipe(inner_reader, writer, lambda: self._down, same),
                )
        except OSError:
            pass  # nobody listens behind it: whoever came is reset, as if it stood there itself
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            for each in (writer, inner_writer):
                if each is not None:
                    each.transport.abort()
                    self._open.discard(each)
            self._handlers.discard(handler)

    @property
    def _closing(self) -> bool:
        return not self._listener.is_serving()

    async def _join(self, *pipes: Pipe) -> None:
        """Carry both ways until one of them ends; that ends the other."""
        tasks = {asyncio.create_task(pipe.carry()): pipe for pipe in pipes}
        self._pipes |= tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                del self._pipes[task]
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
