"""The MoltJobs API: its heartbeats, jobs and refusals, in our words and back.

A heartbeat may name a job; ``runtimeMetadata`` is for the agent's owner alone, which is why every
answer that a poster may see is made without it. Texts that its published clients read are never
null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from lifesigns.core import field
from lifesigns.core.access import check_agent_id, check_name
from lifesigns.core.codec import check_bulk
from lifesigns.core.errors import BadRequest, BadValue, LifesignsError
from lifesigns.core.instant import to_text
from lifesigns.core.job import (
    ASSIGNED,
    IN_PROGRESS,
    OPEN,
    STATUSES,
    WORKED,
    Act,
    Job,
    Terms,
    check_job_id,
    spell,
)
from lifesigns.core.letter import Letter
from lifesigns.core.model import Limits, Presence
from lifesigns.core.past import Life, uptime
from lifesigns.core.presence import DEGRADED, DRAINING, ERROR, HINTS, STATUS_RANKS, agent_uuid
from lifesigns.core.webhook import MOLTJOBS, Webhook

NAME: Final = MOLTJOBS
DAY_MS: Final = 86_400_000

Shown = dict[str, Any]
Check = Callable[[Any, str, Limits], Any]

# Words of its own that count whether it has a job or not.
_TROUBLE: Final = {
    rank: hint for hint, rank in HINTS.items() if rank in (ERROR, DEGRADED, DRAINING)
}
SPOKEN: Final = frozenset({"jobId", "progress", "statusReport", "status"})  # in an address, too
_READ: Final = SPOKEN | {"runtimeMetadata"}


class Heartbeat(NamedTuple):
    """What a heartbeat says, in our words."""

    job: str | None
    report: str | None
    status: str | None
    runtime: Mapping[str, Any] | None  # None: it says nothing of it
    more: Mapping[str, Any]  # what nobody here knows

    @property
    def metadata(self) -> dict[str, Any] | None:
        """Say what of it is metadata; None: what there was stays."""
        if self.runtime is None and not self.more:
            return None
        return {**self.more, **(self.runtime or {})}


def heartbeat(body: Mapping[str, Any], limits: Limits) -> Heartbeat:
    """Read the body of a heartbeat; null is as good as absent."""
    given = {name: value for name, value in body.items() if value is not None}
    job = _job_id(given["jobId"], "jobId", limits) if "jobId" in given else None
    name = "progress" if "progress" in given else "statusReport"
    report = _text(given[name], name, limits) if name in given else None
    status = field.describing(given, limits, 0).get("status") if "status" in given else None
    runtime = given.get("runtimeMetadata")
    if not isinstance(runtime, dict | None):
        raise BadValue("runtimeMetadata is a map.", field="runtimeMetadata")
    more = {key: value for key, value in body.items() if key not in _READ}
    beat = Heartbeat(job, report or None, status, runtime, more)
    check_bulk(beat.metadata, "runtimeMetadata", limits.metadata_bytes, limits.metadata_depth)
    return beat


def words(beat: Heartbeat, job: Job | None) -> dict[str, Any]:
    """Say what the presence becomes by a beat; ``job`` is what the agent works on, if anything."""
    said = working(job) | {"status": beat.status, "state": hint(beat.status, job)}
    if beat.metadata is not None:
        said["metadata"] = beat.metadata
    if beat.report is not None:
        said["progress"] = {"note": beat.report}
    return said


def working(job: Job | None) -> dict[str, Any]:
    """Say of a presence what its agent works on."""
    said: dict[str, Any] = {"dialect": NAME, "task": None if job is None else job.title or job.id}
    if job is None or not job.report:
        said["progress"] = None  # what there was is of another job
    return said


def hint(status: str | None, job: Job | None) -> str:
    """Tell whether an agent is busy: while it has a job, unless it says something worse."""
    rank = STATUS_RANKS.get((status or "").lower(), -1)
    return _TROUBLE.get(rank, "available" if job is None else "busy")


def at_work(jobs: Iterable[Job], named: str | None = None) -> Job | None:
    """Choose what an agent works on: the job that it named, else the one that it began last."""
    mine = [job for job in jobs if job.status in WORKED]
    return max(mine, key=lambda job: (job.id == named, job.since_ms), default=None)


def lease_ms(jobs: Iterable[Job], terms: Terms) -> int:
    """Tell for how long an agent counts as online: the longest window of what it works on."""
    windows = [job.window_ms for job in jobs if job.status in WORKED]
    return max(windows, default=terms.window_ms)


def received(at_ms: int, window_ms: int) -> Shown:
    """Answer a heartbeat."""
    return {
        "ok": True,
        "receivedAt": to_text(at_ms),
        "nextExpectedBefore": to_text(at_ms + window_ms),
    }


# Jobs.


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


def posted(job: Job, hook: Webhook | None) -> Shown:
    """Show a job to who has just posted or altered it; a new webhook's secret only there."""
    url = {} if job.webhook is None else {"webhookUrl": job.webhook}
    return one(spell(job) | url | ({} if hook is None else {"webhookSecret": hook.secret}))


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


def act(name: str, body: Mapping[str, Any], limits: Limits, by: str) -> Act:
    """Read the body of a move."""
    given = {key: value for key, value in body.items() if value is not None}
    if name == "assign":
        return Act(name, by, agent=_agent_id(given.get("agentId"), "agentId", limits))
    reason = _text(given.get("reason", ""), "reason", limits)
    if name != "submit":
        return Act(name, by, reason=reason)
    form = "outputData" if "outputData" in given else "output"
    output = _anything(given[form], form, limits) if form in given else None
    notes = _free(given["notes"], "notes", limits) if "notes" in given else None
    # What it says of its runtime is for nobody who may look at the job.
    known = {"outputData", "output", "notes", "reason", "runtimeMetadata"} | _OURS | _FIELDS.keys()
    more = {key: value for key, value in given.items() if key not in known}
    check_bulk(more, "the submission", limits.metadata_bytes, limits.metadata_depth)
    return Act(name, by, output_data=output, notes=notes, more=more or None)


def content(body: Mapping[str, Any], limits: Limits) -> str:
    """Take what a message says."""
    said = _text(body.get("content"), "content", limits)
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


def _text(value: Any, name: str, limits: Limits) -> str:
    return field.reason_of({name: _free(value, name, limits)}, limits, name)


def _free(value: Any, name: str, limits: Limits) -> str:
    return field.text_of({name: value}, name)


def _job_id(value: Any, name: str, limits: Limits) -> str:
    return check_job_id(_free(value, name, limits), name)


def _agent_id(value: Any, name: str, limits: Limits) -> str:
    return check_agent_id(_free(value, name, limits), name)


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
    "id": ("id", _job_id),
    "title": ("title", _text),
    "description": ("description", _free),
    "acceptanceCriteria": ("acceptance_criteria", _free),
    "templateId": ("template_id", _text),
    "budgetUsdc": ("budget_usdc", _budget),
    "deadlineAt": ("deadline_ms", _deadline),
    "inputData": ("input_data", _anything),
    "outputData": ("output_data", _anything),
    "notes": ("notes", _free),
    "status": ("status", _status),
    "agentId": ("agent", _agent_id),
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


# Answers.


def one(value: Any) -> Shown:
    """Answer one thing."""
    return {"data": value}


def many(values: Sequence[Any], cursor: str | None, total: int) -> Shown:
    """Answer a page of a list."""
    return {"data": list(values), "meta": {"nextCursor": cursor, "total": total}}


def jobs(page: Iterable[Job], cursor: str | None, total: int) -> Shown:
    """Answer a page of jobs."""
    return many([spell(job) for job in page], cursor, total)


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
        "nextExpectedBefore": None if expires_ms is None else to_text(expires_ms),
        "capabilities": list(presence.capabilities),
        **({"runtimeMetadata": said.metadata or {}} if owner else {}),
    }


class Noted(NamedTuple):
    """A heartbeat that is listed again."""

    agent: str
    number: str  # its place in a list, which only rises
    at_ms: int
    said: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.number}-{self.agent}"


def moment(beat: Noted) -> tuple[int, int]:
    """Order heartbeats of several lists."""
    return place(beat.number)


def place(number: str) -> tuple[int, int]:
    """Read a place in a list."""
    ms, _, count = number.partition("-")
    return int(ms), int(count)


def noted(beat: Heartbeat) -> Shown:
    """Say what is listed again of a heartbeat."""
    said = {
        "jobId": beat.job,
        "progress": beat.report,
        "status": beat.status,
        "runtimeMetadata": beat.runtime,
    }
    return {**beat.more, **{name: value for name, value in said.items() if value is not None}}


def beat_shown(beat: Noted, *, owner: bool) -> Shown:
    """Show a heartbeat of a list."""
    at = to_text(beat.at_ms)
    shown = {
        "id": beat.id,
        "agentId": beat.agent,
        "jobId": beat.said.get("jobId"),
        "progress": beat.said.get("progress"),
        "status": beat.said.get("status"),
        "receivedAt": at,
        "createdAt": at,
    }
    return shown | ({"runtimeMetadata": beat.said.get("runtimeMetadata", {})} if owner else {})


def report(beat: Noted) -> Shown:
    """Show a progress report to a poster: its text and its time."""
    at = to_text(beat.at_ms)
    return {
        "id": beat.id,
        "agentId": beat.agent,
        "progress": beat.said.get("progress"),
        "reportedAt": at,
        "createdAt": at,
    }


def mail(letter: Letter) -> Shown:
    """Show something that an agent was told."""
    told = letter.entry()
    return {**told, "type": told.get("event", letter.kind), "createdAt": told["at"]}


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


def refusal(error: LifesignsError, path: str, request_id: str, at_ms: int) -> Shown:
    """Say what is refused, in all the forms that published clients read."""
    inner = {"code": error.code, "message": error.message}
    if error.field is not None:
        inner["field"] = error.field
    return {
        "code": error.code.upper(),
        "status": error.http_status,
        "message": error.message,
        "title": error.code.replace("_", " ").title(),
        "detail": error.message,
        "type": f"urn:lifesigns:problem:{error.code}",
        "timestamp": to_text(at_ms),
        "path": path,
        "requestId": request_id,
        "error": inner,
    }
