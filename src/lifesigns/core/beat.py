"""One beat, as those are shown it who want to see every beat of an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack

from lifesigns.core.instant import to_text
from lifesigns.core.model import Words


class Beat(NamedTuple):
    """A sign of life of one instance, with or without news."""

    id: str  # the agent's
    instance: str
    status: str | None
    task: str | None
    context: Any
    at_ms: int
    expires_at_ms: int


def beat_of(agent: str, instance: str, words: Words, at_ms: int, ttl_ms: int) -> Beat:
    """Make one of what its instance says of itself, now or since an earlier beat."""
    status, task, context = words.status, words.task, words.context
    return Beat(agent, instance, status, task, context, at_ms, at_ms + ttl_ms)


def pack_beats(beats: Sequence[Beat]) -> bytes:
    """Pack beats for their way between hubs."""
    return bytes(msgpack.packb(beats))


def unpack_beats(packed: bytes) -> list[Beat]:
    """Unpack what another hub packed."""
    return [Beat(*fields) for fields in msgpack.unpackb(packed, strict_map_key=False)]


def spell(beat: Beat) -> dict[str, Any]:
    """Spell a beat out as an entry of ``beats``."""
    return {
        "id": beat.id,
        "instance": beat.instance,
        "status": beat.status,
        "task": beat.task,
        "context": beat.context,
        "at": to_text(beat.at_ms),
        "expires_at": to_text(beat.expires_at_ms),
    }
