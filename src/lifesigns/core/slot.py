"""A slot of work: an agent's turn at a job, with a time to say yes and a time to be done.

Decides what a slot may become, when one of its deadlines is near or missed, and when to look at it
again. Deadlines are instants that both sides know, so they never move; but who could not speak
because the service was away has not missed them yet. Must not know where slots are kept, nor who
is told of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, NamedTuple

from lifesigns.core.errors import BadValue, Conflict
from lifesigns.core.instant import to_text, to_text_or_none

Status = Literal["GRANTED", "ACKNOWLEDGED", "SUBMITTED", "WITHDRAWN", "MISSED"]
Move = Literal["acknowledge", "submit", "withdraw"]

STATUSES: Final[tuple[Status, ...]] = (
    "GRANTED",
    "ACKNOWLEDGED",
    "SUBMITTED",
    "WITHDRAWN",
    "MISSED",
)
# What a move makes of a slot; a pair that is not here is a conflict.
MOVES: Final[Mapping[tuple[Status, Move], Status]] = {
    ("GRANTED", "acknowledge"): "ACKNOWLEDGED",
    ("GRANTED", "withdraw"): "WITHDRAWN",
    ("ACKNOWLEDGED", "acknowledge"): "ACKNOWLEDGED",
    ("ACKNOWLEDGED", "submit"): "SUBMITTED",
    ("ACKNOWLEDGED", "withdraw"): "WITHDRAWN",
    ("SUBMITTED", "submit"): "SUBMITTED",
    ("SUBMITTED", "withdraw"): "WITHDRAWN",
    ("WITHDRAWN", "withdraw"): "WITHDRAWN",
}
NEAR_PART: Final = 5  # near is the last fifth of the window,
NEAR_MS: Final = 600_000  # but never more than its last ten minutes
KEPT_MS: Final = 90 * 86_400_000  # how long a slot is remembered after its end
GAP_MS: Final = 120_000  # the longest time between two calls of an agent that has a slot
TELLS_MS: Final = 2_000  # when another hub does it, if the one that granted it has not told it


class Told(NamedTuple):
    """What is to be told of a slot."""

    type: str
    agent: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One agent's turn at one job."""

    id: str
    agent: str
    agent_uuid: str
    job: str
    poster: str | None  # of the job, who is shown what was handed in
    status: Status
    granted_ms: int
    acknowledge_by_ms: int
    finish_by_ms: int
    updated_ms: int
    granted_by: str = ""
    application: str | None = None
    acknowledged_ms: int | None = None
    submitted_ms: int | None = None  # when the artifact that counts came
    ended_ms: int | None = None  # withdrawn, missed, or beyond the last deadline
    artifact: Any = None
    warned: str = ""  # of which deadline it was told that it is near
    told: bool = False  # the agent has a letter about it

    @property
    def deadline_ms(self) -> int | None:
        """Say by when the agent has to do what it owes; None: it owes nothing."""
        if self.status == "GRANTED":
            return self.acknowledge_by_ms
        return self.finish_by_ms if self.status == "ACKNOWLEDGED" else None

    @property
    def owes(self) -> str:
        """Name the deadline that runs."""
        return {"GRANTED": "acknowledgement", "ACKNOWLEDGED": "fairWork"}.get(self.status, "")

    @property
    def near_from_ms(self) -> int | None:
        """Say from when on the deadline that runs is near."""
        deadline_ms = self.deadline_ms
        return None if deadline_ms is None else near_from_ms(self.granted_ms, deadline_ms)

    def is_near(self, now_ms: int) -> bool:
        from_ms = self.near_from_ms
        return from_ms is not None and now_ms >= from_ms

    @property
    def due_ms(self) -> int:
        """Say when it has to be looked at next."""
        if not self.told:
            return self.granted_ms + TELLS_MS
        if self.ended_ms is not None:
            return self.ended_ms + KEPT_MS
        deadline_ms, near_ms = self.deadline_ms, self.near_from_ms
        if deadline_ms is None or near_ms is None:
            return self.finish_by_ms
        return deadline_ms if self.warned == self.owes else near_ms

    @property
    def is_open(self) -> bool:
        """Tell whether its agent may still do something about it."""
        return self.ended_ms is None


def pack(slot: Slot) -> dict[str, Any]:
    """Lay a slot out to be kept."""
    return asdict(slot)


def unpack(body: Mapping[str, Any]) -> Slot:
    """Read a slot that was kept, by a hub of whatever version."""
    return Slot(**{name: value for name, value in body.items() if name in _FIELDS})


_FIELDS: Final = frozenset(field.name for field in fields(Slot))


def near_from_ms(begun_ms: int, deadline_ms: int) -> int:
    """Say from when on a deadline is near: less is left than a fifth, and than ten minutes."""
    window_ms = deadline_ms - begun_ms
    return deadline_ms - min((window_ms - 1) // NEAR_PART, NEAR_MS - 1)


def check_deadlines(now_ms: int, acknowledge_by_ms: int, finish_by_ms: int) -> None:
    """Refuse a grant that nobody could take up."""
    if acknowledge_by_ms <= now_ms:
        raise BadValue("It has to lie in the future.", field="acknowledgementDeadlineAt")
    if finish_by_ms < acknowledge_by_ms:
        raise BadValue(
            "It may not lie before acknowledgementDeadlineAt.", field="fairWorkDeadlineAt"
        )


class Turn(NamedTuple):
    """A slot as it shall be, and what is to be told of it."""

    slot: Slot
    told: tuple[Told, ...] = ()


def grant(slot: Slot) -> Turn:
    """Begin a slot."""
    return Turn(slot, (Told("slot.granted", slot.agent, facts(slot)),))


def move(
    slot: Slot, act: Move, now_ms: int, *, held_until_ms: int = 0, artifact: Any = None
) -> Slot:
    """Let the agent do something about its slot; ``Conflict`` if it may not, or not any more.

    Said twice it is the same: whoever did not hear the answer asks again. ``held_until_ms`` is the
    end of a time for which nobody is blamed for a silence.
    """
    status = MOVES.get((slot.status, act))
    if status is None:
        raise Conflict(f"A slot that is {slot.status} cannot be {_DONE[act]}.")
    if status == slot.status and act != "submit":
        return slot
    deadline_ms = slot.deadline_ms or slot.finish_by_ms
    if now_ms >= max(deadline_ms, held_until_ms):
        raise Conflict(f"That was due before {to_text(deadline_ms)}.")
    slot = replace(slot, status=status, updated_ms=now_ms)
    if act == "acknowledge":
        return replace(slot, acknowledged_ms=now_ms)
    if act == "submit":
        return replace(slot, submitted_ms=now_ms, artifact=artifact)
    return replace(slot, ended_ms=now_ms)


_DONE: Final[Mapping[Move, str]] = {
    "acknowledge": "acknowledged",
    "submit": "submitted",
    "withdraw": "withdrawn",
}


def pass_time(slot: Slot, now_ms: int) -> Turn:
    """Let time pass: a deadline comes near, which is told once, or is over."""
    if slot.ended_ms is not None:
        return Turn(slot)
    deadline_ms, owes = slot.deadline_ms, slot.owes
    if deadline_ms is None:  # from its deadline on what was handed in is final
        return Turn(slot if now_ms < slot.finish_by_ms else replace(slot, ended_ms=now_ms))
    if now_ms >= deadline_ms:
        missed = replace(slot, status="MISSED", ended_ms=now_ms, updated_ms=now_ms)
        data = facts(missed) | {"deadline": owes}
        return Turn(missed, (Told("slot.missed", slot.agent, data),))
    if slot.is_near(now_ms) and slot.warned != owes:
        data = facts(slot) | {"deadline": owes, "remaining_ms": deadline_ms - now_ms}
        warned = replace(slot, warned=owes)
        return Turn(warned, (Told("slot.near_deadline", slot.agent, data),))
    return Turn(slot)


def lapse(slot: Slot, now_ms: int) -> Turn:
    """End a slot whose job is over: nothing is owed any more, and nobody has missed anything."""
    status: Status = "SUBMITTED" if slot.status == "SUBMITTED" else "WITHDRAWN"
    return Turn(replace(slot, status=status, ended_ms=now_ms, updated_ms=now_ms))


def held_until_ms(gap_ms: int) -> int:
    """Say until when nobody misses a deadline, if agents could not be heard before ``gap_ms``."""
    return gap_ms + GAP_MS if gap_ms else 0


def told(slot: Slot) -> Slot:
    """Note that the agent has a letter about it."""
    return replace(slot, told=True)


def over(slot: Slot, now_ms: int) -> bool:
    """Tell whether it was kept for long enough."""
    return slot.ended_ms is not None and now_ms >= slot.ended_ms + KEPT_MS


def facts(slot: Slot) -> dict[str, Any]:
    """Tell what a slot is about, without what was handed in."""
    return {
        "id": slot.id,
        "agentId": slot.agent_uuid,
        "jobId": slot.job,
        "applicationId": slot.application,
        "status": slot.status,
        "acknowledgementDeadlineAt": to_text(slot.acknowledge_by_ms),
        "fairWorkDeadlineAt": to_text(slot.finish_by_ms),
    }


def by_deadline(slots: Sequence[Slot]) -> list[Slot]:
    """Put first what is due first."""
    return sorted(slots, key=lambda slot: (slot.deadline_ms or slot.finish_by_ms, slot.id))


def spell(slot: Slot, now_ms: int) -> dict[str, Any]:
    """Spell a slot out, for its agent and for those who granted it."""
    return facts(slot) | {
        "agent": slot.agent,
        "bountyId": slot.job,
        "nearDeadline": slot.is_near(now_ms),
        "artifact": slot.artifact,
        "grantedBy": slot.granted_by or None,
        "grantedAt": to_text(slot.granted_ms),
        "acknowledgedAt": to_text_or_none(slot.acknowledged_ms),
        "submittedAt": to_text_or_none(slot.submitted_ms),
        "withdrawnAt": to_text_or_none(slot.ended_ms if slot.status == "WITHDRAWN" else None),
        "missedAt": to_text_or_none(slot.ended_ms if slot.status == "MISSED" else None),
        "updatedAt": to_text(slot.updated_ms),
    }
