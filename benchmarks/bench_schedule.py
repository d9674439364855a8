"""How late runs begin when many schedules are due in one minute and hubs die meanwhile.

    python benchmarks/bench_schedule.py --schedules 10000 --within 60

Four hubs share a store; agents sit on all of them by socket, report each run at once, and come
back to another hub when theirs is gone. The schedules are due one after the other within that many
seconds, or with ``--within 0`` in one moment. Two hubs are killed while they come due. A run is
late by the time from when it was due to when its agent has it. Prints a table and budgets, last a
line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from process import HubProcess, hub, show_budgets
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.schedule import Schedule, Terms, Turn
from lifesigns.store import script
from lifesigns.store.address import Address
from lifesigns.store.clock import StoreClock
from lifesigns.store.ingest import Ingest
from lifesigns.store.interest import Interest
from lifesigns.store.ledger import Ledger
from lifesigns.store.link import Link
from lifesigns.store.registry import Registry
from lifesigns.store.schedule import Logged, Schedules
from lifesigns.store.store import Store
from lifesigns.store.store import Terms as StoreTerms

HUBS, KILLED = 4, 2
HEAD_START_MS = 5_000
AGAIN_S = 1.0  # a report that the store could not take is said again
PATIENCE_S = 60.0  # after the last is due
BUDGETS = (
    ("lost", 0, "at most"),
    ("run_twice", 0, "at most"),
    ("not_reported", 0, "at most"),
    ("late_p99_ms", 1_000, "at most"),
)


class Agent:
    """Takes runs over whichever hub there is, and reports each at once."""

    def __init__(self, name: str, hubs: Sequence[HubProcess]) -> None:
        self.name = name
        self.came: dict[str, tuple[str, float]] = {}  # run -> its schedule, and when it came first
        self.frames: Counter[str] = Counter()
        self.there = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hubs = itertools.cycle(hubs)
        self.unsaid: set[str] = set()  # runs whose report nobody has confirmed

    async def work(self) -> None:
        while True:
            with contextlib.suppress(OSError, ConnectionClosed, TimeoutError):
                await self._live(next(self._hubs))
            await asyncio.sleep(0.1)

    async def _live(self, at: HubProcess) -> None:
        shown = {"Authorization": f"Bearer {at.key}"}
        later = asyncio.get_running_loop()
        url = f"ws://{at.host}:{at.port}/v1/connect"
        async with connect(url, additional_headers=shown, compression=None) as socket:
            hello = {"type": "hello", "agent": self.name, "instance": "i"}
            await socket.send(json.dumps(hello))
            json.loads(await socket.recv())
            self.there.set()
            for run in list(self.unsaid):
                await self._report(socket, run)
            async for message in socket:
                frame = json.loads(message)
                if frame["type"] == "run":
                    self._take(frame["run"], frame["schedule"])
                    await self._report(socket, frame["run"])
                elif frame["type"] == "error" and frame["code"] == "unavailable":
                    later.call_later(AGAIN_S, self._say_again, socket, frame["ref"])
                elif frame["type"] == "ok":
                    self.unsaid.discard(frame["ref"])

    def _say_again(self, socket: Any, run: str) -> None:
        task = asyncio.get_running_loop().create_task(self._report(socket, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self, run: str, schedule: str) -> None:
        self.came.setdefault(run, (schedule, time.time() * 1000))
        self.frames[run] += 1
        self.unsaid.add(run)

    async def _report(self, socket: Any, run: str) -> None:
        said = {"type": "done", "ref": run, "run": run, "status": "success"}
        with contextlib.suppress(ConnectionClosed):
            await socket.send(json.dumps(said))


class Planter:
    """Writes schedules as hubs do, and reads what became of their runs."""

    def __init__(self, home: HubProcess) -> None:
        self._link = Link(
            Address.parse(f"unix://{home.store_socket}"), name="bench", scripts=script.ALL
        )
        clock, registry = StoreClock(), Registry(self._link)
        interest = Interest(self._link, self._link)
        ingest = Ingest(self._link, clock, interest, flush_s=1, fold_s=1, grace_ms=1)
        terms = StoreTerms(600_000, 7 * 86_400_000, 60_000, 10.0)
        self._store = Store(self._link, clock, ingest, registry, terms)
        self._ledger = Ledger(self._link, self._store)
        self._schedules = Schedules(self._ledger, self._store, self._link, Terms())

    async def start(self) -> None:
        await self._link.start()
        await self._store.know(DEFAULT_PROJECT)

    async def stop(self) -> None:
        await self._link.aclose()

    async def plant(self, agents: Sequence[Agent], count: int, within_s: float) -> list[int]:
        """Make schedules; answer when each is due."""
        seconds, _ = await self._link.ask("TIME")
        first_ms = int(seconds) * 1000 + HEAD_START_MS
        dues = [first_ms + round(within_s * 1000 * k / count) for k in range(count)]
        for i, agent in enumerate(agents):
            steps = []
            for k in range(i, count, len(agents)):
                schedule = Schedule(
                    *(f"s{k}", agent.name, agent.name, "bench", "Look", first_ms, first_ms),
                    member_id=k,
                    interval_minutes=10_000,
                    enabled=True,
                    due_ms=dues[k],
                )
                steps.append(self._schedules.step(Turn(schedule), None, agent=agent.name))
            for start in range(0, len(steps), 32):
                some = steps[start : start + 32]
                await self._ledger.commit_each(DEFAULT_PROJECT, some, agent.name)
        return dues

    async def runs(self, agents: Sequence[Agent]) -> Counter[tuple[str, str]]:
        """Count the runs of each schedule by their status."""
        found: Counter[tuple[str, str]] = Counter()
        for agent in agents:
            skip, more = 0, True
            while more:
                page, _ = await self._schedules.log(DEFAULT_PROJECT, Logged(agent.name), skip, 500)
                found.update((run.schedule, run.status) for run in page)
                skip, more = skip + len(page), bool(page)
        return found


async def measure(
    hubs: Sequence[HubProcess], count: int, agent_count: int, within_s: float
) -> dict[str, Any]:
    planter = Planter(hubs[0])
    await planter.start()
    agents = [Agent(f"a{i}", [*hubs[i % HUBS :], *hubs[: i % HUBS]]) for i in range(agent_count)]
    tasks = [asyncio.create_task(agent.work()) for agent in agents]
    try:
        for agent in agents:
            await asyncio.wait_for(agent.there.wait(), 30)
        dues = await planter.plant(agents, count, within_s)
        behind = dues[0] - time.time() * 1000
        for n in range(KILLED):
            wait_s = behind / 1000 + within_s * (n + 1) / (KILLED + 1) + 0.2
            kill = asyncio.get_running_loop().call_later
            kill(max(0.0, wait_s), hubs[HUBS - 1 - n].process.send_signal, signal.SIGKILL)
        deadline = dues[-1] / 1000 + PATIENCE_S
        while time.time() < deadline:
            await asyncio.sleep(0.2)
            came = sum(len(agent.came) for agent in agents)
            if came >= count and not any(agent.unsaid for agent in agents):
                break
        await asyncio.sleep(2)  # what is told twice is told by then
        runs = await planter.runs(agents)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await planter.stop()
    return summary(agents, runs, dues)


def summary(
    agents: Sequence[Agent], runs: Counter[tuple[str, str]], dues: Sequence[int]
) -> dict[str, Any]:
    by_schedule = Counter(schedule for schedule, _ in runs.elements())
    came = [each for agent in agents for each in agent.came.values()]
    late = sorted(at - dues[int(schedule[1:])] for schedule, at in came)
    return {
        "runs": len(came),
        "lost": len(dues) - len(by_schedule),
        "run_twice": sum(n - 1 for n in by_schedule.values()),
        "not_reported": sum(n for (_, status), n in runs.items() if status != "success"),
        "sent_again": sum(n - 1 for agent in agents for n in agent.frames.values()),
        "late_p50_ms": round(share(late, 0.5)),
        "late_p99_ms": round(share(late, 0.99)),
        "late_max_ms": round(late[-1]) if late else None,
    }


def share(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, math.ceil(len(values) * part) - 1)] if values else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--within", type=float, default=60.0, help="seconds")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(hub())
        hubs = [home, *(stack.enter_context(hub(beside=home)) for _ in range(HUBS - 1))]
        result = asyncio.run(measure(hubs, args.schedules, args.agents, args.within))
    print(f"{args.schedules} schedules due within {args.within:g} s, {KILLED} of {HUBS} hubs die")
    for name, value in result.items():
        print(f"  {name:12} {value}")
    show_budgets(result, BUDGETS)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
