"""A walk through years, minute by minute: what the clock shows, and which runs are due by that.

An oracle for the arithmetic of schedules. It knows no window, no pattern and no gap; it looks at
the clock every minute and asks whether this is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

MINUTE_MS = 60_000
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Rule:
    """A schedule, as sets of what the clock has to show."""

    zone: str = "UTC"
    start: int = 0
    end: int = 0
    active: frozenset[int] = frozenset(range(1, 8))
    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] | None = None  # None: not restricted
    months: frozenset[int] = frozenset(range(1, 13))
    weekdays: frozenset[int] | None = None  # 1 is Monday

    def allows(self, shown: datetime) -> bool:
        """Tell whether the window is open."""
        minute, opened = shown.hour * 60 + shown.minute, shown.isoweekday()
        if self.start != self.end:
            inside = minute >= self.start, minute < self.end
            if not (all(inside) if self.start < self.end else any(inside)):
                return False
            if self.start > self.end and minute < self.end:
                opened = (shown - timedelta(days=1)).isoweekday()
        return opened in self.active

    def means(self, shown: datetime) -> bool:
        """Tell whether the pattern has this minute."""
        if shown.minute not in self.minutes or shown.hour not in self.hours:
            return False
        in_month = self.days is not None and shown.day in self.days
        in_week = self.weekdays is not None and shown.isoweekday() in self.weekdays
        one_of_them = in_month or in_week or (self.days is None and self.weekdays is None)
        return shown.month in self.months and one_of_them


def shown_from(minute: int, zone: str) -> Iterator[tuple[int, datetime]]:
    """Look at the clock every minute: minutes since 1970, and what it shows."""
    there = ZoneInfo(zone)
    for each in count(minute):
        yield each, datetime.fromtimestamp(each * 60, there).replace(tzinfo=None)


def walk_cron(
    rule: Rule, begin: int, end: int, shown: Callable[[int, str], Iterator[tuple[int, datetime]]]
) -> list[int]:
    """Walk by a pattern; answer the minutes at which it runs."""
    # A day before, so that an hour that is just coming again is known to have been there.
    found, last = [], None
    for minute, now in shown(begin - 1440, rule.zone):
        if minute >= end:
            return found
        fires = False
        if last is None or now > last:
            fires = rule.means(now)
            while last is not None and (last := last + MINUTE) < now:
                fires = fires or rule.means(last)
            last = now
        if fires and minute >= begin and rule.allows(now):
            found.append(minute)
    raise AssertionError("a clock does not end")


def walk_interval(
    rule: Rule,
    interval: int,
    begin: int,
    end: int,
    shown: Callable[[int, str], Iterator[tuple[int, datetime]]],
) -> list[int]:
    """Walk by an interval from the minute at which it was enabled."""
    found, due = [], begin + interval
    for minute, now in shown(begin, rule.zone):
        if minute >= end:
            return found
        if minute >= due and rule.allows(now):
            found.append(minute)
            due = minute + interval
    raise AssertionError("a clock does not end")
