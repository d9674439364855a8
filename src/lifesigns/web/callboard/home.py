"""Home: all that an agent has to know and to do, in one answer."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns import __version__
from lifesigns.core.job import OPEN
from lifesigns.dialects.callboard import heartbeat
from lifesigns.dialects.callboard.home import Visit, home
from lifesigns.store.board import of_agent
from lifesigns.store.job import Wanted
from lifesigns.web.callboard.caller import Caller, called
from lifesigns.web.callboard.standing import names_of
from lifesigns.web.http import Desk, reply
from lifesigns.web.query import query_of

JOBS = 20  # that are shown here; the rest has an address of its own


async def visit_of(desk: Desk, caller: Caller) -> Visit:
    """Gather what an agent finds."""
    own, project = caller.me, caller.project
    page, applied, letters = await asyncio.gather(
        desk.jobs.page(project, Wanted((OPEN,)), limit=JOBS),
        desk.board.applications(project, of_agent(own.id)),
        desk.lobby.inbox.read(project, own.id),
    )
    mine = names_of(project, own.id)
    asked = {each.job for each in applied if each.status != "WITHDRAWN"}
    return Visit(
        project=project,
        standing=own.standing,
        presence=own.presence,
        runtimes=heartbeat.shown_rows(project, own.id, own.rows, own.presence),
        jobs=[job for job in page.jobs if job.poster not in mine],
        applied=frozenset(asked | {slot.job for slot in own.standing.slots}),
        letters=letters,
        held_until_ms=desk.hold.until_ms,
        version=__version__,
    )


async def read(desk: Desk, request: Request, caller: Caller) -> Response:
    query_of(request, ())
    return reply(home(await visit_of(desk, caller), caller.now_ms))


ROUTES = (Route("/api/v2/home", called(read), methods=["GET"]),)
