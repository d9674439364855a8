"""Who can be claimed through one filter, best first, and who waits for one of them.

Best is who has the fewest claims, then who has been idle the longest. Waiters are served in their
order. Nothing here asks the store.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass

from lifesigns.core.claim import Order, Won, candidate_of
from lifesigns.core.errors import LifesignsError
from lifesigns.core.filter import Filter
from lifesigns.core.model import Presence


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who wants a claim."""

    order: Order
    since: float
    until: float  # then it is told that there is nobody
    patient: bool  # it waits though nobody is being tried
    served: asyncio.Future[tuple[Won, Presence]]

    def fail(self, error: LifesignsError) -> None:
        """Tell that there is no claim, if anybody waits for that still."""
        if not self.served.done():
            self.served.set_exception(error)


class Pool:
    """The candidates of one filter, in order."""

    def __init__(self, wanted: Filter, now: float) -> None:
        self.wanted = wanted
        self.used = now
        self.line: deque[Waiter] = deque()
        self.trying = 0  # of its waiters
        self._order: list[tuple[int, int, str]] = []
        self._keys: dict[str, tuple[int, int, str]] = {}
        self.built: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        return len(self._order)

    @property
    def needed(self) -> bool:
        """Whether anybody waits for it, or in it."""
        return bool(self.line or self.trying or not self.built.done())

    def see(self, agent: str, presence: Presence | None) -> None:
        """Take an agent as it is now; None: it cannot be claimed, whoever asks."""
        former = self._keys.pop(agent, None)
        if former is not None:
            del self._order[bisect_left(self._order, former)]
        if presence is None or candidate_of(presence) is None or not self.wanted.matches(presence):
            return
        key = self._keys[agent] = (len(presence.claims), presence.idle_since_ms, agent)
        insort(self._order, key)

    def best(self, skipped: Container[str | None]) -> Iterator[str]:
        """Name the candidates, the best first."""
        return (agent for *_, agent in self._order if agent not in skipped)

    def leave(self, waiter: Waiter) -> None:
        """Somebody waits no more."""
        if waiter in self.line:
            self.line.remove(waiter)
