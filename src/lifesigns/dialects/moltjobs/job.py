"""Jobs of the MoltJobs API: what a body says of them, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from lifesigns.core import field
from lifesigns.core.access import check_name
from lifesigns.core.codec import check_bulk
from lifesigns.core.errors import BadRequest, BadValue
from lifesigns.core.job import ASSIGNED, IN_PROGRESS, OPEN, STATUSES, Act, Job, Terms, spell
from lifesigns.core.model import Limits
from lifesigns.core.webhook import Webhook
from lifesigns.dialects.moltjobs.answer import Shown, many, one
from lifesigns.dialects.moltjobs.value import agent_id, free, job_id, text

Check = Callable[[Any, str, Limits], Any]


def posting(
    body: Mapping[str, Any],
    poster: str | None,
    limits: Limits,
    terms: Terms,
    id_: str,
    now_ms: int,
) -> Job:
    """Read the body of a new job; ``poster`` and ``id_`` are for one that does not say."""
    said = {"poster": poster} | _fields(body, limits)
    job = Job(said.pop("id", id_), terms.window_ms, now_ms, now_ms, now_ms)
    status = said.pop("status", ASSIGNED if said.get("agent") else OPEN)
    if status not in (OPEN, ASSIGNED, IN_PROGRESS):
        raise BadValue("A job begins as OPEN, ASSIGNED or IN_PROGRESS.", field="status")
    if (status == OPEN) is not (said.get("agent") is None):
        raise BadValue("A job has an agent from ASSIGNED on, and none before.", field="agentId")
    return replace(job, status=status, **said)


def editing(body: Mapping[str, Any], job: Job, limits: Limits) -> dict[str, Any]:
    """Read what is to be altered of a job; a client may send it back whole."""
    said = _fields(
        {**body, **{n: _BLANK[n] for n in body if body[n] is None and n in _BLANK}}, limits
    )
    for name, wire in (("id", "id"), ("status", "status"), ("agent", "agentId")):
        if name in said and said.pop(name) != getattr(job, name):
            raise BadValue(f"{wire} changes by a move alone, such as assign or cancel.", field=wire)
    if said.get("poster", job.poster) != job.poster:
        raise BadValue("A job stays with its poster.", field="posterId")
    return said


def act(name: str, body: Mapping[str, Any], limits: Limits, by: str) -> Act:
    """Read the body of a move."""
    given = {key: value for key, value in body.items() if value is not None}
    if name == "assign":
        return Act(name, by, agent=agent_id(given.get("agentId"), "agentId", limits))
    reason = text(given.get("reason", ""), "reason", limits)
    if name != "submit":
        return Act(name, by, reason=reason)
    form = "outputData" if "outputData" in given else "output"
    output = _anything(given[form], form, limits) if form in given else None
    notes = free(given["notes"], "notes", limits) if "notes" in given else None
    # What it says of its runtime is for nobody who may look at the job.
    known = {"outputData", "output", "notes", "reason", "runtimeMetadata"} | _OURS | _FIELDS.keys()
    more = {key: value for key, value in given.items() if key not in known}
    check_bulk(more, "the submission", limits.metadata_bytes, limits.metadata_depth)
    return Act(name, by, output_data=output, notes=notes, more=more or None)


def content(body: Mapping[str, Any], limits: Limits) -> str:
    """Take what a message says."""
    said = text(body.get("content"), "content", limits)
    if not said:
        raise BadValue("There is nothing to tell.", field="content")
    return said


def statuses(text: str | None) -> tuple[str, ...]:
    """Take the statuses that a list asks for, separated by commas; none is all."""
    wanted = tuple(dict.fromkeys(each for each in (text or "").upper().split(",") if each))
    for each in wanted:
        if each not in STATUSES:
            raise BadRequest(f"A status is one of {', '.join(STATUSES)}.", field="status")
    return wanted


def posted(job: Job, hook: Webhook | None) -> Shown:
    """Show a job to who has just posted or altered it; a new webhook's secret only there."""
    url = {} if job.webhook is None else {"webhookUrl": job.webhook}
    return one(spell(job) | url | ({} if hook is None else {"webhookSecret": hook.secret}))


def jobs(page: Iterable[Job], cursor: str | None, total: int) -> Shown:
    """Answer a page of jobs."""
    return many([spell(job) for job in page], cursor, total)


def _fields(body: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    said: dict[str, Any] = {}
    more: dict[str, Any] = {}
    for wire, value in body.items():
        if wire in _FIELDS:
            name, check = _FIELDS[wire]
            if value is not None:
                said[name] = check(value, wire, limits)
        elif wire not in _OURS:
            more[wire] = value
    check_bulk(more, "the job", limits.metadata_bytes, limits.metadata_depth)
    return said | ({"more": more} if more else {})


def _poster(value: Any, name: str, limits: Limits) -> str:
    return check_name(value, name)


def _anything(value: Any, name: str, limits: Limits) -> Any:
    check_bulk(value, name, limits.message_bytes, limits.metadata_depth)
    return value


def _budget(value: Any, name: str, limits: Limits) -> float:
    return field.number_of({name: value}, name, 0, 1e15) or 0


def _window(value: Any, name: str, limits: Limits) -> int:
    seconds = field.number_of({name: value}, name, limits.min_ttl_s, limits.max_ttl_s)
    assert seconds is not None, "it was given"
    return round(seconds * 1000)


def _deadline(value: Any, name: str, limits: Limits) -> int | None:
    return None if value == "" else field.instant_of({name: value}, name)


def _status(value: Any, name: str, limits: Limits) -> str:
    if value not in STATUSES:
        raise BadValue(f"A status is one of {', '.join(STATUSES)}.", field=name)
    return str(value)


# What a body may say of a job: the field, and what takes its value.
_FIELDS: Final[Mapping[str, tuple[str, Check]]] = {
    "id": ("id", job_id),
    "title": ("title", text),
    "description": ("description", free),
    "acceptanceCriteria": ("acceptance_criteria", free),
    "templateId": ("template_id", text),
    "budgetUsdc": ("budget_usdc", _budget),
    "deadlineAt": ("deadline_ms", _deadline),
    "inputData": ("input_data", _anything),
    "outputData": ("output_data", _anything),
    "notes": ("notes", free),
    "status": ("status", _status),
    "agentId": ("agent", agent_id),
    "posterId": ("poster", _poster),
    "windowSeconds": ("window_ms", _window),
}
# What an altered field becomes by null.
_BLANK: Final[Mapping[str, Any]] = {
    "title": "",
    "description": "",
    "acceptanceCriteria": "",
    "templateId": "",
    "budgetUsdc": 0,
    "deadlineAt": "",
    "inputData": {},
    "outputData": {},
    "notes": "",
}
# What the hub says of a job, and nobody else.
_OURS: Final = frozenset(
    {
        *("inactive", "inactiveSince", "disputable", "disputableAt", "lastHeartbeatAt", "progress"),
        *("reason", "createdAt", "updatedAt", "webhookUrl", "webhookSecret"),
    }
)
