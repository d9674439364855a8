"""The one interface to what is remembered: presences, by agent and project.

Everything that the hub stores or asks goes through here or through ``ingest``; nobody else names
a key, a script or a partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

import msgpack

from lifesigns.core.errors import LifesignsError, NotFound, Unavailable
from lifesigns.core.model import Override, Presence
from lifesigns.core.past import Life, Passage, unpack_passage
from lifesigns.core.presence import agent_uuid
from lifesigns.store import keys, script
from lifesigns.store.clock import StoreClock
from lifesigns.store.ingest import Ingest
from lifesigns.store.lease import LIVES_MS, MAX_INSTANCES, PAST_MS, Lane
from lifesigns.store.link import Link
from lifesigns.store.put import HttpBeat, Judged, Memory, Put, Removal, Ruling
from lifesigns.store.reader import Reader, Reading, heed
from lifesigns.store.registry import Registry

T = TypeVar("T")

IDENTIFIED_AT_ONCE = 1_000  # some milliseconds; then others have their turn
STANDING_WORDS = "standing"  # in the meta of a lane: what an operator says of whole prefixes


@dataclass(frozen=True, slots=True)
class Terms:
    """For how long what is kept."""

    history_ms: int
    retention_ms: int
    http_ttl_ms: int
    patience_s: float  # how long a request waits for the store
    max_instances: int = MAX_INSTANCES


class Store:
    """What agents are, and the ways to ask and to tell."""

    def __init__(
        self, link: Link, clock: StoreClock, ingest: Ingest, registry: Registry, terms: Terms
    ) -> None:
        self._link = link
        self._clock = clock
        self._ingest = ingest
        self._registry = registry
        self._terms = terms
        self.reader = Reader(link)
        self._memory = Memory()
        self._loop = asyncio.get_running_loop()
        self._spreads: dict[str, int] = {}
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @property
    def up(self) -> bool:
        """Whether the store can be asked now."""
        return self._link.up

    @property
    def able(self) -> bool:
        """Whether it is of use to ask the store now: it is there, and its answers come soon."""
        return self._link.up and not self._link.late

    def check_able(self) -> None:
        """Raise Unavailable if it is no use to ask the store now."""
        self._link.check_able()

    async def know(self, project: str) -> None:
        """Learn over how many partitions a project lies; NotFound if there is none."""
        if project not in self._spreads:
            found = await self._registry.project(project)
            if found is None:
                raise NotFound(f"There is no project {project!r}.")
            self._spreads[project] = found.spread

    def knows(self, project: str) -> bool:
        """Tell whether a project is known already."""
        return project in self._spreads

    async def relearn(self) -> None:
        """Look at the known projects again: one may be gone, or be another of the same name."""
        for project in list(self._spreads):
            found = await self._registry.project(project)
            if found is None:
                self._spreads.pop(project, None)
            else:
                self._spreads[project] = found.spread

    def lane(self, project: str, agent: str) -> Lane:
        """Find the place of an agent; its project must be known."""
        return self.lane_at(project, keys.partition(project, agent, self._spread(project)))

    def lane_at(self, project: str, number: int) -> Lane:
        """Find a project's place in a partition."""
        lane = self._lanes.get((project, number))
        if lane is None:
            lane = self._lanes[project, number] = Lane(
                project,
                number,
                self._link.address.db,
                self._terms.history_ms,
                self._terms.retention_ms,
                self._terms.max_instances,
            )
        return lane

    def lanes(self, project: str) -> list[Lane]:
        """Find all places of a project."""
        if self._spread(project) == 1:
            return [self.lane_at(project, keys.partition(project, "", 1))]
        return [self.lane_at(project, number) for number in range(keys.PARTITIONS)]

    def _spread(self, project: str) -> int:
        spread = self._spreads.get(project)
        if spread is None:  # it was deleted under a socket that is still open
            raise NotFound(f"There is no project {project!r}.")
        return spread

    def longest_ttl_ms(self) -> int:
        """Tell the longest lease of the sessions here; that of HTTP beats if there are none."""
        ttls = (lease.ttl_ms for lease in self._ingest.leases.values())
        return max(ttls, default=self._terms.http_ttl_ms)

    # Telling.

    async def put(self, project: str, beat: HttpBeat, at: float) -> Presence:
        """Store a beat without a session; answer the presence after the commit."""
        lane = self.lane(project, beat.agent)
        turn = self._turns.setdefault((project, beat.agent), asyncio.Lock())
        try:
            # In their order, one at a time: each would alter the record under the others.
            async with asyncio.timeout(self._terms.patience_s), turn:
                presence = await self._put(lane, beat, at)
        except TimeoutError:
            raise Unavailable("The store does not answer.") from None
        if presence is None:
            presence = (await self.read(project, beat.agent)).presence
        if presence is None:
            raise NotFound("The agent was forgotten at this very moment.")
        return presence

    def _put(self, lane: Lane, beat: HttpBeat, at: float) -> asyncio.Future[Presence | None]:
        stored: asyncio.Future[Presence | None] = self._loop.create_future()
        put = Put(
            lane,
            beat,
            at,
            _settling(stored),
            commit=self._ingest.commit,
            clock=self._clock,
            memory=self._memory,
            interest=self._ingest.interest,
            default_ttl_ms=self._terms.http_ttl_ms,
            forsaken=stored.cancelled,
        )
        self._submit(lane, put)
        return stored

    async def remove(
        self, project: str, agent: str, instance: str | None, at: float
    ) -> Presence | None:
        """End all instances of an agent, or one; answer what is left, None if it was never seen."""
        lane = self.lane(project, agent)
        stored: asyncio.Future[Presence | None] = self._loop.create_future()
        removal = Removal(
            lane, agent, instance, at, _settling(stored), self._memory, stored.cancelled
        )
        self._submit(lane, removal)
        try:
            await self._within(stored)
        finally:
            stored.cancel()
        return (await self.read(project, agent)).presence

    async def rule(self, project: str, agent: str, override: Override | None) -> None:
        """Say of an agent what an operator says, or, with None, nothing any more."""
        lane = self.lane(project, agent)
        stored: asyncio.Future[Presence | None] = self._loop.create_future()
        self._submit(lane, Ruling(agent, override, self._loop.time(), _settling(stored)))
        await self._within(stored)

    async def override(self, project: str, agent: str, override: Override | None) -> Presence:
        """Say so, and answer the presence after it."""
        await self.rule(project, agent, override)
        presence = (await self.read(project, agent)).presence
        if presence is None:
            raise NotFound("The agent was forgotten at this very moment.")
        return presence

    async def forget(self, project: str, agent: str) -> bool:
        """Drop an agent's record and history; answer whether there was one."""
        lane = self.lane(project, agent)
        packed = msgpack.packb([agent])
        reply = await self._link.ask_script(script.FORGET, lane.keys, (b"", *lane.tail, packed))
        self._memory.set(project, agent, None)
        return bool(reply[2])

    def _submit(self, lane: Lane, entry: Put | Removal | Ruling) -> None:
        if not self._link.up:
            entry.failed(Unavailable("The store is away."))
            return
        if self._ingest.commit.refused:  # in a line, each would wait for its own refusal
            entry.failed(Unavailable("The store takes nothing now."))
            return
        self._ingest.beats += 1
        self._ingest.commit.add(lane, entry, self._clock.at_ms(entry.at))

    async def drop(self, project: str) -> None:
        """Forget all agents of a project; those that are connected are sent away."""
        await self.know(project)
        for agent in [presence.id async for presence in self.scan(project)]:
            await self.forget(project, agent)
        for lane in self.lanes(project):
            await self._link.ask("HDEL", lane.keys[0], STANDING_WORDS)
            # Whoever watches still learns that they are gone; nothing else would ever trim it.
            await self._link.ask("PEXPIRE", lane.keys[3], self._terms.history_ms)

    async def _within(self, waiting: asyncio.Future[T]) -> T:
        """Wait, but not for ever: a store that does not answer is away."""
        try:
            async with asyncio.timeout(self._terms.patience_s):
                return await asyncio.shield(waiting)  # others may wait for the same
        except TimeoutError:
            waiting.add_done_callback(heed)
            raise Unavailable("The store does not answer.") from None

    # Asking.

    async def read(self, project: str, agent: str) -> Reading:
        """Read one agent as it is now."""
        return (await self._within(self.reader.read(self.lane(project, agent), agent)))[agent]

    async def readings(self, project: str, agents: Sequence[str]) -> list[Reading]:
        """Read many agents as they are now, in their order."""
        self.check_able()
        waiting = [self.reader.read(self.lane(project, agent), agent) for agent in agents]
        await self._within(asyncio.gather(*dict.fromkeys(waiting)))
        return [read.result()[agent] for read, agent in zip(waiting, agents, strict=True)]

    async def past(self, project: str, agent: str) -> tuple[list[Passage], list[Life]]:
        """Read an agent's last changes, and its lives that have ended; not those of long ago."""
        now_ms = self._clock.at_ms(self._loop.time())
        number = self.lane(project, agent).number
        passages, lives = await asyncio.gather(
            self._link.ask("LRANGE", keys.past(project, number, agent), 0, -1),
            self._link.ask("LRANGE", keys.lives(project, number, agent), 0, -1),
        )
        changes = [unpack_passage(each) for each in passages]
        ended = [Life(*map(int, each.split())) for each in lives]
        return (
            [change for change in changes if change.at_ms > now_ms - PAST_MS],
            [life for life in ended if life.down_ms > now_ms - LIVES_MS],
        )

    async def scan(self, project: str) -> AsyncIterator[Presence]:
        """Go through all agents of a project, each once, in no order."""
        seen: set[str] = set()
        for lane in self.lanes(project):
            seen.clear()  # an agent never changes its partition
            async for presence in self.reader.scan(lane):
                if presence.id not in seen:
                    seen.add(presence.id)
                    yield presence

    async def identify(self, project: str, uuid: str) -> str | None:
        """Find the agent that has a UUID, among all that were ever seen."""
        for lane in self.lanes(project):
            names = await self._link.ask("HKEYS", lane.keys[1])
            for i, name in enumerate(names):
                if agent_uuid(project, name.decode()) == uuid:
                    return str(name.decode())
                if i % IDENTIFIED_AT_ONCE == IDENTIFIED_AT_ONCE - 1:
                    await asyncio.sleep(0)
        return None

    async def count(self, project: str) -> dict[int, int]:
        """Count a project's agents by their rank."""
        total: dict[int, int] = {}
        counts: Iterable[dict[int, int]] = await asyncio.gather(
            *[self.reader.count(lane) for lane in self.lanes(project)]
        )
        for each in counts:
            for rank, n in each.items():
                total[rank] = total.get(rank, 0) + n
        return total

    async def changes(self, project: str, span_s: float) -> int:
        """Count the changes of a project within the last seconds, as far as the log reaches."""
        since_ms = self._clock.at_ms(self._loop.time() - span_s)
        counts = [self._changes(lane, since_ms) for lane in self.lanes(project)]
        return sum(await asyncio.gather(*counts))

    async def _changes(self, lane: Lane, since_ms: int) -> int:
        # Numbers are dense in a log, so its first entry tells how many there are to the last.
        found, last = await asyncio.gather(
            self._link.ask("XRANGE", lane.keys[3], since_ms, "+", "COUNT", 1),
            self._link.ask("HGET", lane.keys[0], "seq"),
        )
        return int(last or 0) - int(found[0][0].partition(b"-")[2]) + 1 if found else 0

    async def ping_ms(self) -> float:
        """Measure how long the store takes to answer."""
        self.check_able()
        began = self._loop.time()
        await self._link.ask("PING")
        return (self._loop.time() - began) * 1000


def _settling(stored: asyncio.Future[Presence | None]) -> Judged:
    def judged(outcome: Presence | LifesignsError | None) -> None:
        if stored.done():
            return
        if isinstance(outcome, LifesignsError):
            stored.set_exception(outcome)
        else:
            stored.set_result(outcome)

    return judged
