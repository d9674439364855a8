"""What happened, as webhooks tell it: of an agent's change, or of anything else that has a type.

A change of an agent is numbered once and may be more than one event: an agent that comes in need
of attention is there, and in error. Must not know who is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifesigns.core.change import FORGOTTEN, change_of, unpack_change
from lifesigns.core.model import Presence
from lifesigns.core.presence import (
    DETAILS,
    ERROR,
    KIND_NAMES,
    NONE,
    SLEEPING,
    STATES,
    present,
)

# By the letter of the change.
TYPES = {letter: f"agent.{name}" for letter, name in KIND_NAMES.items() if letter != "u"}
TURNS = frozenset({"agent.online", "agent.offline"})
# Fields of the data that name what an event is about, if that is not its agent alone.
SUBJECTS = ("jobId", "slotId", "run", "claim", "schedule")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    type: str  # "": nothing to tell, but something else may not be so any more
    agent: str  # "": it is about none
    subject: str  # what the next event of its kind would be about as well
    at_ms: int
    data: Mapping[str, Any]
    presence: Presence | None = None  # of the agent, where that is what changed
    rank: int | None = None  # after the change; NONE: it was forgotten

    @property
    def job(self) -> str | None:
        """Name the job that it is about."""
        job = self.data.get("jobId")
        return job if isinstance(job, str) else None


def events_of(project: str, epoch: str, packed: bytes) -> list[Event]:
    """Name what a change of an agent means, in the order in which it is told."""
    head, record = unpack_change(packed)
    presence = present(project, head.agent, record, epoch=epoch, now_ms=head.at_ms)
    rank = NONE if head.kind == FORGOTTEN else record.rank
    types = [TYPES[head.kind]] if head.kind in TYPES else []
    if rank == ERROR and head.was != ERROR:
        types.append("agent.error")
    fields = DETAILS["full"](presence)
    return [
        Event(
            type_,
            head.agent,
            head.agent,
            head.at_ms,
            change_of(
                KIND_NAMES[head.kind],
                head.was,
                head.at_ms,
                fields,
                lasted_ms=head.lasted_ms,
                gone=False,
            ),
            presence,
            rank,
        )
        for type_ in types or [""]
    ]


def noted(type_: str, agent: str, at_ms: int, data: Mapping[str, Any]) -> Event:
    """Take any other event as it was noted."""
    named = (data.get(name) for name in SUBJECTS)
    subject = next((each for each in named if isinstance(each, str)), agent)
    return Event(type_, agent, subject, at_ms, data)


def is_true(type_: str, rank: int) -> bool:
    """Tell whether what an agent's event said is still so when the agent has another rank."""
    alive = SLEEPING < rank < NONE
    state = STATES[rank] if rank < NONE else None
    match type_:
        case "agent.online":
            return alive
        case "agent.offline":
            return not alive
        case "agent.suspect" | "agent.stalled" | "agent.error":
            return type_ == f"agent.{state}"
        case "agent.recovered":
            return alive and state not in ("suspect", "stalled")
    return True
