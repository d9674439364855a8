"""Heartbeats of runtimes, and the list of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core import silence
from lifesigns.core.errors import Conflict, RateLimited
from lifesigns.core.job import WORKED
from lifesigns.core.model import Presence
from lifesigns.dialects.callboard import cadence, heartbeat
from lifesigns.dialects.callboard.heartbeat import Row
from lifesigns.store.put import HttpBeat
from lifesigns.web.callboard import register
from lifesigns.web.callboard.caller import Caller, called, count, settle
from lifesigns.web.callboard.standing import standing_of
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.query import query_of


async def beat(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    project, agent = grant.project, grant.me()
    grant.allow_beat(agent)
    query_of(request, ())
    body = await body_of(request, desk.body_bytes)
    at = asyncio.get_running_loop().time()
    now_ms = desk.clock.at_ms(at)
    named = body.get("runtimeId")
    runtime_id = named if isinstance(named, str) else ""
    try:
        count(desk, request, grant, runtime_id)
    except RateLimited:  # it beats too often, and so it is there
        await _renew(desk, project, agent, runtime_id, at)
        raise
    said = heartbeat.heartbeat(body, desk.limits)
    standing = await standing_of(desk, project, agent, said.role, now_ms)
    lease_ms = cadence.row(standing, now_ms).lease_ms
    first = heartbeat.beaten(None, said, now_ms, lease_ms, project=project, agent=agent)

    def judge(former: Row | None) -> Row:
        row = heartbeat.beaten(former, said, now_ms, lease_ms, project=project, agent=agent)
        heartbeat.words(row, desk.limits)  # what it makes of the presence has to fit there
        return row

    row = await register.change_row(desk.ledger, project, first, judge)
    is_new = row.created_ms == row.updated_ms
    if row.status != "OFFLINE":
        words = heartbeat.words(row, desk.limits)
        try:
            await desk.store.put(project, HttpBeat(agent, row.runtime_id, lease_ms, words), at)
        except RateLimited:  # too many are there: then nothing of it stays
            if is_new:
                await register.drop(desk.ledger, project, row)
            raise
        await _hear(desk, project, row, now_ms)
    if is_new:
        await register.trim(desk.ledger, project, agent)
    presence = await settle(desk, project, row, at)
    (shown,) = heartbeat.shown_rows(project, agent, [row], _only(presence, row))
    return reply({"heartbeat": heartbeat.spell(project, shown)})


async def _renew(desk: Desk, project: str, agent: str, runtime_id: str, at: float) -> None:
    presence = (await desk.store.read(project, agent)).presence
    if presence is not None and any(i.name == runtime_id for i, _ in presence.instances):
        await desk.store.put(project, HttpBeat(agent, runtime_id, None, {}), at)


async def _hear(desk: Desk, project: str, row: Row, now_ms: int) -> None:
    """Hear of the job that a runtime works on, if it is its agent's: its silence is over."""
    job_id = row.said.get("currentJobId")
    (job,) = await desk.jobs.read(project, [job_id]) if job_id else [None]
    if job is not None and job.agent == row.agent and job.status in WORKED:
        with suppress(Conflict):  # it was taken away at this very moment
            await desk.jobs.move(
                project, job.id, lambda each: silence.beat(each, row.agent, row.action, now_ms)
            )


def _only(presence: Presence | None, row: Row) -> Presence | None:
    """Take of a presence the one instance that a row is about."""
    if presence is None:
        return None
    mine = [each for each in presence.instances if each[0].name == row.runtime_id]
    return presence._replace(instances=tuple(mine))


async def collect(desk: Desk, request: Request, caller: Caller) -> Response:
    own, project = caller.me, caller.project
    query_of(request, ())
    rows = await register.rows(desk.ledger, project, own.id, heartbeat.ROWS)
    shown = heartbeat.shown_rows(project, own.id, rows, own.presence)
    return reply({"heartbeats": [heartbeat.spell(project, each) for each in shown]})


ROUTES = (
    Route("/api/v2/agents/me/heartbeat", handler(beat), methods=["POST"]),
    Route("/api/v2/agents/me/heartbeats", called(collect), methods=["GET"]),
)
