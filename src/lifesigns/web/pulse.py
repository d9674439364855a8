"""Presence over HTTP: one beat, many beats, one agent, all agents, and the check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.access import Grant, check_agent_id, check_instance
from lifesigns.core.codec import JSON
from lifesigns.core.errors import (
    BadRequest,
    BadValue,
    Forbidden,
    LifesignsError,
    NotFound,
    RateLimited,
)
from lifesigns.core.evidence import checked
from lifesigns.core.filter import Filter
from lifesigns.core.model import Presence
from lifesigns.core.past import spell, uptime
from lifesigns.core.presence import DETAILS, counts, full, lite
from lifesigns.core.request import read_check
from lifesigns.dialects import pulse as dialect
from lifesigns.store.put import HttpBeat
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.query import filter_of_query, flag_of, query_of, whole_of
from lifesigns.web.sight import allow_sight, shaded, workers_of

BULK = 1_000
LISTED = 10_000
SLICE = 500  # agents that are spelled out before others get their turn


async def put(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = check_agent_id(request.path_params["id"])
    grant.allow_beat(agent)
    query_of(request, ())
    body = await body_of(request, desk.body_bytes)
    at = asyncio.get_running_loop().time()
    beat = _beat(desk, agent, body, at)
    await _limit(desk, grant, beat, at)
    presence = await desk.store.put(grant.project, beat, at)
    return reply(dialect.recorded(presence, desk.clock.at_ms(at)))


async def get(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    query = query_of(request, ("expand", "detail"))
    agent = check_agent_id(request.path_params["id"])
    await allow_sight(desk, grant, agent)
    presence = (await desk.store.read(grant.project, agent)).presence
    if presence is None:
        raise NotFound(f"No agent {agent!r} was ever seen.")
    return reply(shaded(grant, _shown(presence, query)))


async def delete(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    agent = check_agent_id(request.path_params["id"])
    query = query_of(request, ("instance", "forget"))
    if flag_of(query, "forget"):
        grant.allow_admin()
        if not await desk.store.forget(grant.project, agent):
            raise NotFound(f"No agent {agent!r} was ever seen.")
        await desk.diary.forget(grant.project, agent)
        return reply({"ok": True, "id": agent, "forgotten": True})
    grant.allow_beat(agent)
    instance = query.get("instance")
    if instance is not None:
        try:
            check_instance(instance)
        except BadValue as bad:
            raise BadRequest(bad.message, field=bad.field) from bad
    at = asyncio.get_running_loop().time()
    presence = await desk.store.remove(grant.project, agent, instance, at)
    if presence is None:
        raise NotFound(f"No agent {agent!r} was ever seen.")
    return reply(full(presence))


async def post(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    body = await body_of(request, desk.bulk_body_bytes)
    beats = body.get("beats")
    if not isinstance(beats, list):
        raise BadValue("beats is a list of maps.", field="beats")
    if len(beats) > BULK:
        raise BadValue(f"At most {BULK} beats at once.", field="beats")
    at = asyncio.get_running_loop().time()
    results = await asyncio.gather(*[_one(desk, grant, beat, at) for beat in beats])
    return reply({"results": results})


async def _one(desk: Desk, grant: Grant, said: Any, at: float) -> dict[str, Any]:
    """Store one of many; whatever is wrong with it harms no other."""
    agent = said.get("id") if isinstance(said, dict) else None
    try:
        if not isinstance(said, dict):
            raise BadValue("A beat is a map.")
        agent = check_agent_id(agent)
        grant.allow_beat(agent)
        if len(JSON.encode(said)) > desk.body_bytes:
            raise BadValue(f"A beat has at most {desk.body_bytes} bytes.")
        beat = _beat(desk, agent, said, at)
        await _limit(desk, grant, beat, at)
        return lite(await desk.store.put(grant.project, beat, at))
    except LifesignsError as error:
        refused = {"id": agent, "error": error.message, "code": error.code}
        return refused | ({"field": error.field} if error.field else {})


async def collect(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    wanted, query = filter_of_query(request, ("limit", "after", "expand"))
    limit = whole_of(query, "limit", 1, LISTED, LISTED)
    after = query.get("after", "")
    found = [p async for p in _seen(desk, grant, wanted) if wanted.matches(p)]
    detail = query.get("detail", "full")
    if detail == "counts":
        return reply(counts(found))
    found.sort(key=lambda p: p.id)
    rest = [p for p in found if p.id > after] if after else found
    page = rest[:limit]
    spelled = []
    for i in range(0, len(page), SLICE):
        some = page[i : i + SLICE]
        spelled += [JSON.encode(shaded(grant, _shown(p, query))) for p in some]
        await asyncio.sleep(0)
    following = page[-1].id if len(rest) > len(page) else None
    tail = JSON.encode({"count": len(page), "total": len(found), "next": following})
    body = b'{"agents":[' + b",".join(spelled) + b"]," + tail[1:]
    return Response(body, media_type="application/json")


async def _seen(desk: Desk, grant: Grant, wanted: Filter) -> AsyncIterator[Presence]:
    """Go through all agents that a key may see."""
    if grant.sees_metadata:
        grant.allow_watch()
        async for presence in desk.store.scan(grant.project):
            yield presence
        return
    if wanted.metadata:
        raise Forbidden("A poster is shown no metadata, and does not ask by it.")
    for reading in await desk.store.readings(grant.project, await workers_of(desk, grant)):
        if reading.presence is not None:
            yield reading.presence


async def history(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_watch()
    query_of(request, ())
    agent = check_agent_id(request.path_params["id"])
    reading, (passages, lives) = await asyncio.gather(
        desk.store.read(grant.project, agent), desk.store.past(grant.project, agent)
    )
    presence = reading.presence
    if presence is None:
        raise NotFound(f"No agent {agent!r} was ever seen.")
    alive_since_ms = presence.online_since_ms if presence.alive else None
    known = uptime(lives, alive_since_ms, reading.now_ms)
    return reply(
        {
            "id": agent,
            "agent_id": agent,
            "changes": [spell(each) for each in passages],
            "events": dialect.past(passages),
            "uptime": known.share,
            "window_s": known.window_ms // 1000,
            "flaps": known.flaps,
            "days": [{"date": date, "uptime": share} for date, share in known.days],
        }
    )


async def check(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_watch()
    body = await body_of(request, desk.bulk_body_bytes)
    asked = read_check(body, None, desk.limits)
    found = await desk.lobby.probe.check(grant.project, asked)
    return reply({"agents": {each.id: checked(each, asked.detail) for each in found}})


def _beat(desk: Desk, agent: str, body: Mapping[str, Any], at: float) -> HttpBeat:
    return HttpBeat(agent, *dialect.heartbeat(body, desk.limits, desk.clock.at_ms(at)))


async def _limit(desk: Desk, grant: Grant, beat: HttpBeat, at: float) -> None:
    """Refuse who beats too often; the lease is renewed all the same."""
    if desk.rate.allows((grant.key_id, grant.project, beat.agent), at):
        return
    error = RateLimited(f"At most {desk.rate.per_s:g} beats a second.", retry_after_s=1.0)
    await desk.store.put(grant.project, HttpBeat(beat.agent, beat.instance, None, {}), at)
    raise error


def _shown(presence: Presence, query: Mapping[str, str]) -> dict[str, Any]:
    detail = query.get("detail", "full")
    if detail not in DETAILS:
        raise BadRequest("detail is one of full, lite.", field="detail")
    if detail == "lite":
        return lite(presence)
    if query.get("expand", "instances") != "instances":
        raise BadRequest("Only instances can be expanded.", field="expand")
    return dialect.shown(presence, expand="expand" in query)


ROUTES = (
    Route("/v1/pulse", handler(collect), methods=["GET"]),
    Route("/v1/pulse", handler(post), methods=["POST"]),
    Route("/v1/pulse/{id}", handler(put), methods=["PUT"]),
    Route("/v1/pulse/{id}", handler(get), methods=["GET"]),
    Route("/v1/pulse/{id}", handler(delete), methods=["DELETE"]),
    Route("/v1/pulse/{id}/history", handler(history), methods=["GET"]),
    Route("/v1/check", handler(check), methods=["POST"]),
)
