"""A job: how far it is, who works on it, and who may move it.

Every judgement takes a job as it was read and answers a ``Turn``: the job as it shall be, and what
is to be told of it. A move that a job's status forbids is a ``Conflict``. What its agent's silence
means is in ``silence``. Must not know how jobs are kept, nor what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NamedTuple

from lifesigns.core.access import Grant
from lifesigns.core.errors import BadRequest, Conflict
from lifesigns.core.instant import to_text, to_text_or_none

OPEN, ASSIGNED, IN_PROGRESS = "OPEN", "ASSIGNED", "IN_PROGRESS"
IN_REVIEW, COMPLETED, CANCELLED, DISPUTED = "IN_REVIEW", "COMPLETED", "CANCELLED", "DISPUTED"
STATUSES: Final = (OPEN, ASSIGNED, IN_PROGRESS, IN_REVIEW, COMPLETED, CANCELLED, DISPUTED)
WORKED: Final = frozenset({ASSIGNED, IN_PROGRESS})  # its agent has to be heard of
CLOSED: Final = frozenset({COMPLETED, CANCELLED})

MOVES: Final[Mapping[str, Mapping[str, str]]] = {
    "assign": {OPEN: ASSIGNED},
    "start": {ASSIGNED: IN_PROGRESS},
    "submit": {ASSIGNED: IN_REVIEW, IN_PROGRESS: IN_REVIEW},
    "approve": {IN_REVIEW: COMPLETED},
    "reject": {IN_REVIEW: IN_PROGRESS},
    "cancel": {OPEN: CANCELLED, ASSIGNED: CANCELLED, IN_PROGRESS: CANCELLED},
    "dispute": {IN_REVIEW: DISPUTED},
    "reclaim": {},
}
# Where its agent was silent for long enough, a job can be moved like this, too.
ONCE_DISPUTABLE: Final[Mapping[str, Mapping[str, str]]] = {
    "dispute": dict.fromkeys(WORKED, DISPUTED),
    "reclaim": dict.fromkeys((*WORKED, DISPUTED), OPEN),
}
BY_AGENT: Final = frozenset({"start", "submit"})  # all others are its poster's

PAST: Final[Mapping[str, str]] = {
    "assign": "job.assigned",
    "start": "job.started",
    "submit": "job.submitted",
    "approve": "job.approved",
    "reject": "job.rejected",
    "cancel": "job.cancelled",
    "dispute": "job.disputed",
    "reclaim": "job.reclaimed",
}
CREATED, EDITED, MESSAGE = "job.created", "job.edited", "job.message"
MISSED, RECOVERED, DISPUTABLE = "job.heartbeat_missed", "job.recovered", "job.disputable"
# What is in the trail alone: that a job was written or begun alarms nobody.
UNTOLD: Final = frozenset({CREATED, EDITED, "job.started"})

UNFLAGGED: Final[Mapping[str, Any]] = {
    "inactive_ms": None,
    "disputable_ms": None,
    "disputable": False,
}

# What an agent finds in its inbox: all that others do with its job.
LETTERS: Final = frozenset(
    PAST[each] for each in ("assign", "approve", "reject", "cancel", "dispute", "reclaim")
)
DELIVERED_MS: Final = 2_000  # when another hub does it, if the one that moved the job has not

TRAIL: Final = 200  # steps kept of one job; reject and submit may take turns for ever
LONGEST_ID: Final = 128


@dataclass(frozen=True, slots=True)
class Terms:
    """How jobs are dealt with; settings."""

    window_ms: int = 1_800_000  # unless the job has its own
    dispute_ms: int = 1_800_000  # from inactive to disputable
    kept_ms: int = 90 * 86_400_000  # once closed
    strict: bool = False  # whether a beat for an unknown job is refused


class Step(NamedTuple):
    """What happened to a job."""

    at_ms: int
    type: str
    by: str  # who did it; empty: nobody, time went on
    was: str
    status: str
    agent: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is kept; fields may be added with a default."""

    id: str
    window_ms: int
    created_ms: int
    updated_ms: int
    since_ms: int  # since when its status is what it is: silence counts from there
    status: str = OPEN
    agent: str | None = None
    poster: str | None = None
    title: str = ""
    description: str = ""
    acceptance_criteria: str = ""
    template_id: str = ""
    budget_usdc: float = 0
    deadline_ms: int | None = None
    input_data: Any = None  # None: not given
    output_data: Any = None
    notes: str = ""
    report: str = ""  # the last word on its progress
    reason: str = ""  # of the latest move that has one
    beat_ms: int | None = None  # when its agent was heard last
    inactive_ms: int | None = None  # since when it is flagged inactive
    disputable_ms: int | None = None  # when an inactive one becomes disputable
    disputable: bool = False
    webhook: str | None = None  # where what becomes of it is told, beside the project's webhooks
    more: Mapping[str, Any] | None = None  # what its poster said that nobody here knows
    trail: tuple[Step, ...] = ()
    letters: tuple[tuple[str, str], ...] = ()  # not yet in an inbox: of what, and whose

    @property
    def quiet_ms(self) -> int:
        """Tell since when nothing was heard."""
        return max(self.since_ms, self.beat_ms or 0)


class Message(NamedTuple):
    """What one side of a job tells the other."""

    job: str
    by: str
    from_agent: bool
    content: str
    at_ms: int


class Told(NamedTuple):
    """What is to be told of a job."""

    type: str
    agent: str  # empty: it has none
    data: Mapping[str, Any]


class Turn(NamedTuple):
    """A job as it shall be, and what is to be told of it."""

    job: Job
    told: tuple[Told, ...] = ()


class Act(NamedTuple):
    """What somebody does with a job."""

    move: str
    by: str
    agent: str | None = None  # to whom it is assigned
    reason: str = ""
    output_data: Any = None
    notes: str | None = None
    more: Mapping[str, Any] | None = None


def check_job_id(value: object, field: str = "id") -> str:
    """Take a job's id; a bad one is a bad request, wherever it stands.

    It stands in paths, where no slash survives and dots mean another place.
    """
    good = (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_ID
        and value.isprintable()
        and "/" not in value
        and value not in (".", "..")
    )
    if not good:
        raise BadRequest(
            f"A job's id has 1 to {LONGEST_ID} printable characters, and no slash.", field=field
        )
    return str(value)


def check_mover(grant: Grant, job: Job, name: str) -> None:
    """Refuse who may not make this move of this job."""
    if name in BY_AGENT:
        grant.allow_beat(job.agent or grant.agent or "")
    else:
        grant.allow_post(job.poster)


def create(job: Job, by: str, now_ms: int) -> Turn:
    """Begin a job, whatever its first status is."""
    made = note(job, CREATED, by, now_ms, was="")
    return note(made.job, PAST["assign"], by, now_ms, was=OPEN) if job.agent else made


def move(job: Job, act: Act, now_ms: int) -> Turn:
    """Move a job, or raise Conflict."""
    status = MOVES[act.move].get(job.status)
    if status is None and job.disputable:
        status = ONCE_DISPUTABLE.get(act.move, {}).get(job.status)
    if status is None:
        raise Conflict(_forbidden(job, act.move))
    turn = unflag(job, act.by, now_ms) if act.move in BY_AGENT else Turn(job)
    changes: dict[str, Any] = {"status": status, "since_ms": now_ms}
    if act.move in BY_AGENT:
        changes["beat_ms"] = now_ms
    elif status not in WORKED | {DISPUTED}:
        changes |= UNFLAGGED
    if act.agent is not None:
        changes |= {"agent": act.agent, "beat_ms": None, "report": ""}
    if act.move not in BY_AGENT:
        changes["reason"] = act.reason
    if act.output_data is not None:
        changes["output_data"] = act.output_data
    if act.notes is not None:
        changes["notes"] = act.notes
    if act.more:
        changes["more"] = {**act.more, **(turn.job.more or {})}  # its poster's words stay
    moved = replace(turn.job, **changes)
    noted = note(moved, PAST[act.move], act.by, now_ms, was=job.status, reason=act.reason)
    if status == OPEN:  # whose it was is told, and then forgotten
        freed = replace(noted.job, agent=None, beat_ms=None, report="")
        told = [each._replace(data={**each.data, "job": brief(freed)}) for each in noted.told]
        noted = Turn(freed, tuple(told))
    return noted._replace(told=turn.told + noted.told)


def edit(job: Job, changes: Mapping[str, Any], by: str, now_ms: int) -> Turn:
    """Alter what a job says, not how far it is; keys are fields."""
    if job.status in CLOSED:
        raise Conflict(f"The job {job.id!r} is {job.status}, and is not altered any more.")
    more = changes.get("more")
    if more:
        changes = {**changes, "more": {**(job.more or {}), **more}}
    return note(replace(job, **changes), EDITED, by, now_ms, was=job.status)


def unflag(job: Job, by: str, now_ms: int) -> Turn:
    """Take the flag from a job whose agent is heard of again."""
    if job.inactive_ms is None:
        return Turn(job)
    silent = {"silentForMs": now_ms - job.quiet_ms}
    calm = replace(job, **UNFLAGGED)
    return note(calm, RECOVERED, by, now_ms, was=job.status, data=silent)


def note(
    job: Job,
    type_: str,
    by: str,
    now_ms: int,
    *,
    was: str,
    reason: str = "",
    data: Mapping[str, Any] | None = None,
) -> Turn:
    """Put a step into the trail, and tell of it."""
    step = Step(now_ms, type_, by, was, job.status, job.agent, reason)
    noted = replace(job, updated_ms=now_ms, trail=(*job.trail[1 - TRAIL :], step))
    if type_ in LETTERS and job.agent:
        noted = replace(noted, letters=(*job.letters, (type_, job.agent)))
    if type_ in UNTOLD:
        return Turn(noted)
    return Turn(noted, (tell(noted, type_, {"reason": reason, **(data or {})}),))


def tell(job: Job, type_: str, data: Mapping[str, Any]) -> Told:
    """Make what is told of a job: nothing of its agent's runtime is in it."""
    about = {"jobId": job.id, "agentId": job.agent, "posterId": job.poster, "job": brief(job)}
    return Told(type_, job.agent or "", {**about, **data})


def spell(job: Job) -> dict[str, Any]:
    """Spell out a job, as its poster and its agent are shown it."""
    return {
        **(job.more or {}),
        **brief(job),
        "description": job.description,
        "acceptanceCriteria": job.acceptance_criteria,
        "templateId": job.template_id,
        "inputData": {} if job.input_data is None else job.input_data,
        "outputData": {} if job.output_data is None else job.output_data,
        "notes": job.notes,
        "progress": job.report,
    }


def brief(job: Job) -> dict[str, Any]:
    """Spell out what changes of a job, and what it is called."""
    return {
        "id": job.id,
        "title": job.title,
        "status": job.status,
        "agentId": job.agent,
        "posterId": job.poster,
        "budgetUsdc": job.budget_usdc,
        "deadlineAt": "" if job.deadline_ms is None else to_text(job.deadline_ms),
        "windowSeconds": _seconds(job.window_ms),
        "inactive": job.inactive_ms is not None,
        "inactiveSince": to_text_or_none(job.inactive_ms),
        "disputable": job.disputable,
        "disputableAt": to_text_or_none(job.disputable_ms),
        "lastHeartbeatAt": to_text_or_none(job.beat_ms),
        "reason": job.reason,
        "createdAt": to_text(job.created_ms),
        "updatedAt": to_text(job.updated_ms),
    }


def spell_step(step: Step) -> dict[str, Any]:
    """Spell out what happened to a job."""
    return {
        "type": step.type,
        "at": to_text(step.at_ms),
        "by": step.by or None,
        "from": step.was or None,
        "to": step.status,
        "agentId": step.agent,
        "reason": step.reason or None,
    }


def spell_message(id_: str, message: Message) -> dict[str, Any]:
    """Spell out a message."""
    return {
        "id": id_,
        "jobId": message.job,
        "from": "agent" if message.from_agent else "poster",
        "by": message.by,
        "content": message.content,
        "createdAt": to_text(message.at_ms),
    }


def pack(job: Job) -> dict[str, Any]:
    """Lay a job out to be kept."""
    body = {each.name: getattr(job, each.name) for each in fields(job)}
    body["trail"] = [list(step) for step in job.trail]
    body["letters"] = [list(each) for each in job.letters]
    return body


def unpack(body: Mapping[str, Any]) -> Job:
    """Read a job that was kept, by a hub of whatever version."""
    known = {name: value for name, value in body.items() if name in _FIELDS}
    known["trail"] = tuple(Step(*step) for step in body["trail"])
    known["letters"] = tuple((type_, agent) for type_, agent in body["letters"])
    return Job(**known)


_FIELDS = frozenset(each.name for each in fields(Job))


def _forbidden(job: Job, name: str) -> str:
    if name in ONCE_DISPUTABLE and job.status in WORKED:
        return f"The job {job.id!r} is {job.status} and not disputable."
    return f"The job {job.id!r} is {job.status}: it cannot {name} from there."


def _seconds(ms: int) -> float:
    return ms // 1000 if ms % 1000 == 0 else ms / 1000
