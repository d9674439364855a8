"""Cron patterns as people write them."""

from __future__ import annotations

from datetime import date

import pytest

from lifesigns.core.cron import read_cron
from lifesigns.core.errors import BadValue


@pytest.mark.parametrize(
    ("pattern", "times"),
    [
        ("0 9 * * 1", (540,)),
        ("*/20 0 * * *", (0, 20, 40)),
        ("5-20/5,59 1 * * *", (65, 70, 75, 80, 119)),
        ("50/4 0 * * *", (50, 54, 58)),
        ("0 22-23,0 * * *", (0, 1320, 1380)),
        ("  07   08 * * * ", (487,)),
    ],
)
def test_a_pattern_names_the_minutes_of_a_day(pattern: str, times: tuple[int, ...]) -> None:
    assert read_cron(pattern).times == times


@pytest.mark.parametrize(
    ("pattern", "day", "is_one"),
    [
        ("0 0 * * *", "2026-03-22", True),
        ("0 0 * * 0", "2026-03-22", True),  # a Sunday
        ("0 0 * * 7", "2026-03-22", True),
        ("0 0 * * SUN", "2026-03-22", True),
        ("0 0 * * 1-5", "2026-03-22", False),
        ("0 0 * * fri-6", "2026-03-21", True),
        ("0 0 22 * *", "2026-03-22", True),
        ("0 0 * Mar *", "2026-03-22", True),
        ("0 0 * 4 *", "2026-03-22", False),
        ("0 0 1 * sun", "2026-03-22", True),  # either kind of day will do
        ("0 0 22 * mon", "2026-03-22", True),
        ("0 0 1 * mon", "2026-03-22", False),
        ("0 0 */2 * sun", "2026-03-22", False),  # a star restricts no kind of day
        ("0 0 1 4 sun", "2026-03-22", False),
    ],
)
def test_a_pattern_means_days(pattern: str, day: str, is_one: bool) -> None:
    assert read_cron(pattern).means(date.fromisoformat(day)) is is_one


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *"),
        *("* * 32 * *", "* * * 13 *", "* * * 0 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *"),
        *("-5 * * * *", "1- * * * *", "1,,2 * * * *", "*-5 * * * *", "mon * * * *"),
        *("* * * * moonday", "* * * mon *", "1.5 * * * *", "٣ * * * *", "*/100 * * * *"),
        *("0 0 30 2 *", "0 0 31 4,6,9,11 *"),
    ],
)
def test_what_no_cron_would_take_is_refused(pattern: str) -> None:
    with pytest.raises(BadValue) as refused:
        read_cron(pattern)
    assert refused.value.field == "cron_pattern"
