"""Runs of schedules, for agents that ask for them and report without a socket."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.access import Grant, check_agent_id
from lifesigns.core.errors import BadRequest, NotFound
from lifesigns.core.run import OPEN, STATUSES, agent_of_run, read_report, spell
from lifesigns.store.schedule import Logged
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.poll import LONGEST_S, polling
from lifesigns.web.query import query_of, whole_of

ANY = "any"
MOST = 1_000


async def collect(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    query = query_of(request, ("agent", "status", "wait", "limit"))
    agent = _agent(grant, query.get("agent"))
    status = query.get("status", OPEN)
    if status not in (*STATUSES, ANY):
        raise BadRequest(f"status is one of {', '.join((*STATUSES, ANY))}.", field="status")
    wait_s = whole_of(query, "wait", 0, LONGEST_S, 0)
    limit = whole_of(query, "limit", 1, MOST, 100)
    scheduler, project = desk.lobby.scheduler, grant.project
    if status != OPEN or not grant.may("beat"):
        grant.allow_watch()
        logged = Logged(agent, status=None if status == ANY else status)
        found, _ = await scheduler.schedules.log(project, logged, 0, limit)
        return reply({"runs": [spell(run) for run in found]})
    grant.allow_beat(agent)
    async with polling(desk, grant, request) as poll:
        left_s = 0 if request.method == "HEAD" else wait_s
        found = await scheduler.listed(project, agent, left_s, poll)
    return reply({"runs": [spell(run) for run in found[:limit]]})


async def read(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    query_of(request, ())
    grant.allow_watch()
    run = request.path_params["run"]
    begun = await desk.lobby.scheduler.schedules.run(grant.project, run)
    if begun is None:
        raise NotFound(f"There is no run {run[:64]!r}.", field="run")
    return reply(spell(begun.run))


async def done(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    query_of(request, ())
    run = request.path_params["run"]
    agent = agent_of_run(run)
    grant.allow_beat(agent)
    report = read_report(await body_of(request, desk.body_bytes), desk.limits)
    closed = await desk.lobby.scheduler.report(grant.project, agent, run, report)
    return reply({"ok": True, **spell(closed)})


def _agent(grant: Grant, named: str | None) -> str:
    if named is not None:
        return check_agent_id(named, "agent")
    if grant.agent is None:
        raise BadRequest("Whose runs they are has to be said.", field="agent")
    return grant.me()


ROUTES = (
    Route("/v1/runs", handler(collect), methods=["GET"]),
    Route("/v1/runs/{run}", handler(read), methods=["GET"]),
    Route("/v1/runs/{run}/done", handler(done), methods=["POST"]),
)
