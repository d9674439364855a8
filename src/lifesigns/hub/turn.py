"""One change on its way to the watchers: unpacked once, spelled once for each detail and codec."""

from __future__ import annotations

from typing import Any

from lifesigns.core.change import FORGOTTEN, Head, tip_of, unpack_change
from lifesigns.core.codec import Codec
from lifesigns.core.instant import to_text
from lifesigns.core.model import Presence
from lifesigns.core.presence import DETAILS, KIND_NAMES, KINDS, NONE, STATES, present

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
            self._unpack()
        assert self._head is not None
        return self._head

    @property
    def presence(self) -> Presence:
        if self._presence is None:
            self._unpack()
        assert self._presence is not None
        return self._presence

    def spelled(self, detail: str, codec: Codec) -> bytes:
        """Spell it as an entry of a snapshot."""
        if self._spelled is None:
            self._spelled = {}
        key = (detail, codec.name)
        spelled = self._spelled.get(key)
        if spelled is None:
            spelled = self._spelled[key] = codec.encode(DETAILS[detail](self.presence))
        return spelled

    def _unpack(self) -> None:
        head, record = unpack_change(self.packed)
        self._head = head
        self._presence = present(
            self.project, head.agent, record, epoch=self.epoch, now_ms=head.at_ms
        )


class Turn:
    """What became of an agent: from what it was shown as, to what it is now."""

    __slots__ = ("_spelled", "after", "agent", "at_ms", "before", "forgotten", "lane", "seq")

    def __init__(self, lane: int, agent: str, before: Shown | None, after: Shown) -> None:
        self.lane = lane
        self.agent = agent
        self.before = before  # None: it was not there, or nobody here knows what it was
        self.after = after
        self.seq, self.at_ms = tip_of(after.packed)
        self.forgotten = after.head.kind == FORGOTTEN
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
                    self.after.presence,
                    detail,
                    lasted_ms=head.lasted_ms,
                    gone=gone,
                )
            )
        return spelled


def change_of(
    kind: str,
    was: int,
    at_ms: int,
    presence: Presence,
    detail: str,
    *,
    lasted_ms: int,
    gone: bool,
) -> dict[str, Any]:
    """Lay out one change as watchers see it."""
    change = {
        "kind": kind,
        "at": to_text(at_ms),
        "was": None if was == NONE else STATES[was],
        **DETAILS[detail](presence),
    }
    if kind == "online":
        change["downtime_ms"] = lasted_ms or None
    if kind == "recovered":
        change["for_ms"] = lasted_ms
    if gone:
        change["gone"] = True
    return change


def conflated(
    before: Shown | None, after: Shown, detail: str, *, seen: bool, gone: bool
) -> dict[str, Any] | None:
    """Lay out what lies between what a watcher was last sent and what is now; None: nothing.

    ``seen``: whether the watcher has been shown the agent.
    """
    old = before.presence if before is not None else None
    new = after.presence
    was = old.rank if old is not None else NONE
    if after.head.kind == FORGOTTEN:
        kind = "forgotten"
    else:
        letter = KINDS[was * 10 + new.rank]
        if letter == "=":
            if seen and not gone and old is not None and _same(old, new, detail):
                return None
            letter = "u"
        kind = KIND_NAMES[letter]
    lasted_ms = 0
    if kind == "online" and old is not None and old.offline_since_ms:
        lasted_ms = max(0, (new.online_since_ms or 0) - old.offline_since_ms)
    if kind == "recovered":
        lasted_ms = after.head.lasted_ms
    return change_of(kind, was, after.head.at_ms, new, detail, lasted_ms=lasted_ms, gone=gone)


def _same(old: Presence, new: Presence, detail: str) -> bool:
    spell = DETAILS[detail]
    drop = dict.fromkeys(CLOCKS)
    return (spell(old) | drop) == (spell(new) | drop)
