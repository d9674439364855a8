"""Whom a key may see: everybody of its project or, for a poster, those who work for it.

A poster is shown no metadata: that is between an agent and its owner.
"""

from __future__ import annotations

from typing import Any

from lifesigns.core.access import Grant
from lifesigns.core.errors import Forbidden
from lifesigns.core.job import Job
from lifesigns.store.job import Wanted
from lifesigns.web.http import Desk

PAGE = 100


async def allow_sight(desk: Desk, grant: Grant, agent: str) -> None:
    """Refuse who may not look at an agent."""
    if grant.sees_metadata:
        grant.allow_watch()
    elif not await desk.jobs.works_for(grant.project, agent, grant.poster or ""):
        raise Forbidden("This agent has no job of this poster.")


def allow_sight_of(grant: Grant, job: Job) -> None:
    """Refuse who may not look at a job."""
    if grant.sees_metadata:
        grant.allow_watch()
    else:
        grant.allow_post(job.poster)


async def workers_of(desk: Desk, grant: Grant) -> list[str]:
    """Name the agents that a poster may look at."""
    agents: dict[str, None] = {}
    after: str | None = ""
    while after is not None:
        wanted = Wanted(poster=grant.poster or "")
        page = await desk.jobs.page(grant.project, wanted, after=after, limit=PAGE)
        agents |= {job.agent: None for job in page.jobs if job.agent is not None}
        after = page.cursor
    return list(agents)


def shaded(grant: Grant, shown: dict[str, Any]) -> dict[str, Any]:
    """Take out of a presence what a key may not see."""
    if grant.sees_metadata or "metadata" not in shown:
        return shown
    instances = shown["instances"]
    if isinstance(instances, list):
        instances = [each | {"metadata": None} for each in instances]
    return shown | {"metadata": None, "instances": instances}
