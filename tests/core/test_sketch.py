"""A sketch shows what the whole record shows, or leaves it to that; encoded it is the same, too."""

from __future__ import annotations

import random

import pytest

from lifesigns.core.codec import CODECS, Codec
from lifesigns.core.evidence import Check, Heard, checked, encoded, hear, judge
from lifesigns.core.model import Presence
from lifesigns.core.presence import DETAILS, present
from lifesigns.core.record import unpack_record
from lifesigns.core.sketch import Sketch
from tests.core.cask import NOW, TTL_MS, packed_record

Leases = list[bytes | None]


def whole(packed: bytes, leases: Leases, now_ms: int) -> Presence:
    """Show an agent by unpacking all of it; a gap that is just over holds leases that ran out."""
    record = unpack_record(packed, leases, now_ms=now_ms, gap_ms=now_ms - TTL_MS + 1)
    return present("default", "a", record, epoch="e1", now_ms=now_ms)


def sketched(packed: bytes, made_ms: int = NOW) -> Sketch:
    return Sketch("default", "a", packed, "e1", made_ms)


def lease(dice: random.Random) -> bytes | None:
    """One that runs, nearly always."""
    ends_ms = NOW + dice.choice([2, 7, 8, TTL_MS + 6, TTL_MS + 7, TTL_MS + 8])
    odd: list[bytes | None] = [None, b"%d" % NOW, b"%d" % (NOW - 1)]
    odd += [b"%d.5" % ends_ms, b"%d.25" % ends_ms]
    return dice.choice(odd) if dice.random() < 0.05 else b"%d" % ends_ms


@pytest.mark.parametrize("instances", [0, 1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_sketch_shows_what_the_whole_shows(seed: int, instances: int) -> None:
    dice = random.Random(seed)
    shown = 0
    for _ in range(100):
        packed = packed_record(dice, instances=instances)
        sketch = sketched(packed)
        for now_ms in (NOW, NOW + 1, NOW + 5, NOW - 1):
            leases = [lease(dice) for _ in range(instances)]
            presence = sketch.at(leases, now_ms)
            if presence is not None:
                shown += 1
                assert presence == whole(packed, leases, now_ms)
    assert shown > 80, "in doubt it is left to the whole, but not always"


@pytest.mark.parametrize("odd", [None, b"%d" % NOW, b"%d.5" % (NOW + 9), b"%d.25" % (NOW + 9)])
def test_a_lease_that_tells_nothing_leaves_it_in_doubt(odd: bytes | None) -> None:
    sketch = sketched(packed_record(random.Random(1), instances=2))
    sound = b"%d" % (NOW + 9)
    assert sketch.at([sound, sound], NOW) is not None
    assert sketch.at([sound, odd], NOW) is None


def test_a_sketch_serves_until_time_alone_alters_what_is_shown() -> None:
    """Half of these stall one ms later, or are no longer overridden."""
    dice = random.Random(2)
    served = set()
    for _ in range(40):
        sketch = sketched(packed_record(dice, instances=1))
        leases: Leases = [b"%d" % (NOW + 9)]
        assert sketch.at(leases, NOW) is not None
        assert sketch.at(leases, NOW - 1) is None, "it was made later"
        served.add(sketch.at(leases, NOW + 1) is not None)
    assert served == {True, False}


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
@pytest.mark.parametrize("detail", DETAILS)
@pytest.mark.parametrize("instances", [0, 1, 2])
def test_encoded_it_is_what_is_spelled_out(codec: Codec, detail: str, instances: int) -> None:
    dice = random.Random(3)
    for _ in range(60):
        sketch = sketched(packed_record(dice, instances=instances))
        for now_ms in (NOW, NOW):  # the second time it is encoded already
            leases: Leases = [b"%d" % (NOW + dice.randrange(1, TTL_MS)) for _ in range(instances)]
            presence = sketch.at(leases, now_ms)
            assert presence is not None
            if dice.random() < 0.5:
                presence = hear(presence, Heard("01s", NOW), now_ms)
            check = judge("a", presence, now_ms=now_ms, within_ms=9, sketch=sketch)
            check = check._replace(probed=dice.choice([None, "answered"]))
            pairs = [encoded(check, detail, codec)]
            message = codec.decode(codec.with_map({"type": "checked"}, "agents", pairs))
            assert message["agents"] == {"a": checked(check, detail)}


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_who_was_never_seen_is_encoded_all_the_same(codec: Codec) -> None:
    check = Check("ghost", None, None, 0, True)
    pairs = [encoded(check, "full", codec)]
    message = codec.decode(codec.with_map({"type": "checked"}, "agents", pairs))
    assert message["agents"] == {"ghost": checked(check)}
