"""How long it takes until all know that very many are gone, and whom the store keeps waiting.

    python benchmarks/bench_sweep.py --agents 100000 --lost 10000 --hubs 2

Two rounds: all leases run out at the same moment; a hub is killed that has very many agents. The
agents are written straight into the store. Prints for each round how long it took from that moment
until the last agent was offline, or suspect, and the longest commands of the store; last a line of
JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import redis
from process import HubProcess, hub, show_budgets

from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, OFFLINE, SUSPECT
from lifesigns.core.record import pack_words
from lifesigns.store import keys, script
from lifesigns.store.ingest import node_name
from lifesigns.store.lease import Lane

BUDGETS = (("expired_s", 5, "at most"), ("slowest_ms", 20, "at most"))
PROJECT = "default"
BATCH = 128
LONG_MS = 86_400_000
SLOW_US = 3_000
PATIENCE_S = 60.0
WORDS = pack_words(
    Words(
        status="idle",
        capabilities=("search", "summarise"),
        metadata={"model": "some-model", "queue_depth": 3},
        host="node-17.example",
    )
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--lost", type=int, default=10_000, help="agents of the hub that is killed")
    parser.add_argument("--hubs", type=int, default=2)
    args = parser.parse_args()
    result = {"agents": args.agents, "lost": args.lost, "hubs": args.hubs}
    with hubs(args.hubs) as (_, store):
        result |= expire(store, args.agents)
    with hubs(args.hubs + 1) as (running, store):
        result |= lose(store, args.lost, running[-1], node_name(args.hubs + 1))
    print(json.dumps(result))
    show_budgets(result, BUDGETS)


@contextlib.contextmanager
def hubs(count: int) -> Iterator[tuple[list[HubProcess], redis.Redis]]:
    """Run hubs on one store, which notes what takes long."""
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(hub())]
        for _ in range(count - 1):
            running.append(stack.enter_context(hub(beside=running[0])))
        store = redis.Redis(unix_socket_path=str(running[0].store_socket), protocol=2)
        store.config_set("slowlog-log-slower-than", SLOW_US)
        store.config_set("slowlog-max-len", 10_000)
        yield running, store


def expire(store: redis.Redis, agents: int) -> dict[str, Any]:
    """Let all leases run out at once; answer how long it took from there."""
    begun, filled_ms = time.monotonic(), store_ms(store)
    ends_ms = filled_ms + 1_000 + agents // 2
    fill(store, agents, "", ends_ms - filled_ms, filled_ms)
    print(f"{agents} agents were written in {time.monotonic() - begun:.1f} s")
    if store_ms(store) > ends_ms:
        raise SystemExit("it took too long to write them")
    store.slowlog_reset()
    while store_ms(store) < ends_ms:
        time.sleep(0.001)
    took_s = wait(store, OFFLINE, agents)
    print(f"all leases ran out at once: the last agent was offline after {took_s:.2f} s")
    return {"expired_s": round(took_s, 2), **slowest(store)}


def lose(store: redis.Redis, agents: int, victim: HubProcess, node: str) -> dict[str, Any]:
    """Kill the hub that has all agents; answer how long it took until all were suspect."""
    fill(store, agents, node, LONG_MS, store_ms(store))
    store.slowlog_reset()
    victim.process.kill()
    took_s = wait(store, SUSPECT, agents)
    print(f"their hub was killed: the last agent was suspect after {took_s:.2f} s")
    slow = {"lost_" + name: value for name, value in slowest(store).items()}
    return {"suspect_s": round(took_s, 2), **slow}


def fill(store: redis.Redis, agents: int, node: str, ttl_ms: int, now_ms: int) -> None:
    """Write agents whose leases all end at the same moment."""
    lanes: dict[int, list[list[Any]]] = {}
    for number in range(agents):
        name, session = f"worker-{number:06}", f"{node or 'zz'}{number:04}"
        part = keys.partition(PROJECT, name, keys.PARTITIONS)
        row = ["w", name, "i", session, 0, 1, 0, ttl_ms, 0, -1]
        row += [[0, AVAILABLE], 0, 0, WORDS, 0, 1]
        lanes.setdefault(part, []).append(row)
    for part, rows in lanes.items():
        lane = Lane(PROJECT, part, 0, history_ms=600_000, retention_ms=LONG_MS)
        for begin in range(0, len(rows), BATCH):
            packed = msgpack.packb(rows[begin : begin + BATCH], use_bin_type=False)
            arguments = (now_ms, *lane.tail, packed)
            store.eval(script.BEAT.source, len(lane.keys), *lane.keys, *arguments)


def wait(store: redis.Redis, rank: int, agents: int) -> float:
    """Await that all agents have a rank; answer how long it took."""
    begun = time.monotonic()
    while time.monotonic() < begun + PATIENCE_S:
        pipeline = store.pipeline(transaction=False)
        for number in range(keys.PARTITIONS):
            pipeline.hget(keys.lane(PROJECT, number)[0], f"r{rank}")
        if sum(int(count or 0) for count in pipeline.execute()) >= agents:
            return time.monotonic() - begun
        time.sleep(0.02)
    raise SystemExit("it did not happen")


def slowest(store: redis.Redis) -> dict[str, Any]:
    """Tell the longest commands since the log was begun anew."""
    entries = store.slowlog_get(10_000)
    times_ms = sorted((entry["duration"] / 1000 for entry in entries), reverse=True)
    print(f"  over {SLOW_US / 1000:g} ms: {len(times_ms)} commands; longest {times_ms[:3]} ms")
    return {"slowest_ms": times_ms[0] if times_ms else 0.0, "slow_commands": len(times_ms)}


def store_ms(store: redis.Redis) -> int:
    seconds, micros = store.time()
    return int(seconds) * 1000 + int(micros) // 1000


if __name__ == "__main__":
    main()
