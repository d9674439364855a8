"""The inbox of an agent that can only poll, and how it is told something."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.access import Grant, check_agent_id
from lifesigns.core.codec import check_bulk
from lifesigns.core.errors import BadRequest, BadValue, NotFound
from lifesigns.core.letter import read_id
from lifesigns.store.inbox import TELL
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.poll import LONGEST_S, polling
from lifesigns.web.query import query_of, whole_of


async def collect(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    query = query_of(request, ("agent", "after", "wait"))
    agent = _agent(grant, query.get("agent"))
    grant.allow_beat(agent)
    after = query.get("after")
    number = None
    if after:  # an empty one is none: so do forms and scripts write it
        owner, number = read_id(after, "after")
        if owner != agent:
            raise BadRequest(f"That is a message of {owner!r}.", field="after")
    wait_s = whole_of(query, "wait", 0, LONGEST_S, 0)
    inbox = desk.lobby.inbox
    desk.lobby.scheduler.schedules.note_poll(grant.project, agent)
    if wait_s == 0 or request.method == "HEAD":
        letters = await inbox.read(grant.project, agent, number)
    else:
        async with polling(desk, grant, request) as poll:
            letters = await inbox.wait(grant.project, agent, number, wait_s, poll)
    following = letters[-1].id if letters else after or None
    return reply({"messages": [each.entry() for each in letters], "next": following})


async def acknowledge(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    query_of(request, ())
    letter_id = request.path_params["id"]
    agent, _ = read_id(letter_id)
    grant.allow_beat(agent)
    if not await desk.lobby.inbox.ack(grant.project, letter_id):
        raise NotFound("There is no such message, or not any more.")
    return reply({"ok": True})


async def tell(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = check_agent_id(request.path_params["id"])
    grant.allow_beat(agent)
    query_of(request, ())
    body = await body_of(request, desk.body_bytes)
    if not body:
        raise BadValue("There is nothing to tell.", field="message")
    message: Any = body.get("message", body)
    limits = desk.limits
    check_bulk(message, "message", limits.metadata_bytes, limits.metadata_depth)
    told = {"message": message}
    letter = await desk.lobby.inbox.add(grant.project, agent, TELL, told, sockets=True)
    return reply(letter.entry(), 201)


def _agent(grant: Grant, named: str | None) -> str:
    if named is not None:
        return check_agent_id(named, "agent")
    if grant.agent is None:
        raise BadRequest("Whose inbox it is has to be said.", field="agent")
    return grant.me()


ROUTES = (
    Route("/v1/inbox", handler(collect), methods=["GET"]),
    Route("/v1/inbox/{id}/ack", handler(acknowledge), methods=["POST"]),
    Route("/v1/pulse/{id}/tell", handler(tell), methods=["POST"]),
)
