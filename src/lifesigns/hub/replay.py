"""What a watcher missed while it was away, on its way from the log to its frames.

The log tells of each change what is after it. What was before the cursor is nowhere: of an agent
that is not in the view any more, the first change that was missed is told if it may have been in
it. Whoever never saw the agent loses nothing by that.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from lifesigns.core.change import head_of
from lifesigns.hub.cursor import Position
from lifesigns.hub.turn import Shown, Turn
from lifesigns.hub.view import Entry, View


class Replay:
    """The changes between two positions, packed, to be taken piece by piece."""

    def __init__(
        self, begin: Position, end: Position, changes: Iterable[tuple[int, list[bytes]]]
    ) -> None:
        self.begin = begin
        self.end = end
        self._changes = ((lane, packed) for lane, many in changes for packed in many)
        self._known: dict[str, bool] = {}  # whether an agent is in the view, as far as was told
        self.over = False

    def take(self, view: View, most: int) -> list[Entry]:
        """Spell the next changes, as far as the view has to do with them."""
        entries = []
        taken = list(islice(self._changes, most))
        self.over = len(taken) < most
        for lane, packed in taken:
            shown = Shown(view.project, self.end.places[lane].epoch, packed)
            turn = Turn(lane, head_of(packed).agent, None, shown)
            seen = self._known[turn.agent] if turn.agent in self._known else view.had(turn)
            here = not turn.forgotten and view.has(turn.after)
            self._known[turn.agent] = here
            if seen or here:
                spelled = turn.spelled(view.detail, view.codec, gone=not here)
                entries.append(Entry(spelled, lane, turn.place))
        return entries
