"""One way of looking at a project: a filter, a detail and a codec, shared by all who look so.

Changes are spelled once and framed once for all watchers who are in step; one who is not has an
outbox of its own until it is in step again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from lifesigns.core.codec import Codec
from lifesigns.core.filter import Filter
from lifesigns.core.presence import STATES
from lifesigns.hub.outbox import Outbox
from lifesigns.hub.packet import Packet, listing, message, portions
from lifesigns.hub.turn import Shown, Turn, conflated


class Member(Protocol):
    """One watcher, as its view knows it."""

    cursor: str  # where its next frame begins
    outbox: Outbox | None  # None: in step

    def offer(self, packets: Sequence[Packet]) -> bool:
        """Send what all in step are sent; answer False if the peer does not read."""

    def restart(self, why: str) -> None:
        """Nothing that was sent before counts any more."""


class View:
    """What all watchers with one filter, detail and codec have in common."""

    def __init__(
        self, name: str, wanted: Filter, detail: str, codec: Codec, cursor: str, frame_bytes: int
    ) -> None:
        self.name = name
        self.wanted = wanted
        self.detail = detail
        self.codec = codec
        self.cursor = cursor  # up to where watchers in step were told
        self._frame_bytes = frame_bytes
        self._all = wanted.everything
        self._counts: Counter[str] = Counter()
        self.steady: dict[Member, None] = {}
        self.behind: dict[Member, None] = {}

    @property
    def counting(self) -> bool:
        return self.detail == "counts"

    def has(self, shown: Shown | None) -> bool:
        """Tell whether an agent is in this view."""
        return shown is not None and (self._all or self.wanted.matches(shown.presence))

    def tell(self, turns: Sequence[Turn], cursor: str) -> None:
        """Send what came to those in step, and keep it for the others."""
        mine = []
        for turn in turns:
            seen = self.has(turn.before)
            here = not turn.forgotten and self.has(turn.after)
            if seen or here:
                mine.append((turn, seen, here))
        if not mine:
            return
        for watch in self.behind:
            assert watch.outbox is not None, "who is behind has an outbox"
            for turn, seen, _ in mine:
                watch.outbox.note(turn, seen=seen)
        packets = self._count(mine, cursor) if self.counting else self._frame(mine, cursor)
        before, self.cursor = self.cursor, cursor
        for watch in list(self.steady):
            if not watch.offer(packets):
                # It does not read: it is owed this, and what comes.
                self.fall_behind(watch)
                watch.cursor = before
                assert watch.outbox is not None, "who is behind has an outbox"
                for turn, seen, _ in mine:
                    watch.outbox.note(turn, seen=seen)

    def fall_behind(self, watch: Member) -> None:
        self.steady.pop(watch, None)
        self.behind[watch] = None
        watch.outbox = Outbox()

    def keep_step(self, watch: Member) -> None:
        self.behind.pop(watch, None)
        self.steady[watch] = None
        watch.outbox = None

    def drop(self, watch: Member) -> None:
        self.steady.pop(watch, None)
        self.behind.pop(watch, None)

    @property
    def empty(self) -> bool:
        return not self.steady and not self.behind

    # Frames.

    def _frame(self, mine: Iterable[tuple[Turn, bool, bool]], cursor: str) -> list[Packet]:
        entries = [turn.spelled(self.detail, self.codec, gone=not here) for turn, _, here in mine]
        return self.changes(entries, self.cursor, cursor)

    def changes(
        self, entries: Sequence[bytes], before: str, after: str, coalesced: int = 0
    ) -> list[Packet]:
        """Frame changes; between two frames of one batch the place is not known to anybody."""
        packets = []
        parts = portions(entries, self._frame_bytes)
        for i, (begin, end) in enumerate(parts):
            last = i == len(parts) - 1
            head: dict[str, Any] = {
                "watch": self.name,
                "from": before,
                "cursor": after if last else before,
            }
            if coalesced:
                head |= {"coalesced": coalesced}
            if not last:
                head |= {"more": True}
            packets.append(listing(self.codec, "changes", head, "changes", entries[begin:end]))
        return packets

    def replay(self, turns: Iterable[Turn], since: str, until: str) -> list[Packet]:
        """Frame what a watcher missed since its cursor, as far as it can be known from the log."""
        entries = []
        known: dict[str, bool] = {}
        for turn in turns:
            here = not turn.forgotten and self.has(turn.after)
            # What it was before the cursor is not in the log; it may have been in the view.
            seen = known.get(turn.agent, turn.after.head.was != 9)
            if here or seen:
                entries.append(turn.spelled(self.detail, self.codec, gone=not here))
            known[turn.agent] = here
        return self.changes(entries, since, until) if entries else []

    def page(self, entries: Sequence[bytes], cursor: str | None, *, more: bool) -> list[Packet]:
        """Frame a page of a snapshot; only the last one has a cursor."""
        packets = []
        parts = portions(entries, self._frame_bytes)
        for i, (begin, end) in enumerate(parts):
            last = i == len(parts) - 1 and not more
            head: dict[str, Any] = {
                "watch": self.name,
                "from": None,
                "cursor": cursor if last else None,
                "more": not last,
            }
            packets.append(listing(self.codec, "snapshot", head, "agents", entries[begin:end]))
        return packets

    def conflate(self, watch: Member, before: str) -> list[Packet]:
        """Frame what a watcher is owed, and empty its outbox."""
        outbox = watch.outbox
        assert outbox is not None, "who is behind has an outbox"
        came = outbox.changes
        entries = []
        for owed in outbox.take():
            here = owed.after.head.kind != "g" and self.has(owed.after)
            if not here and not owed.seen:
                continue
            change = conflated(owed.before, owed.after, self.detail, seen=owed.seen, gone=not here)
            if change is not None:
                entries.append(self.codec.encode(change))
        if not entries:
            return []
        return self.changes(entries, before, self.cursor, coalesced=came - len(entries))

    # Counts.

    def recount(self, agents: Iterable[Shown]) -> None:
        """Count all agents of the view."""
        self._counts = Counter(STATES[each.presence.rank] for each in agents if self.has(each))

    def counted(self, before: str | None, cursor: str) -> Packet:
        """Frame the counts as they are."""
        counts = {state: n for state, n in self._counts.items() if n}
        return message(
            self.codec,
            "snapshot",
            watch=self.name,
            **{"from": before},
            cursor=cursor,
            counts=counts,
            total=sum(counts.values()),
        )

    def _count(self, mine: Iterable[tuple[Turn, bool, bool]], cursor: str) -> list[Packet]:
        former = self._counts.copy()
        for turn, seen, here in mine:
            if seen and turn.before is not None:
                self._counts[turn.before.presence.state] -= 1
            if here:
                self._counts[turn.after.presence.state] += 1
        if former == self._counts:
            return []
        return [self.counted(self.cursor, cursor)]
