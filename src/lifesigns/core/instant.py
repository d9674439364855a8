"""Instants as the wire shows them: UTC, ISO 8601, milliseconds, ``Z``.

Everywhere else an instant is an integer of milliseconds since 1970. Only the years 1970 to 9999
have a text, and only they are read. This module must not know what time it is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from lifesigns.core.errors import BadValue

LAST_MS = 253_402_300_799_999  # the end of the year 9999

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECONDS = tuple(f"{second:02}" for second in range(60))
_ENDINGS = tuple(f".{ms:03}Z" for ms in range(1000))
_OUT_OF_RANGE = "An instant lies in the years 1970 to 9999."
_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):?([0-5]\d))",
    re.ASCII,
)


def to_text(ms: int) -> str:
    """Write an instant: ``2026-03-22T14:30:00.000Z``."""
    minute, rest = divmod(ms, 60_000)
    second, rest = divmod(rest, 1000)
    return f"{_minute(minute)}{_SECONDS[second]}{_ENDINGS[rest]}"


def to_text_or_none(ms: int | None) -> str | None:
    """Write an instant, if there is one."""
    return None if ms is None else to_text(ms)


def from_text(text: Any) -> int:
    """Read an instant, with ``Z`` or an offset and with up to nine digits of a second.

    What is finer than a millisecond is cut off. Without a zone it is no instant, but an hour
    somewhere; that, as anything else, is ``BadValue`` (whose field the caller knows).
    """
    match = _INSTANT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BadValue("An instant looks like 2026-03-22T14:30:00.000Z.")
    *parts, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, parts)
    zone = UTC
    try:
        if sign is not None:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        whole = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        raise BadValue("No calendar has this instant.") from None
    ms = (whole - _EPOCH) // _MILLISECOND + int((fraction or "0").ljust(3, "0")[:3])
    if not 0 <= ms <= LAST_MS:
        raise BadValue(_OUT_OF_RANGE)
    return ms


# The instants of a fleet fall into few minutes: this holds the last three days of them.
@lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    if not 0 <= minute <= LAST_MS // 60_000:
        raise BadValue(_OUT_OF_RANGE)
    return (_EPOCH + timedelta(minutes=minute)).isoformat()[:17]
