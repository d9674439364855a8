"""What it costs to tell a change to many watchers, and how late they hear of it.

    python benchmarks/bench_fanout.py --watchers 1000 --rate 1000 --seconds 15

Watchers of everything on one hub, and some on a second one beside it. The clock stops when every
watcher has seen the last change. The many sit in receivers that only count. How late a change comes
is taken in processes of their own, which have little else to do: all changes to twenty watchers on
each hub. On the hub of the many, ten of them came before these and ten after, so that the first
and the last that are written to are among them. Prints a table, the budgets, and last a line of
JSON.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from process import Generators, HubProcess, cpu_s, hub, show_budgets

AGENTS = 1_000
SAMPLED = 20  # watchers on each hub, besides the many
BUDGETS = (
    ("delivered_per_cpu_s", 500_000, "at least"),
    ("same_hub_p99_ms", 50, "at most"),
    ("other_hub_p99_ms", 50, "at most"),
)
PATIENCE_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=1_000, help="changes a second")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--receivers", type=int, default=2, help="processes that hold the many")
    parser.add_argument("--detail", choices=("full", "lite"), default="full")
    args = parser.parse_args()
    room = ("--max-connections", str(args.watchers + SAMPLED + AGENTS + 100))
    with hub(*room) as near, hub(*room, beside=near) as far:
        result = measure(near, far, args)
    for name, value in result.items():
        print(f"{name:28} {value}")
    show_budgets(result, BUDGETS)
    print(json.dumps(result))


def measure(near: HubProcess, far: HubProcess, args: argparse.Namespace) -> dict[str, Any]:
    generators = Generators(3 + args.receivers)
    makers, close, distant, *many = range(len(generators))
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
        shares = [len(range(i, args.watchers, len(many))) for i in range(len(many))]
        for who, where, count, sampled in (
            (distant, far, SAMPLED, True),
            (close, near, SAMPLED // 2, True),
            *((who, near, share, False) for who, share in zip(many, shares, strict=True)),
            (close, near, SAMPLED - SAMPLED // 2, True),
        ):
            order = {"do": "watch", "count": count, "detail": args.detail}
            generators.order_one(who, order | {"sampled": count if sampled else 0} | place(where))
            generators.answer_of(who)
        began = cpu_s(near.pid)
        generators.order_one(makers, {"do": "stamp", "rate": args.rate, "seconds": args.seconds})
        for who in (close, distant, *many):
            generators.order_one(who, {"do": "collect", "within_s": PATIENCE_S + args.seconds})
        made = generators.answer_of(makers)
        seen, seen_far, *counted = (generators.answer_of(who) for who in (close, distant, *many))
        used_s = cpu_s(near.pid) - began
    finally:
        generators.end()
    near_seen = [seen, *counted]
    delivered = sum(each["changes"] for each in near_seen)
    owed = made["sent"] * (args.watchers + SAMPLED)
    return {
        "watchers": args.watchers,
        "changes_per_s": args.rate,
        "detail": args.detail,
        "complete": all(each["complete"] for each in (seen_far, *near_seen)),
        "delivered": delivered,
        "delivered_share": round(delivered / owed, 4),
        "delivered_per_s": round(delivered / args.seconds),
        "cpu_us_per_delivered": round(used_s / max(1, delivered) * 1e6, 3),
        "delivered_per_cpu_s": round(delivered / used_s),
        "hub_cpu_percent": round(100 * used_s / args.seconds, 1),
        "bytes_per_delivered": round(
            sum(each["bytes"] for each in near_seen) / max(1, delivered), 1
        ),
        "same_hub_p50_ms": _ms(seen["p50_ms"]),
        "same_hub_p99_ms": _ms(seen["p99_ms"]),
        "other_hub_p50_ms": _ms(seen_far["p50_ms"]),
        "other_hub_p99_ms": _ms(seen_far["p99_ms"]),
    }


def place(target: HubProcess) -> dict[str, Any]:
    return {"host": target.host, "port": target.port, "key": target.key}


def _ms(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


if __name__ == "__main__":
    main()
