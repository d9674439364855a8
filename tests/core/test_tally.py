"""Counting by a part, and adding numbers up."""

from __future__ import annotations

import pytest

from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE
from lifesigns.core.tally import Numbers, mean, number_of, part_of


@pytest.mark.parametrize(
    ("by", "part"),
    [
        ("state", "available"),
        ("status", "thinking"),
        ("group", ""),
        ("dialect", "pulse"),
        ("metadata.model", "m"),
        ("metadata.on", "true"),
        ("metadata.list", "[1]"),
        ("metadata.nothing", ""),
    ],
)
def test_an_agent_falls_in_a_heap_by_what_it_says(by: str, part: str) -> None:
    words = Words(status="thinking", metadata={"model": "m", "on": True, "list": [1]})
    assert part_of(AVAILABLE, words, by) == part


@pytest.mark.parametrize(("value", "number"), [(3, 3), (-0.5, -0.5), ("3", None), (True, None)])
def test_only_numbers_are_numbers(value: object, number: float | None) -> None:
    assert number_of(Words(metadata={"k": value}), "k") == number
    assert number_of(Words(), "k") is None


def test_numbers_are_added_up_in_any_order() -> None:
    some, others = Numbers(), Numbers()
    for number in (3, -1):
        some.add(number)
    others.add(10)
    others.join(some)
    assert others.spell() == {"sum": 12, "avg": 4, "min": -1, "max": 10, "n": 3}
    assert Numbers().spell() == {"sum": 0, "avg": None, "min": None, "max": None, "n": 0}


def test_of_several_looks_the_average_is_told() -> None:
    numbers = Numbers(n=3, total=10, least=1, most=6)
    assert numbers.spell(2) == {"sum": 5, "avg": 10 / 3, "min": 1, "max": 6, "n": 1.5}
    assert (mean(7, 1), mean(7, 3), mean(9, 3)) == (7, 2.333, 3)
