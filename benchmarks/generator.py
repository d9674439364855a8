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

import msgpack

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
    body = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return header + MASK + body


class Agent(asyncio.Protocol):
    """One socket: handshake, hello, then only what it is told to send."""

    __slots__ = ("_greeted", "_hello", "_upgraded", "transport", "welcomed")

    def __init__(self, hello: bytes, greeted: Callable[[], None]) -> None:
        self._hello = hello
        self._greeted = greeted
        self._upgraded = False
        self.welcomed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
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
        if self.welcomed:
            print(json.dumps({"lost": str(exc)}), file=sys.stderr, flush=True)


class Generator:
    """All agents of this process."""

    def __init__(self) -> None:
        self.agents: list[Agent] = []
        self.binary = True

    async def connect(
        self, *, host: str, port: int, key: str, count: int, prefix: str, codec: str, ttl: float
    ) -> dict[str, float]:
        self.binary = codec == "msgpack"
        upgrade = (
            f"GET /v1/connect HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: lifesigns.v1.{codec}\r\n"
            f"Authorization: Bearer {key}\r\n\r\n"
        ).encode()
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        waiting = asyncio.Semaphore(200)

        async def one(number: int) -> None:
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
                self.agents.append(agent)

        await asyncio.gather(*[one(number) for number in range(count)])
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

    def _encode(self, message: dict[str, object]) -> bytes:
        return msgpack.packb(message) if self.binary else json.dumps(message).encode()


async def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    generator = Generator()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        act = {"connect": generator.connect, "beat": generator.beat}[order.pop("do")]
        print(json.dumps(await act(**order)), flush=True)
    os._exit(0)  # thousands of sockets need no ceremony


if __name__ == "__main__":
    if uvloop is not None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    else:
        asyncio.run(main())
