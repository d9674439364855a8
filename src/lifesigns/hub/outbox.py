"""What one watcher who reads slowly still has to be told: the latest of each agent, no more.

It keeps of each agent that changed what the watcher was last shown of it. So it is bounded by the
number of agents, and when the watcher reads again it is told the difference to what is now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lifesigns.hub.turn import Shown, Turn


@dataclass(slots=True)
class Owed:
    """What a watcher is owed of one agent."""

    before: Shown | None  # as it was last shown
    seen: bool  # whether it was shown at all
    after: Shown
    changes: int


class Outbox:
    """The changes that wait for one watcher."""

    __slots__ = ("_owed", "changes")

    def __init__(self) -> None:
        self._owed: dict[str, Owed] = {}
        self.changes = 0  # how many came, before they were conflated

    def __len__(self) -> int:
        return len(self._owed)

    def note(self, turn: Turn, *, seen: bool) -> None:
        """Keep a change; ``seen``: the watcher has been shown the agent as it was before."""
        self.changes += 1
        owed = self._owed.get(turn.agent)
        if owed is None:
            self._owed[turn.agent] = Owed(turn.before, seen, turn.after, 1)
        else:
            owed.after = turn.after
            owed.changes += 1

    def settle(self, agent: str) -> None:
        """The watcher is shown an agent as it is now by another way."""
        owed = self._owed.pop(agent, None)
        if owed is not None:
            self.changes -= owed.changes

    def take(self) -> Iterator[Owed]:
        """Empty it."""
        owed, self._owed = self._owed, {}
        self.changes = 0
        yield from owed.values()
