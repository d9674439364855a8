"""Schedules that are due together on several hubs, some of which die; and a store that is away."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from websockets.exceptions import ConnectionClosed

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.instant import from_text
from lifesigns.core.run import Run
from lifesigns.core.schedule import Schedule, Terms, Turn
from lifesigns.store.schedule import Logged, Schedules
from tests.agent import Agent, living
from tests.bot import Bot
from tests.hub import HubProcess, Reachable, hub_process
from tests.patience import SOON_S, until, until_told
from tests.server import Server
from tests.station import Station, station

AGENTS, EACH = 24, 10  # schedules of each agent
SPREAD_MS = 4_000  # over which all are due
HOUR = 60.0


class Worker:
    """An agent that does its runs, and comes back to another hub when its own is gone."""

    def __init__(self, name: str, hubs: Sequence[Reachable]) -> None:
        self.name = name
        self.done: set[str] = set()  # runs
        self.frames: Counter[str] = Counter()
        self.unsaid: set[str] = set()  # runs whose report nobody has confirmed
        self.connected = asyncio.Event()
        self._hubs = itertools.cycle(hubs)

    async def work(self) -> None:
        while True:
            with contextlib.suppress(OSError, ConnectionClosed, EOFError, AssertionError):
                async with living(next(self._hubs), self.name, instance="i") as agent:
                    self.connected.set()
                    for run in self.unsaid:
                        await self._report(agent, run)
                    while True:
                        await self._hear(agent)
            await asyncio.sleep(0.05)

    async def _hear(self, agent: Agent) -> None:
        frame = agent.codec.decode((await agent.socket.recv()).encode())  # type: ignore[union-attr]
        if frame["type"] == "run":
            run = frame["run"]
            self.frames[run] += 1
            self.done.add(run)
            self.unsaid.add(run)
            await self._report(agent, run)
        elif frame["type"] == "ok":
            self.unsaid.discard(frame["ref"])

    async def _report(self, agent: Agent, run: str) -> None:
        await agent.say("done", ref=run, run=run, status="success", credits=1)


async def plant(at: Station, workers: Sequence[Worker]) -> int:
    """Write schedules that are due together soon; answer when the first is."""
    seconds, _ = await at.link.ask("TIME")
    first_ms = int(seconds) * 1000 + 4_000
    store = Schedules(at.ledger, at.store, at.link, Terms())
    for i, worker in enumerate(workers):
        steps = []
        for k in range(EACH):
            due_ms = first_ms + SPREAD_MS * (i * EACH + k) // (AGENTS * EACH)
            schedule = Schedule(
                *(f"{worker.name}-{k}", worker.name, worker.name, "p", "Look", first_ms, first_ms),
                member_id=k,
                interval_minutes=HOUR,
                enabled=True,
                due_ms=due_ms,
            )
            steps.append(store.step(Turn(schedule), None, agent=worker.name))
        await at.ledger.commit_each(DEFAULT_PROJECT, steps, worker.name)
    return first_ms


async def logged(at: Station, worker: Worker) -> list[Run]:
    store = Schedules(at.ledger, at.store, at.link, Terms())
    found, total = await store.log(DEFAULT_PROJECT, Logged(worker.name), 0, 10 * EACH)
    assert total == len(found)
    return found


async def test_each_run_happens_once_though_two_of_four_hubs_are_killed(fresh_url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        hubs: list[HubProcess] = [
            await stack.enter_async_context(hub_process(fresh_url)) for _ in range(4)
        ]
        here = await stack.enter_async_context(station(fresh_url))
        workers = [Worker(f"worker-{i}", hubs[i % 4 :] + hubs[: i % 4]) for i in range(AGENTS)]
        tasks = [asyncio.create_task(worker.work()) for worker in workers]
        try:
            for worker in workers:
                await asyncio.wait_for(worker.connected.wait(), SOON_S)
            await plant(here, workers)
            for doomed in hubs[:2]:  # in the middle of it
                seen = sum(len(worker.done) for worker in workers)
                wanted = seen + AGENTS * EACH // 4
                await until(lambda: sum(len(each.done) for each in workers) >= wanted)  # noqa: B023
                await doomed.kill()

            async def all_done() -> bool:
                runs = [run for worker in workers for run in await logged(here, worker)]
                return len(runs) == AGENTS * EACH and all(run.status == "success" for run in runs)

            await until_told(all_done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for worker in workers:
            by_schedule: dict[str, list[Run]] = defaultdict(list)
            for run in await logged(here, worker):
                by_schedule[run.schedule].append(run)
            assert {len(runs) for runs in by_schedule.values()} == {1}
            assert worker.done == {run.id for runs in by_schedule.values() for run in runs}
        sent_twice = sum(n - 1 for worker in workers for n in worker.frames.values())
        assert sent_twice <= AGENTS, "only what was under way when a hub died is sent anew"


async def test_a_run_that_was_due_while_the_store_was_away_happens_once_afterwards(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
    async with hub_process(server.url, "--run-interval-s", "1") as hub, hub.client() as http:
        bot = Bot(http)
        async with living(hub, "bot") as agent:
            made = await bot.configure(interval_minutes=0.1, enabled=True)
            due_ms = from_text(made["next_run_at"])
            server.kill()
            await until(lambda: time.time() * 1000 > due_ms + 500)
            server.start()
            while (frame := await agent.hear())["type"] != "run":
                pass
            await agent.say("done", run=frame["run"], status="success")
            await bot.logged("success")
        answer = await http.get("/v1/runs", params={"agent": "bot", "status": "any"})
        dues = Counter(run["due_at"] for run in answer.json()["runs"] if run["status"] != "skipped")
        assert dues[made["next_run_at"]] == 1
        assert set(dues.values()) == {1}
