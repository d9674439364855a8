"""A fleet to look at: agents that work, finish, stall, fail, crash, go, and come back.

Each is a client of its own over a socket of its own, all in one process. Planners claim workers
and hand them tasks; workers find something to do by themselves as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

from lifesigns.client import Agent
from lifesigns.core.errors import LifesignsError

log = logging.getLogger(__name__)

TTL_S = 15.0
PROGRESS_TTL_S = 8.0  # a worker that works tells at least every five
ARRIVAL_S = 3.0  # over so long they come, and go into their first days
CLAIM_S = 20.0
PLANNERS = 12  # one agent of so many plans; the others are workers
HOSTS = 8
MODELS = ("small-3", "medium-2", "large-1")
TRADES: dict[str, tuple[str, tuple[str, ...]]] = {  # what they can do, their group, their tasks
    "search": ("research", ("find sources", "compare prices", "look up a law", "map the market")),
    "summarise": ("research", ("sum up a report", "minutes of a meeting", "digest of the week")),
    "code": ("engineering", ("fix a test", "port a module", "write a migration", "trim a query")),
    "review": ("engineering", ("review a change", "audit a licence", "read a trace")),
    "translate": ("writing", ("translate a page", "check a glossary", "subtitle a talk")),
    "draw": ("writing", ("draw a chart", "resize pictures", "lay out a page")),
}
TROUBLES = ("out of memory", "the model refused", "no answer from a tool", "disk is full")
PHASES = ("reading", "thinking", "writing", "checking")


class Crash(Exception):
    """The program is gone, without a word."""


class Leave(Exception):
    """The program ends in order; its words are the reason."""


class Member:
    """One agent of the fleet, through all its lives."""

    def __init__(self, number: int, url: str, key: str, chance: Random) -> None:
        self._url, self._key, self._chance = url, key, chance
        self._plans = number % PLANNERS == 0
        self._skill = "plan" if self._plans else chance.choice(sorted(TRADES))
        self._name = f"{self._skill}-{number:03}"
        self._version = 1
        self._claims: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._held: set[str] = set()  # claims on us

    async def live(self) -> None:
        """Live one life after the other, for ever."""
        await asyncio.sleep(self._chance.uniform(0, ARRIVAL_S))
        while True:
            self._held.clear()
            agent = self._born()
            try:
                async with agent:
                    while True:
                        await self._spend_day(agent)
            except Crash:
                log.debug("%s crashed", self._name)
            except Leave:
                self._version += 1
            await asyncio.sleep(self._chance.uniform(4, 25))

    def _born(self) -> Agent:
        group = "planning" if self._plans else TRADES[self._skill][0]
        return Agent(
            self._name,
            self._url,
            self._key,
            ttl=TTL_S,
            progress_ttl=PROGRESS_TTL_S,
            status="idle",
            capabilities=[self._skill],
            slots=0 if self._plans else 1,
            group=group,
            host=f"node-{self._chance.randint(1, HOSTS)}",
            version=f"1.{self._version}.0",
            metadata={"model": self._chance.choice(MODELS), "queue_depth": 0},
            on_assigned=self._assigned,
            on_unassigned=self._unassigned,
        )

    def _assigned(self, message: dict[str, Any]) -> None:
        self._held.add(message["claim"])
        self._claims.put_nowait(message)

    def _unassigned(self, message: dict[str, Any]) -> None:
        self._held.discard(message["claim"])

    async def _spend_day(self, agent: Agent) -> None:
        days = PLANNER_DAYS if self._plans else WORKER_DAYS
        (day,) = self._chance.choices(list(days), list(days.values()))
        await day(self, agent)

    async def _wait(self, low_s: float, high_s: float) -> None:
        await asyncio.sleep(self._chance.uniform(low_s, high_s))

    def _task(self, skill: str) -> str:
        return f"{self._chance.choice(TRADES[skill][1])} #{self._chance.randint(100, 999)}"

    # What a day can be like.

    async def rest(self, agent: Agent) -> None:
        """Be free, and serve whoever claims us meanwhile."""
        await agent.update(status="idle", state=None, task=None, progress=None)
        try:
            async with asyncio.timeout(self._chance.uniform(4, 15)):
                claim = await self._claims.get()
        except TimeoutError:
            return
        done = 0
        while claim["claim"] in self._held:
            await self._tell_work(agent, claim["note"] or "a task", done, done + 1)
            await self._wait(1, 3)
            done += 1
        await agent.update(status="idle", state=None, task=None, progress=None)

    async def work(self, agent: Agent) -> None:
        task, total = self._task(self._skill), self._chance.randint(2, 8)
        for done in range(total):
            await self._tell_work(agent, task, done, total)
            await self._wait(1.5, 5)

    async def _tell_work(self, agent: Agent, task: str, done: int, total: int) -> None:
        await agent.update(
            status=PHASES[done % len(PHASES)],
            state="busy",
            task=task,
            progress={"done": done, "total": total},
        )

    async def stall(self, agent: Agent) -> None:
        await self._tell_work(agent, self._task(self._skill), 1, 5)
        await self._wait(PROGRESS_TTL_S + 4, PROGRESS_TTL_S + 20)
        await agent.update(state=None, status="idle", task=None, progress=None)

    async def fail(self, agent: Agent) -> None:
        trouble = self._chance.choice(TROUBLES)
        await agent.update(status="failed", state="error", task=trouble, progress=None)
        await self._wait(5, 15)
        await agent.update(state=None, status="idle", task=None)

    async def struggle(self, agent: Agent) -> None:
        await agent.update(status="degraded", state=None, metadata={"queue_depth": 40})
        await self._wait(4, 7)
        await agent.update(status="idle", task=None)

    async def crash(self, agent: Agent) -> None:
        await self._tell_work(agent, self._task(self._skill), 0, 3)
        await self._wait(1, 3)
        await agent.abort()
        raise Crash

    async def go(self, agent: Agent) -> None:
        await agent.update(status="draining", state=None, task=None, progress=None)
        await self._wait(2, 8)
        await agent.leave("a new version is installed")
        raise Leave

    async def plan(self, agent: Agent) -> None:
        skill = self._chance.choice(sorted(TRADES))
        task = self._task(skill)
        await agent.update(status="thinking", state="busy", task=task, progress={"note": "who?"})
        claiming = agent.hub.claim(capability=skill, ttl=CLAIM_S, wait=4, note=task)
        try:
            async with claiming as peer:
                words = {"note": f"{peer.id} has it"}
                await agent.update(status="waiting", state="busy", task=task, progress=words)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._chance.uniform(3, 7)):
                        await peer.lost.wait()
        except LifesignsError as refused:
            log.debug("%s finds nobody: %s", self._name, refused)
        await agent.update(status="idle", state=None, task=None, progress=None)
        await self._wait(0.5, 4)


Day = Callable[[Member, Agent], Awaitable[None]]

WORKER_DAYS: dict[Day, int] = {
    Member.rest: 120,
    Member.work: 80,
    Member.stall: 3,
    Member.fail: 4,
    Member.struggle: 4,
    Member.crash: 3,
    Member.go: 5,
}
PLANNER_DAYS: dict[Day, int] = {Member.plan: 1}


async def run_fleet(count: int, url: str, key: str, seed: int | None = None) -> None:
    """Let so many agents live until this is cancelled; then all say bye."""
    chance = Random(seed)
    members = [Member(number, url, key, Random(chance.random())) for number in range(count)]
    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(member.live())
