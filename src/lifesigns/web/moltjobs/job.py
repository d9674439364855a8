"""The MoltJobs API about jobs: posted, listed, moved, reported on, and talked about."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lifesigns.core.access import Grant, check_agent_id, check_name
from lifesigns.core.job import (
    Job,
    Message,
    Turn,
    check_job_id,
    check_mover,
    create,
    edit,
    move,
    spell,
    spell_step,
)
from lifesigns.core.webhook import BOUND, KIND, Webhook, bound, bound_id, check_url
from lifesigns.dialects.moltjobs import heartbeat as heartbeat_words
from lifesigns.dialects.moltjobs import job as job_words
from lifesigns.dialects.moltjobs.answer import many, one
from lifesigns.dialects.moltjobs.heartbeat import Noted
from lifesigns.store.job import HOOK_KINDS, Wanted
from lifesigns.store.ledger import ANY, Write
from lifesigns.store.webhook import new_secret
from lifesigns.web.http import Desk, body_of, grant_of, reply
from lifesigns.web.moltjobs.agent import BOOK, ENTRY, follow, noted_of
from lifesigns.web.moltjobs.caller import actor, cursor_of, limit_of
from lifesigns.web.sight import allow_sight_of

LISTED_BEATS = 1_000  # of one agent on a job; what is kept unless a setting says more


async def post(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_post(grant.poster)
    body = await body_of(request, desk.body_bytes)
    now, made = desk.now_ms, f"job_{secrets.token_hex(8)}"
    posted = job_words.posting(body, grant.poster, desk.limits, desk.jobs.terms, made, now)
    grant.allow_post(posted.poster)
    hook, besides = await _hook(desk, grant, posted.id, body)
    posted = replace(posted, webhook=None if hook is None else hook.url)
    job = await desk.jobs.create(grant.project, create(posted, actor(grant), now), *besides)
    await follow(desk, grant.project, [job.agent])
    return reply(job_words.posted(job, hook), 201)


async def patch(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    before = await _job(desk, grant, request)
    grant.allow_post(before.poster)
    body = await body_of(request, desk.body_bytes)
    job_words.editing(body, before, desk.limits)  # so that nothing is made of a bad one
    hook, besides = await _hook(desk, grant, before.id, body)

    def judge(job: Job) -> Turn:
        grant.allow_post(job.poster)
        changes = job_words.editing(body, job, desk.limits)
        if besides:
            changes["webhook"] = None if hook is None else hook.url
        return edit(job, changes, actor(grant), desk.now_ms)

    job = await desk.jobs.move(grant.project, before.id, judge, *besides)
    await follow(desk, grant.project, [job.agent])
    return reply(job_words.posted(job, hook))


async def _hook(
    desk: Desk, grant: Grant, job_id: str, body: Mapping[str, Any]
) -> tuple[Webhook | None, list[Write]]:
    """Make what is written beside a job so that a webhook of its own is told of it, or no more."""
    if "webhookUrl" not in body:
        return None, []
    if body["webhookUrl"] is None:
        return None, [Write(each, bound_id(job_id), ANY, None) for each in HOOK_KINDS]
    check_url(body["webhookUrl"], desk.courier.allowance, "webhookUrl")
    hook = bound(job_id, body["webhookUrl"], new_secret(), desk.now_ms)
    await desk.webhooks.open(grant.project)
    at = {BOUND: float(hook.created_ms)}
    return hook, [Write(KIND, hook.id, ANY, hook.body(), None, at)]


async def make_move(name: str, desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    before = await _job(desk, grant, request)
    check_mover(grant, before, name)
    body = await body_of(request, desk.body_bytes)
    act = job_words.act(name, body, desk.limits, actor(grant))

    def judge(job: Job) -> Turn:
        check_mover(grant, job, name)
        return move(job, act, desk.now_ms)

    job = await desk.jobs.move(grant.project, before.id, judge)
    await follow(desk, grant.project, [before.agent, job.agent])
    return reply(one(spell(job)))


async def collect(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    query = request.query_params
    statuses = job_words.statuses(query.get("status"))
    agent, poster = query.get("agentId", ""), query.get("posterId", "")
    if agent:
        check_agent_id(agent, "agentId")
    if poster:
        check_name(poster, "posterId")
    if grant.sees_metadata:
        grant.allow_watch()
    else:
        poster = poster or grant.poster or ""
        grant.allow_post(poster)
    page = await desk.jobs.page(
        grant.project,
        Wanted(statuses, agent, poster),
        after=cursor_of(request),
        limit=limit_of(request),
    )
    return reply(job_words.jobs(page.jobs, page.cursor, page.total))


async def get(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    job = await _job(desk, grant, request)
    allow_sight_of(grant, job)
    return reply(one(spell(job)))


async def events(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    job = await _job(desk, grant, request)
    allow_sight_of(grant, job)
    steps = [spell_step(step) for step in job.trail]
    return reply(many(steps, None, len(steps)))


async def reports(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    job = await _job(desk, grant, request)
    allow_sight_of(grant, job)
    beats = [each for each in await _beats(desk, grant, job) if "progress" in each.said]
    return _beats_page(request, beats, heartbeat_words.report)


async def history(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    job = await _job(desk, grant, request)
    allow_sight_of(grant, job)
    shown = partial(heartbeat_words.beat_shown, owner=grant.sees_metadata)
    return _beats_page(request, await _beats(desk, grant, job), shown)


async def tell(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    job = await _job(desk, grant, request)
    from_agent = not grant.may("post")
    check_mover(grant, job, "submit" if from_agent else "assign")
    body = await body_of(request, desk.body_bytes)
    said = job_words.content(body, desk.limits)
    message = Message(job.id, actor(grant), from_agent, said, desk.now_ms)
    return reply(one(await desk.jobs.post(grant.project, job, message)), 201)


async def messages(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    job = await _job(desk, grant, request)
    allow_sight_of(grant, job)
    limit = limit_of(request)
    shown, total = await desk.jobs.messages(
        grant.project, job.id, after=cursor_of(request), limit=limit + 1
    )
    page = shown[:limit]
    cursor = page[-1]["id"] if len(shown) > limit else None
    return reply(many(page, cursor, total))


async def _job(desk: Desk, grant: Grant, request: Request) -> Job:
    return await desk.jobs.get(grant.project, check_job_id(request.path_params["id"]))


async def _beats(desk: Desk, grant: Grant, job: Job) -> list[Noted]:
    """Read what all agents that had a job have reported of it, the latest first."""
    agents = dict.fromkeys([step.agent for step in job.trail if step.agent] + [job.agent])
    pages = await asyncio.gather(
        *[
            desk.diary.read(grant.project, agent, BOOK, job.id, limit=LISTED_BEATS)
            for agent in agents
            if agent is not None
        ]
    )
    entries = [noted_of(each) for page in pages for each in page.entries]
    return sorted(entries, key=heartbeat_words.moment, reverse=True)


def _beats_page(
    request: Request, beats: Sequence[Noted], shown: Callable[[Noted], dict[str, Any]]
) -> Response:
    limit, cursor = limit_of(request), cursor_of(request, ENTRY)
    rest = [
        each
        for each in beats
        if not cursor or heartbeat_words.moment(each) < heartbeat_words.place(cursor)
    ]
    page = rest[:limit]
    following = page[-1].number if len(rest) > limit else None
    return reply(many([shown(each) for each in page], following, len(beats)))
