"""How sure it is that an agent is alive: the age of the evidence, and what a probe adds to it.

Works on presences as they were read. Must not know who read them, nor how a socket is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from lifesigns.core.codec import Codec
from lifesigns.core.model import Presence
from lifesigns.core.presence import DETAILS, OFFLINE, STATES, SUSPECT, clocks
from lifesigns.core.sketch import Sketch

ANSWERED, NO_ANSWER, NO_SOCKET = "answered", "no_answer", "no_socket"


@dataclass(frozen=True, slots=True)
class Heard:
    """A socket answered; the store may not have its renewal yet."""

    session: str
    at_ms: int


class Check(NamedTuple):
    """The answer to "is this one alive, and how sure is that?"."""

    id: str
    presence: Presence | None  # None: never seen
    evidence_age_ms: int | None
    valid_for_ms: int
    fresh: bool
    probed: str | None = None
    sketch: Sketch | None = None  # of the presence, whatever its clocks


def judge(
    agent: str,
    presence: Presence | None,
    *,
    now_ms: int,
    within_ms: float | None,
    sketch: Sketch | None = None,
) -> Check:
    """Say how old the evidence for a presence is, and how long it can be relied on."""
    if presence is None:
        return Check(agent, None, None, 0, within_ms is None)
    if not presence.last_heartbeat_ms:  # it is expected, and was never there
        return Check(agent, presence, None, 0, within_ms is None)
    age_ms = max(0, now_ms - presence.last_heartbeat_ms)
    valid_ms = max(0, (presence.expires_at_ms or 0) - now_ms) if presence.alive else 0
    fresh = within_ms is None or age_ms <= within_ms
    return Check(agent, presence, age_ms, valid_ms, fresh, None, sketch)


def sessions_of(presence: Presence | None) -> list[str]:
    """Name the sessions over which an agent may be asked."""
    return [] if presence is None else [i.session for i, _ in presence.instances if i.session]


def hear(presence: Presence, heard: Heard, now_ms: int) -> Presence:
    """Lay a sign of life over what was read after it."""
    latest_ms = max(presence.last_heartbeat_ms, heard.at_ms)
    presence = presence._replace(last_heartbeat_ms=latest_ms)
    for instance, state in presence.instances:
        # One that ended or broke since is not made whole by what it said before.
        if instance.session == heard.session and state != STATES[SUSPECT]:
            ends_ms = max(presence.expires_at_ms or 0, heard.at_ms + instance.ttl_ms)
            held = presence.held and ends_ms <= now_ms
            return presence._replace(expires_at_ms=ends_ms, held=held)
    return presence


def checked(check: Check, detail: str = "full") -> dict[str, Any]:
    """Spell out one entry of ``checked``; an agent never seen is offline and not known."""
    shown: dict[str, Any]
    if check.presence is None:
        shown = {"id": check.id, "alive": False, "state": STATES[OFFLINE]}
    else:
        shown = DETAILS[detail](check.presence)
    return _with_sureness(shown, check)


def encoded(check: Check, detail: str, codec: Codec) -> bytes:
    """Encode one pair of ``checked``; of an agent that is sketched only what alters with time."""
    presence, sketch = check.presence, check.sketch
    if presence is None or sketch is None:
        return codec.pair(check.id, codec.encode(checked(check, detail)))
    rest = _with_sureness(clocks(presence) if detail == "full" else {}, check)
    return sketch.begun(codec, detail, presence, rest) + codec.end(rest)


def _with_sureness(shown: dict[str, Any], check: Check) -> dict[str, Any]:
    shown["known"] = check.presence is not None
    shown["evidence_age_ms"] = check.evidence_age_ms
    shown["valid_for_ms"] = check.valid_for_ms
    shown["fresh"] = check.fresh
    shown["probed"] = check.probed
    return shown
