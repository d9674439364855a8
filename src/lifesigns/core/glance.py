"""The few fields of a long list, taken from a packed change without unpacking the rest.

A snapshot of a hundred thousand agents is mostly agents of one instance, and of these nothing has
to be weighed: what the instance says is what the agent says. Whoever is more than that is left to
``present`` and ``lite``, to which a test holds every field of this.
"""

from __future__ import annotations

from typing import Any

import msgpack

from lifesigns.core.presence import SLEEPING, STATES
from lifesigns.core.record import unpack_words

_PAIR = b"\x92"  # a change is two values one after the other: with this before them they are one


def glance(packed: bytes, epoch: str) -> dict[str, Any] | None:
    """Spell out what ``lite`` shows of a change; None if it takes more than a look."""
    head, record = msgpack.unpackb(_PAIR + packed, raw=True)
    seq, _, rank, *_ = record
    last, instances = record[9], record[11]
    if len(instances) > 1:
        return None
    words = unpack_words((instances[0] if instances else last)[12])
    return {
        "id": head[4].decode(),
        "name": words.name,
        "state": STATES[rank],
        "status": words.status,
        "dialect": words.dialect,
        "group": words.group,
        "capabilities": list(dict.fromkeys(words.capabilities)),
        "alive": rank > SLEEPING,
        "epoch": epoch,
        "seq": seq,
    }
