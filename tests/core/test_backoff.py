"""How long is waited before trying again."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lifesigns.core.backoff import delay_s


@pytest.mark.parametrize(
    ("attempt", "ceiling_s"),
    [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (7, 30.0), (1000, 30.0), (10**6, 30.0)],
)
def test_the_ceiling_doubles_with_every_attempt_up_to_the_cap(
    attempt: int, ceiling_s: float
) -> None:
    assert delay_s(attempt, 1.0, base_s=0.5, cap_s=30.0) == ceiling_s


def test_chance_chooses_evenly_between_nothing_and_the_ceiling() -> None:
    waits = [delay_s(3, chance, base_s=1.0, cap_s=60.0) for chance in (0.0, 0.25, 0.5, 0.75)]
    assert waits == [0.0, 2.0, 4.0, 6.0]


def test_the_first_wait_is_never_over_the_cap_either() -> None:
    assert delay_s(0, 0.5, base_s=10.0, cap_s=4.0) == 2.0


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 3600), st.floats(0, 86_400))
@settings(deadline=None, database=None)
def test_a_wait_is_always_between_nothing_and_the_cap(
    attempt: int, chance: float, base_s: float, cap_s: float
) -> None:
    assert 0 <= delay_s(attempt, chance, base_s, cap_s) <= cap_s
    assert delay_s(attempt, chance, base_s, cap_s) <= delay_s(attempt + 1, chance, base_s, cap_s)


def test_a_thousand_who_lost_one_hub_do_not_return_in_one_burst() -> None:
    """Each tries until the hub is back, which takes a minute; then they come over half a minute."""
    chances = Random(7)
    returns = []
    for _ in range(1_000):
        at, attempt = 0.0, 0
        while at < 60:
            at += delay_s(attempt, chances.random(), base_s=1.0, cap_s=30.0)
            attempt += 1
        returns.append(at - 60)
    assert max(returns) <= 30
    busiest = max(Counter(int(each * 10) for each in returns).values())
    assert busiest < 30, "in a tenth of a second"
    first = Counter(int(delay_s(0, chances.random(), 1.0, 30.0) * 10) for _ in range(1_000))
    assert max(first.values()) < 150, "at once, if the hub is back at once"
