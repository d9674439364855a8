"""What it means for a job that its agent is heard of, or is not.

While a job is worked on its agent has to be heard of, for that job: after the job's window it is
flagged inactive, after a further delay its poster may dispute it or take it away. A sign of life
takes the flag again. Must not know what time it is.
"""

from __future__ import annotations

from dataclasses import replace

from lifesigns.core.errors import Conflict
from lifesigns.core.job import (
    ASSIGNED,
    CLOSED,
    CREATED,
    DELIVERED_MS,
    DISPUTABLE,
    IN_PROGRESS,
    MISSED,
    PAST,
    WORKED,
    Job,
    Terms,
    Turn,
    note,
    unflag,
)


def found(id_: str, agent: str, terms: Terms, now_ms: int) -> Job:
    """Make a job of which nothing is known but that an agent works on it."""
    job = Job(id_, terms.window_ms, now_ms, now_ms, now_ms, IN_PROGRESS, agent)
    return note(job, CREATED, agent, now_ms, was="").job


def beat(job: Job, agent: str, report: str | None, now_ms: int) -> Turn:
    """Hear of a job from an agent; Conflict if it is not its job, or not any more."""
    if job.agent != agent:
        whose = f"is with {job.agent!r}" if job.agent else "is with nobody now"
        raise Conflict(f"The job {job.id!r} {whose}, not with {agent!r}.")
    if job.status in CLOSED:
        raise Conflict(f"The job {job.id!r} is {job.status}: there is nothing more to do.")
    turn = unflag(job, agent, now_ms)
    heard = replace(turn.job, beat_ms=now_ms, report=report or turn.job.report)
    if heard.status == ASSIGNED:
        begun = replace(heard, status=IN_PROGRESS, since_ms=now_ms)
        return note(begun, PAST["start"], agent, now_ms, was=ASSIGNED)._replace(told=turn.told)
    return Turn(heard, turn.told)


def ends_ms(job: Job, terms: Terms) -> int | None:
    """Tell when a job is forgotten: it is closed, or nobody has posted it and it was left alone."""
    if job.status in CLOSED:
        return job.since_ms + terms.kept_ms
    if job.poster is None and job.disputable and job.disputable_ms is not None:
        return job.disputable_ms + terms.kept_ms
    return None


def due_ms(job: Job, terms: Terms) -> int | None:
    """Tell when time alone alters a job: it is silent for too long, or was kept for long enough."""
    if job.status not in WORKED or job.disputable:
        return ends_ms(job, terms)
    return job.quiet_ms + job.window_ms if job.disputable_ms is None else job.disputable_ms


def held_due_ms(job: Job, terms: Terms, gap_ms: int) -> int | None:
    """Tell the same where nobody could be heard until ``gap_ms``: each has one window from then."""
    due = due_ms(job, terms)
    if due is None or ends_ms(job, terms) is not None:
        return due
    return max(due, gap_ms + job.window_ms)


def look_ms(job: Job, terms: Terms, gap_ms: int = 0) -> int | None:
    """Tell when somebody has to look at a job: its silence, or letters that were not delivered."""
    due = held_due_ms(job, terms, gap_ms)
    if not job.letters:
        return due
    letters_ms = job.updated_ms + DELIVERED_MS
    return letters_ms if due is None else min(due, letters_ms)


def over(job: Job, terms: Terms, now_ms: int) -> bool:
    """Tell whether a job was kept for long enough."""
    ends = ends_ms(job, terms)
    return ends is not None and now_ms >= ends


def elapse(job: Job, terms: Terms, now_ms: int) -> Turn:
    """Judge a silence that has lasted until now; what is not due is not altered."""
    due = due_ms(job, terms)
    if job.status not in WORKED or job.disputable or due is None or due > now_ms:
        return Turn(job)
    if job.inactive_ms is None:
        flagged = replace(job, inactive_ms=now_ms, disputable_ms=now_ms + terms.dispute_ms)
        return note(flagged, MISSED, "", now_ms, was=job.status)
    return note(replace(job, disputable=True), DISPUTABLE, "", now_ms, was=job.status)
