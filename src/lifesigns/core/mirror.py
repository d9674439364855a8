"""What a client knows from the frames of one watch: who is here, as the hub shows them.

Feed it every ``watching``, ``snapshot``, ``changes`` and ``resync`` frame of the watch, as they
come. After a gap it takes nothing more: watch again, with ``since`` its cursor, and feed it what
comes then. The same after a connection was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifesigns.core.roster import Difference, Number, Outcome, Roster, Turn

Shown = Mapping[str, Any]

# What a change says beside the presence.
ABOUT = frozenset({"kind", "at", "was", "gone", "downtime_ms", "for_ms"})


class Mirror:
    """Who is here, up to a cursor; a watch of counts has no agents."""

    __slots__ = ("_roster", "counts", "total")

    def __init__(self) -> None:
        self._roster: Roster[Shown] = Roster(_number_of)
        self.counts: dict[str, int] = {}
        self.total = 0

    @property
    def agents(self) -> dict[str, Shown]:
        """Who is here, by id."""
        return self._roster.agents

    @property
    def cursor(self) -> str | None:
        """From where to watch again; None: from a snapshot."""
        position = self._roster.position
        return position if isinstance(position, str) else None

    @property
    def loading(self) -> bool:
        """Whether the end of a snapshot is awaited."""
        return self._roster.loading

    def receive(self, frame: Mapping[str, Any]) -> list[Difference[Shown]] | Outcome:
        """Take the next frame; answer what it altered, or what became of it."""
        kind = frame["type"]
        if kind == "changes":
            return self._roster.advance(
                frame["from"], frame["cursor"], [_turn_of(change) for change in frame["changes"]]
            )
        if kind == "snapshot" and "counts" in frame:
            return self._count(frame)
        if kind == "snapshot":
            page = {shown["id"]: shown for shown in frame["agents"]}
            return self._roster.load(page, frame["cursor"], more=frame.get("more", False))
        if kind == "resync" or (kind == "watching" and not frame["resumed"]):
            self._roster.restart()
        elif kind == "watching":
            self._roster.resume()
        return []

    def _count(self, frame: Mapping[str, Any]) -> list[Difference[Shown]] | Outcome:
        if frame["from"] is None:
            self._roster.load({}, frame["cursor"])
        elif isinstance(
            outcome := self._roster.advance(frame["from"], frame["cursor"], ()), Outcome
        ):
            return outcome
        self.counts, self.total = dict(frame["counts"]), frame["total"]
        return []


def _turn_of(change: Mapping[str, Any]) -> Turn[Shown]:
    here = change["kind"] != "forgotten" and not change.get("gone", False)
    shown = {name: value for name, value in change.items() if name not in ABOUT} if here else None
    return Turn(change["id"], (change["epoch"], change["seq"]), shown)


def _number_of(shown: Shown) -> Number:
    return shown["epoch"], shown["seq"]
