"""Five fields of cron: minute, hour, day of the month, month, day of the week.

Lists, ranges, steps and the English names are read. If both kinds of day are restricted, either
will do, as everywhere. A time that the clock jumps over comes in the first minute after the gap,
one that it shows twice comes the first time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from lifesigns.core.errors import BadValue
from lifesigns.core.window import Window
from lifesigns.core.zone import instant, shift, wall

# The 29th of February comes after eight years at the latest (1896 to 1904, 2096 to 2104).
HORIZON_DAYS = 8 * 366 + 1

_DAY = timedelta(days=1)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: n for n, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(\*|\d{1,2}|[a-z]{3})(?:-(\d{1,2}|[a-z]{3}))?(?:/(\d{1,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cron:
    """Which minutes a pattern means."""

    times: tuple[int, ...]  # minutes of the day, ascending
    days: frozenset[int]  # of the month
    months: frozenset[int]
    weekdays: frozenset[int]  # 1 is Monday
    either: bool  # both kinds of day are restricted

    def means(self, day: date) -> bool:
        """Tell whether it comes on a day."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() in self.weekdays
        return in_month or in_week if self.either else in_month and in_week

    def following(self, after_ms: int, window: Window) -> int | None:
        """Find the next time after an instant that lies in a window; None: it never comes."""
        zone = window.zone
        shown = wall(after_ms, zone)
        day = shown.replace(hour=0, minute=0, second=0, microsecond=0)
        begin = bisect_left(self.times, shown.hour * 60 + shown.minute)
        barren: set[int] = set()  # days of the week with no time in the window
        for _ in range(HORIZON_DAYS):
            if self.means(day.date()) and day.isoweekday() not in barren:
                plain = shift(instant(day, zone), instant(day + _DAY, zone), zone) is None
                open_ = not plain or begin > 0
                for minute in self.times[begin:]:
                    at = day + timedelta(minutes=minute)
                    if plain and not window.shows(at):
                        continue
                    ms, open_ = instant(at, zone), True
                    if ms > after_ms and window.holds(ms):
                        return ms
                if not open_:
                    barren.add(day.isoweekday())
            day, begin = day + _DAY, 0
        return None


@lru_cache(maxsize=1024)
def read_cron(text: str) -> Cron:
    """Read a pattern; raises BadValue for one that no cron would take, or that never comes."""
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise BadValue(
            "A cron pattern has five fields: minute, hour, day of the month, month, day of the "
            "week.",
            field="cron_pattern",
        )
    minutes, hours, days, months, weekdays = (
        _read_field(part, *limits) for part, limits in zip(fields, _FIELDS, strict=True)
    )
    cron = Cron(
        tuple(sorted(hour * 60 + minute for hour in hours for minute in minutes)),
        days,
        months,
        frozenset(day or 7 for day in weekdays),
        not fields[2].startswith("*") and not fields[4].startswith("*"),
    )
    if not any(cron.means(date(2000, 1, 1) + timedelta(days=n)) for n in range(HORIZON_DAYS)):
        raise BadValue("No calendar has a day of this cron pattern.", field="cron_pattern")
    return cron


def _read_field(text: str, name: str, low: int, high: int, words: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _bad(name, text)
        first, last, step = match.groups()
        if first == "*":
            begin, end = low, high
        else:
            begin = _number(first, words, name, text)
            # One number with a step counts on to the end, as in every cron.
            end = _number(last, words, name, text) if last else high if step else begin
        by = 1 if step is None else int(step)
        if (first == "*" and last) or not low <= begin <= end <= high or by == 0:
            raise _bad(name, text)
        found.update(range(begin, end + 1, by))
    return frozenset(found)


def _number(text: str, words: dict[str, int], name: str, whole: str) -> int:
    if text.isdigit():
        return int(text)
    if text not in words:
        raise _bad(name, whole)
    return words[text]


def _bad(name: str, text: str) -> BadValue:
    return BadValue(f"The {name} of a cron pattern is not {text[:32]!r}.", field="cron_pattern")
