"""What good watchers feel of two bad ones: one never reads, one reads a kilobyte a second.

    python benchmarks/bench_slow_reader.py --watchers 100 --rate 500

Phases without and with the bad ones take turns, so that a machine which grows slower or faster
meanwhile does not decide. Between them the bad ones stay, and read as badly. Latency is that of all
changes to all good watchers. Prints a table, the budgets, and last a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import time
from typing import Any

import msgpack
from bench_fanout import place
from generator import frame, upgrade_of
from process import Generators, HubProcess, hub, memory_bytes, show_budgets

AGENTS = 1_000
TURNS = 3  # phases of each kind
PATIENCE_S = 60.0
READ_BYTES = 1_024
RECEIVE_BYTES = 8_192  # of the kernel's, for a bad watcher: little is on the way to it
BUDGETS = (("p99_ratio", 1.5, "at most"), ("grown_mb", 8, "at most"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--rate", type=float, default=500, help="changes a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each phase runs")
    parser.add_argument("--detail", choices=("full", "lite"), default="full")
    args = parser.parse_args()
    with hub("--max-connections", str(args.watchers + AGENTS + 100)) as target:
        result = measure(target, args)
    for name, value in result.items():
        print(f"{name:28} {value}")
    show_budgets(result, BUDGETS)
    print(json.dumps(result))


def measure(target: HubProcess, args: argparse.Namespace) -> dict[str, Any]:
    generators = Generators(2)
    makers, good = range(2)
    try:
        order = {"do": "connect", "count": AGENTS, "prefix": "agent", "codec": "msgpack"}
        generators.order_one(makers, order | place(target) | {"ttl": 60})
        generators.answer_of(makers)
        order = {"do": "watch", "count": args.watchers, "detail": args.detail}
        generators.order_one(good, order | place(target) | {"sampled": args.watchers})
        generators.answer_of(good)
        phase(generators, args, [])  # whatever grows at the beginning has grown
        calm, beside, held = [], [], []
        for _ in range(TURNS):
            calm.append(phase(generators, args, []))
            bad = [begin(target, args.detail) for _ in range(2)]
            beside.append(phase(generators, args, bad[1:]))
            held.append(memory_bytes(target.pid))
            for each in bad:
                each.close()
    finally:
        generators.end()
    alone, together = (statistics.mean(p99 for _, p99 in each) for each in (calm, beside))
    return {
        "watchers": args.watchers,
        "changes_per_s": args.rate,
        "detail": args.detail,
        "alone_p50_ms": round(statistics.mean(p50 for p50, _ in calm), 2),
        "alone_p99_ms": round(alone, 2),
        "beside_p50_ms": round(statistics.mean(p50 for p50, _ in beside), 2),
        "beside_p99_ms": round(together, 2),
        "p99_ratio": round(together / alone, 2),
        "held_mb": [round(each / 1e6, 1) for each in held],
        "grown_mb": round((held[-1] - held[0]) / 1e6, 1),
    }


def begin(target: HubProcess, detail: str) -> socket.socket:
    """Open a watcher that has not read anything yet."""
    bad = socket.socket()
    bad.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    bad.connect((target.host, target.port))
    bad.sendall(upgrade_of(target.host, target.port, target.key, "msgpack"))
    if not bad.recv(READ_BYTES).startswith(b"HTTP/1.1 101"):
        raise SystemExit("no upgrade")
    for message in ({"type": "hello"}, {"type": "watch", "ref": 1, "detail": detail}):
        bad.sendall(frame(msgpack.packb(message), binary=True))
    bad.settimeout(0)
    return bad


def phase(
    generators: Generators, args: argparse.Namespace, reading: list[socket.socket]
) -> tuple[float, float]:
    """Make changes for a while; answer p50 and p99 of how late the good ones heard of them."""
    makers, good = range(2)
    generators.order_one(good, {"do": "clear"})
    generators.answer_of(good)
    generators.order_one(makers, {"do": "stamp", "rate": args.rate, "seconds": args.seconds})
    generators.order_one(good, {"do": "collect", "within_s": PATIENCE_S})
    until = time.monotonic() + args.seconds
    while time.monotonic() < until:
        time.sleep(1)
        for each in reading:
            each.recv(READ_BYTES)
    generators.answer_of(makers)
    seen = generators.answer_of(good)
    if not seen["complete"]:
        raise SystemExit("a good watcher missed the end")
    return seen["p50_ms"], seen["p99_ms"]


if __name__ == "__main__":
    main()
