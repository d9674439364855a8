"""Samples: taken, put together, packed, and laid out in steps."""

from __future__ import annotations

import random

import msgpack
import pytest

from lifesigns.core.instant import to_text
from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY, DRAINING, OFFLINE
from lifesigns.core.record import pack_words
from lifesigns.core.sample import (
    CANDIDATES,
    LONGEST_WORD,
    OTHER,
    WORDS,
    Look,
    Sample,
    Steps,
    join,
    pack_samples,
    parts_of,
    read_living,
    unpack_samples,
)
from lifesigns.core.tally import Numbers

DAY_MS = 86_400_000
CHANCE = random.Random(7)


def taken(at_ms: int, *statuses: str, keys: tuple[str, ...] = (), **metadata: object) -> Sample:
    look = Look(keys)
    for status in statuses:
        look.add(BUSY, Words(status=status, metadata=metadata))
    return look.end(at_ms)


def steps(
    samples: list[Sample], step_ms: int, by: str = "status", value: str | None = None
) -> list:
    made = Steps(step_ms, by, value)
    for sample in samples:
        made.add(sample)
    return made.points()


class TestLook:
    def test_a_look_counts_by_all_parts_and_adds_numbers_up(self) -> None:
        look = Look(("model", "depth"))
        look.add(BUSY, Words(status="thinking", group="eu", metadata={"model": "m", "depth": 3}))
        look.add(AVAILABLE, Words(metadata={"depth": 0.5}))
        sample = look.end(10_000)
        assert sample == Sample(
            10_000,
            1,
            2,
            {
                "state": {"available": 1, "busy": 1},
                "status": {"": 1, "thinking": 1},
                "dialect": {"pulse": 2},
                "group": {"": 1, "eu": 1},
                "metadata.model": {"": 1, "m": 1},
                "metadata.depth": {"0.5": 1, "3": 1},
            },
            {"model": Numbers(), "depth": Numbers(2, 3.5, 0.5, 3)},
        )

    def test_the_most_frequent_words_stand_and_all_others_are_one(self) -> None:
        look = Look(())
        for number in range(WORDS + 5):
            for _ in range(number + 1):
                look.add(BUSY, Words(status=f"s{number}"))
        counts = look.end(0).counts["status"]
        assert len(counts) == WORDS + 1
        assert counts[f"s{WORDS + 4}"] == WORDS + 5
        assert counts[OTHER] == 1 + 2 + 3 + 4 + 5
        assert "s4" not in counts
        assert "s5" in counts

    def test_hostile_words_take_bounded_room(self) -> None:
        look = Look(())
        for number in range(CANDIDATES + 100):
            look.add(BUSY, Words(status=f"s{number}"))
        assert len(look.counts["status"]) == CANDIDATES + 1
        look.add(BUSY, Words(group="g" * 5_000))
        sample = look.end(0)
        assert sum(sample.counts["status"].values()) == sample.total == CANDIDATES + 101
        assert max(map(len, sample.counts["group"])) == LONGEST_WORD

    def test_an_agent_whose_word_is_other_is_one_of_the_others(self) -> None:
        assert taken(0, "other", "idle").counts["status"] == {"idle": 1, OTHER: 1}


def packed(rank: int, *instances: tuple[int, int, Words]) -> bytes:
    """Pack a record as the scripts do; an instance: its rank, when it spoke, its words."""
    standing = [
        ["i", "s", 0, 1, 0, 1_000, "", [0, own], 0, said, 0, 0, pack_words(words), words.slots]
        for own, said, words in instances
    ]
    last = standing.pop() if rank == OFFLINE else False
    record = [7, 5, rank, 1, 1, 0, "", "", "", last, {}, standing, [], False, 0]
    return bytes(msgpack.packb(record))


class TestReadLiving:
    def test_a_living_agent_has_a_rank_and_words(self) -> None:
        words = Words(status="thinking", metadata={"depth": 3})
        rank, read = read_living(packed(BUSY, (BUSY, 1, words)), 9) or (0, Words())
        assert (rank, read.status, read.metadata) == (BUSY, "thinking", {"depth": 3})

    def test_of_several_instances_the_best_one_speaks_the_newest_on_a_tie(self) -> None:
        record = packed(
            BUSY,
            (DRAINING, 9, Words(status="bad")),
            (BUSY, 3, Words(status="new")),
            (BUSY, 2, Words(status="old")),
        )
        rank, read = read_living(record, 10) or (0, Words())
        assert (rank, read.status) == (BUSY, "new")

    @pytest.mark.parametrize(
        "record",
        [packed(OFFLINE, (OFFLINE, 1, Words())), b"", b"\xc1", b"\x93\x01\x02\x03", b"\xc0"],
    )
    def test_the_dead_and_the_damaged_are_nobody(self, record: bytes) -> None:
        assert read_living(record, 9) is None


class TestJoin:
    def test_samples_joined_in_any_order_are_the_same(self) -> None:
        some = [taken(n * 10_000, *CHANCE.choices("abc", k=5), keys=("n",), n=n) for n in range(6)]
        whole = join(some, 0)
        parts = join([join(some[3:], 0), join(some[:3], 0)], 0)
        assert whole == parts
        assert (whole.looks, whole.total) == (6, 30)
        assert whole.numbers["n"] == Numbers(30, sum(5 * n for n in range(6)), 0, 5)

    def test_what_not_all_have_counted_is_left_out(self) -> None:
        """A setting was altered between them: half of it would be shown as a fall."""
        joined = join([taken(0, "a"), taken(1, "a", keys=("k",), k=1)], 0)
        assert set(joined.counts) == set(parts_of(()))
        assert joined.numbers == {}
        back = join([taken(0, "a", keys=("k",), k=1), taken(1, "a")], 0)
        assert set(back.counts) == set(parts_of(()))


class TestPacked:
    def test_what_was_packed_is_unpacked(self) -> None:
        samples = [taken(n * 10_000, "a", "b", keys=("k",), k=n / 2) for n in range(30)]
        assert unpack_samples(pack_samples(samples)) == samples

    def test_sums_of_the_largest_numbers_are_packed_too(self) -> None:
        (sample,) = unpack_samples(pack_samples([taken(0, "a", "b", keys=("k",), k=2**63 - 1)]))
        assert sample.numbers["k"] == Numbers(2, float(2**64), 2**63 - 1, 2**63 - 1)

    def test_neighbours_of_the_same_words_cost_little(self) -> None:
        words = [f"status-{number}" for number in range(10)]
        some = [taken(n * 10_000, *CHANCE.choices(words, k=200)) for n in range(30)]
        assert len(pack_samples(some)) < 30 * 100

    @pytest.mark.parametrize("bad", [b"", b"x", pack_samples([])[:-1]])
    def test_what_is_none_is_refused(self, bad: bytes) -> None:
        with pytest.raises(ValueError, match="no samples"):
            unpack_samples(bad)


class TestSteps:
    def test_a_step_shows_the_average_of_its_looks(self) -> None:
        points = steps([taken(0, "a", "a"), taken(10_000, "a", "b", "b", "b")], 60_000)
        assert points == [{"at": to_text(0), "total": 3, "counts": {"a": 1.5, "b": 1.5}}]

    def test_the_finest_step_shows_what_was_found(self) -> None:
        samples = [taken(0, "a"), taken(10_000), taken(20_000, "b")]
        assert steps(samples, 10_000) == [
            {"at": to_text(0), "total": 1, "counts": {"a": 1}},
            {"at": to_text(10_000), "total": 0, "counts": {}},
            {"at": to_text(20_000), "total": 1, "counts": {"b": 1}},
        ]

    def test_a_gap_is_a_gap(self) -> None:
        samples = [taken(0, "a"), taken(DAY_MS, "a")]
        assert [point["at"] for point in steps(samples, 60_000)] == [to_text(0), to_text(DAY_MS)]
        assert steps([], 60_000) == []

    def test_a_joined_sample_weighs_what_its_looks_do(self) -> None:
        five = join([taken(n, "a", "a") for n in range(5)], 0)
        (point,) = steps([five, taken(10_000)], 60_000)
        assert point["total"] == pytest.approx(10 / 6, abs=0.001)

    def test_numbers_are_averages_with_their_bounds(self) -> None:
        samples = [taken(n * 10_000, "a", "b", keys=("q",), q=n) for n in range(3)]
        (point,) = steps(samples, 60_000, "state", "q")
        assert point["value"] == {"sum": 2, "avg": 1, "min": 0, "max": 2, "n": 2}

    def test_a_sample_that_did_not_count_what_is_asked_for_says_nothing(self) -> None:
        samples = [taken(0, "a"), taken(10_000, "a", keys=("k",), k="v")]
        assert steps(samples, 60_000, "metadata.k") == [
            {"at": to_text(0), "total": 1, "counts": {"v": 1}}
        ]
        assert steps(samples[:1], 60_000, "state", "k") == []
