"""What is sent to watchers: built once, shared by all who are sent the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lifesigns.core.codec import Codec
from lifesigns.hub.cursor import Position

ROOM_BYTES = 2_048  # for what stands around the entries of a frame: two cursors, names


class Packet:
    """One message, and how far it leads.

    ``framed`` and ``event`` are the web's, for the forms in which it sends it to all.
    """

    __slots__ = ("cursor", "entries", "event", "framed", "payload", "position", "type")

    def __init__(self, type_: str, payload: bytes, cursor: str | None = None) -> None:
        self.type = type_
        self.payload = payload
        self.cursor = cursor  # of the position, as it stands in the message
        self.position: Position | None = None
        self.entries = 0
        self.framed: bytes | None = None
        self.event: bytes | None = None


class Sink(Protocol):
    """Where the frames of a watch go."""

    @property
    def ready(self) -> bool:
        """Whether the peer reads."""

    def deliver(self, packet: Packet) -> None:
        """Send a packet; it is taken whole."""


def message(codec: Codec, type_: str, **fields: Any) -> Packet:
    """Build a message that has no long list."""
    return Packet(type_, codec.encode({"type": type_, **fields}), fields.get("cursor"))


def listing(
    codec: Codec, type_: str, head: Mapping[str, Any], name: str, entries: Sequence[bytes]
) -> Packet:
    """Build a message of entries that are encoded already."""
    payload = codec.with_list({"type": type_, **head}, name, entries)
    packet = Packet(type_, payload, head.get("cursor"))
    packet.entries = len(entries)
    return packet


def portions(entries: Sequence[bytes], limit_bytes: int) -> list[tuple[int, int]]:
    """Say from where to where entries fit into one frame each; one too large has its own."""
    portions, begin, size = [], 0, 0
    for i, entry in enumerate(entries):
        if i > begin and size + len(entry) > limit_bytes - ROOM_BYTES:
            portions.append((begin, i))
            begin, size = i, 0
        size += len(entry) + 1
    portions.append((begin, len(entries)))
    return portions
