"""Records as the store has them, made at random: for those who read what agents may be."""

from __future__ import annotations

import random
from typing import Any

import msgpack

from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY, SLEEPING, STALLED, SUSPECT
from lifesigns.core.record import pack_words

NOW = 1_774_189_800_000
TTL_MS = 30_000
TEXTS = (None, "", "idle", "ü" * 100, "🜁", "\x00")


def packed_record(dice: random.Random, *, instances: int) -> bytes:
    """Pack a record as the scripts do: text has the headers of the old format."""
    rank = dice.randrange(SLEEPING + 1, AVAILABLE + 1) if instances else dice.randrange(2)
    there = [_instance(dice, number) for number in range(instances)]
    override = dice.choice([False, [STALLED, "why", 0], [STALLED, "why", NOW + 1]])
    claims = [["token", "i0"]] * dice.randrange(3)
    seq = dice.choice([1, 2**31, 2**53 - 1])
    record: list[Any] = [seq, NOW, rank, NOW - 5, NOW - 9, 0, "left", "", "8" * instances]
    record += [False if there else _instance(dice, 0), ["01s"], there, claims, override, 0]
    return bytes(msgpack.packb(record, use_bin_type=False))


def _instance(dice: random.Random, number: int) -> list[Any]:
    words = Words(
        status=dice.choice(TEXTS),
        state=dice.choice([None, "busy"]),
        task=dice.choice(TEXTS),
        metadata=dice.choice([None, {"deep": [{"a": None}, -(2**63)]}]),
        capabilities=dice.choices(["search", "rank", "ü"], k=dice.randrange(5)),
        slots=dice.randrange(3),
        busy_until_ms=dice.choice([None, NOW + 9]),
        name=dice.choice(TEXTS),
        group=dice.choice(TEXTS),
        dialect=dice.choice(["pulse", "other"]),
    )
    pairs = [0, dice.choice([AVAILABLE, BUSY]), NOW + dice.choice([-1, 1]), STALLED]
    pairs += dice.choice([[], [0, SUSPECT]])
    heard = dice.choice([False, 7])
    clocks = [heard, dice.randrange(9), 2, 3]
    return [f"i{number}", "01s", NOW, 1, 0, TTL_MS, "", pairs, *clocks, pack_words(words), 1]
