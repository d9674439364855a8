"""A place in a project's history, as text that means something to every hub.

A project's history is that of its lanes; a position holds for each how far it is known. A cursor
is a position written down, with a mark of what was looked at: who looks at something else cannot
go on from there. Epochs are held as a checksum: a cursor is only ever compared with what is here.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc32
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from lifesigns.core.change import Place
from lifesigns.core.errors import BadValue

VERSION = 1
LONGEST = 4_096
MARK_BYTES = 5  # with the version six: base64 of them ends where that of the places begins
MARK_LETTERS = 8
LARGEST = 2**53  # what the store's scripts count with


class Since(NamedTuple):
    """A cursor that was read: of each lane the epoch's checksum, seq and ms."""

    mark: str
    places: dict[int, tuple[int, int, int]]


class Position:
    """How far a project's history is known."""

    __slots__ = ("_text", "places")

    def __init__(self, places: Mapping[int, Place]) -> None:
        self.places = dict(sorted(places.items()))
        self._text: str | None = None

    def after(self, steps: Iterable[tuple[int, Place]]) -> Position:
        """Go on to later places in some lanes."""
        return Position(self.places | dict(steps))

    def cursor(self, mark: str) -> str:
        """Write it down for whoever looks at what the mark says."""
        if self._text is None:
            self._text = _write(self.places)
        return mark + self._text


def mark_of(*seen: str) -> str:
    """Mark what is looked at."""
    digest = blake2b("\0".join(seen).encode(), digest_size=MARK_BYTES).digest()
    return urlsafe_b64encode(bytes([VERSION]) + digest).decode()


def epoch_sum(epoch: str) -> int:
    """Shorten an epoch to four bytes."""
    return crc32(epoch.encode())


def read_cursor(text: str) -> Since:
    """Read what a client kept for us, and may have spoiled."""
    if len(text) > LONGEST:
        raise _foreign()
    try:
        head = urlsafe_b64decode(text[:MARK_LETTERS])
        data = urlsafe_b64decode(text[MARK_LETTERS:] + "=" * (-len(text) % 4))
        if len(head) != 1 + MARK_BYTES or head[0] != VERSION:
            raise ValueError("another version")
        base, at = _take(data, 0)
        places = {}
        while at < len(data):
            number, epoch = data[at], int.from_bytes(data[at + 1 : at + 5], "big")
            seq, at = _take(data, at + 5)
            before, at = _take(data, at)
            if before > base:
                raise ValueError("a place before all time")
            places[number] = (epoch, seq, base - before)
    except (ValueError, IndexError) as error:
        raise _foreign() from error
    return Since(text[:MARK_LETTERS], places)


def _foreign() -> BadValue:
    return BadValue("since is a cursor that a hub gave.", field="since")


def _write(places: Mapping[int, Place]) -> str:
    base = max((place.at_ms for place in places.values()), default=0)
    out = bytearray()
    _put(out, base)
    for number, (epoch, seq, at) in places.items():
        out.append(number)
        out += epoch_sum(epoch).to_bytes(4, "big")
        _put(out, seq)
        _put(out, base - at)
    return urlsafe_b64encode(out).rstrip(b"=").decode()


def _put(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _take(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if number >= LARGEST:
            raise ValueError("a number that no hub wrote")
        if byte < 0x80:
            return number, at
        shift += 7
