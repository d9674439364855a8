"""What a watcher missed while it was away, on its way from the log to its frames.

The log tells of each change what is after it; what an agent said before the first change that was
missed comes with its past. Of one whose past is gone, because it was forgotten meanwhile, or of
which capabilities are asked, that change is told if the agent may have been in the view. Whoever
never saw it loses nothing by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from lifesigns.core.change import head_of
from lifesigns.core.model import Words
from lifesigns.hub.cursor import Position
from lifesigns.hub.turn import Shown, Turn
from lifesigns.hub.view import Entry, View


class Replay:
    """The changes between two positions, packed, to be taken piece by piece."""

    def __init__(
        self,
        begin: Position,
        end: Position,
        changes: Iterable[tuple[int, list[bytes]]],
        before: Mapping[str, Words],
    ) -> None:
        self._before = before  # by agent, as far as that matters and is known
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
            seen = self._known.get(turn.agent)
            if seen is None:
                seen = view.had(shown.head, self._before.get(turn.agent))
            here = not turn.forgotten and view.has(turn.after)
            self._known[turn.agent] = here
            if seen or here:
                spelled = turn.spelled(view.detail, view.codec, gone=not here)
                entries.append(Entry(spelled, lane, turn.place))
        return entries
