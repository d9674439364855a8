"""How long a new dashboard waits for the whole fleet, and who else waits meanwhile.

    python benchmarks/bench_snapshot.py --agents 1000 10000 100000

For each size: the first watcher on a hub, whose roster is read from the store, and one that comes
when it is warm; while the latter's pages go out, another watcher's changes are timed. Prints a
table, and last a line of JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from typing import Any

from bench_fanout import place
from process import Generators, HubProcess, cpu_s, hub, memory_bytes, show_budgets

BUDGETS = (("warm_s", 2, "at most"), ("others_p99_ms", 100, "at most"))
BULK = 1_000
BEATING = 200
PATIENCE_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--detail", choices=("full", "lite"), default="lite")
    args = parser.parse_args()
    results = []
    for agents in args.agents:
        with hub() as target:
            fill(target, agents)
            results.append(measure(target, agents, args.detail))
        print(json.dumps(results[-1]), flush=True)
        show_budgets(results[-1], BUDGETS)
    print(json.dumps(results))


def fill(target: HubProcess, agents: int) -> None:
    """Make agents that stay alive for the length of the measurement."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=60)
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    for begin in range(0, agents, BULK):
        beats = [
            {
                "id": f"worker-{number:06}",
                "ttl": 86_400,
                "status": "idle",
                "capabilities": ["search", "summarise"],
                "metadata": {"model": "some-model", "queue_depth": 3},
                "host": "node-17.example",
            }
            for number in range(begin, min(begin + BULK, agents))
        ]
        connection.request("POST", "/v1/pulse", json.dumps({"beats": beats}), headers)
        results = json.loads(connection.getresponse().read())["results"]
        if any("error" in each for each in results):
            raise SystemExit(f"not stored: {results[0]}")


def measure(target: HubProcess, agents: int, detail: str) -> dict[str, Any]:
    makers, timed, fresh = range(3)
    generators = Generators(3)
    watch = {"do": "watch", "count": 1, "detail": detail, **place(target)}
    try:
        empty = memory_bytes(target.pid)
        generators.order_one(timed, watch | {"sampled": 1})
        cold = generators.answer_of(timed)
        generators.order_one(
            makers,
            {
                **{"do": "connect", "count": BEATING, "prefix": "agent", "codec": "msgpack"},
                **place(target),
                "ttl": 60,
            },
        )
        generators.answer_of(makers)
        generators.order_one(makers, {"do": "stamp", "rate": 100, "seconds": 4})
        generators.order_one(timed, {"do": "collect", "within_s": PATIENCE_S})
        time.sleep(1)
        began = cpu_s(target.pid)
        generators.order_one(fresh, watch | {"sampled": 0})
        warm = generators.answer_of(fresh)
        used_s = cpu_s(target.pid) - began
        generators.answer_of(makers)
        others = generators.answer_of(timed)
    finally:
        generators.end()
    return {
        "agents": agents,
        "detail": detail,
        "cold_s": round(cold["took_s"], 3),
        "warm_s": round(warm["took_s"], 3),
        "warm_cpu_s": round(used_s, 3),
        "bytes": warm["bytes"],
        "others_p50_ms": round(others["p50_ms"], 2),
        "others_p99_ms": round(others["p99_ms"], 2),
        "hub_mb": round((memory_bytes(target.pid) - empty) / 1e6, 1),
    }


if __name__ == "__main__":
    main()
