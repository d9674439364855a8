"""The state table, as data, and what follows from it.

A state's rank is its row in the table, counted from below: an agent is as well as its best
instance, an instance is as bad as its worst condition. Each condition is a pair (from when, rank);
the store keeps the pairs and takes the best of the worst without knowing a state by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.model import Instance, Override, Presence, Record, Words

STATES = (
    "offline",
    "sleeping",
    "suspect",
    "error",
    "stalled",
    "degraded",
    "draining",
    "busy",
    "available",
)
OFFLINE, SLEEPING, SUSPECT, ERROR, STALLED, DEGRADED, DRAINING, BUSY, AVAILABLE = range(9)
NONE = 9  # stands for "no record yet" in the table of kinds

HINTS = {state: STATES.index(state) for state in ("available", "busy", "draining", "degraded")} | {
    "error": ERROR
}

OVERRIDES = {state: HINTS[state] for state in ("draining", "error")}  # what an operator may say

STATUS_RANKS = {
    status: rank
    for rank, statuses in {
        AVAILABLE: "idle ready available online healthy waiting",
        BUSY: "thinking learning working busy running active processing",
        DEGRADED: "degraded",
        DRAINING: "draining stopping",
        ERROR: "error failed",
    }.items()
    for status in statuses.split()
}

STALLING = frozenset({BUSY, DEGRADED})  # own words that promise progress
SERVING = frozenset({DEGRADED, BUSY, AVAILABLE})  # ranks of instances whose slots count

KIND_NAMES = {
    "o": "online",
    "f": "offline",
    "s": "suspect",
    "t": "stalled",
    "r": "recovered",
    "u": "updated",
    "g": "forgotten",
}


def kind(old: int, new: int) -> str:
    """Name the change from one rank to another by its letter; ``=`` is none."""
    down = (OFFLINE, SLEEPING)
    if old == new:
        return "="
    if new == NONE:
        return "g"
    if old == NONE or old in down:
        return "u" if new in down else "o"
    if new in down:
        return "f"
    if new == SUSPECT:
        return "s"
    if new == STALLED:
        return "t"
    return "r" if old in (SUSPECT, STALLED) else "u"


KINDS = "".join(kind(old, new) for old in range(10) for new in range(10))


def own_rank(words: Words) -> int:
    """Rank the agent's own word: its hint, else its status, else whether it has a task."""
    if words.state is not None:
        return HINTS[words.state]
    if words.status is not None:
        rank = STATUS_RANKS.get(words.status.lower())
        if rank is not None:
            return rank
    return BUSY if words.task else AVAILABLE  # an empty text names no task


def stalls_at_ms(words: Words, own: int, progressed_ms: int, worded_ms: int) -> int | None:
    """Say when an instance stalls if nothing more is heard of its progress."""
    if words.progress_ttl_ms is None or own not in STALLING:
        return None
    return max(progressed_ms, worded_ms, words.busy_until_ms or 0) + words.progress_ttl_ms


def instance_rank(
    pairs: Sequence[tuple[int, int]], now_ms: int, override: Override | None = None
) -> int:
    """Take the worst condition whose time has come.

    The first pair is its own word, and a later one from 0 comes from outside; what an operator says
    stands in place of all others.
    """
    if override is not None:
        return min([override.rank, *(rank for since, rank in pairs[1:] if since == 0)])
    worst = AVAILABLE
    for since, rank in pairs:
        if rank < worst and since <= now_ms:
            worst = rank
    return worst


def override_at(record: Record, now_ms: int) -> Override | None:
    """Tell what an operator says of an agent at this moment."""
    override = record.override
    ended = override and override.until_ms is not None and override.until_ms <= now_ms
    return None if ended else override


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@lru_cache(maxsize=65_536)
def agent_uuid(project: str, agent: str) -> str:
    """Give an agent the UUID that every hub derives alike; its own id if that is one."""
    if _UUID.fullmatch(agent):
        return agent.lower()
    return str(uuid5(NAMESPACE_URL, f"lifesigns:{project}/{agent}"))


def present(
    project: str,
    agent: str,
    record: Record,
    *,
    epoch: str,
    now_ms: int,
) -> Presence:
    """Derive what the world is shown of an agent."""
    override = override_at(record, now_ms)
    rank, alive = record.rank, record.rank > SLEEPING
    best, shown, slots, expires_at_ms, any_held = (-1, 0), record.last, 0, None, False
    standing = []
    for i in record.instances:
        own = instance_rank(i.pairs, now_ms, override)
        standing.append((i, STATES[own]))
        if (own, i.said_ms) > best:
            best, shown = (own, i.said_ms), i
        if own in SERVING:
            slots += i.words.slots
        if i.lease_ms is not None and (expires_at_ms is None or i.lease_ms > expires_at_ms):
            expires_at_ms = i.lease_ms
        any_held = any_held or i.held
    assert shown is not None, "a record keeps its last instance when none is left"
    capabilities, heartbeat_ms, progress_ms, busy_until_ms = _joined(record.instances or (shown,))
    free = max(0, slots - len(record.claims))
    return Presence(
        agent,
        project,
        rank,
        STATES[rank],
        shown.words,
        capabilities,
        slots,
        free if _claimable(rank, slots, record.instances) else 0,
        heartbeat_ms,
        expires_at_ms,
        any_held and alive and expires_at_ms is not None and expires_at_ms <= now_ms,
        progress_ms,
        busy_until_ms,
        record.up_ms if alive else None,
        None if alive else record.down_ms,
        None if alive else (record.why or None),
        None if alive else (record.text or None),
        tuple(standing),
        epoch,
        record.seq,
        record.claims,
        override,
        max(record.since_ms, record.freed_ms),
        record.due_ms or None,
    )


def _joined(speakers: Sequence[Instance]) -> tuple[tuple[str, ...], int, int, int | None]:
    """Join what instances can do, and take the latest of when they were heard, got on, are busy."""
    if len(speakers) == 1:
        (only,) = speakers
        words = only.words
        capabilities = tuple(dict.fromkeys(words.capabilities))
        return capabilities, only.last_heartbeat_ms, only.progressed_ms, words.busy_until_ms or None
    return (
        tuple(dict.fromkeys([c for i in speakers for c in i.words.capabilities])),
        max([i.last_heartbeat_ms for i in speakers]),
        max([i.progressed_ms for i in speakers]),
        max([i.words.busy_until_ms or 0 for i in speakers]) or None,
    )


def _claimable(rank: int, slots: int, instances: Iterable[Instance]) -> bool:
    if rank == AVAILABLE:
        return True
    return rank == BUSY and slots > 1 and not any(i.words.state == "busy" for i in instances)


def full(presence: Presence, *, expand: bool = False) -> dict[str, Any]:
    """Spell out a presence as every native answer and frame shows it."""
    words = presence.words
    return {
        "id": presence.id,
        "agent_id": presence.id,
        "uuid": agent_uuid(presence.project, presence.id),
        "name": words.name,
        "alive": presence.alive,
        "state": presence.state,
        "status": words.status,
        "task": words.task,
        "progress": words.progress,
        "context": words.context,
        "metadata": words.metadata,
        "capabilities": list(presence.capabilities),
        "slots": presence.slots,
        "claims": len(presence.claims),
        "free_slots": presence.free_slots,
        "did": words.did,
        "group": words.group,
        "host": words.host,
        "version": words.version,
        "dialect": words.dialect,
        "override": spell_override(presence.override),
        **clocks(presence),
        "last_progress": to_text_or_none(presence.last_progress_ms or None),
        "busy_until": to_text_or_none(presence.busy_until_ms),
        "next_active_at": to_text_or_none(presence.next_active_ms),
        "online_since": to_text_or_none(presence.online_since_ms),
        "offline_since": to_text_or_none(presence.offline_since_ms),
        "reason": presence.reason,
        "reason_text": presence.reason_text,
        "instances": _expanded(presence) if expand else len(presence.instances),
        "instance_states": _tally(state for _, state in presence.instances),
        "epoch": presence.epoch,
        "seq": presence.seq,
    }


def clocks(presence: Presence) -> dict[str, Any]:
    """Spell out what alters with every beat."""
    return {
        "last_heartbeat": to_text_or_none(presence.last_heartbeat_ms or None),
        "expires_at": to_text_or_none(presence.expires_at_ms),
        "held": presence.held,
    }


def lite(presence: Presence) -> dict[str, Any]:
    """Spell out the few fields that a long list needs."""
    words = presence.words
    return {
        "id": presence.id,
        "name": words.name,
        "state": presence.state,
        "status": words.status,
        "dialect": words.dialect,
        "group": words.group,
        "capabilities": list(presence.capabilities),
        "alive": presence.alive,
        "epoch": presence.epoch,
        "seq": presence.seq,
    }


def counts(presences: Iterable[Presence]) -> dict[str, Any]:
    """Count the states, and name no agent."""
    tally = _tally(p.state for p in presences)
    return {"counts": tally, "total": sum(tally.values())}


DETAILS = {"full": full, "lite": lite}


def _expanded(presence: Presence) -> list[dict[str, Any]]:
    return [
        {
            "instance": i.name,
            "state": state,
            "status": i.words.status,
            "task": i.words.task,
            "progress": i.words.progress,
            "metadata": i.words.metadata,
            "capabilities": list(i.words.capabilities),
            "slots": i.words.slots,
            "host": i.words.host,
            "version": i.words.version,
            "ttl": i.ttl_ms / 1000,
            "last_heartbeat": to_text(i.last_heartbeat_ms),
            "expires_at": to_text_or_none(i.lease_ms),
            "last_progress": to_text(i.progressed_ms),
            "progress_ttl": _seconds(i.words.progress_ttl_ms),
            "stalls_at": to_text_or_none(
                stalls_at_ms(i.words, own_rank(i.words), i.progressed_ms, i.worded_ms)
            ),
            "started_at": to_text(i.start_ms),
        }
        for i, state in presence.instances
    ]


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def spell_override(override: Override | None) -> dict[str, Any] | None:
    """Spell out what an operator says."""
    if override is None:
        return None
    until = to_text_or_none(override.until_ms)
    return {"state": STATES[override.rank], "why": override.why or None, "until": until}


def _tally(states: Iterable[str]) -> dict[str, int]:
    tally: dict[str, int] = {}
    for state in states:
        tally[state] = tally.get(state, 0) + 1
    return tally


def merge(words: Words, changes: Mapping[str, Any]) -> Words:
    """Apply what a beat says: absent is unchanged, and a status without a state drops the hint."""
    merged = words._replace(**changes)
    if "status" in changes and "state" not in changes and merged.state is not None:
        merged = merged._replace(state=None)
    return merged


def is_progress(words: Words, changes: Mapping[str, Any]) -> bool:
    """Tell whether a beat shows that the agent gets anywhere."""
    if changes.get("progress") is not None:
        return True
    return "task" in changes and changes["task"] != words.task
