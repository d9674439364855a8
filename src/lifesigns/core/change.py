"""A change as the store numbers, logs and publishes it: a small head, then the packed record.

The bytes are kept as they came, in rosters too: what is not asked for is never unpacked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from lifesigns.core.instant import to_text
from lifesigns.core.model import Record
from lifesigns.core.presence import NONE, STATES
from lifesigns.core.record import unpack_record

FORGOTTEN = "g"


class Head(NamedTuple):
    """What stands before the record."""

    seq: int
    at_ms: int
    kind: str
    was: int
    agent: str
    lasted_ms: int
    ends_ms: int  # of the lease that the change is about; 0: it says nothing of one


class Place(NamedTuple):
    """A place in a lane's history: all changes up to ``seq`` are known."""

    epoch: str
    seq: int
    at_ms: int


class Change(NamedTuple):
    """A change and its record."""

    head: Head
    record: Record


def head_of(packed: bytes) -> Head:
    """Read a change's head alone."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(packed[:HEAD_BYTES])
    return Head._make(unpacker.unpack())


def unpack_change(packed: bytes) -> Change:
    """Read a change whole."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(packed[:HEAD_BYTES])
    head = Head._make(unpacker.unpack())
    return Change(head, unpack_record(packed[unpacker.tell() :], told_ms=head.ends_ms))


def tip_of(packed: bytes) -> tuple[int, int]:
    """Read of a change only its number and its time."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(packed[:32])
    unpacker.read_array_header()
    return unpacker.unpack(), unpacker.unpack()


def rank_of(packed: bytes) -> int:
    """Read of a change only the rank after it."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(packed[: HEAD_BYTES + 32])
    unpacker.skip()
    unpacker.read_array_header()
    unpacker.skip()
    unpacker.skip()
    rank: int = unpacker.unpack()
    return rank


def pack_snapshot(agent: str, record: bytes, ends_ms: int) -> bytes:
    """Put a head before a record that was read and not told."""
    seq, at_ms = tip_of(record)  # a record begins with the same two
    return bytes(msgpack.packb(Head(seq, at_ms, "", 0, agent, 0, ends_ms))) + record


def change_of(
    kind: str,
    was: int,
    at_ms: int,
    fields: dict[str, Any],
    *,
    lasted_ms: int,
    gone: bool,
) -> dict[str, Any]:
    """Lay out one change as watchers see it."""
    change = {
        "kind": kind,
        "at": to_text(at_ms),
        "was": None if was == NONE else STATES[was],
        **fields,
    }
    if kind == "online":
        change["downtime_ms"] = lasted_ms or None
    if kind == "recovered":
        change["for_ms"] = lasted_ms
    if gone:
        change["gone"] = True
    return change


# An id of 128 characters, four numbers of nine bytes, and what surrounds them.
HEAD_BYTES = 192
