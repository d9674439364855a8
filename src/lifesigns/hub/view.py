"""One way of looking at a project: a filter, a detail and a codec, shared by all who look so.

Changes are spelled once and framed once for all watchers who are in step; one who is not has an
outbox of its own until it is in step again. Frames chain: each says from which position to which
it leads, and is exact, so that whoever got it and no more can go on from there on any hub.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from lifesigns.core.access import covers
from lifesigns.core.change import Head, Place
from lifesigns.core.codec import Codec
from lifesigns.core.filter import Filter
from lifesigns.core.model import Words
from lifesigns.core.presence import NONE, SLEEPING, STATES
from lifesigns.hub.cursor import Position, mark_of
from lifesigns.hub.outbox import Outbox
from lifesigns.hub.packet import Packet, listing, message, portions
from lifesigns.hub.turn import Shown, Turn, conflated

OWED = 50  # agents unpacked and spelled for one slow watcher before others get their turn
FRESH_S = 60.0  # a quiet watch is told how far it is, long before the history forgets that


class Member(Protocol):
    """One watcher, as its view knows it."""

    sink: Any  # where its frames go
    position: Position  # where its next frame begins
    outbox: Outbox | None  # None: in step

    def offer(self, packets: Sequence[Packet]) -> int:
        """Send what all in step are sent, as far as the peer reads; answer how many."""

    def restart(self, why: str) -> None:
        """Nothing that was sent before counts any more."""


class Mine(NamedTuple):
    """A turn that concerns a view."""

    turn: Turn
    seen: bool  # whether the agent was in the view before
    here: bool  # whether it is after


class Entry(NamedTuple):
    """A change as a frame has it, and the place in the history that it leads to."""

    spelled: bytes
    lane: int
    place: Place


class View:
    """What all watchers with one filter, detail and codec have in common."""

    def __init__(
        self,
        project: str,
        name: str,
        wanted: Filter,
        detail: str,
        codec: Codec,
        position: Position,
        frame_bytes: int,
        now: float,
    ) -> None:
        self.project = project
        self.name = name
        self.wanted = wanted
        self.detail = detail
        self.codec = codec
        self.position = position  # up to where watchers in step were told
        self.mark = mark_of(repr(wanted), detail)
        self._moved_at = now
        self._frame_bytes = frame_bytes
        self._all = wanted.everything
        self._counts: Counter[int] = Counter()  # by rank
        self.steady: dict[Member, None] = {}
        self.behind: dict[Member, None] = {}
        self.sinks: set[Any] = set()

    @property
    def counting(self) -> bool:
        return self.detail == "counts"

    @property
    def empty(self) -> bool:
        return not self.steady and not self.behind

    def has(self, shown: Shown | None) -> bool:
        """Tell whether an agent is in this view."""
        if shown is None or self._all:
            return shown is not None
        # Most of a fleet is told apart by what needs no unpacking.
        return self._may_have(shown.rank, shown.head.agent) and self.wanted.matches(shown.presence)

    def had(self, head: Head, before: Words | None) -> bool:
        """Tell whether an agent was in this view, of which the log tells only what is.

        What it said ``before`` is kept with its past; without that it may have been.
        """
        if head.was == NONE or not self._may_have(head.was, head.agent):
            return False
        return before is None or self.wanted.suits(before)

    def _may_have(self, rank: int, agent: str) -> bool:
        wanted = self.wanted
        if wanted.alive is not None and wanted.alive is not (rank > SLEEPING):
            return False
        if wanted.state and STATES[rank] not in wanted.state:
            return False
        return not wanted.ids or any(covers(pattern, agent) for pattern in wanted.ids)

    # Who looks.

    def fall_behind(self, watch: Member) -> None:
        """It gets an outbox, and what comes is kept there."""
        self.steady.pop(watch, None)
        self.behind[watch] = None
        self.sinks.add(watch.sink)
        watch.outbox = Outbox()

    def keep_step(self, watch: Member) -> None:
        """It was told all, and is told what comes with all others."""
        self.behind.pop(watch, None)
        self.steady[watch] = None
        watch.outbox = None

    def drop(self, watch: Member) -> None:
        self.steady.pop(watch, None)
        self.behind.pop(watch, None)
        self.sinks.discard(watch.sink)

    # What comes.

    def tell(self, turns: Sequence[Turn], position: Position, now: float) -> None:
        """Send what came to those in step, and keep it for the others."""
        mine = []
        for turn in turns:
            seen = self.has(turn.before)
            here = not turn.forgotten and self.has(turn.after)
            if seen or here:
                mine.append(Mine(turn, seen, here))
        packets = self._count(mine, position) if self.counting else self._frame(mine, position)
        if not packets:
            if now - self._moved_at < FRESH_S:
                return
            packets = self.stand(position)
        self._moved_at = now
        for watch in self.behind:
            self._owe(watch, mine)
        before, self.position = self.position, position
        for watch in list(self.steady):
            sent = watch.offer(packets)
            if sent < len(packets):  # it does not read: it is owed the rest, and what comes
                self.fall_behind(watch)
                watch.position = packets[sent - 1].position or before if sent else before
                self._owe(watch, mine[sum(packet.entries for packet in packets[:sent]) :])

    def _owe(self, watch: Member, mine: Iterable[Mine]) -> None:
        if self.counting:
            return  # they are owed nothing but the latest counts
        assert watch.outbox is not None, "who is behind has an outbox"
        for turn, seen, _ in mine:
            watch.outbox.note(turn, seen=seen)

    def _frame(self, mine: Sequence[Mine], position: Position) -> list[Packet]:
        if not mine:
            return []
        entries = [
            Entry(turn.spelled(self.detail, self.codec, gone=not here), turn.lane, turn.place)
            for turn, _, here in mine
        ]
        return self.changes(entries, self.position, position)

    def stand(self, position: Position) -> list[Packet]:
        """Tell how far the history is known, and no change."""
        if self.counting:
            return [self.counted(self.position, position)]
        return self.changes([], self.position, position)

    # Frames.

    def changes(
        self, entries: Sequence[Entry], begin: Position, end: Position, coalesced: int = 0
    ) -> list[Packet]:
        """Frame changes that lead from one position to another."""
        packets = []
        parts = portions([entry.spelled for entry in entries], self._frame_bytes)
        before = begin
        for first, behind in parts:
            more = behind < len(entries)
            part = entries[first:behind]
            after = before.after((e.lane, e.place) for e in part) if more else end
            head: dict[str, Any] = {
                "watch": self.name,
                "from": before.cursor(self.mark),
                "cursor": after.cursor(self.mark),
            }
            if coalesced and first == 0:
                head["coalesced"] = coalesced
            if more:
                head["more"] = True
            spelled = [entry.spelled for entry in part]
            packets.append(listing(self.codec, "changes", head, "changes", spelled))
            packets[-1].position = before = after
        return packets

    def page(self, entries: Sequence[bytes], position: Position, *, more: bool) -> list[Packet]:
        """Frame a page of a snapshot; only the last one has a cursor."""
        packets = []
        for first, behind in portions(entries, self._frame_bytes):
            last = behind == len(entries) and not more
            head: dict[str, Any] = {
                "watch": self.name,
                "from": None,
                "cursor": position.cursor(self.mark) if last else None,
                "more": not last,
            }
            packets.append(listing(self.codec, "snapshot", head, "agents", entries[first:behind]))
        return packets

    def repay(self, watch: Member) -> list[Packet]:
        """Frame the next of what a watcher is owed; nothing, if that amounts to nothing."""
        outbox = watch.outbox
        assert outbox is not None, "who is behind has an outbox"
        if self.counting:
            begin, watch.position = watch.position, self.position
            return [self.counted(begin, self.position)]
        entries, coalesced = [], 0
        taken = outbox.take(OWED)
        for owed in taken:
            turn = owed.turn(self.project)
            here = not turn.forgotten and self.has(turn.after)
            spelled = None
            if owed.changes == 1:
                spelled = turn.spelled(self.detail, self.codec, gone=not here)
            elif here or owed.seen:
                change = conflated(turn, self.detail, seen=owed.seen, gone=not here)
                spelled = None if change is None else self.codec.encode(change)
            coalesced += owed.changes - (spelled is not None)
            if spelled is not None:
                entries.append(Entry(spelled, owed.lane, owed.place))
        if not entries and outbox:
            return []
        begin = watch.position
        if outbox:
            watch.position = begin.after((owed.lane, owed.place) for owed in taken)
        else:
            watch.position = self.position
        return self.changes(entries, begin, watch.position, coalesced)

    # Counts.

    def recount(self, agents: Iterable[Shown]) -> None:
        """Count all agents of the view."""
        self._counts = Counter(each.rank for each in agents if self.has(each))

    def counted(self, begin: Position | None, end: Position) -> Packet:
        """Frame the counts as they are."""
        counts = {STATES[rank]: n for rank, n in sorted(self._counts.items()) if n}
        packet = message(
            self.codec,
            "snapshot",
            watch=self.name,
            **{"from": None if begin is None else begin.cursor(self.mark)},
            cursor=end.cursor(self.mark),
            counts=counts,
            total=sum(counts.values()),
        )
        packet.position = end
        return packet

    def _count(self, mine: Iterable[Mine], position: Position) -> list[Packet]:
        former = self._counts.copy()
        for turn, seen, here in mine:
            if seen and turn.before is not None:
                self._counts[turn.before.rank] -= 1
            if here:
                self._counts[turn.after.rank] += 1
        return [] if former == self._counts else [self.counted(self.position, position)]
