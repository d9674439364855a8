"""The one reducer: snapshot plus changes is who is here.

Positions chain: a batch of changes leads from one to the next. A batch that does not begin where
the last one ended is a gap, and the reducer takes nothing of it: whoever feeds it must heal the
gap or begin anew. A snapshot is turned into differences, so that there is one way to apply change;
batches that come while it is being loaded wait for its end. A snapshot is read in pieces and may
be newer than its position: a change that a piece has seen already is skipped by its number.

It knows nothing of what a value is but its number (epoch and seq).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

V = TypeVar("V")

Number = tuple[str, int]  # epoch and seq; of one agent it only grows within an epoch


class Outcome(Enum):
    """What became of a batch that was not applied."""

    GAP = "gap"
    WAITS = "waits"


@dataclass(frozen=True, slots=True)
class Turn(Generic[V]):
    """One agent's next value; None: it is not here any more."""

    id: str
    number: Number
    value: V | None


@dataclass(frozen=True, slots=True)
class Difference(Generic[V]):
    """What a turn or a snapshot altered."""

    id: str
    before: V | None
    after: V | None


class Roster(Generic[V]):
    """Who is here, up to a position."""

    __slots__ = ("_incoming", "_loading", "_number_of", "_waiting", "agents", "position")

    def __init__(self, number_of: Callable[[V], Number]) -> None:
        self._number_of = number_of
        self._incoming: dict[str, V] = {}
        self._waiting: list[tuple[Hashable, Hashable, list[Turn[V]]]] = []
        self._loading = True
        self.agents: dict[str, V] = {}
        self.position: Hashable = None

    @property
    def loading(self) -> bool:
        """Whether the end of a snapshot is awaited."""
        return self._loading

    def restart(self) -> None:
        """A snapshot will follow that replaces everything; until its end all is as it was."""
        self._loading = True
        self._incoming = {}
        self._waiting = []

    def resume(self) -> None:
        """No snapshot follows after all: what is here is as good as it was."""
        self._loading = False
        self._incoming = {}
        self._waiting = []

    def load(
        self, page: Mapping[str, V], position: Hashable, *, more: bool = False
    ) -> list[Difference[V]]:
        """Take a page of a snapshot; the last one answers all differences to what was here."""
        if not self._loading:
            self.restart()
        self._incoming.update(page)
        if more:
            return []
        fresh, self._incoming = self._incoming, {}
        former, self.agents = self.agents, fresh
        self.position = position
        self._loading = False
        differences = [
            Difference(agent, former.get(agent), value)
            for agent, value in fresh.items()
            if former.get(agent) != value
        ]
        differences += [
            Difference(agent, value, None) for agent, value in former.items() if agent not in fresh
        ]
        waiting, self._waiting = self._waiting, []
        for before, after, turns in waiting:
            if before == self.position:  # else the snapshot has it already
                differences += self._apply(after, turns)
        return differences

    def advance(
        self, before: Hashable, after: Hashable, turns: Iterable[Turn[V]]
    ) -> list[Difference[V]] | Outcome:
        """Apply a batch that leads from one position to another; answer what it altered."""
        if self._loading:
            self._waiting.append((before, after, list(turns)))
            return Outcome.WAITS
        if before != self.position:
            return Outcome.GAP
        return self._apply(after, turns)

    def _apply(self, after: Hashable, turns: Iterable[Turn[V]]) -> list[Difference[V]]:
        differences = []
        for turn in turns:
            former = self.agents.get(turn.id)
            if former is not None:
                epoch, seq = self._number_of(former)
                if epoch == turn.number[0] and seq >= turn.number[1]:
                    continue  # the snapshot was newer
            if turn.value is None:
                self.agents.pop(turn.id, None)
            else:
                self.agents[turn.id] = turn.value
            if former is not None or turn.value is not None:
                differences.append(Difference(turn.id, former, turn.value))
        self.position = after
        return differences
