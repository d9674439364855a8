"""A runtime's heartbeat: from the body to our words, and the row that is kept of each runtime.

A runtime is our instance. Its row stays when the instance is gone; it is what the runtime said
last, and when. Times are whole milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

from lifesigns.core.access import check_instance
from lifesigns.core.codec import check_bulk
from lifesigns.core.errors import BadValue
from lifesigns.core.field import DESCRIBING
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.model import Instance, Limits, Presence
from lifesigns.core.presence import agent_uuid
from lifesigns.dialects.callboard.refusal import Invalid

DIALECT: Final = "callboard"
KIND: Final = "runtime"  # of the documents in which rows are kept

Role = Literal["REQUESTER", "WORKER", "BOTH"]
ROLES: Final[tuple[Role, ...]] = ("BOTH", "WORKER", "REQUESTER")  # the first unless told
STATUSES: Final = ("ONLINE", "DEGRADED", "OFFLINE")

# What is said of the moment is over when it is not said again; what is said of the runtime stays.
OF_THE_MOMENT: Final = ("currentAction", "currentJobId", "currentParticipationSlotId", "lastError")
OF_THE_RUNTIME: Final = ("runtime", "version", "capabilitiesJson", "metadataJson")
WORDS: Final = frozenset({"runtime", "version"})  # short ones; the other texts may be long
ANYTHING: Final = frozenset({"capabilitiesJson", "metadataJson"})
# Those that have a place of their own in a presence, when they are of a kind that fits there.
PLACED: Final = frozenset({"currentAction", "version"})
IDLE: Final = "idle"
NEVER_SEEN: Final = "NEVER_SEEN"

KEPT_MS: Final = 30 * 86_400_000  # how long a row is kept of a runtime that is not heard of
ROWS: Final = 1_000  # an agent, the oldest go first

# States of instances of other dialects, in the words of this one.
_STATUS_OF_STATE: Final[Mapping[str, str]] = {"available": "ONLINE", "busy": "ONLINE"}


@dataclass(frozen=True, slots=True)
class Row:
    """One runtime of an agent, as it is listed."""

    id: str
    agent: str
    runtime_id: str
    role: Role
    status: str
    said: Mapping[str, Any]  # the optional fields of the API, by their names there
    more: Mapping[str, Any]  # fields that are none of the API
    seen_ms: int
    stale_ms: int  # until when it counts as there, if it is not OFFLINE
    created_ms: int
    updated_ms: int

    @property
    def action(self) -> str | None:
        """Name what it is doing; None: nothing."""
        action = self.said.get("currentAction")
        return None if not action or action.strip().lower() == IDLE else action


def pack(row: Row) -> dict[str, Any]:
    """Lay a row out to be kept."""
    return asdict(row)


def unpack(body: Mapping[str, Any]) -> Row:
    """Read a row that was kept, by a hub of whatever version."""
    return Row(**{name: value for name, value in body.items() if name in _FIELDS})


_FIELDS: Final = frozenset(each.name for each in fields(Row))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a request says."""

    runtime_id: str
    role: Role = "BOTH"
    status: str = "ONLINE"
    said: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def heartbeat(body: Mapping[str, Any], limits: Limits) -> Heartbeat:
    """Read a body; ``Invalid`` names every field that is wrong."""
    wrong: dict[str, str] = {}
    runtime_id = body.get("runtimeId")
    try:
        check_instance(runtime_id, "runtimeId")
    except BadValue as bad:
        wrong["runtimeId"] = "runtimeId is needed." if runtime_id in (None, "") else bad.message
    chosen: dict[str, Any] = {}
    for name, choices in (("roleMode", ROLES), ("status", STATUSES)):
        value = body.get(name)
        chosen[name] = choices[0] if value is None else value
        if chosen[name] not in choices:
            wrong[name] = f"{name} is one of {', '.join(choices)}."
    said = {name: body[name] for name in (*OF_THE_MOMENT, *OF_THE_RUNTIME) if name in body}
    for name, value in said.items():
        try:
            _check(name, value, limits)
        except BadValue as bad:
            wrong[name] = bad.message
    more = {name: value for name, value in body.items() if name not in _KNOWN}
    try:
        check_bulk(more, "body", limits.metadata_bytes, limits.metadata_depth)
    except BadValue as bad:
        wrong[bad.field or "body"] = bad.message
    if wrong:
        raise Invalid(wrong)
    return Heartbeat(str(runtime_id), chosen["roleMode"], chosen["status"], said, more)


_KNOWN: Final = frozenset({"runtimeId", "roleMode", "status", *OF_THE_MOMENT, *OF_THE_RUNTIME})


def _check(name: str, value: Any, limits: Limits) -> None:
    if value is None:
        return
    if name in ANYTHING:
        check_bulk(value, name, limits.metadata_bytes, limits.metadata_depth)
        return
    # A version is a word and a task is long, whatever they are called here.
    DESCRIBING["version" if name in WORDS else "task"](value, name, limits)


def runtime_row_id(project: str, agent: str, runtime_id: str) -> str:
    """Name a runtime's row; every hub derives the same."""
    return str(uuid5(NAMESPACE_URL, f"lifesigns:{project}/{agent}/{runtime_id}"))


def beaten(
    former: Row | None, beat: Heartbeat, now_ms: int, lease_ms: int, *, project: str, agent: str
) -> Row:
    """Put a heartbeat into its runtime's row; an OFFLINE that is repeated changes nothing."""
    if former is not None and former.status == beat.status == "OFFLINE":
        return former
    kept = {} if former is None else {n: former.said[n] for n in OF_THE_RUNTIME if n in former.said}
    said = {name: value for name, value in {**kept, **beat.said}.items() if value is not None}
    return Row(
        id=runtime_row_id(project, agent, beat.runtime_id),
        agent=agent,
        runtime_id=beat.runtime_id,
        role=beat.role,
        status=beat.status,
        said=said,
        more=beat.more,
        seen_ms=now_ms,
        stale_ms=now_ms + lease_ms,
        created_ms=now_ms if former is None else former.created_ms,
        updated_ms=now_ms,
    )


def renewed(row: Row, now_ms: int, lease_ms: int) -> Row:
    """Note that a runtime was heard of, by whatever call."""
    return replace(row, seen_ms=max(row.seen_ms, now_ms), stale_ms=now_ms + lease_ms)


def words(row: Row, limits: Limits) -> dict[str, Any]:
    """Say what a row says of its instance, in our words; not for one that is OFFLINE."""
    capabilities = capabilities_of(row.said.get("capabilitiesJson"), limits)
    told: dict[str, Any] = {
        "status": row.status,
        "state": "busy" if row.status == "ONLINE" and row.action is not None else None,
        "task": row.action,
        "version": row.said.get("version"),
        "metadata": _metadata(row, placed=capabilities is not None),
        "dialect": DIALECT,
    }
    if capabilities is not None:
        told["capabilities"] = capabilities
    check_bulk(told["metadata"], "metadataJson", limits.metadata_bytes, limits.metadata_depth)
    return told


def _metadata(row: Row, *, placed: bool) -> dict[str, Any]:
    """Keep what has no place of its own; a key of the sender's own metadata wins."""
    own = row.said.get("metadataJson")
    left = {name: value for name, value in row.said.items() if name not in PLACED}
    if isinstance(own, dict):
        del left["metadataJson"]
    if placed:
        del left["capabilitiesJson"]
    return {"roleMode": row.role, **left, **row.more, **(own if isinstance(own, dict) else {})}


def capabilities_of(value: Any, limits: Limits) -> tuple[str, ...] | None:
    """Find names of capabilities: a list of texts, or a map whose values say yes; else None."""
    if isinstance(value, dict):
        value = [name for name, has in value.items() if has is True] or None
    if not isinstance(value, list) or not value:
        return None
    try:
        found: tuple[str, ...] = DESCRIBING["capabilities"](value, "capabilitiesJson", limits)
    except BadValue:
        return None  # another kind of list: it is kept as it is
    return found


# What is shown.


@dataclass(frozen=True, slots=True)
class Shown:
    """A row with what the instance of that name tells of it."""

    row: Row
    stale_ms: int | None  # None: it is OFFLINE, and nothing ends
    is_stale: bool
    seen_ms: int


def shown_rows(
    project: str, agent: str, rows: Iterable[Row], presence: Presence | None
) -> list[Shown]:
    """Lay rows beside the instances that there are: the latest first.

    An instance that beats in another dialect has a row as well, in the words of this one.
    """
    standing = {i.name: (i, state) for i, state in presence.instances} if presence else {}
    shown = [_shown(row, standing.pop(row.runtime_id, (None, ""))[0], presence) for row in rows]
    for instance, state in standing.values():
        row = _foreign(project, agent, instance, state)
        shown.append(Shown(row, instance.lease_ms, False, row.seen_ms))
    return sorted(shown, key=lambda each: (each.seen_ms, each.row.id), reverse=True)


def _shown(row: Row, instance: Instance | None, presence: Presence | None) -> Shown:
    if row.status == "OFFLINE":
        return Shown(row, None, False, row.seen_ms)
    if instance is not None:
        seen_ms = max(row.seen_ms, instance.last_heartbeat_ms)
        return Shown(row, instance.lease_ms or row.stale_ms, False, seen_ms)
    ended_ms = presence.offline_since_ms if presence is not None else None
    return Shown(row, min(row.stale_ms, ended_ms or row.stale_ms), True, row.seen_ms)


def _foreign(project: str, agent: str, instance: Instance, state: str) -> Row:
    told = instance.words
    said = {"currentAction": told.task, "version": told.version, "metadataJson": told.metadata}
    return Row(
        id=runtime_row_id(project, agent, instance.name),
        agent=agent,
        runtime_id=instance.name,
        role=ROLES[0],
        status=_STATUS_OF_STATE.get(state, "DEGRADED"),
        said={name: value for name, value in said.items() if value is not None},
        more={},
        seen_ms=instance.last_heartbeat_ms,
        stale_ms=instance.lease_ms or instance.last_heartbeat_ms,
        created_ms=instance.start_ms,
        updated_ms=instance.said_ms,
    )


def spell(project: str, shown: Shown) -> dict[str, Any]:
    """Spell a runtime's row out."""
    row = shown.row
    optional = {name: row.said.get(name) for name in (*OF_THE_RUNTIME, *OF_THE_MOMENT)}
    return {
        "id": row.id,
        "agentId": agent_uuid(project, row.agent),
        "runtimeId": row.runtime_id,
        "roleMode": row.role,
        "status": row.status,
        **optional,
        "lastSeenAt": to_text(shown.seen_ms),
        "staleAt": to_text_or_none(shown.stale_ms),
        "isStale": shown.is_stale,
        "createdAt": to_text(row.created_ms),
        "updatedAt": to_text(row.updated_ms),
    }


def presence_state(presence: Presence | None, shown: Sequence[Shown]) -> str:
    """Say in one word whether the agent is there, whatever it speaks."""
    if presence is None:
        return ("OFFLINE" if shown[0].row.status == "OFFLINE" else "STALE") if shown else NEVER_SEEN
    if presence.alive:
        return _STATUS_OF_STATE.get(presence.state, "DEGRADED")
    # One that sleeps is away on purpose, as is one that has said that it leaves.
    asleep = presence.state == "sleeping" or presence.reason == "left"
    return "OFFLINE" if asleep else "STALE"
