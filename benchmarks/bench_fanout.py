"""What it costs to tell a change to many watchers, and how late they hear of it.

    python benchmarks/bench_fanout.py --watchers 1000 --rate 1000 --seconds 15

Watchers of everything on one hub, and some on a second one beside it. The clock stops when every
watcher has seen the last change. Prints a table, and last a line of JSON.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from process import Generators, HubProcess, cpu_s, hub

AGENTS = 1_000
FAR = 20  # watchers on the other hub, all of them sampled
SAMPLED = 20
PATIENCE_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=1_000, help="changes a second")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--detail", choices=("full", "lite"), default="full")
    args = parser.parse_args()
    room = ("--max-connections", str(args.watchers + AGENTS + 100))
    with hub(*room) as near, hub(*room, beside=near) as far:
        result = measure(near, far, args)
    for name, value in result.items():
        print(f"{name:28} {value}")
    print(json.dumps(result))


def measure(near: HubProcess, far: HubProcess, args: argparse.Namespace) -> dict[str, Any]:
    generators = Generators(3)
    makers, close, distant = range(3)
    try:
        generators.order_one(
            makers,
            {
                **{"do": "connect", "count": AGENTS, "prefix": "agent", "codec": "msgpack"},
                **place(far),
                "ttl": 60,
            },
        )
        generators.answer_of(makers)
        for who, where, count in ((close, near, args.watchers), (distant, far, FAR)):
            order = {"do": "watch", "count": count, "detail": args.detail, "sampled": SAMPLED}
            generators.order_one(who, order | place(where))
            generators.answer_of(who)
        began = cpu_s(near.pid)
        generators.order_one(makers, {"do": "stamp", "rate": args.rate, "seconds": args.seconds})
        for who in (close, distant):
            generators.order_one(who, {"do": "collect", "within_s": PATIENCE_S + args.seconds})
        made = generators.answer_of(makers)
        seen, seen_far = generators.answer_of(close), generators.answer_of(distant)
        used_s = cpu_s(near.pid) - began
    finally:
        generators.end()
    owed = made["sent"] * args.watchers
    return {
        "watchers": args.watchers,
        "changes_per_s": args.rate,
        "detail": args.detail,
        "complete": seen["complete"] and seen_far["complete"],
        "delivered": seen["changes"],
        "delivered_share": round(seen["changes"] / owed, 4),
        "delivered_per_s": round(seen["changes"] / args.seconds),
        "cpu_us_per_delivered": round(used_s / max(1, seen["changes"]) * 1e6, 3),
        "delivered_per_cpu_s": round(seen["changes"] / used_s),
        "hub_cpu_percent": round(100 * used_s / args.seconds, 1),
        "bytes_per_delivered": round(seen["bytes"] / max(1, seen["changes"]), 1),
        "same_hub_ms": {"p50": _ms(seen["p50_ms"]), "p99": _ms(seen["p99_ms"])},
        "other_hub_ms": {"p50": _ms(seen_far["p50_ms"]), "p99": _ms(seen_far["p99_ms"])},
    }


def place(target: HubProcess) -> dict[str, Any]:
    return {"host": target.host, "port": target.port, "key": target.key}


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


if __name__ == "__main__":
    main()
