"""The MoltJobs API about agents: their heartbeats, what is known of them, and their mail."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from lifesigns.core.access import Grant
from lifesigns.core.errors import BadRequest, Conflict, NotFound, RateLimited, Unavailable
from lifesigns.core.job import Job, Turn
from lifesigns.core.letter import read_id
from lifesigns.core.silence import beat as heard
from lifesigns.core.silence import found
from lifesigns.dialects import moltjobs
from lifesigns.dialects.moltjobs import agent as agent_words
from lifesigns.dialects.moltjobs import heartbeat as heartbeat_words
from lifesigns.dialects.moltjobs import job as job_words
from lifesigns.dialects.moltjobs.agent import Pulse
from lifesigns.dialects.moltjobs.answer import many, one
from lifesigns.dialects.moltjobs.heartbeat import Heartbeat, Noted
from lifesigns.store.diary import Entry
from lifesigns.store.inbox import PAGE as LETTERS
from lifesigns.store.job import Wanted
from lifesigns.store.put import HTTP_INSTANCE, HttpBeat
from lifesigns.store.tally import DAYS
from lifesigns.web.http import Desk, body_of, grant_of, reply
from lifesigns.web.moltjobs.caller import agent_of, cursor_of, grant_of_query, limit_of
from lifesigns.web.query import whole_of
from lifesigns.web.sight import allow_sight

log = logging.getLogger(__name__)

BOOK = moltjobs.NAME  # of the diaries
ANALYSED_DAYS = 30

ENTRY = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


async def heartbeat(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    grant.allow_beat(agent)
    return await _heartbeat(desk, request, grant, agent)


async def own_heartbeat(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = grant.me()
    grant.allow_beat(agent)
    return await _heartbeat(desk, request, grant, agent)


async def _heartbeat(desk: Desk, request: Request, grant: Grant, agent: str) -> Response:
    body = await body_of(request, desk.body_bytes)
    return await _beat(desk, grant, agent, heartbeat_words.heartbeat(body, desk.limits))


async def heartbeat_by_query(desk: Desk, request: Request) -> Response:
    grant = await grant_of_query(desk, request)
    agent = grant.me()
    grant.allow_beat(agent)
    said = {
        name: request.query_params[name]
        for name in heartbeat_words.SPOKEN & {*request.query_params}
    }
    return await _beat(desk, grant, agent, heartbeat_words.heartbeat(said, desk.limits))


async def _beat(desk: Desk, grant: Grant, agent: str, beat: Heartbeat) -> Response:
    at = asyncio.get_running_loop().time()
    project, at_ms = grant.project, desk.clock.at_ms(at)
    if not desk.rate.allows((grant.key_id, project, agent), at):
        await desk.store.put(project, HttpBeat(agent, None, None, {}), at)
        raise RateLimited(f"At most {desk.rate.per_s:g} beats a second.", retry_after_s=1.0)
    job, refused = None, None
    if beat.job is not None:
        try:
            job = await _hear(desk, project, beat, agent, at_ms)
        except (Conflict, NotFound) as error:  # it is alive all the same
            refused = error
    jobs = await desk.jobs.worked_on(project, agent)
    lease_ms = heartbeat_words.lease_ms(jobs, desk.jobs.terms)
    said = heartbeat_words.words(beat, heartbeat_words.at_work(jobs, beat.job))
    noted, topics = heartbeat_words.noted(beat), {"", "" if job is None else job.id}
    notes = [desk.diary.note(project, agent, BOOK, noted, topic) for topic in topics]
    await desk.store.put(project, HttpBeat(agent, None, lease_ms, said), at)
    await asyncio.gather(desk.tally.count(project, agent), *notes)
    if refused is not None:
        raise refused
    return reply(heartbeat_words.received(at_ms, lease_ms if job is None else job.window_ms))


async def _hear(desk: Desk, project: str, beat: Heartbeat, agent: str, at_ms: int) -> Job:
    """Let a job be heard of."""
    name = beat.job or ""
    terms = desk.jobs.terms

    def judge(job: Job | None) -> Turn:
        if job is None and terms.strict:
            raise NotFound(f"There is no job {name[:64]!r}.", field="jobId")
        known = found(name, agent, terms, at_ms) if job is None else job
        return heard(known, agent, beat.report, at_ms)

    return await desk.jobs.change(project, name, judge)


async def follow(desk: Desk, project: str, agents: Iterable[str | None]) -> None:
    """Show of agents what others have made of their jobs; it is no sign of their lives."""
    for agent in dict.fromkeys(each for each in agents if each is not None):
        try:
            await _follow(desk, project, agent)
        except Unavailable as away:  # the job is moved all the same, and its next beat tells
            log.info("what %s works on is not shown yet: %s", agent, away)


async def _follow(desk: Desk, project: str, agent: str) -> None:
    presence = (await desk.store.read(project, agent)).presence
    instances = () if presence is None else presence.instances
    words = next((i.words for i, _ in instances if i.name == HTTP_INSTANCE), None)
    if words is None or words.dialect != moltjobs.NAME:
        return  # what it is said to be is its own affair
    job = heartbeat_words.at_work(await desk.jobs.worked_on(project, agent))
    said = heartbeat_words.working(job) | {"state": heartbeat_words.hint(words.status, job)}
    beat = HttpBeat(agent, HTTP_INSTANCE, None, said, living=False)
    await desk.store.put(project, beat, asyncio.get_running_loop().time())


async def get(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    await allow_sight(desk, grant, agent)
    presence = (await desk.store.read(grant.project, agent)).presence
    if presence is None:
        raise NotFound(f"No agent {agent!r} was ever seen.")
    return reply(one(agent_words.agent(presence, owner=grant.sees_metadata)))


async def heartbeats(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    grant.allow_watch()
    limit, before = limit_of(request), cursor_of(request, ENTRY) or None
    page = await desk.diary.read(grant.project, agent, BOOK, limit=limit + 1, before=before)
    shown = [
        heartbeat_words.beat_shown(noted_of(each), owner=True) for each in page.entries[:limit]
    ]
    more = len(page.entries) > limit
    cursor = page.entries[limit - 1].number if more else None
    return reply(many(shown, cursor, page.total))


def noted_of(entry: Entry) -> Noted:
    return Noted(entry.agent, entry.number, entry.at_ms, entry.report)


async def analytics(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    grant.allow_watch()
    days = whole_of(request.query_params, "days", 1, DAYS, ANALYSED_DAYS)
    reading, (_, lives), beats = await asyncio.gather(
        desk.store.read(grant.project, agent),
        desk.store.past(grant.project, agent),
        desk.tally.read(grant.project, agent),
    )
    presence = reading.presence
    if presence is None:
        raise NotFound(f"No agent {agent!r} was ever seen.")
    since_ms = presence.online_since_ms if presence.alive else None
    known = Pulse(beats, lives, since_ms)
    return reply(one(agent_words.analytics(agent, known, days, reading.now_ms)))


async def jobs(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    if grant.sees_metadata:
        grant.allow_watch()
    statuses = job_words.statuses(request.query_params.get("status"))
    wanted = Wanted(statuses, agent, grant.poster or "")
    page = await desk.jobs.page(
        grant.project, wanted, after=cursor_of(request), limit=limit_of(request)
    )
    return reply(job_words.jobs(page.jobs, page.cursor, page.total))


async def mail(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    grant.allow_beat(agent)
    cursor, number = cursor_of(request), None
    if cursor:
        owner, number = read_id(cursor, "cursor")
        if owner != agent:
            raise BadRequest("This cursor is of another agent's mail.", field="cursor")
    limit = whole_of(request.query_params, "limit", 1, LETTERS, LETTERS)
    inbox = desk.lobby.inbox
    letters = await inbox.read(grant.project, agent, number)
    shown = [agent_words.mail(each) for each in letters[:limit]]
    following = letters[limit - 1].id if len(letters) > limit or len(letters) == LETTERS else None
    return reply(many(shown, following, await inbox.count(grant.project, agent)))
