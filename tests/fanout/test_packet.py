"""Messages of entries that are encoded already."""

from __future__ import annotations

import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.hub.packet import ROOM_BYTES, listing, message, portions

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)


@CODECS
@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_listing_decodes_as_if_it_had_been_encoded_whole(codec: Codec, count: int) -> None:
    entries = [{"id": f"agent-{i}", "n": i, "text": 'ü"\\'} for i in range(count)]
    head = {"watch": "w1", "from": None, "cursor": "c", "more": False}
    packet = listing(codec, "changes", head, "changes", [codec.encode(e) for e in entries])
    assert codec.decode(packet.payload) == {"type": "changes", **head, "changes": entries}
    assert packet.cursor == "c"
    assert packet.entries == count


@CODECS
def test_a_message_carries_its_cursor(codec: Codec) -> None:
    packet = message(codec, "snapshot", cursor="c", counts={"busy": 1})
    assert (packet.type, packet.cursor) == ("snapshot", "c")
    assert codec.decode(packet.payload)["counts"] == {"busy": 1}
    assert message(codec, "resync", why="epoch").cursor is None


def test_entries_are_parted_so_that_frames_stay_small() -> None:
    limit = ROOM_BYTES + 100
    assert portions([], limit) == [(0, 0)]
    assert portions([b"x" * 30] * 3, limit) == [(0, 3)]
    assert portions([b"x" * 30] * 7, limit) == [(0, 3), (3, 6), (6, 7)]
    assert portions([b"x" * 500, b"x", b"x" * 500], limit) == [(0, 1), (1, 2), (2, 3)]
