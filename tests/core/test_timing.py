"""When a run is due: held to a walk that looks at the clock every minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifesigns.core.cron import Cron, read_cron
from lifesigns.core.errors import BadValue
from lifesigns.core.timing import MOST_MISSED, Timing, period_of
from lifesigns.core.window import Window, read_days, read_hour
from lifesigns.core.zone import zone_of
from tests.core.minute import MINUTE_MS, Rule, shown_from, walk_cron, walk_interval

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # put back and forward at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kolkata",
    "Africa/Casablanca",  # in and out for a month
    "America/Santiago",  # the other half of the year, at midnight
    "Asia/Kathmandu",
    "Pacific/Chatham",  # quarters of an hour
)
BEGIN = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) // 60
END = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) // 60
EVERY = frozenset(range(1, 8))


def window_of(rule: Rule) -> Window:
    return Window(zone_of(rule.zone), rule.start, rule.end, rule.active)


def cron_of(rule: Rule) -> Cron:
    def spell(values: frozenset[int] | None) -> str:
        return "*" if values is None else ",".join(map(str, sorted(values)))

    fields = (rule.minutes, rule.hours, rule.days, rule.months, rule.weekdays)
    return read_cron(" ".join(map(spell, fields)))


def runs(timing: Timing, begin: int, end: int) -> list[int]:
    """Tell all runs of a schedule that was enabled at the first minute."""
    found, at = [], begin * MINUTE_MS
    while (at := timing.following(at)) < end * MINUTE_MS:
        found.append(at // MINUTE_MS)
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_runs_of_two_years_are_those_of_a_walk_through_every_minute(zone: str) -> None:
    shown = list(shown_from_to(zone))

    def look(begin: int, _: str) -> Iterator[tuple[int, datetime]]:
        return iter(shown[begin - BEGIN + 1440 :])

    nights = Rule(zone, read_hour("21:30", "x"), read_hour("02:30", "x"), frozenset({2, 5, 6, 7}))
    often = Rule(
        zone,
        minutes=frozenset({0, 15, 30}),
        hours=frozenset({0, 1, 2, 3, 23}),
        days=frozenset({1, 29, 30, 31}),
        weekdays=frozenset({6, 7}),
    )
    timing = Timing(window_of(nights), 47)
    assert runs(timing, BEGIN, END) == walk_interval(nights, 47, BEGIN, END, look)
    timing = Timing(window_of(often), cron=cron_of(often))
    assert runs(timing, BEGIN - 1, END) == walk_cron(often, BEGIN, END, look)


def shown_from_to(zone: str) -> Iterator[tuple[int, datetime]]:
    for minute, now in shown_from(BEGIN - 1440, zone):
        yield minute, now
        if minute >= END:
            return


hours = st.integers(0, 1439)
rules = st.builds(
    Rule,
    zone=st.sampled_from(ZONES),
    start=hours | st.sampled_from([0, 60, 120, 150, 180]),
    end=hours | st.sampled_from([0, 60, 120, 150, 180]),
    active=st.frozensets(st.integers(1, 7), min_size=1) | st.just(EVERY),
    minutes=st.frozensets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.frozensets(st.integers(0, 23), min_size=1, max_size=6),
    days=st.none() | st.frozensets(st.integers(1, 31), min_size=1, max_size=9),
    weekdays=st.none() | st.frozensets(st.integers(1, 7), min_size=1),
)
# Where clocks are put forward or back, or some other day.
turns = [
    int(datetime(*day, tzinfo=UTC).timestamp()) // 60
    for day in [
        *((2025, 3, 9), (2025, 3, 30), (2025, 4, 5), (2025, 9, 6), (2025, 10, 4), (2025, 10, 26)),
        *((2025, 11, 2), (2026, 2, 15), (2026, 3, 8), (2026, 3, 22), (2026, 3, 29), (2026, 4, 4)),
    ]
]
begins = st.builds(int.__add__, st.sampled_from(turns), st.integers(-1440, 1440)) | st.integers(
    BEGIN, END - 30 * 1440
)
WALK = settings(
    deadline=None, database=None, max_examples=100, suppress_health_check=list(HealthCheck)
)
AHEAD = 2 * 1440


@WALK
@given(rule=rules, begin=begins)
def test_a_cron_pattern_runs_when_the_clock_shows_it(rule: Rule, begin: int) -> None:
    found = walk_cron(rule, begin, begin + AHEAD, shown_from)
    following = cron_of(rule).following((begin - 1) * MINUTE_MS, window_of(rule))
    if not found:
        assert following is None or following >= (begin + AHEAD) * MINUTE_MS
        return
    assert following == found[0] * MINUTE_MS
    assert runs(Timing(window_of(rule), cron=cron_of(rule)), begin - 1, begin + AHEAD) == found


@WALK
@given(rule=rules, begin=begins, interval=st.integers(1, 3000))
def test_an_interval_runs_when_it_has_passed_and_the_window_is_open(
    rule: Rule, begin: int, interval: int
) -> None:
    found = walk_interval(rule, interval, begin, begin + AHEAD, shown_from)
    assert runs(Timing(window_of(rule), interval), begin, begin + AHEAD) == found


@WALK
@given(rule=rules, begin=begins, interval=st.integers(1, 3000), late=st.integers(0, AHEAD))
def test_times_that_were_missed_are_counted_and_the_next_is_where_it_would_have_been(
    rule: Rule, begin: int, interval: int, late: int
) -> None:
    timing = Timing(window_of(rule), interval)
    due = timing.following(begin * MINUTE_MS)
    now = due + late * MINUTE_MS
    all_of_them = [due]
    while all_of_them[-1] <= now:
        all_of_them.append(timing.following(all_of_them[-1]))
    then, missed = timing.caught_up(due, now)
    assert then == all_of_them[-1]
    assert missed == min(len(all_of_them) - 2, MOST_MISSED)


@pytest.mark.parametrize(
    ("pattern", "zone", "after", "runs_at"),
    [
        # 02:30 does not exist on that night, 03:00 is the first minute after the gap.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T01:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-30T00:30"),
        # 02:30 comes at 00:30Z and at 01:30Z, and only the first counts.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", "2026-10-26T01:30"),
        # Several times within one gap are one run.
        ("*/20 2,3 * * *", "Europe/Berlin", "2026-03-29T00:59", "2026-03-29T01:00"),
        ("*/20 2,3 * * *", "Europe/Berlin", "2026-03-29T01:00", "2026-03-29T01:20"),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00", "2104-02-29T00:00"),
        ("0 12 * * mon-fri", "America/New_York", "2026-07-03T20:00", "2026-07-06T16:00"),
    ],
)
def test_a_cron_time_of_the_night_in_which_clocks_are_put(
    pattern: str, zone: str, after: str, runs_at: str
) -> None:
    timing = Timing(Window(zone_of(zone)), cron=read_cron(pattern))
    assert timing.following(ms(after)) == ms(runs_at)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1000


def test_an_interval_is_elapsed_time_over_the_night_in_which_clocks_are_put() -> None:
    timing = Timing(Window(zone_of("Europe/Berlin")), 720)
    at, found = ms("2026-03-28T10:00"), []
    for _ in range(4):
        found.append(at := timing.following(at))
    assert {later - earlier for earlier, later in pairwise(found)} == {720 * MINUTE_MS}


def test_an_interval_that_ends_outside_the_window_runs_when_that_opens() -> None:
    office = Window(zone_of("UTC"), read_hour("09:00", "x"), read_hour("17:00", "x"))
    timing = Timing(office, 60)
    assert timing.following(ms("2026-03-22T15:59")) == ms("2026-03-22T16:59")
    assert timing.following(ms("2026-03-22T16:00")) == ms("2026-03-23T09:00")
    assert timing.following(ms("2026-03-22T16:30")) == ms("2026-03-23T09:00")


def test_a_long_outage_is_caught_up_with_at_once() -> None:
    office = Window(zone_of("Europe/Berlin"), 540, 1020, read_days("1,2,3,4,5", "x"))
    due = ms("2026-03-23T08:00")
    then, missed = Timing(office, 1).caught_up(due, ms("2036-03-23T12:00") + 1)
    assert then == ms("2036-03-24T08:00")
    assert missed == MOST_MISSED
    often = Timing(office, cron=read_cron("* * * * *"))
    then, missed = often.caught_up(due, due + 366 * 86_400_000)
    assert (then, missed) == (ms("2027-03-24T08:01"), MOST_MISSED)


def test_a_pattern_that_never_lies_in_the_window_is_refused_soon() -> None:
    office = Window(zone_of("Europe/Berlin"), 540, 1020)
    with pytest.raises(BadValue, match="active hours"):
        Timing(office, cron=read_cron("* 0-8 * * *")).following(0)


def test_a_billing_period_is_the_month_in_the_zone() -> None:
    late = ms("2026-03-31T23:00")
    assert period_of(late, Window(zone_of("UTC"))) == "2026-03"
    assert period_of(late, Window(zone_of("Europe/Berlin"))) == "2026-04"
