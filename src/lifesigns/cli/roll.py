"""Who is shown by `lifesigns top`: counted and kept in order as changes come.

A change costs the search for two places in a list, so that a hundred thousand agents are no
burden. Only another order or another choice looks at all of them. Knows no terminal and no clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any

Shown = Mapping[str, Any]
Key = tuple[Any, ...]

# What needs a look comes first; keys 1 to 9 stand for them.
WORST_FIRST = (
    *("error", "stalled", "suspect", "degraded", "draining"),
    *("busy", "available", "sleeping", "offline"),
)
PLACE = {state: place for place, state in enumerate(WORST_FIRST)}
LAST = "\U0010ffff"  # a missing word stands behind all others

SORTS: dict[str, Callable[[Shown, float], Key]] = {
    "state": lambda agent, at: (PLACE[agent["state"]],),
    "id": lambda agent, at: (),
    "changed": lambda agent, at: (-at,),
    "status": lambda agent, at: ((agent["status"] or LAST).casefold(),),
    "group": lambda agent, at: ((agent["group"] or LAST).casefold(),),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which agents are to be seen, and in which order."""

    sort: str = "state"
    states: frozenset[str] = frozenset()  # none: all
    search: str = ""

    def takes(self, agent: Shown) -> bool:
        if self.states and agent["state"] not in self.states:
            return False
        if not self.search:
            return True
        words = (agent["id"], agent["status"], agent["group"], *agent["capabilities"])
        wanted = self.search.casefold()
        return any(wanted in word.casefold() for word in words if word)


class Roll:
    """Everybody, and the chosen ones in order."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.counts: Counter[str] = Counter()
        self._agents: dict[str, Shown] = {}
        self._changed: dict[str, float] = {}
        self._order: list[tuple[Key, str]] = []

    def __len__(self) -> int:
        """Say how many are chosen."""
        return len(self._order)

    @property
    def total(self) -> int:
        return len(self._agents)

    @property
    def alive(self) -> int:
        return self.total - self.counts["offline"] - self.counts["sleeping"]

    def page(self, begin: int, count: int) -> Iterator[Shown]:
        """Yield some of the chosen ones."""
        for _, agent in self._order[begin : begin + count]:
            yield self._agents[agent]

    def first(self, state: str, count: int) -> list[str]:
        """Name the first of those in a state."""
        named = (name for name, agent in self._agents.items() if agent["state"] == state)
        return nsmallest(count, named)

    def load(self, agents: Mapping[str, Shown]) -> None:
        """Take them in place of whoever was there."""
        self._agents = dict(agents)
        self._changed = {}
        self.counts = Counter(agent["state"] for agent in agents.values())
        self.choose(self.choice)

    def choose(self, choice: Choice) -> None:
        """Choose anew."""
        self.choice = choice
        self._order = sorted(
            (self._key(agent), agent["id"])
            for agent in self._agents.values()
            if choice.takes(agent)
        )

    def take(self, change: Shown, at: float) -> None:
        """Take a change of a watch; ``at`` only has to grow."""
        name = change["id"]
        before = self._agents.pop(name, None)
        if before is not None:
            self.counts[before["state"]] -= 1
            if self.choice.takes(before):
                del self._order[bisect_left(self._order, (self._key(before), name))]
        if change.get("gone") or change["kind"] == "forgotten":
            self._changed.pop(name, None)
            return
        self._agents[name] = change
        self._changed[name] = at
        self.counts[change["state"]] += 1
        if self.choice.takes(change):
            insort(self._order, (self._key(change), name))

    def _key(self, agent: Shown) -> Key:
        return SORTS[self.choice.sort](agent, self._changed.get(agent["id"], 0.0))
