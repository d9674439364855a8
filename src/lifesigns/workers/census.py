"""Counting the fleet: by any part of what agents say, and what their numbers add up to.

States are counted by the store with every change. All else means looking at every agent, so that
one answer serves all who ask within a few seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lifesigns.core.model import Presence
from lifesigns.core.tally import Numbers, number_of, part_of
from lifesigns.store.store import Store

GOOD_S = 5.0
REMEMBERED = 256
CHANGES_SPAN_S = 10.0


@dataclass(slots=True)
class Tally:
    """What a look at all living agents found."""

    counts: dict[str, int] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)

    def add(self, presence: Presence, by: str, value: str | None) -> None:
        part = part_of(presence.rank, presence.words, by)
        self.counts[part] = self.counts.get(part, 0) + 1
        if value and (number := number_of(presence.words, value)) is not None:
            self.numbers.add(number)


class Census:
    """Looks at all agents of a project, at most once in a few seconds for each question."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._looks: dict[tuple[str, str, str | None], tuple[float, asyncio.Task[Tally]]] = {}

    async def take(self, project: str, by: str, value: str | None = None) -> Tally:
        """Count the living agents of a project by a part, and add one of their numbers up."""
        question = (project, by, value)
        taken_at, look = self._looks.get(question, (0.0, None))
        now = self._loop.time()
        # One that is under way serves all, however long it takes: several would take longer yet.
        if look is None or (look.done() and (now - taken_at > GOOD_S or look.exception())):
            look = self._loop.create_task(self._look(*question))
            look.add_done_callback(_forgive)
            self._looks.pop(question, None)
            self._looks[question] = (now, look)
            if len(self._looks) > REMEMBERED:
                del self._looks[next(iter(self._looks))]
        return await asyncio.shield(look)

    async def changes_per_s(self, project: str) -> float:
        """Tell how many changes a second came lately."""
        return round(await self._store.changes(project, CHANGES_SPAN_S) / CHANGES_SPAN_S, 2)

    async def _look(self, project: str, by: str, value: str | None) -> Tally:
        tally = Tally()
        async for presence in self._store.scan(project):
            if presence.alive:
                tally.add(presence, by, value)
        return tally


def _forgive(look: asyncio.Task[Tally]) -> None:
    """Take the error of a look for which nobody waits any more."""
    if not look.cancelled():
        look.exception()
