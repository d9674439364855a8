"""A look at a packed change shows what the whole of it shows."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from lifesigns.core.change import unpack_change
from lifesigns.core.glance import glance
from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, SLEEPING, STALLED, lite, present
from lifesigns.core.record import pack_words

NOW = 1_774_189_800_000
TEXTS = (None, "", "idle", "ü" * 100, "🜁", "\x00")


def packed(dice: random.Random, *, instances: int) -> bytes:
    """Pack a change as the scripts do: text has the headers of the old format."""
    rank = dice.randrange(SLEEPING + 1, AVAILABLE + 1) if instances else dice.randrange(2)
    there = [instance(dice, number) for number in range(instances)]
    override = dice.choice([False, [STALLED, "why", 0], [STALLED, "why", NOW + 1]])
    claims = [["token", "i0"]] * dice.randrange(3)
    seq, agent = dice.choice([1, 2**31, 2**53 - 1]), dice.choice(["a", "x" * 128, "a:b/c"])
    record: list[Any] = [seq, NOW, rank, NOW - 5, NOW - 9, 0, "left", "", "8" * instances]
    record += [False if there else instance(dice, 0), ["01s"], there, claims, override, 0]
    head = [seq, NOW, dice.choice("ofstru"), dice.randrange(10), agent, 3, dice.choice([0, NOW])]
    return msgpack.packb(head, use_bin_type=False) + msgpack.packb(record, use_bin_type=False)


def instance(dice: random.Random, number: int) -> list[Any]:
    words = Words(
        status=dice.choice(TEXTS),
        task=dice.choice(TEXTS),
        metadata=dice.choice([None, {"deep": [{"a": None}, -(2**63)]}]),
        capabilities=dice.choices(["search", "rank", "ü"], k=dice.randrange(5)),
        name=dice.choice(TEXTS),
        group=dice.choice(TEXTS),
        dialect=dice.choice(["pulse", "other"]),
    )
    pairs = [0, AVAILABLE, NOW + dice.choice([-1, 1]), STALLED]
    heard = dice.choice([False, 7])
    clocks = [heard, dice.randrange(9), 2, 3]
    return [f"i{number}", "01s", NOW, 1, 0, 30_000, "", pairs, *clocks, pack_words(words), 1]


@pytest.mark.parametrize("instances", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_a_glance_shows_what_the_whole_shows(seed: int, instances: int) -> None:
    dice = random.Random(seed)
    for _ in range(100):
        change = packed(dice, instances=instances)
        head, record = unpack_change(change)
        presence = present("default", head.agent, record, epoch="e1", now_ms=head.at_ms)
        glanced = glance(change, "e1")
        assert glanced == lite(presence)
        assert list(glanced) == list(lite(presence))  # equal entries are equal bytes


def test_an_agent_of_several_instances_takes_more_than_a_glance() -> None:
    """Which of them speaks is weighed by their conditions, and what they can do is joined."""
    assert glance(packed(random.Random(1), instances=2), "e1") is None
