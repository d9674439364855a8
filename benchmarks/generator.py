"""The load: many agents in one process that beat by hand-made frames.

Takes commands as JSON lines on its standard input and answers each with one line:
``{"do": "connect", ...}`` opens the sockets and says hello on each, ``{"do": "beat", ...}`` beats
on all of them for a while, spread evenly. It does as little as can be, so that the hub is what is
measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
from websockets.speedups import apply_mask

try:
    import uvloop
except ImportError:
    uvloop = None

MASK = b"\x01\x02\x03\x04"


def frame(payload: bytes, *, binary: bool) -> bytes:
    """Make one masked frame."""
    head = 0x82 if binary else 0x81
    if len(payload) < 126:
        header = struct.pack("!BB", head, 0x80 | len(payload))
    else:
        header = struct.pack("!BBH", head, 0x80 | 126, len(payload))
    body = apply_mask(payload, MASK)
    return header + MASK + body


def upgrade_of(host: str, port: int, key: str, codec: str) -> bytes:
    """Make the request that opens a socket."""
    return (
        f"GET /v1/connect HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: lifesigns.v1.{codec}\r\n"
        f"Authorization: Bearer {key}\r\n\r\n"
    ).encode()


class Agent(asyncio.Protocol):
    """One socket: handshake, hello, then only what it is told to send."""

    __slots__ = ("_greeted", "_hello", "_upgraded", "over", "transport", "welcomed")

    def __init__(self, hello: bytes, greeted: Callable[[], None]) -> None:
        self._hello = hello
        self._greeted = greeted
        self._upgraded = False
        self.welcomed = False
        self.over = False  # it answers nothing any more, and its end is no surprise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.over:
            return
        if not self._upgraded:
            if not data.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"no upgrade: {data[:200]!r}")
            self._upgraded = True
            self.transport.write(self._hello)
        elif not self.welcomed:
            if b"welcome" not in data:
                raise SystemExit(f"no welcome: {data[:200]!r}")
            self.welcomed = True
            self._greeted()
        elif data[0] == 0x89:  # a ping of the hub: answer as every library does
            self.transport.write(b"\x8a\x80" + MASK)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.welcomed and not self.over:
            print(json.dumps({"lost": str(exc)}), file=sys.stderr, flush=True)


class Watcher(asyncio.Protocol):
    """One watcher: it counts the changes that come, and of a few it tells how late they are."""

    def __init__(self, ask: bytes, sampled: bool) -> None:
        self._ask = ask
        self._sampled = sampled
        self._upgraded = False
        self._rest = b""
        self._spoken_at = time.monotonic()
        self.changes = 0
        self.bytes = 0
        self.ended = False  # the last change of all was seen
        self.snapshot_at = 0.0
        self.latencies: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._upgraded:
            if not data.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"no upgrade: {data[:200]!r}")
            self._upgraded = True
            self.transport.write(self._ask)
            return
        now = time.monotonic()
        if now > self._spoken_at + SPEAKS_S:
            # A ping may stand anywhere in what was read: whoever speaks now and then gets none.
            self._spoken_at = now
            self.transport.write(b"\x8a\x80" + MASK)
        self.bytes += len(data)
        text = self._rest + data  # a mark may be cut in two by the end of a read
        self.changes += text.count(KIND) - self._rest.count(KIND)
        if ENDED in text:
            self.ended = True
        if LAST_PAGE in text:
            self.snapshot_at = time.perf_counter()
        if self._sampled:
            now = time.monotonic_ns()
            for each in text.split(STAMP)[1:]:
                if len(each) >= 19 and each[:19].isdigit():
                    self.latencies.append((now - int(each[:19])) / 1e6)
        self._rest = text[-(len(STAMP) + 18) :]


# A change and the last page as msgpack has them: what is counted need not be decoded.
KIND = b"kind\xa7updated"
STAMP = b"stamp="
ENDED = b"the very end"
SPEAKS_S = 5.0
LAST_PAGE = b"\xa4more\xc2"


class Generator:
    """All agents of this process."""

    def __init__(self) -> None:
        self.agents: list[Agent] = []
        self.watchers: list[Watcher] = []
        self.binary = True

    async def connect(
        self, *, host: str, port: int, key: str, count: int, prefix: str, codec: str, ttl: float
    ) -> dict[str, float]:
        self.binary = codec == "msgpack"
        upgrade = upgrade_of(host, port, key, codec)
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        waiting = asyncio.Semaphore(200)

        async def one(number: int) -> Agent:
            async with waiting:
                welcomed = loop.create_future()
                hello = self._encode(
                    {
                        "type": "hello",
                        "agent": f"{prefix}-{number:06}",
                        "instance": f"i{number:06}",
                        "ttl": ttl,
                        "status": "idle",
                        "capabilities": ["search", "summarise"],
                        "metadata": {"model": "some-model", "queue_depth": 3},
                        "host": "node-17.example",
                        "version": "1.4.2",
                    }
                )
                made: Callable[[], Agent] = lambda: Agent(  # noqa: E731
                    frame(hello, binary=self.binary), lambda: welcomed.set_result(None)
                )
                transport, agent = await loop.create_connection(made, host, port)
                transport.write(upgrade)
                await asyncio.wait_for(welcomed, 60)
                return agent

        self.agents += await asyncio.gather(*[one(number) for number in range(count)])
        return {"connected": len(self.agents), "took_s": time.perf_counter() - began}

    async def beat(self, *, every_s: float, seconds: float, news: bool) -> dict[str, float]:
        plain = frame(self._encode({"type": "beat"}), binary=self.binary)
        told = [
            frame(self._encode({"type": "beat", "task": f"task {i}"}), binary=self.binary)
            for i in range(64)
        ]
        began = time.perf_counter()
        busy = time.process_time()
        sent, count, turn = 0, len(self.agents), 0
        rate = count / every_s
        late_s = 0.0
        while (now := time.perf_counter()) < began + seconds:
            due = int((now - began) * rate)
            for _ in range(due - sent):
                transport = self.agents[turn % count].transport
                transport.write(told[sent % 64] if news else plain)
                turn += 1
                sent += 1
            before = time.perf_counter()
            await asyncio.sleep(0.002)
            late_s = max(late_s, time.perf_counter() - before - 0.002)
        return {
            "sent": sent,
            "seconds": time.perf_counter() - began,
            "cpu_s": time.process_time() - busy,
            "late_s": late_s,
        }

    async def stamp(self, *, rate: float, seconds: float) -> dict[str, float]:
        """Make changes that say when they were made, and at the end one that says so."""
        began = time.perf_counter()
        sent, count = 0, len(self.agents)
        while (now := time.perf_counter()) < began + seconds:
            for _ in range(int((now - began) * rate) - sent):
                self._tell(sent % count, f"stamp={time.monotonic_ns():019}")
                sent += 1
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.5)  # so that nothing overtakes the last one in another lane
        self._tell(0, ENDED.decode())
        return {"sent": sent + 1, "seconds": seconds}

    def _tell(self, number: int, status: str) -> None:
        beat = self._encode({"type": "beat", "status": status})
        self.agents[number].transport.write(frame(beat, binary=self.binary))

    async def watch(
        self, *, host: str, port: int, key: str, count: int, detail: str, sampled: int
    ) -> dict[str, float]:
        """Open watchers of everything; answer when all have their snapshot."""
        loop = asyncio.get_running_loop()
        hello = frame(msgpack.packb({"type": "hello"}), binary=True)
        question = msgpack.packb({"type": "watch", "ref": 1, "detail": detail})
        ask = hello + frame(question, binary=True)
        upgrade = upgrade_of(host, port, key, "msgpack")
        began = time.perf_counter()
        opened = []
        for number in range(count):
            made = partial(Watcher, ask, number < sampled)
            transport, watcher = await loop.create_connection(made, host, port)
            transport.write(upgrade)
            opened.append(watcher)
            if number % 100 == 99:
                await asyncio.sleep(0.05)
        self.watchers += opened
        while not all(watcher.snapshot_at for watcher in opened):  # noqa: ASYNC110 - no event each
            await asyncio.sleep(0.005)
        return {
            "watching": len(self.watchers),
            "took_s": time.perf_counter() - began,
            "first_s": min(w.snapshot_at for w in opened) - began,
            "bytes": sum(w.bytes for w in opened),
        }

    async def clear(self) -> dict[str, float]:
        """Forget what was seen: another phase begins."""
        for watcher in self.watchers:
            watcher.changes = watcher.bytes = 0
            watcher.ended = False
            watcher.latencies.clear()
        return {"watching": len(self.watchers)}

    async def collect(self, *, within_s: float) -> dict[str, Any]:
        """Answer when all watchers have seen the end, with what they saw until then."""
        began = time.perf_counter()
        while not all(watcher.ended for watcher in self.watchers):
            await asyncio.sleep(0.01)
            if time.perf_counter() > began + within_s:
                break
        latencies = sorted(each for w in self.watchers for each in w.latencies)
        return {
            "complete": all(watcher.ended for watcher in self.watchers),
            "changes": sum(watcher.changes for watcher in self.watchers),
            "bytes": sum(watcher.bytes for watcher in self.watchers),
            "p50_ms": latencies[len(latencies) // 2] if latencies else None,
            "p99_ms": latencies[int(len(latencies) * 0.99)] if latencies else None,
        }

    def _encode(self, message: dict[str, object]) -> bytes:
        return msgpack.packb(message) if self.binary else json.dumps(message).encode()


async def obey(generator: Generator) -> None:
    """Do what is ordered, one after another, until there are no orders any more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        act = getattr(generator, order.pop("do"))
        print(json.dumps(await act(**order)), flush=True)
    os._exit(0)  # thousands of sockets need no ceremony


def run(generator: Generator) -> None:
    """Be a load generator."""
    if uvloop is not None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(obey(generator))
    else:
        asyncio.run(obey(generator))


if __name__ == "__main__":
    run(Generator())
