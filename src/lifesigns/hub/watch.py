"""One watcher's standing question, and how far it has been answered.

It is in step when it was sent all there is; else it is being sent something of its own: a snapshot
page by page, what it missed since its cursor, or what it is owed. Nothing is sent to a peer that
does not read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from lifesigns.hub.beat import Listener
from lifesigns.hub.cursor import Position
from lifesigns.hub.outbox import Outbox
from lifesigns.hub.packet import Packet, Sink, message
from lifesigns.hub.replay import Replay
from lifesigns.hub.turn import Shown
from lifesigns.hub.view import View

PAGE = 100  # agents spelled before others get their turn: some milliseconds


class Stage(Protocol):
    """Who is there to be watched."""

    def tick(self) -> None:
        """Tell what came so far."""

    def members(self) -> Sequence[tuple[int, str]]:
        """Name all agents, each with its lane."""

    def shown(self, lane: int, agent: str) -> Shown | None:
        """Show one agent as it is now."""

    def later(self, watch: Watch) -> None:
        """Pump a watch when others had their turn."""


class Watch:
    """A standing question."""

    __slots__ = (
        "_at",
        "_begun",
        "_due",
        "_page",
        "_replay",
        "_stage",
        "ended",
        "listener",
        "outbox",
        "position",
        "sink",
        "stale",
        "view",
        "waits",
    )

    def __init__(self, stage: Stage, view: View, sink: Sink) -> None:
        self._stage = stage
        self._due: deque[Packet] = deque()  # of its own, to be sent before anything else
        self._replay: Replay | None = None
        self._page: Sequence[tuple[int, str]] | None = None  # agents of a snapshot under way
        self._at = 0
        self._begun = False
        self.view = view
        self.sink = sink
        self.position: Position = view.position  # where the next frame begins
        self.outbox: Outbox | None = None  # None: in step
        self.listener: Listener | None = None  # it wants every beat as well
        self.waits = False  # for its turn to be pumped
        self.stale = ""  # why it has to begin with a snapshot, whatever its cursor was good for
        self.ended = False

    def offer(self, packets: Sequence[Packet]) -> int:
        """Send what all in step are sent, as far as the peer reads; answer how many."""
        for i, packet in enumerate(packets):
            if not self.sink.ready:
                return i
            self.sink.deliver(packet)
        return len(packets)

    def begin(self, replay: Replay | None) -> None:
        """Start with what was missed since a cursor, or with a snapshot."""
        self._begun = True
        if replay is None:
            self._snapshot()
        else:
            self._replay = replay
            self.position = replay.begin
        self.pump()

    def restart(self, why: str) -> None:
        """Nothing that was sent before counts any more: a snapshot follows."""
        if not self._begun:
            self.stale = self.stale or why
            return
        self._due.clear()
        self._due.append(message(self.view.codec, "resync", watch=self.view.name, why=why))
        self._replay = None
        self._snapshot()
        self.pump()

    def pump(self) -> None:
        """Send what is due while the peer reads; called again when it does."""
        if self.listener is not None:
            self.listener.pump()
        while self.sink.ready and self.outbox is not None and not self.ended:
            if self._due:
                self.sink.deliver(self._due.popleft())
            elif self.waits:
                return  # its turn will come
            elif self._replay is not None:
                self._next_missed(self._replay)
            elif self._page is not None:
                self._next_page(self._page)
            else:
                self._stage.tick()
                if not self.outbox and self.position is self.view.position:
                    self.view.keep_step(self)
                    return
                self._due.extend(self.view.repay(self))
                if self.outbox:
                    self._stage.later(self)

    def _snapshot(self) -> None:
        self._stage.tick()
        self.view.fall_behind(self)  # what was owed is in the snapshot
        self.position = self.view.position
        self._at = 0
        self._page = None
        if self.view.counting:
            self._due.append(self.view.counted(None, self.position))
        else:
            self._page = self._stage.members()

    def _next_missed(self, replay: Replay) -> None:
        entries = replay.take(self.view, PAGE)
        begin = self.position
        if replay.over:
            self._replay = None
            self.position = replay.end
            if entries or begin.places != self.position.places:
                self._due.extend(self.view.changes(entries, begin, self.position))
        elif entries:
            self.position = begin.after((entry.lane, entry.place) for entry in entries)
            self._due.extend(self.view.changes(entries, begin, self.position))
        if not replay.over:
            self._stage.later(self)

    def _next_page(self, page: Sequence[tuple[int, str]]) -> None:
        """Show the next agents as they are now; nothing more is owed of them."""
        self._stage.tick()
        view, outbox = self.view, self.outbox
        assert outbox is not None, "who is sent a snapshot is not in step"
        entries = []
        end = min(self._at + PAGE, len(page))
        for lane, agent in page[self._at : end]:
            shown = self._stage.shown(lane, agent)
            outbox.settle(agent)
            if shown is not None and view.has(shown):
                entries.append(shown.spelled(view.detail, view.codec))
        self._at = end
        more = end < len(page)
        if more:
            self._stage.later(self)
        else:
            self._page = None
            if not outbox:
                self.position = view.position  # all that came meanwhile is in the snapshot
        if entries or not more:
            self._due.extend(view.page(entries, self.position, more=more))
