"""Heartbeats of the MoltJobs API: what they say, and how they are listed again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from lifesigns.core import field
from lifesigns.core.codec import check_bulk
from lifesigns.core.errors import BadValue
from lifesigns.core.instant import to_text
from lifesigns.core.job import WORKED, Job, Terms
from lifesigns.core.model import Limits
from lifesigns.core.presence import DEGRADED, DRAINING, ERROR, HINTS, STATUS_RANKS
from lifesigns.dialects.moltjobs import NAME
from lifesigns.dialects.moltjobs.answer import Shown
from lifesigns.dialects.moltjobs.value import job_id, text

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
    job = job_id(given["jobId"], "jobId", limits) if "jobId" in given else None
    name = "progress" if "progress" in given else "statusReport"
    report = text(given[name], name, limits) if name in given else None
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
