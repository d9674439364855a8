"""What became of one agent: its last changes, and how much of the time it was there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgpack

from lifesigns.core.instant import to_text
from lifesigns.core.model import Words
from lifesigns.core.presence import KIND_NAMES, NONE, STATES
from lifesigns.core.record import unpack_words

DAY_MS = 86_400_000
WINDOW_MS = 90 * DAY_MS


class Passage(NamedTuple):
    """One change, as it is kept."""

    epoch: str
    seq: int
    at_ms: int
    kind: str
    was: int
    lasted_ms: int
    rank: int
    why: str
    text: str
    words: Words


class Life(NamedTuple):
    """From when to when an agent was alive."""

    up_ms: int
    down_ms: int


def unpack_passage(packed: bytes) -> Passage:
    """Read a change that was kept."""
    fields = msgpack.unpackb(packed, raw=True)
    epoch, seq, at, kind, was, lasted, rank, why, text, blob = fields
    return Passage(
        epoch.decode(),
        seq,
        at,
        kind.decode(),
        was,
        lasted,
        rank,
        why.decode(),
        text.decode(),
        unpack_words(blob) if blob else Words(),
    )


def spell(passage: Passage) -> dict[str, Any]:
    """Spell out a change of the past."""
    words = passage.words
    told: dict[str, Any] = {
        "kind": KIND_NAMES[passage.kind],
        "at": to_text(passage.at_ms),
        "was": None if passage.was == NONE else STATES[passage.was],
        "state": STATES[passage.rank],
        "status": words.status,
        "task": words.task,
        "progress": words.progress,
        "context": words.context,
        "reason": passage.why or None,
        "reason_text": passage.text or None,
        "epoch": passage.epoch,
        "seq": passage.seq,
    }
    if passage.kind == "o":
        told["downtime_ms"] = passage.lasted_ms or None
    if passage.kind == "r":
        told["for_ms"] = passage.lasted_ms
    return told


class Uptime(NamedTuple):
    """How much of a time an agent was there."""

    share: float
    window_ms: int
    flaps: int  # how often it went
    days: list[tuple[str, float]]


def uptime(lives: Sequence[Life], alive_since_ms: int | None, now_ms: int) -> Uptime:
    """Reckon from when an agent was first seen, at most 90 days ago."""
    spans = [*lives, *([Life(alive_since_ms, now_ms)] if alive_since_ms is not None else [])]
    if not spans:
        return Uptime(0.0, 0, 0, [])
    first_ms = min(life.up_ms for life in spans)
    start_ms = min(now_ms, max(first_ms, now_ms - WINDOW_MS))  # a clock may have gone back
    days = []
    day_ms = start_ms - start_ms % DAY_MS
    while day_ms < now_ms:
        begin, end = max(day_ms, start_ms), min(day_ms + DAY_MS, now_ms)
        date = datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()
        days.append((date, _share(spans, begin, end)))
        day_ms += DAY_MS
    flaps = sum(1 for life in lives if life.down_ms >= start_ms)
    return Uptime(_share(spans, start_ms, now_ms), now_ms - start_ms, flaps, days)


def _share(spans: Sequence[Life], begin_ms: int, end_ms: int) -> float:
    if end_ms <= begin_ms:
        return 1.0 if any(life.down_ms >= end_ms for life in spans) else 0.0
    alive = sum(max(0, min(s.down_ms, end_ms) - max(s.up_ms, begin_ms)) for s in spans)
    return round(min(1.0, alive / (end_ms - begin_ms)), 6)
