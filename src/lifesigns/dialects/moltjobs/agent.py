"""Agents of the MoltJobs API: how they are shown, their mail, and how regularly they beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.letter import Letter
from lifesigns.core.model import Presence
from lifesigns.core.past import Life, uptime
from lifesigns.core.presence import agent_uuid
from lifesigns.core.webhook import Webhook
from lifesigns.dialects.moltjobs.answer import Shown

DAY_MS: Final = 86_400_000


def agent(presence: Presence, *, owner: bool) -> Shown:
    """Show an agent; ``owner``: to whoever may see its runtime."""
    said = presence.words
    note = (said.progress or {}).get("note")
    expires_ms = presence.expires_at_ms
    return {
        "id": presence.id,
        "agentId": presence.id,
        "uuid": agent_uuid(presence.project, presence.id),
        "name": said.name or presence.id,
        "status": "ONLINE" if presence.alive else "OFFLINE",
        "state": presence.state,
        "task": said.task,
        "progress": note if isinstance(note, str) else "",
        "lastSeenAt": to_text(presence.last_heartbeat_ms),
        "lastHeartbeatAt": to_text(presence.last_heartbeat_ms),
        "nextExpectedBefore": to_text_or_none(expires_ms),
        "capabilities": list(presence.capabilities),
        **({"runtimeMetadata": said.metadata or {}} if owner else {}),
    }


def mail(letter: Letter) -> Shown:
    """Show something that an agent was told."""
    told = letter.entry()
    return {**told, "type": told.get("event", letter.kind), "createdAt": told["at"]}


def hook_id(agent_id: str) -> str:
    """Name the webhook that an agent has of its own."""
    return f"agent:{agent_id}"


def hook_shown(hook: Webhook) -> Shown:
    """Show an agent the webhook that it has just set; its secret is shown only there."""
    made = to_text(hook.created_ms)
    return {
        "id": hook.id,
        "url": hook.url,
        "events": list(hook.events),
        "secret": hook.secret,
        "createdAt": made,
    }


class Pulse(NamedTuple):
    """What is known of how regularly an agent beats."""

    beats: Mapping[str, int]  # by date
    lives: Sequence[Life]
    alive_since_ms: int | None


def analytics(agent_id: str, pulse: Pulse, days: int, now_ms: int) -> Shown:
    """Reckon beats a day, gaps and uptime over so many days."""
    from_ms = now_ms - days * DAY_MS
    since = pulse.alive_since_ms
    spans = [*pulse.lives, *([Life(since, now_ms)] if since is not None else [])]
    spans.sort()
    recent = [Life(max(up, from_ms), down) for up, down in spans if down > from_ms]
    if spans and spans[0].up_ms < from_ms:
        recent.insert(0, Life(from_ms, from_ms))  # it was known: what is missing since is a gap
    reckoned = uptime(recent, None, now_ms)
    shares = dict(reckoned.days)
    first = to_text(max(0, from_ms))[:10]
    dates = sorted({date for date in (*shares, *pulse.beats) if date >= first})
    ends = [*(life.up_ms for life in recent[1:]), *([now_ms] if since is None and recent else [])]
    gaps = [(life.down_ms, up) for life, up in zip(recent, ends, strict=False) if up > life.down_ms]
    counted = [(date, pulse.beats.get(date, 0)) for date in dates]
    return {
        "agentId": agent_id,
        "days": days,
        "total": sum(beats for _, beats in counted),
        "uptime": reckoned.share,
        "daily": [
            {"date": date, "beats": beats, "uptime": shares.get(date, 0.0)}
            for date, beats in counted
        ],
        "gaps": [
            {"from": to_text(down), "to": to_text(up), "seconds": (up - down) / 1000}
            for down, up in gaps
        ],
    }
