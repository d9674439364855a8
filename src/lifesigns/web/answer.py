"""Answers on a socket, in as many frames as their size needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifesigns.core.codec import Codec
from lifesigns.core.session import ServerSession

ROOM_BYTES = 512  # for what stands around the entries of a frame


def reply_to(name: str, ref: str | int | None, **fields: Any) -> dict[str, Any]:
    """Lay out an answer that carries back the mark of its question."""
    message = {"type": name, **fields}
    if ref is not None:
        message["ref"] = ref
    return message


def send_checked(
    session: ServerSession,
    ref: str | int | None,
    entries: Mapping[str, Any],
    limit_bytes: int,
) -> None:
    """Queue a ``checked`` in as many frames as its size needs."""
    parts = split(session.codec, entries, limit_bytes)
    for i, part in enumerate(parts):
        more = {"more": True} if i < len(parts) - 1 else {}
        session.send(reply_to("checked", ref, agents=part, **more))


def split(codec: Codec, entries: Mapping[str, Any], limit_bytes: int) -> list[Mapping[str, Any]]:
    """Halve a map until each part fits into a frame, with room for what stands around it."""
    if len(entries) <= 1 or len(codec.encode(entries)) <= limit_bytes - ROOM_BYTES:
        return [entries]
    items = list(entries.items())
    half = len(items) // 2
    return [
        *split(codec, dict(items[:half]), limit_bytes),
        *split(codec, dict(items[half:]), limit_bytes),
    ]
