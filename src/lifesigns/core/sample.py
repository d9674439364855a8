"""What a fleet looked like at a moment, and several such looks put together.

A sample holds the sums of one look or of many, by each part, so that samples may be joined in any
order and at any step; what is shown is the average of the looks. Of a part only the most frequent
words stand by themselves. Times are aligned: a sample is of the step in which it was taken. Knows
no clock, and where samples are kept is no business of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from lifesigns.core.instant import to_text
from lifesigns.core.model import Words
from lifesigns.core.presence import SLEEPING, present
from lifesigns.core.record import unpack_record, unpack_words
from lifesigns.core.tally import METADATA, Numbers, mean, number_of, part_of

SAMPLED = ("state", "status", "dialect", "group")  # and keys of the metadata, by a setting
KEYS = 8
OTHER = "other"
WORDS = 16  # of a part that stand by themselves: more than that no chart can tell apart
LONGEST_WORD = 128
_EXACT = 2**53
CANDIDATES = 4_096  # words that are counted, so that hostile ones take bounded room


class Sample(NamedTuple):
    """One look at a fleet, or several."""

    at_ms: int
    looks: int
    total: int
    counts: dict[str, dict[str, int]]
    numbers: dict[str, Numbers]


def read_living(packed: bytes, now_ms: int) -> tuple[int, Words] | None:
    """Take what a sample needs from a packed record; None if nobody is there.

    A record that cannot be read is the sweep's to find; here it counts as nobody.
    """
    try:
        return _read_living(packed, now_ms)
    except (ValueError, LookupError, TypeError):
        return None


def _read_living(packed: bytes, now_ms: int) -> tuple[int, Words] | None:
    record = msgpack.unpackb(packed, raw=True, strict_map_key=False)
    rank, instances = record[2], record[11]
    if rank <= SLEEPING:
        return None
    if len(instances) == 1:
        return rank, unpack_words(instances[0][12])
    presence = present("", "", unpack_record(packed), epoch="", now_ms=now_ms)
    return rank, presence.words


@dataclass(slots=True)
class Look:
    """A look at a fleet that is being taken."""

    keys: Sequence[str]
    total: int = 0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = {part: {} for part in parts_of(self.keys)}
        self.numbers = {key: Numbers() for key in self.keys}

    def add(self, rank: int, words: Words) -> None:
        """Count an agent that is alive."""
        self.total += 1
        for part, counts in self.counts.items():
            word = part_of(rank, words, part)
            if len(word) > LONGEST_WORD:
                word = word[: LONGEST_WORD - 1] + "…"
            if word not in counts and len(counts) >= CANDIDATES:
                word = OTHER
            counts[word] = counts.get(word, 0) + 1
        for key, numbers in self.numbers.items():
            if (number := number_of(words, key)) is not None:
                numbers.add(number)

    def end(self, at_ms: int) -> Sample:
        """Make a sample of it."""
        counts = {part: _shortened(counts) for part, counts in self.counts.items()}
        return Sample(at_ms, 1, self.total, counts, self.numbers)


def parts_of(keys: Iterable[str]) -> tuple[str, ...]:
    """Name all parts by which a sample counts."""
    return (*SAMPLED, *(METADATA + key for key in keys))


def join(samples: Sequence[Sample], at_ms: int) -> Sample:
    """Put samples together; what not all of them have counted is left out."""
    counts: dict[str, dict[str, int]] = {}
    for part in samples[0].counts:
        if all(part in sample.counts for sample in samples):
            counts[part] = _shortened(_added(sample.counts[part] for sample in samples))
    numbers: dict[str, Numbers] = {}
    for key in samples[0].numbers:
        if all(key in sample.numbers for sample in samples):
            numbers[key] = Numbers()
            for sample in samples:
                numbers[key].join(sample.numbers[key])
    looks, total = (sum(each) for each in zip(*[(s.looks, s.total) for s in samples], strict=True))
    return Sample(at_ms, looks, total, counts, numbers)


class Steps:
    """Samples, in the order of their times, on their way to the points of a chart."""

    def __init__(self, step_ms: int, by: str, value: str | None) -> None:
        self._step_ms = step_ms
        self._by = by
        self._value = value
        self._at_ms = -1
        self._samples: list[Sample] = []
        self._points: list[dict[str, Any]] = []

    def add(self, sample: Sample) -> None:
        """Take the next sample; one that did not count what is asked for says nothing."""
        if self._by not in sample.counts or (self._value and self._value not in sample.numbers):
            return
        at_ms = sample.at_ms - sample.at_ms % self._step_ms
        if at_ms != self._at_ms:
            self._close()
            self._at_ms = at_ms
        self._samples.append(sample)

    def points(self) -> list[dict[str, Any]]:
        """Answer a point for every step in which somebody looked; nothing stands for the others."""
        self._close()
        return self._points

    def _close(self) -> None:
        if not self._samples:
            return
        samples, self._samples = self._samples, []
        looks = sum(sample.looks for sample in samples)
        counts = _shortened(_added(sample.counts[self._by] for sample in samples))
        point: dict[str, Any] = {
            "at": to_text(self._at_ms),
            "total": mean(sum(sample.total for sample in samples), looks),
            "counts": {word: mean(count, looks) for word, count in counts.items()},
        }
        if self._value:
            numbers = Numbers()
            for sample in samples:
                numbers.join(sample.numbers[self._value])
            point["value"] = numbers.spell(looks)
        self._points.append(point)


# As they are kept: many samples of the same words take little more room than one.


def pack_samples(samples: Iterable[Sample]) -> bytes:
    """Pack samples that are near to each other."""
    packed = [
        (
            sample.at_ms,
            sample.looks,
            sample.total,
            sample.counts,
            {key: (n.n, _narrow(n.total), n.least, n.most) for key, n in sample.numbers.items()},
        )
        for sample in samples
    ]
    return zlib.compress(msgpack.packb(packed))


def unpack_samples(packed: bytes) -> list[Sample]:
    """Unpack them; ValueError if it is not that."""
    try:
        return [
            Sample(at_ms, looks, total, counts, {key: Numbers(*n) for key, n in numbers.items()})
            # What a newer hub adds is left out.
            for at_ms, looks, total, counts, numbers, *_ in msgpack.unpackb(zlib.decompress(packed))
        ]
    except (zlib.error, TypeError, AttributeError) as error:
        raise ValueError("no samples") from error


def _narrow(total: float) -> float:
    """Whole numbers of 64 bits may add up to one that has more, which nothing packs."""
    return total if -_EXACT <= total <= _EXACT else float(total)


def _added(each: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in each:
        for word, count in counts.items():
            total[word] = total.get(word, 0) + count
    return total


def _shortened(counts: dict[str, int]) -> dict[str, int]:
    """Keep the most frequent words, in an order that is the same for the same words."""
    others = counts.pop(OTHER, 0)
    ranking = sorted(counts, key=lambda word: (-counts[word], word))
    kept = {word: counts[word] for word in sorted(ranking[:WORDS])}
    others += sum(counts[word] for word in ranking[WORDS:])
    return kept | {OTHER: others} if others else kept
