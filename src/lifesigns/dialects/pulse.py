"""The pulse API. The hub's own REST API is this one with more fields; here is where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from lifesigns.core import field
from lifesigns.core.codec import JSON
from lifesigns.core.errors import LifesignsError
from lifesigns.core.instant import to_text
from lifesigns.core.model import Limits, Presence
from lifesigns.core.past import Passage
from lifesigns.core.presence import full

# What is said of the work: over with the next status, unless that says it again.
OF_THE_WORK = ("task", "progress", "context")

Shown = dict[str, Any]


class Heartbeat(NamedTuple):
    """What a request says, in our words."""

    instance: str | None
    ttl_ms: int | None
    said: Mapping[str, Any]


def heartbeat(body: Mapping[str, Any], limits: Limits, now_ms: int) -> Heartbeat:
    """Read the body of a heartbeat."""
    said = field.describing(body, limits, now_ms)
    if said.get("status") is not None:
        said = dict.fromkeys(OF_THE_WORK) | said
    return Heartbeat(field.instance_of(body), field.ttl_ms(body, limits), said)


def shown(presence: Presence, *, expand: bool = False) -> Shown:
    """Show a presence, with the names that published clients read."""
    return _seen(full(presence, expand=expand))


def recorded(presence: Presence, at_ms: int) -> Shown:
    """Answer a heartbeat."""
    return shown(presence) | {"ok": True, "recorded_at": to_text(at_ms)}


def past(passages: Iterable[Passage]) -> list[Shown]:
    """Tell what an agent's changes were, as this API does."""
    return [
        {"status": each.words.status, "context": each.words.context, "ts": to_text(each.at_ms)}
        for each in passages
    ]


class Story:
    """What one listener is told of one agent, made of the frames of a watch on every beat."""

    def __init__(self) -> None:
        self._alive: bool | None = None  # None: it was not introduced yet

    def tell(self, frame: Mapping[str, Any]) -> list[Shown]:
        """Tell what a frame is about."""
        if frame["type"] == "beats":
            return [self._pulse(beat) for beat in frame["beats"]]
        if frame["type"] == "changes":
            ends = [each for each in frame["changes"] if each["kind"] == "offline"]
            return [self._offline(each["at"]) for each in ends]
        if frame["type"] == "snapshot":
            return [event for each in frame["agents"] for event in self._introduce(each)]
        return []

    def _introduce(self, agent: Mapping[str, Any]) -> list[Shown]:
        """Introduce it once; a later snapshot may tell that its end was missed."""
        was, self._alive = self._alive, agent["alive"]
        if was is None:
            return [{"event": "connected", **_seen(agent)}]
        return [self._offline(agent["offline_since"])] if was and not self._alive else []

    def _pulse(self, beat: Mapping[str, Any]) -> Shown:
        self._alive = True
        told = {name: beat[name] for name in ("status", "context", "task")}
        return {"event": "pulse", **told, "ts": beat["at"]}

    def _offline(self, ts: str) -> Shown:
        self._alive = False
        return {"event": "offline", "ts": ts}


def is_ping(payload: bytes) -> bool:
    """Tell whether a listener pings; whatever else it says means nothing."""
    with suppress(LifesignsError):
        return JSON.decode(payload).get("action") == "ping"
    return False


def pong(at_ms: int) -> Shown:
    """Answer a ping."""
    return {"event": "pong", "ts": to_text(at_ms)}


def _seen(agent: Mapping[str, Any]) -> Shown:
    heard = agent["last_heartbeat"]
    return {**agent, "last_seen": heard, "last_pulse": heard}
