"""When a schedule may run at all: hours of the day, and days of the week, in a zone.

A window opens at one hour and ends before another; if that is the earlier one it lasts over
midnight, and its day is the one on which it opened. Equal hours, or none, are the whole day.
Only what the clock on the wall shows counts: an hour that comes twice is inside twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from lifesigns.core.errors import BadValue
from lifesigns.core.zone import shift, wall

EVERY_DAY = frozenset(range(1, 8))  # 1 is Monday

_HOUR = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_DAYS = tuple("1234567")
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The minutes of a week in which a schedule may run."""

    zone: tzinfo
    start: int = 0  # minute of the day
    end: int = 0
    days: frozenset[int] = EVERY_DAY

    @property
    def always(self) -> bool:
        return self.start == self.end and self.days == EVERY_DAY

    def shows(self, shown: datetime) -> bool:
        """Tell whether a local minute is inside."""
        minute, day = shown.hour * 60 + shown.minute, shown.isoweekday()
        if self.start == self.end:
            return day in self.days
        if self.start < self.end:
            return self.start <= minute < self.end and day in self.days
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 2) % 7 + 1 in self.days

    def holds(self, ms: int) -> bool:
        """Tell whether an instant is inside."""
        return self.always or self.shows(wall(ms, self.zone))

    def opening(self, ms: int) -> int:
        """Find the first instant inside, this one or later."""
        while not self.holds(ms):
            ms = self._turn(ms, inside=True)
        return ms

    def closing(self, ms: int) -> int | None:
        """Find the first instant outside after one that is inside; None: there is none."""
        if self.always:
            return None
        while self.holds(ms):
            ms = self._turn(ms, inside=False)
        return ms

    def _turn(self, ms: int, *, inside: bool) -> int:
        """Go on to where the clock shows a minute of the other side, or to where it is put."""
        shown = wall(ms, self.zone)
        then = shown.replace(hour=0, minute=0, second=0, microsecond=0)
        edges = sorted({0, self.start, self.end})
        # A window that is open on some days alone is so again within a week.
        turns = (then + timedelta(days=day, minutes=edge) for day in range(9) for edge in edges)
        turn = next(at for at in turns if at > shown and self.shows(at) is inside)
        there = ms + (turn - shown) // _MILLISECOND
        put = shift(ms, there, self.zone)
        return there if put is None else put


def read_hour(value: object, field: str) -> int:
    """Take an hour of the day as ``HH:MM``; answer its minute."""
    found = _HOUR.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValue(f"{field} is an hour of the day, from 00:00 to 23:59.", field=field)
    return int(found[1]) * 60 + int(found[2])


def read_days(value: object, field: str) -> frozenset[int]:
    """Take days of the week: ``1,3,5``, where 1 is Monday."""
    names = value.split(",") if isinstance(value, str) else []
    days = frozenset(int(name) for name in map(str.strip, names) if name in _DAYS)
    if not days or len(days) != len(names):
        raise BadValue(f"{field} is a list of days, such as 1,2,3,4,5; 1 is Monday.", field=field)
    return days
