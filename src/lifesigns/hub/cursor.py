"""A place in a project's history, as text that means something to every hub.

A project's history is that of its lanes; the cursor holds for each how far it is known. Epochs
are held as a checksum: a cursor is only ever compared with what is here.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc32
from collections.abc import Mapping

from lifesigns.core.errors import BadValue

VERSION = 1
LONGEST = 4_096


def epoch_sum(epoch: str) -> int:
    """Shorten an epoch to four bytes."""
    return crc32(epoch.encode())


def write_cursor(places: Mapping[int, tuple[str, int, int]]) -> str:
    """Write the place (epoch, seq, ms) of each lane."""
    base = max((at for _, _, at in places.values()), default=0)
    out = bytearray([VERSION])
    _put(out, base)
    for number, (epoch, seq, at) in places.items():
        out.append(number)
        out += epoch_sum(epoch).to_bytes(4, "big")
        _put(out, seq)
        _put(out, base - at)
    return urlsafe_b64encode(out).rstrip(b"=").decode()


def read_cursor(text: str) -> dict[int, tuple[int, int, int]]:
    """Read a cursor: of each lane the epoch's checksum, seq and ms."""
    if not isinstance(text, str) or len(text) > LONGEST:
        raise BadValue("since is a cursor that a hub gave.", field="since")
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if data[0] != VERSION:
            raise ValueError("another version")
        base, at = _take(data, 1)
        places = {}
        while at < len(data):
            number, epoch = data[at], int.from_bytes(data[at + 1 : at + 5], "big")
            seq, at = _take(data, at + 5)
            before, at = _take(data, at)
            places[number] = (epoch, seq, base - before)
    except (ValueError, IndexError) as error:
        raise BadValue("since is a cursor that a hub gave.", field="since") from error
    return places


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
        if byte < 0x80:
            return number, at
        shift += 7
