"""What an agent is in the middle of, gathered from where it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lifesigns.core.job import CLOSED, IN_REVIEW, OPEN, Job
from lifesigns.core.presence import agent_uuid
from lifesigns.dialects.callboard.cadence import Standing
from lifesigns.dialects.callboard.heartbeat import Role
from lifesigns.store.board import handed_to, open_of
from lifesigns.store.job import Wanted
from lifesigns.web.callboard import register
from lifesigns.web.http import Desk

REVIEWS = 100  # that are looked at


async def standing_of(desk: Desk, project: str, agent: str, role: Role, now_ms: int) -> Standing:
    """Gather it; the role is what its runtime says."""
    own, slots, pending, posted, reviews = await asyncio.gather(
        register.account_of(desk.ledger, project, agent, now_ms),
        desk.board.slots(project, open_of(agent)),
        desk.board.applications(project, open_of(agent)),
        _posted(desk, project, agent),
        _reviews(desk, project, agent),
    )
    named = [*(each.job for each in slots.slots), *(each.job for each in pending)]
    jobs = await _jobs(desk, project, named)
    return Standing(
        own,
        role,
        tuple(each for each in slots.slots if each.job in jobs),
        tuple(each for each in pending if each.job in jobs and jobs[each.job].status == OPEN),
        posted,
        tuple(reviews),
    )


async def _jobs(desk: Desk, project: str, ids: Sequence[str]) -> dict[str, Job]:
    """Read those of some jobs that are not over."""
    names = list(dict.fromkeys(ids))
    found = await desk.jobs.read(project, names)
    return {job.id: job for job in found if job is not None and job.status not in CLOSED}


def names_of(project: str, agent: str) -> tuple[str, ...]:
    """Tell by which names an agent may be the poster of a job; its id may be its UUID."""
    return tuple(dict.fromkeys((agent, agent_uuid(project, agent))))


async def _posted(desk: Desk, project: str, agent: str) -> int:
    pages = await asyncio.gather(
        *[
            desk.jobs.page(project, Wanted((OPEN,), poster=name), limit=1)
            for name in names_of(project, agent)
        ]
    )
    return sum(page.total for page in pages)


async def _reviews(desk: Desk, project: str, agent: str) -> list[Job]:
    """Find the jobs of an agent that are in review, or for which something was handed in."""
    names = names_of(project, agent)
    handed = await asyncio.gather(
        *[desk.board.slots(project, handed_to(name), limit=REVIEWS) for name in names]
    )
    ids = {slot.job for page in handed for slot in page.slots}
    pages = await asyncio.gather(
        *[
            desk.jobs.page(project, Wanted((IN_REVIEW,), poster=name), limit=REVIEWS)
            for name in names
        ]
    )
    found = {job.id: job for page in pages for job in page.jobs}
    found |= await _jobs(desk, project, sorted(ids - found.keys()))
    return sorted(found.values(), key=lambda job: (job.since_ms, job.id))
