"""What it costs to ask before one delegates: checks, picks and claims, alone and under load.

    python benchmarks/bench_check.py --agents 2000 --load 2000

Checks of one agent are paced, all else is asked as fast as it is answered, by a few sockets each of
which waits for its answer. Under load the same agents beat meanwhile. Prints a table, and last a
line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
from bench_fanout import place
from generator import frame, upgrade_of
from process import Generators, HubProcess, cpu_s, hub, show_budgets

BUDGETS = (
    ("check_p99_ms", 10, "at most"),
    ("checked_per_s", 50_000, "at least"),
)
HUNDRED = 100
PACED = 20  # sockets that check one agent each, and how often a second they do together
PACED_PER_S = 400
EAGER = 4  # sockets that check a hundred at once
DELEGATORS = 20
LARGE, ANSWER = 4_096, {"type": "checked", "ref": 1}


class Asker(asyncio.Protocol):
    """One socket that asks and awaits its answer."""

    def __init__(self) -> None:
        self.upgraded = asyncio.Event()
        self._data = bytearray()
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.upgraded.is_set():
            if not data.startswith(b"HTTP/1.1 101"):
                raise SystemExit(f"no upgrade: {data[:200]!r}")
            self.upgraded.set()
            return
        self._data += data
        for payload in self._payloads():
            # A large one is an answer: to unpack it would measure this process.
            message = ANSWER if len(payload) > LARGE else msgpack.unpackb(payload)
            if "ref" in message and self._answer is not None:
                self._answer.set_result(message)

    def _payloads(self) -> Iterator[bytes]:
        data = self._data
        while len(data) >= 2:
            length, at = data[1], 2
            if length == 126:
                length, at = int.from_bytes(data[2:4], "big"), 4
            elif length == 127:
                length, at = int.from_bytes(data[2:10], "big"), 10
            if len(data) < at + length:
                return
            payload = bytes(data[at : at + length])
            opcode = data[0]
            del data[: at + length]
            if opcode == 0x82:
                yield payload

    def say(self, **message: Any) -> None:
        self._transport.write(frame(msgpack.packb(message), binary=True))

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Ask, and await the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self.say(ref=1, **message)
        answer = await self._answer
        if answer["type"] == "error":
            raise SystemExit(f"refused: {answer}")
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=2_000)
    parser.add_argument("--load", type=int, default=2_000, help="beats a second meanwhile")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    args = parser.parse_args()
    results = {}
    with hub("--messages-per-s", "100000") as target:
        generators = Generators(1)
        connect = {"do": "connect", "count": args.agents, "prefix": "worker", "codec": "msgpack"}
        try:
            generators.order_one(0, {**connect, **place(target), "ttl": 60})
            generators.answer_of(0)
            results["alone"] = asyncio.run(measure(target, args.agents, args.seconds))
            beating = {"every_s": args.agents / args.load, "seconds": args.seconds * 4 + 1}
            generators.order_one(0, {"do": "beat", **beating, "news": False})
            results["under load"] = asyncio.run(measure(target, args.agents, args.seconds))
            generators.answer_of(0)
        finally:
            generators.end()
    for name, result in results.items():
        print(f"{name}: {json.dumps(result)}")
        show_budgets(result, BUDGETS)
    print(json.dumps(results))


async def measure(target: HubProcess, agents: int, seconds: float) -> dict[str, Any]:
    names = [f"worker-{number:06}" for number in range(agents)]
    askers = [await connected(target) for _ in range(max(PACED, EAGER, DELEGATORS))]
    used_s, began = cpu_s(target.pid), time.perf_counter()
    ones = await asyncio.gather(*[paced(each, names, seconds) for each in askers[:PACED]])
    busy = (cpu_s(target.pid) - used_s) / (time.perf_counter() - began)

    async def eager(asker: Asker) -> None:
        await asker.ask(type="check", agents=random.sample(names, HUNDRED))

    async def pick(asker: Asker) -> None:
        await asker.ask(type="pick", filter={"capability": ["search"]}, detail="lite")

    async def claim(asker: Asker) -> None:
        claimed = await asker.ask(type="claim", filter={"capability": ["search"]}, wait=10)
        await asker.ask(type="release", claim=claimed["claim"])

    hundreds = await repeated(askers[:EAGER], eager, seconds)
    picks = await repeated(askers[:DELEGATORS], pick, seconds)
    claims = await repeated(askers[:DELEGATORS], claim, seconds)
    return {
        **latency("check", list(itertools.chain(*ones))),
        "hub_busy": round(busy, 2),
        "checked_per_s": round(len(hundreds) * HUNDRED / seconds),
        **latency("hundred", hundreds),
        "picks_per_s": round(len(picks) / seconds),
        **latency("pick", picks),
        "claims_per_s": round(len(claims) / seconds),
        **latency("claim_and_release", claims),
    }


async def connected(target: HubProcess) -> Asker:
    loop = asyncio.get_running_loop()
    transport, asker = await loop.create_connection(Asker, target.host, target.port)
    transport.write(upgrade_of(target.host, target.port, target.key, "msgpack"))
    await asker.upgraded.wait()
    asker.say(type="hello")
    await asker.ask(type="ping")
    return asker


async def paced(asker: Asker, names: list[str], seconds: float) -> list[float]:
    """Check one agent, evenly; tell how long each took."""
    took, began = [], time.perf_counter()
    for turn in range(int(PACED_PER_S / PACED * seconds)):
        due = began + (turn + random.random()) * PACED / PACED_PER_S
        await asyncio.sleep(max(0, due - time.perf_counter()))
        asked = time.perf_counter()
        await asker.ask(type="check", agents=[random.choice(names)])
        took.append(time.perf_counter() - asked)
    return took


async def repeated(askers: list[Asker], act: Callable[[Asker], Any], seconds: float) -> list[float]:
    """Let each ask again as soon as it is answered; tell how long each took."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one(asker: Asker) -> None:
        while (asked := time.perf_counter()) < end:
            await act(asker)
            took.append(time.perf_counter() - asked)

    await asyncio.gather(*[one(asker) for asker in askers])
    return took


def latency(name: str, took: list[float]) -> dict[str, float]:
    took.sort()
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    return {f"{name}_p50_ms": round(p50 * 1000, 2), f"{name}_p99_ms": round(p99 * 1000, 2)}


if __name__ == "__main__":
    main()
