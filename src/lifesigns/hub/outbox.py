"""What one watcher who reads slowly still has to be told: the latest of each agent, no more.

It keeps of each agent that changed what the watcher was last shown of it, and what it is now, both
packed. So it is bounded by the number of agents. It stands in the order of the latest changes:
whoever was told its first part knows the history up to there, and can go on from there elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from lifesigns.core.change import Place
from lifesigns.hub.turn import Shown, Turn


@dataclass(slots=True)
class Owed:
    """What a watcher is owed of one agent."""

    agent: str
    lane: int
    before: bytes | None  # as it was last shown
    seen: bool  # whether it was shown at all
    after: bytes
    place: Place  # of the latest change
    changes: int = 1

    def turn(self, project: str) -> Turn:
        """Unpack it, as if it were one change."""
        epoch = self.place.epoch
        before = None if self.before is None else Shown(project, epoch, self.before)
        return Turn(self.lane, self.agent, before, Shown(project, epoch, self.after))


class Outbox:
    """The changes that wait for one watcher."""

    __slots__ = ("_owed",)

    def __init__(self) -> None:
        self._owed: dict[str, Owed] = {}

    def __len__(self) -> int:
        return len(self._owed)

    def note(self, turn: Turn, *, seen: bool) -> None:
        """Keep a change; ``seen``: the watcher has been shown the agent as it was before."""
        owed = self._owed.pop(turn.agent, None)
        if owed is None:
            before = None if turn.before is None else turn.before.packed
            owed = Owed(turn.agent, turn.lane, before, seen, turn.after.packed, turn.place)
        else:
            owed.after = turn.after.packed
            owed.place = turn.place
            owed.changes += 1
        self._owed[turn.agent] = owed  # behind all others

    def settle(self, agent: str) -> None:
        """The watcher is shown an agent as it is now by another way."""
        self._owed.pop(agent, None)

    def take(self, most: int) -> list[Owed]:
        """Take out those that changed no more since the longest."""
        taken = list(islice(self._owed.values(), most))
        for owed in taken:
            del self._owed[owed.agent]
        return taken
