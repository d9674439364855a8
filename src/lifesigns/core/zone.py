"""What a clock on the wall shows, somewhere: instants to local minutes and back.

Instants are milliseconds of UTC. Zones come from the table that Python carries or the machine
keeps: the same name gives the same answers for as long as a process lives, so that nothing here
depends on when it is asked. Where the clock is put forward, some local minutes do not exist; where
it is put back, some come twice. Must not know what time it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from lifesigns.core.errors import BadValue

MINUTE_MS = 60_000
DAY_MS = 86_400_000

_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_MACHINE_S_OWN = frozenset({"localtime"})  # another place on another machine


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones()) - _MACHINE_S_OWN | {"UTC"}


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """Find a zone by its IANA name; raises BadValue for any other text."""
    if name not in _names():
        raise BadValue("A time zone has an IANA name, such as Europe/Berlin.", field="timezone")
    return UTC if name == "UTC" else ZoneInfo(name)


def wall(ms: int, zone: tzinfo) -> datetime:
    """Tell what the clock shows at an instant, without the zone."""
    return (
        (_EPOCH + timedelta(milliseconds=ms))
        .replace(tzinfo=UTC)
        .astimezone(zone)
        .replace(tzinfo=None)
    )


def instant(shown: datetime, zone: tzinfo) -> int:
    """Tell when the clock shows this for the first time; never shown: when it next shows more."""
    aware = shown.replace(tzinfo=zone, fold=0)
    ms = (aware.astimezone(UTC).replace(tzinfo=None) - _EPOCH) // _MILLISECOND
    if wall(ms, zone) == shown:
        return ms
    turned = shift(ms - DAY_MS, ms, zone)
    assert turned is not None, "a minute that no clock shows was jumped over"
    return turned


def shift(after_ms: int, until_ms: int, zone: tzinfo) -> int | None:
    """Tell when the clock is first put forward or back in (after, until]; None if it is not.

    Zones put their clocks at whole minutes, and nowhere twice within the few days that are asked
    about here.
    """
    before = _offset(after_ms, zone)
    if _offset(until_ms, zone) == before:
        return None
    low, high = after_ms // MINUTE_MS, -(-until_ms // MINUTE_MS)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle * MINUTE_MS, zone) == before:
            low = middle
        else:
            high = middle
    return high * MINUTE_MS


def _offset(ms: int, zone: tzinfo) -> timedelta:
    shown = wall(ms, zone)
    return shown - (_EPOCH + timedelta(milliseconds=ms))
