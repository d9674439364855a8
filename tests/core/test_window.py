"""The hours and days of a schedule, and its zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from lifesigns.core.errors import BadValue
from lifesigns.core.window import Window, read_days, read_hour
from lifesigns.core.zone import zone_of

UTC = zone_of("UTC")


@pytest.mark.parametrize(
    ("start", "end", "days", "shown", "inside"),
    [
        ("09:00", "17:00", "1,2,3,4,5", "2026-03-20T09:00", True),  # a Friday
        ("09:00", "17:00", "1,2,3,4,5", "2026-03-20T17:00", False),
        ("09:00", "17:00", "1,2,3,4,5", "2026-03-21T12:00", False),
        ("22:00", "06:00", "5", "2026-03-20T05:00", False),
        ("22:00", "06:00", "5", "2026-03-20T23:00", True),
        ("22:00", "06:00", "5", "2026-03-21T05:59", True),  # it opened on the Friday
        ("22:00", "06:00", "5", "2026-03-21T23:00", False),
        ("22:00", "06:00", "7", "2026-03-23T05:00", True),  # a Monday, opened on the Sunday
        ("09:00", "09:00", "5", "2026-03-20T00:00", True),
        ("09:00", "09:00", "5", "2026-03-21T08:00", False),
    ],
)
def test_a_window_has_hours_and_the_day_on_which_it_opened(
    start: str, end: str, days: str, shown: str, inside: bool
) -> None:
    window = Window(UTC, read_hour(start, "s"), read_hour(end, "e"), read_days(days, "d"))
    assert window.shows(datetime.fromisoformat(shown)) is inside


def test_a_window_that_is_always_open_never_closes() -> None:
    assert Window(UTC).always
    assert Window(UTC).closing(0) is None
    assert Window(UTC).opening(12_345) == 12_345


@pytest.mark.parametrize(("text", "minute"), [("00:00", 0), ("9:05", 545), ("23:59", 1439)])
def test_an_hour_is_read(text: str, minute: int) -> None:
    assert read_hour(text, "x") == minute


@pytest.mark.parametrize("value", ["", "24:00", "12:60", "12", "12:5", "noon", " 12:00", 12, None])
def test_what_is_no_hour_is_refused_by_its_field(value: Any) -> None:
    with pytest.raises(BadValue) as refused:
        read_hour(value, "active_hours_start")
    assert refused.value.field == "active_hours_start"


def test_days_are_read_in_any_order() -> None:
    assert read_days("5, 1,3", "x") == {1, 3, 5}
    assert read_days("7", "x") == {7}


@pytest.mark.parametrize("value", ["", "0", "8", "1,8", "1,1", "1,,2", "mon", "12", 1, None, ","])
def test_what_are_no_days_is_refused_by_its_field(value: Any) -> None:
    with pytest.raises(BadValue) as refused:
        read_days(value, "active_days")
    assert refused.value.field == "active_days"


@pytest.mark.parametrize(
    "name", ["", "Berlin", "Europe", "europe/berlin", "../UTC", "/etc/passwd", "localtime", "UTC\0"]
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(BadValue) as refused:
        zone_of(name)
    assert refused.value.field == "timezone"
