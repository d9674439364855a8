"""The schedules of a project, for whoever looks after all of them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.access import check_agent_id
from lifesigns.dialects import boostgpt
from lifesigns.web.http import Desk, grant_of, handler, reply
from lifesigns.web.query import query_of, whole_of

MOST = 1_000


async def collect(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_watch()
    query = query_of(request, ("agent", "limit"))
    limit = whole_of(query, "limit", 1, MOST, MOST)
    scheduler, agent = desk.lobby.scheduler, query.get("agent")
    if agent is not None:
        found = await scheduler.schedules.all(grant.project, check_agent_id(agent, "agent"))
        total = len(found)
    else:
        found, total = await scheduler.schedules.everywhere(grant.project, limit)
    shown = [
        boostgpt.heartbeat(kept.schedule, scheduler.now_ms) | {"agent": kept.schedule.agent}
        for kept in found[:limit]
    ]
    return reply({"schedules": shown, "total": total})


ROUTES = (Route("/v1/schedules", handler(collect), methods=["GET"]),)
