"""Instants as text: one form out, several in."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifesigns.core.errors import BadValue
from lifesigns.core.instant import LAST_MS, from_text, to_text

UNHURRIED = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
NOON = 1_774_189_800_000  # 2026-03-22T14:30:00Z


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (59_999, "1970-01-01T00:00:59.999Z"),
        (60_000, "1970-01-01T00:01:00.000Z"),
        (NOON, "2026-03-22T14:30:00.000Z"),
        (NOON + 7_089, "2026-03-22T14:30:07.089Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_an_instant_has_one_text(ms: int, text: str) -> None:
    assert to_text(ms) == text
    assert from_text(text) == ms


@pytest.mark.parametrize("ms", [-1, LAST_MS + 1, -(2**63), 2**63])
def test_there_is_no_text_outside_the_years_1970_to_9999(ms: int) -> None:
    with pytest.raises(BadValue, match="1970 to 9999"):
        to_text(ms)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-03-22T14:30:00Z", NOON),
        ("2026-03-22T14:30:00.5Z", NOON + 500),
        ("2026-03-22T14:30:00.05Z", NOON + 50),
        ("2026-03-22T14:30:00.1234Z", NOON + 123),
        ("2026-03-22T14:30:00.999999999Z", NOON + 999),
        ("2026-03-22T14:30:00+00:00", NOON),
        ("2026-03-22T14:30:00-00:00", NOON),
        ("2026-03-22T16:30:00.000+02:00", NOON),
        ("2026-03-22T20:00:00+0530", NOON),
        ("2026-03-22T04:45:00.25-09:45", NOON + 250),
        ("2026-03-23T14:29:00+23:59", NOON),
        ("1969-12-31T23:00:00-01:00", 0),
        ("9999-12-31T23:59:59.999+00:00", LAST_MS),
    ],
)
def test_offsets_and_up_to_nine_digits_are_read(text: str, ms: int) -> None:
    assert from_text(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        None,
        NOON,
        b"2026-03-22T14:30:00Z",
        "",
        "now",
        "2026-03-22",
        "2026-03-22T14:30Z",
        "2026-03-22T14:30:00",
        "2026-03-22 14:30:00Z",
        "2026-03-22t14:30:00z",
        "2026-03-22T14:30:00.Z",
        "2026-03-22T14:30:00,5Z",
        "2026-03-22T14:30:00.1234567890Z",
        "2026-03-22T14:30:00Z ",
        "2026-03-22T14:30:00Z\n",
        " 2026-03-22T14:30:00Z",
        "20260322T143000Z",
        "2026-W12-7T14:30:00Z",
        "+2026-03-22T14:30:00Z",
        "12026-03-22T14:30:00Z",
        "2026-3-22T14:30:00Z",
        "2026-03-22T14:30:00+2",
        "2026-03-22T14:30:00+02",
        "2026-03-22T14:30:00+02:60",
        "2026-03-22T14:30:00UTC",
        "２０２６-03-22T14:30:00Z",  # noqa: RUF001
    ],
    ids=repr,
)
def test_anything_else_is_no_instant(text: Any) -> None:
    with pytest.raises(BadValue, match=r"looks like 2026-03-22T14:30:00\.000Z"):
        from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-06-30T23:59:60Z",
        "2026-01-01T00:00:00+24:00",
        "0000-01-01T00:00:00Z",
    ],
)
def test_a_day_or_an_hour_that_no_calendar_has_is_none(text: str) -> None:
    with pytest.raises(BadValue, match="No calendar"):
        from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.999-23:59",
    ],
)
def test_what_lies_outside_the_years_1970_to_9999_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="1970 to 9999"):
        from_text(text)


@given(st.integers(0, LAST_MS), st.integers(-23 * 60 - 59, 23 * 60 + 59))
@UNHURRIED
def test_every_instant_comes_back_from_its_text_in_any_zone(ms: int, minutes: int) -> None:
    assert from_text(to_text(ms)) == ms
    there = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    try:
        there = there.astimezone(timezone(timedelta(minutes=minutes)))
    except OverflowError:  # beyond the last day that a datetime has
        return
    assert from_text(there.isoformat(timespec="milliseconds")) == ms
    assert from_text(there.isoformat(timespec="microseconds")) == ms


@given(
    st.from_regex(
        r"\A\d{4}-[01]\d-[0-3]\dT[0-2]\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z", fullmatch=True
    )
    | st.text("0123456789-:.TZ+ ", max_size=40)
)
@UNHURRIED
def test_any_text_is_an_instant_or_a_bad_value(text: str) -> None:
    with suppress(BadValue):
        assert 0 <= from_text(text) <= LAST_MS
