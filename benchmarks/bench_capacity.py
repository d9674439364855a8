"""What it costs to look at a fleet every ten seconds, and how much room what was seen takes.

    python benchmarks/bench_capacity.py --agents 100000 --looks 2

The agents are written straight into the store, each with a status, a group and two keys of
metadata. Prints what hub and Valkey use of a core for it, how long a `GET` of an agent takes
meanwhile, the longest command, and what a sample of either kind takes in Valkey; last a line of
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import random
import time
from pathlib import Path
from typing import Any

import msgpack
import redis
from process import HubProcess, cpu_s, hub, show_budgets

from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY
from lifesigns.core.record import pack_words
from lifesigns.core.sample import Look, Sample
from lifesigns.store import keys, script
from lifesigns.store.address import Address
from lifesigns.store.lease import Lane
from lifesigns.store.link import Link
from lifesigns.store.sample import COARSE, FINE, Samples

BUDGETS = (
    ("hub_share", 0.2, "at most"),
    ("get_p99_ms", 20, "at most"),
    ("slowest_ms", 20, "at most"),
    ("fine_bytes", 150, "at most"),
)
PROJECT = "default"
BATCH = 128
LONG_MS = 86_400_000
SLOW_US = 1_000
STATUSES = ("thinking", "idle", "running", "waiting", "learning", "degraded")
GROUPS = ("eu-west", "eu-north", "us-east", "us-west", "asia")
MODELS = tuple(f"some-model-{number}" for number in range(12))
KEYS = ("model", "queue_depth")
CHANCE = random.Random(7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--looks", type=int, default=2, help="that are measured")
    parser.add_argument("--samples", type=int, default=720, help="whose room is measured")
    args = parser.parse_args()
    result: dict[str, Any] = {"agents": args.agents, "looks": args.looks}
    with hub() as running:
        store = redis.Redis(unix_socket_path=str(running.store_socket), protocol=2)
        store.config_set("slowlog-log-slower-than", SLOW_US)
        idle = used(running, store, args.looks)
        fill(store, args.agents)
        time.sleep(FINE.step_ms / 1000)  # a look that began meanwhile is not one of these
        store.slowlog_reset()
        busy = used(running, store, args.looks)
        for name in ("hub", "valkey"):
            spent_s = (busy[name] - idle[name]) / args.looks
            result |= {f"{name}_cpu_s": round(spent_s, 3)}
            print(f"{name}: {spent_s:.2f} s of CPU for a look at {args.agents} agents")
        result["hub_share"] = round(result["hub_cpu_s"] * 1000 / FINE.step_ms, 3)
        result |= {"get_p99_ms": busy["p99"], "idle_get_p99_ms": idle["p99"]}
        print(f"a GET meanwhile, p99: {busy['p99']} ms; without agents: {idle['p99']} ms")
        times = [entry["duration"] / 1000 for entry in store.slowlog_get(1_000)]
        result["slowest_ms"] = max(times, default=SLOW_US / 1000)
        print(
            f"commands over {SLOW_US / 1000:g} ms: {len(times)}, longest {result['slowest_ms']} ms"
        )
        result |= asyncio.run(room(running.store_socket, args.samples))
        store.close()
    print(json.dumps(result))
    show_budgets(result, BUDGETS)


def fill(store: redis.Redis, agents: int) -> None:
    """Write agents that live for long."""
    lanes: dict[int, list[list[Any]]] = {}
    for number in range(agents):
        name = f"worker-{number:06}"
        rank, words = (BUSY, AVAILABLE)[number % 2], pack_words(some_words())
        row = ["w", name, "i", f"zz{number:04}", 0, 1, 0, LONG_MS, 0, -1]
        row += [[0, rank], 0, 0, words, 0, 1]
        lanes.setdefault(keys.partition(PROJECT, name, keys.PARTITIONS), []).append(row)
    for part, rows in lanes.items():
        lane = Lane(PROJECT, part, 0, history_ms=600_000, retention_ms=LONG_MS)
        for begin in range(0, len(rows), BATCH):
            packed = msgpack.packb(rows[begin : begin + BATCH], use_bin_type=False)
            store.eval(script.BEAT.source, len(lane.keys), *lane.keys, "", *lane.tail, packed)


def some_words() -> Words:
    return Words(
        status=CHANCE.choice(STATUSES),
        group=CHANCE.choice(GROUPS),
        task="processing a user's query",
        capabilities=("search", "summarise"),
        metadata={"model": CHANCE.choice(MODELS), "queue_depth": CHANCE.randrange(20)},
    )


def used(running: HubProcess, store: redis.Redis, looks: int) -> dict[str, float]:
    """Tell how much CPU was used in the time of so many looks, and how soon calls were answered."""
    server = store.info("server")["process_id"]
    before = cpu_s(running.pid), cpu_s(server)
    link = http.client.HTTPConnection(running.host, running.port, timeout=10)
    until, took = time.monotonic() + looks * FINE.step_ms / 1000, []
    while time.monotonic() < until:
        begun = time.monotonic()
        link.request("GET", "/v1/pulse/worker-000000", headers={"X-API-Key": running.key})
        link.getresponse().read()
        took.append(time.monotonic() - begun)
        time.sleep(0.02)
    link.close()
    p99_ms = round(sorted(took)[int(len(took) * 0.99)] * 1000, 1)
    return {
        "hub": cpu_s(running.pid) - before[0],
        "valkey": cpu_s(server) - before[1],
        "p99": p99_ms,
    }


async def room(store_socket: Path, count: int) -> dict[str, Any]:
    """Write samples of a fleet that goes about its work; answer what each takes in Valkey."""
    link = Link(Address.parse(f"unix://{store_socket}"), name="bench", scripts=script.ALL)
    await link.start()
    samples, project = Samples(link, None), "bench"  # type: ignore[arg-type]
    start_ms = COARSE.start_ms(time.time_ns() // 1_000_000)
    for number in range(count):
        await samples.write(project, walk(start_ms + number * FINE.step_ms))
    result = {}
    for grain in (FINE, COARSE):
        used_bytes = await link.ask("MEMORY", "USAGE", keys.samples(project, grain.name))
        each = used_bytes / (count * FINE.step_ms / grain.step_ms)
        result[f"{grain.name}_bytes"] = round(each)
        whole_mb = each * grain.keep_ms / grain.step_ms / 1_000_000
        print(f"a {grain.name} sample: {each:.0f} bytes, {whole_mb:.2f} MB for all of a project")
    await link.aclose()
    return result


def walk(at_ms: int) -> Sample:
    look = Look(KEYS)
    for number in range(500):
        look.add((BUSY, AVAILABLE)[number % 2], some_words())
    return look.end(at_ms)


if __name__ == "__main__":
    main()
