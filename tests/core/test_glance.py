"""A look at a packed change shows what the whole of it shows."""

from __future__ import annotations

import random

import msgpack
import pytest

from lifesigns.core.change import unpack_change
from lifesigns.core.glance import glance
from lifesigns.core.presence import lite, present
from tests.core.cask import NOW, packed_record


def packed(dice: random.Random, *, instances: int) -> bytes:
    """Pack a change as the scripts do: text has the headers of the old format."""
    seq, agent = dice.choice([1, 2**31, 2**53 - 1]), dice.choice(["a", "x" * 128, "a:b/c"])
    head = [seq, NOW, dice.choice("ofstru"), dice.randrange(10), agent, 3, dice.choice([0, NOW])]
    return msgpack.packb(head, use_bin_type=False) + packed_record(dice, instances=instances)


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
