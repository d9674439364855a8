"""How soon an end is known on another hub, and how often one is told that there was not.

    python benchmarks/bench_detection.py --svg docs/detection.svg
    python benchmarks/bench_detection.py --quick

Agents sit on one hub, the watcher on another. First each way to end, many times, at random moments:
a bye, a broken socket (closed, and reset), kill -9 of the process that holds the socket, silence on
an open socket, silence of an agent that posts, kill -9 of the hub. Then agents that live and agents
that fall silent share, for several ttl, a calm machine, one with eight busy loops for each of its
cores, and a rough network (rough.py). Whatever says of a living agent that it is suspect or offline
is a false alarm. Prints tables and budgets, last a line of JSON; draws both as a picture.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
from bench_fanout import place
from picture import draw, shown_ms
from process import HERE, Bar, Generators, HubProcess, hub, show_budgets
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

QUIET = ("--log-level", "error")  # that hubs are lost is what is wanted
BUSY_LOOPS = 8  # for each core
BROKEN_TTL = 30  # of agents that do not end by silence: longer than their part takes
POSTING_TTL = 5
HUB_TTL = 10
SETTLE_S = 3.0  # after the last end that is due
LOST_S = 15.0  # from the kill of a hub until offline: its agents keep 10 s
CLOCK_MS = 5  # an end that seems to be known before it came: the beat was heard within it
BUDGETS = (
    ("silence_late_p99_ms", 300, "at most"),
    ("posting_late_p99_ms", 300, "at most"),
    ("broken_p99_ms", 100, "at most"),
    ("hub_max_ms", 3_000, "at most"),
    ("unnoticed", 0, "at most"),
)


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    ttls: tuple[int, ...]
    ends: int  # of each kind
    dying: int  # for each ttl and condition
    living: int
    within_s: float  # ends are spread over it
    rounds: int
    hubs: int  # that are killed in each round
    agents: int  # on each of these

    @property
    def seconds(self) -> float:
        """Tell how long a condition lasts: the last lease ends within it."""
        return self.within_s + max(self.ttls) + SETTLE_S


FULL = Plan(
    (1, 2, 5, 10, 30), ends=200, dying=100, living=140, within_s=30, rounds=2, hubs=10, agents=10
)
QUICK = Plan((1, 2, 5), ends=60, dying=40, living=60, within_s=6, rounds=1, hubs=4, agents=10)


class Watcher:
    """Notes each change and when it came."""

    def __init__(self, line: ClientConnection) -> None:
        self.seen: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for message in ({"type": "hello"}, {"type": "watch", "ref": 1, "detail": "lite"}):
            line.send(msgpack.packb(message))
        while msgpack.unpackb(line.recv()).get("more") is not False:
            pass
        threading.Thread(target=self._read, args=[line], daemon=True).start()

    def first(self, agent: str, kind: str, since: float) -> float | None:
        """Tell when a change of this kind came first after a moment."""
        return next((at for at, k in self.seen[agent] if k == kind and at >= since), None)

    def last(self, agent: str, kind: str, since: float) -> float | None:
        """Tell when it came last: a beat that was on its way undoes an earlier one."""
        return next((at for at, k in self.seen[agent][::-1] if k == kind and at >= since), None)

    def alarms(self, agent: str, kind: str, until: float) -> int:
        return sum(k == kind and at < until for at, k in self.seen[agent])

    def _read(self, line: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for frame in line:
                now, message = time.monotonic(), msgpack.unpackb(frame)
                for change in message.get("changes", ()):
                    self.seen[change["id"]].append((now, change["kind"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, and rough figures")
    parser.add_argument("--svg", type=Path, help="where to draw it")
    args = parser.parse_args()
    plan = QUICK if args.quick else FULL
    with hub(*QUIET) as home, hub(*QUIET, beside=home) as other, watch(other) as line:
        watcher = Watcher(line)
        result = {
            "ends": ends(home, watcher, plan) | hub_ends(home, watcher, plan),
            "conditions": {
                "calm": condition(home, watcher, plan, "calm", contextlib.nullcontext),
                "busy": condition(home, watcher, plan, "busy", busy_loops),
                "rough": rough(home, watcher, plan),
            },
        }
    show(result)
    show_budgets(budgeted(result), BUDGETS)
    print(json.dumps(result))
    if args.svg:
        args.svg.write_text(draw(result))


def watch(target: HubProcess) -> ClientConnection:
    return connect(
        f"ws://{target.host}:{target.port}/v1/connect",
        subprotocols=["lifesigns.v1.msgpack"],
        additional_headers={"Authorization": f"Bearer {target.key}"},
        compression=None,
    )


def ends(home: HubProcess, watcher: Watcher, plan: Plan) -> dict[str, Any]:
    """End agents in every way but with their hub; answer how soon that was known."""
    kinds = {
        "bye": "bye",
        "closed": "close",
        "reset": "reset",
        "killed": "kill",
        "silent": "silence",
    }
    within_s = 10.0
    seconds = within_s + POSTING_TTL + SETTLE_S
    generators = Generators(len(kinds) + 1, "mortal.py")
    try:
        for number, kind in enumerate(kinds):
            ttl = POSTING_TTL if kind == "silent" else BROKEN_TTL
            settle(generators, number, home, kind, plan.ends, ttl)
        bar = Bar("ways to end", seconds)
        for number, how in enumerate(kinds.values()):
            every_s = POSTING_TTL / 3 if how == "silence" else BROKEN_TTL / 3
            order = {"do": "live", "every_s": every_s, "seconds": seconds, "within_s": within_s}
            generators.order_one(number, order | {"dying": plan.ends, "how": how})
        order = {"do": "post", "count": plan.ends, "prefix": "posting", "ttl": POSTING_TTL}
        generators.order_one(len(kinds), order | place(home) | {"within_s": within_s})
        wait(bar, seconds)
        moments = dict(
            zip((*kinds, "posting"), (a["ends"] for a in generators.answers()), strict=True)
        )
    finally:
        generators.end()
    told = {}
    for kind, ended in moments.items():
        names = {f"{kind}-{number:06}": at for number, at in enumerate(ended)}
        if kind in ("closed", "reset", "killed"):
            told[kind + " suspect"] = spread(names, watcher.first, "suspect")
        late_s = POSTING_TTL if kind in ("silent", "posting") else 0
        told[kind + " offline"] = spread(names, watcher.last, "offline", late_s)
    return told


def hub_ends(home: HubProcess, watcher: Watcher, plan: Plan) -> dict[str, Any]:
    """Kill hubs, some at a time; answer how soon their agents were suspect, and offline.

    All of a round go within a second: a hub that is lost holds up every expiry until its agents are
    marked, and so would one that is killed later.
    """
    moments: dict[str, float] = {}
    generators = Generators(1, "mortal.py")
    bar = Bar("hubs that are killed", plan.rounds * (plan.hubs * 1.2 + LOST_S))
    try:
        for turn in range(plan.rounds):
            with contextlib.ExitStack() as stack:
                victims = {}
                for number in range(plan.hubs):
                    kind = f"hub{turn}{number}"
                    victims[kind] = stack.enter_context(hub(*QUIET, beside=home))
                    settle(generators, 0, victims[kind], kind, plan.agents, HUB_TTL)
                    generators.order_one(0, {"do": "hold"})
                    generators.answer_of(0)
                    bar.show()
                for kind, victim in victims.items():
                    time.sleep(random.uniform(0, 1 / plan.hubs))
                    now = time.monotonic()
                    moments |= {f"{kind}-{agent:06}": now for agent in range(plan.agents)}
                    victim.process.kill()
                time.sleep(LOST_S)
        bar.end()
    finally:
        generators.end()
    return {
        "hub suspect": spread(moments, watcher.first, "suspect"),
        "hub offline": spread(moments, watcher.last, "offline"),
    }


def condition(
    home: HubProcess,
    watcher: Watcher,
    plan: Plan,
    name: str,
    worsen: Callable[[], contextlib.AbstractContextManager[object]],
    port: int | None = None,
) -> list[dict[str, Any]]:
    """Let agents of each ttl live and fall silent; answer how soon and how wrongly it was told."""
    generators = Generators(len(plan.ttls), "mortal.py")
    seconds = plan.seconds
    try:
        for number, ttl in enumerate(plan.ttls):
            count = plan.dying + plan.living
            settle(generators, number, home, f"{name}{ttl}", count, ttl, port)
        with worsen():
            bar = Bar(name, seconds)
            for number, ttl in enumerate(plan.ttls):
                order = {"do": "live", "every_s": ttl / 3, "seconds": seconds, "how": "silence"}
                order |= {"dying": plan.dying, "within_s": plan.within_s}
                generators.order_one(number, order)
            began = time.monotonic()
            wait(bar, seconds)
            answers = generators.answers()
    finally:
        generators.end()
    return [
        judge(watcher, plan, f"{name}{ttl}", ttl, began, answer["ends"])
        for ttl, answer in zip(plan.ttls, answers, strict=True)
    ]


def judge(
    watcher: Watcher, plan: Plan, kind: str, ttl: int, began: float, ended: list[float]
) -> dict[str, Any]:
    """Weigh what was told of the agents of one ttl against what is true."""
    names = {f"{kind}-{number:06}": at for number, at in enumerate(ended)}
    hours = sum(at - began for at in ended) / 3600
    alarms = {
        what: sum(watcher.alarms(name, what, at) for name, at in names.items())
        for what in ("suspect", "offline")
    }
    dying = dict(list(names.items())[: plan.dying])
    return {
        "ttl": ttl,
        **spread(dying, watcher.last, "offline"),
        "agent_hours": round(hours, 2),
        "false_suspect": alarms["suspect"],
        "false_offline": alarms["offline"],
        "alarms_per_hour": round(sum(alarms.values()) / hours, 2),
    }


def spread(
    ended: dict[str, float],
    find: Callable[[str, str, float], float | None],
    kind: str,
    late_s: float = 0.0,
) -> dict[str, Any]:
    """Tell how long after each end, or its lease's, a change came."""
    found = [(find(agent, kind, at), at + late_s) for agent, at in ended.items()]
    took_ms = sorted((at - due) * 1000 for at, due in found if at is not None)
    if not took_ms:
        raise SystemExit(f"no {kind} was told of {len(ended)} agents")
    if took_ms[0] < -CLOCK_MS:
        raise SystemExit(f"{kind} was told {-took_ms[0]:.0f} ms before the end")
    return {
        "n": len(ended),
        "p50_ms": round(took_ms[len(took_ms) // 2], 1),
        "p99_ms": round(took_ms[math.ceil(len(took_ms) * 0.99) - 1], 1),
        "max_ms": round(took_ms[-1], 1),
        "unnoticed": len(ended) - len(took_ms),
    }


def settle(
    generators: Generators,
    number: int,
    target: HubProcess,
    prefix: str,
    count: int,
    ttl: int,
    port: int | None = None,
) -> None:
    """Connect agents, and await that."""
    order = {"do": "connect", "count": count, "prefix": prefix, "codec": "msgpack", "ttl": ttl}
    at = place(target) | ({} if port is None else {"port": port})
    generators.order_one(number, order | at)
    generators.answer_of(number)


@contextlib.contextmanager
def busy_loops() -> Iterator[None]:
    """Keep every core busy with several programs that never wait."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(BUSY_LOOPS * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()


def rough(home: HubProcess, watcher: Watcher, plan: Plan) -> list[dict[str, Any]]:
    """Do it with a rough network between the agents and their hub."""
    network = subprocess.Popen(
        [sys.executable, str(HERE / "rough.py"), str(home.port), str(plan.seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    assert network.stdin is not None
    assert network.stdout is not None

    @contextlib.contextmanager
    def worsen() -> Iterator[None]:
        network.stdin.write("\n")
        network.stdin.flush()
        yield

    try:
        port = int(network.stdout.readline())
        return condition(home, watcher, plan, "rough", worsen, port)
    finally:
        network.kill()
        network.wait()


def wait(bar: Bar, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        bar.show()
        time.sleep(min(left, 1.0))
    bar.end()


def budgeted(result: dict[str, Any]) -> dict[str, Any]:
    """Pick what the budgets are about."""
    ways = result["ends"]
    calm = result["conditions"]["calm"]
    broken = [ways[f"{kind} suspect"]["p99_ms"] for kind in ("closed", "reset", "killed")]
    late = [each["p99_ms"] - each["ttl"] * 1000 for each in calm]
    return {
        "silence_late_p99_ms": round(max(*late, ways["silent offline"]["p99_ms"]), 1),
        "posting_late_p99_ms": ways["posting offline"]["p99_ms"],
        "broken_p99_ms": max(broken),
        "hub_max_ms": ways["hub suspect"]["max_ms"],
        "unnoticed": sum(
            each["unnoticed"]
            for rows in (ways.values(), *result["conditions"].values())
            for each in rows
        ),
    }


def show(result: dict[str, Any]) -> None:
    """Print both tables as benchmarks/README.md has them."""
    print("| what ended | told | p50 | p99 | longest |\n|---|---|---|---|---|")
    for kind, row in result["ends"].items():
        ended, _, told = kind.partition(" ")
        figures = " | ".join(shown_ms(row[f"{each}_ms"]) for each in ("p50", "p99", "max"))
        print(f"| {ended} | `{told}` | {figures} |")
    ttls = [row["ttl"] for row in result["conditions"]["calm"]]
    print(
        "\n| ttl | "
        + " | ".join(f"{ttl} s" for ttl in ttls)
        + " |\n|---"
        + "|---" * len(ttls)
        + "|"
    )
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "last beat to `offline`, p50": lambda row: shown_ms(row["p50_ms"]),
        "last beat to `offline`, p99": lambda row: shown_ms(row["p99_ms"]),
        "false `suspect`, `offline`": lambda row: f"{row['false_suspect']}, {row['false_offline']}",
        "agent-hours": lambda row: f"{row['agent_hours']:.1f}",
    }
    for name, rows in result["conditions"].items():
        for line, figure in lines.items():
            print(f"| {name}: {line} | " + " | ".join(figure(row) for row in rows) + " |")
    print()


if __name__ == "__main__":
    main()
