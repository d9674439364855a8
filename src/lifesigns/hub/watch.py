"""One watcher's standing question, and how far it has been answered.

It is in step when it was sent all there is; else it is being sent something of its own: a snapshot
page by page, what it missed since its cursor, or what it is owed. Nothing is sent to a peer that
does not read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from lifesigns.hub.outbox import Outbox
from lifesigns.hub.packet import Packet, message
from lifesigns.hub.turn import Shown
from lifesigns.hub.view import View

PAGE = 200  # agents spelled before others get their turn: some milliseconds


class Sink(Protocol):
    """Where the frames of a watch go."""

    @property
    def ready(self) -> bool:
        """Whether the peer reads."""

    def deliver(self, packet: Packet) -> None:
        """Send a packet; it is taken whole."""


class Stage(Protocol):
    """Who is there to be watched."""

    loop: asyncio.AbstractEventLoop

    def tick(self) -> None:
        """Tell what came so far."""

    def members(self) -> list[tuple[int, str]]:
        """Name all agents, each with its lane."""

    def everybody(self) -> Iterable[Shown]:
        """Show all agents."""

    def shown(self, lane: int, agent: str) -> Shown | None:
        """Show one agent as it is now."""


class Watch:
    """A standing question."""

    __slots__ = (
        "_at",
        "_due",
        "_page",
        "_scheduled",
        "_stage",
        "cursor",
        "ended",
        "outbox",
        "sink",
        "view",
    )

    def __init__(self, stage: Stage, view: View, sink: Sink) -> None:
        self._stage = stage
        self._due: deque[Packet] = deque()  # of its own, to be sent before anything else
        self._page: list[tuple[int, str]] | None = None  # agents of a snapshot under way
        self._at = 0
        self.cursor = view.cursor  # where the next frame begins
        self._scheduled = False
        self.view = view
        self.sink = sink
        self.outbox: Outbox | None = None  # None: in step
        self.ended = False

    def offer(self, packets: Sequence[Packet]) -> bool:
        """Send what all in step are sent; answer False if the peer does not read."""
        if not self.sink.ready:
            return False
        for packet in packets:
            self.sink.deliver(packet)
        return True

    def begin(self, since: str | None, missed: Sequence[Packet] | None) -> None:
        """Start with what was missed since a cursor, or with a snapshot."""
        if missed is not None:
            assert since is not None, "only a cursor has something missed"
            self._due.extend(missed)
        else:
            self._snapshot()
        self.pump()

    def restart(self, why: str) -> None:
        """Nothing that was sent before counts any more: a snapshot follows."""
        self._due.clear()
        self._due.append(message(self.view.codec, "resync", watch=self.view.name, why=why))
        self._snapshot()
        self.pump()

    def pump(self) -> None:
        """Send what is due while the peer reads; called again when it does."""
        self._scheduled = False
        if self.ended or self.outbox is None:
            return
        while self.sink.ready:
            if self._due:
                self.sink.deliver(self._due.popleft())
            elif self._page is not None:
                self._next_page()
                self._soon()
                return
            else:
                self._stage.tick()
                self._due.extend(self._owed())
                if not self._due:
                    self.view.keep_step(self)
                    return
                self.cursor = self.view.cursor

    def _owed(self) -> list[Packet]:
        view = self.view
        assert self.outbox is not None, "who is behind has an outbox"
        if view.counting:
            came = self.outbox.changes
            list(self.outbox.take())
            return [view.counted(self.cursor, view.cursor)] if came else []
        return view.conflate(self, self.cursor)

    def _snapshot(self) -> None:
        self._stage.tick()
        self.view.fall_behind(self)  # what was owed is in the snapshot
        self.cursor = self.view.cursor
        if self.view.counting:
            self._page = None
            self.view.recount(self._stage.everybody())
            self._due.append(self.view.counted(None, self.cursor))
        else:
            self._page = self._stage.members()
            self._at = 0

    def _next_page(self) -> None:
        """Send the next agents as they are now; nothing more is owed of them."""
        page, view, outbox = self._page, self.view, self.outbox
        assert page is not None
        assert outbox is not None
        entries = []
        end = min(self._at + PAGE, len(page))
        for lane, agent in page[self._at : end]:
            shown = self._stage.shown(lane, agent)
            outbox.settle(agent)
            if view.has(shown):
                assert shown is not None
                entries.append(shown.spelled(view.detail, view.codec))
        self._at = end
        more = end < len(page)
        if not more:
            self._page = None
        if entries or not more:
            for packet in view.page(entries, self.cursor, more=more):
                self.sink.deliver(packet)

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._stage.loop.call_soon(self.pump)
