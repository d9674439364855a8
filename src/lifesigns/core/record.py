"""The packed record of an agent, to and from the values of the core.

The layout is the one that opens ``lua/prelude.lua``. An instance's words are a blob of its own in
it, which the scripts carry and compare but never open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from lifesigns.core.model import Instance, Override, Record, Words, same

_FIELDS = len(Words._fields)
_HIDDEN = frozenset({"state", "progress_ttl_ms"})


def pack_words(words: Words) -> bytes:
    """Pack what an instance says of itself; equal words give equal bytes."""
    return bytes(msgpack.packb(words))


def unpack_words(blob: bytes) -> Words:
    """Unpack what an instance said of itself."""
    # Fields of a newer hub are left out, those that an older one did not have are the defaults.
    return Words(*msgpack.unpackb(blob)[:_FIELDS])


def same_words(some: Words, others: Words) -> bool:
    """Tell whether words say the same, in whatever order their maps are."""
    return all(map(_alike, some, others))


def look_alike(some: Words, others: Words) -> bool:
    """Tell whether words show the same: what follows from a hint or a deadline is told as a state.

    But for one hint: who says that it is busy has no free slots.
    """
    if some.state != others.state and "busy" in (some.state, others.state):
        return False
    fields = zip(Words._fields, some, others, strict=True)
    return all(name in _HIDDEN or _alike(a, b) for name, a, b in fields)


def _alike(a: Any, b: Any) -> bool:
    return same(list(a) if isinstance(a, tuple) else a, list(b) if isinstance(b, tuple) else b)


def unpack_record(
    packed: bytes,
    leases: Sequence[bytes | None] = (),
    *,
    now_ms: int = 0,
    gap_ms: int = 0,
    stopped_ms: int = 0,
    told_ms: int | None = None,
) -> Record:
    """Unpack a record, with the ends of its instances' leases in their order.

    Before ``stopped_ms`` no lease is ended, nor one full ttl after ``gap_ms``.
    ``told_ms`` is what a change says of the lease that it is about; then the others are reckoned.
    """
    fields = msgpack.unpackb(packed, raw=True, strict_map_key=False)
    seq, at, rank, since, up, down, why, text, _, last, _, instances, claims, override, freed = (
        fields[:15]
    )
    rest = fields[15] if len(fields) > 15 else None
    standing = []
    for i, each in enumerate(instances):
        lease = leases[i] if i < len(leases) else None
        standing.append(_instance(each, lease, now_ms, gap_ms, stopped_ms, told_ms))
    return Record(
        seq,
        at,
        rank,
        since,
        up,
        down,
        why.decode(),
        text.decode(),
        _instance(last) if last else None,
        tuple(standing),
        tuple([(token.decode(), instance.decode()) for token, instance in claims]),
        _override(*override) if override else None,
        freed,
        int(rest[0]) if rest else 0,
    )


def _override(rank: int, why: bytes, until_ms: int) -> Override:
    return Override(rank, why.decode(), until_ms or None)


def _instance(
    fields: list[Any],
    lease: bytes | None = None,
    now_ms: int = 0,
    gap_ms: int = 0,
    stopped_ms: int = 0,
    told_ms: int | None = None,
) -> Instance:
    name, session, start, n, rev, ttl, why, pairs, heard, said, progressed, worded, blob, _ = fields
    heard_ms = None if heard is False else start + heard
    lease_ms, held = None, False
    if lease is not None:
        ends = float(lease)
        lease_ms = int(ends)
        held = lease_ms <= now_ms < max(gap_ms + ttl, stopped_ms)
        if heard_ms is not None and ends % 1 == 0.5:  # the sweep holds it on, beyond what it had
            lease_ms, held = heard_ms + ttl, True
        elif heard_ms is not None and ends % 1 == 0 and heard_ms < lease_ms - ttl:
            heard_ms = None  # it was noted for a lease that was renewed since
    elif told_ms is not None:
        lease_ms = max(start + said + ttl, told_ms)
    return Instance(
        name.decode(),
        session.decode(),
        start,
        n,
        rev,
        ttl,
        why.decode(),
        tuple(zip(pairs[::2], pairs[1::2], strict=True)),
        heard_ms,
        start + said,
        start + progressed,
        start + worded,
        unpack_words(blob),
        lease_ms,
        held,
    )
