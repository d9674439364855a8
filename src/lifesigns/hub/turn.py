"""One change on its way to the watchers: unpacked once, spelled once for each detail and codec."""

from __future__ import annotations

from typing import Any

from lifesigns.core.change import (
    FORGOTTEN,
    Head,
    Place,
    change_of,
    head_of,
    rank_of,
    unpack_change,
)
from lifesigns.core.codec import Codec
from lifesigns.core.glance import glance
from lifesigns.core.model import Presence
from lifesigns.core.presence import DETAILS, KIND_NAMES, KINDS, NONE, present

# What may differ without being news: a change that was conflated away may leave only this.
CLOCKS = ("last_heartbeat", "expires_at", "last_progress", "seq", "epoch", "held")


class Shown:
    """An agent as the roster keeps it, unpacked when somebody wants to see it."""

    __slots__ = ("_head", "_presence", "_spelled", "epoch", "packed", "project")

    def __init__(self, project: str, epoch: str, packed: bytes) -> None:
        self.project = project
        self.epoch = epoch
        self.packed = packed
        self._head: Head | None = None
        self._presence: Presence | None = None
        self._spelled: dict[tuple[str, str], bytes] | None = None

    @property
    def head(self) -> Head:
        if self._head is None:
            self._head = head_of(self.packed)
        return self._head

    @property
    def rank(self) -> int:
        return rank_of(self.packed) if self._presence is None else self._presence.rank

    @property
    def presence(self) -> Presence:
        if self._presence is None:
            head, record = unpack_change(self.packed)
            self._presence = present(
                self.project, head.agent, record, epoch=self.epoch, now_ms=head.at_ms
            )
        return self._presence

    def fields(self, detail: str) -> dict[str, Any]:
        """Lay out what a detail shows of it, mostly without unpacking all of it."""
        if detail == "lite" and self._presence is None:
            glanced = glance(self.packed, self.epoch)
            if glanced is not None:
                return glanced
        return DETAILS[detail](self.presence)

    def spelled(self, detail: str, codec: Codec) -> bytes:
        """Spell it as an entry of a snapshot."""
        if self._spelled is None:
            self._spelled = {}
        key = (detail, codec.name)
        spelled = self._spelled.get(key)
        if spelled is None:
            spelled = self._spelled[key] = codec.encode(self.fields(detail))
        return spelled


class Turn:
    """What became of an agent: from what it was shown as, to what it is now."""

    __slots__ = ("_spelled", "after", "agent", "before", "forgotten", "lane", "place")

    def __init__(self, lane: int, agent: str, before: Shown | None, after: Shown) -> None:
        self.lane = lane
        self.agent = agent
        self.before = before  # None: it was not there, or nobody here knows what it was
        self.after = after
        head = after.head
        self.place = Place(after.epoch, head.seq, head.at_ms)
        self.forgotten = head.kind == FORGOTTEN
        self._spelled: dict[tuple[str, str, bool], bytes] = {}

    def spelled(self, detail: str, codec: Codec, *, gone: bool) -> bytes:
        """Spell it as an entry of ``changes``."""
        key = (detail, codec.name, gone)
        spelled = self._spelled.get(key)
        if spelled is None:
            head = self.after.head
            spelled = self._spelled[key] = codec.encode(
                change_of(
                    KIND_NAMES[head.kind],
                    head.was,
                    head.at_ms,
                    self.after.fields(detail),
                    lasted_ms=head.lasted_ms,
                    gone=gone,
                )
            )
        return spelled


def conflated(turn: Turn, detail: str, *, seen: bool, gone: bool) -> dict[str, Any] | None:
    """Lay out what lies between what a watcher was last sent and what is now; None: nothing.

    ``seen``: whether the watcher has been shown the agent.
    """
    old = None if turn.before is None else turn.before.presence
    new, head = turn.after.presence, turn.after.head
    was = NONE if old is None else old.rank
    letter = FORGOTTEN if turn.forgotten else KINDS[was * 10 + new.rank]
    if letter == "=":
        if seen and not gone and old is not None and _same(old, new, detail):
            return None
        letter = "u"
    kind = KIND_NAMES[letter]
    lasted_ms = head.lasted_ms if letter == head.kind else 0
    if kind == "online" and old is not None:
        lasted_ms = (new.online_since_ms or 0) - (old.offline_since_ms or 0)
    if kind == "recovered" and turn.before is not None and letter != head.kind:
        # It recovered in a change that was conflated away, the latest that is known is this one.
        lasted_ms = head.at_ms - turn.before.head.at_ms
    fields = turn.after.fields(detail)
    return change_of(kind, was, head.at_ms, fields, lasted_ms=lasted_ms, gone=gone)


def _same(old: Presence, new: Presence, detail: str) -> bool:
    spell = DETAILS[detail]
    drop = dict.fromkeys(CLOCKS)
    return (spell(old) | drop) == (spell(new) | drop)
