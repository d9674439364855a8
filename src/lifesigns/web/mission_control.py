"""The agents API of Mission Control, all under ``/api/v1``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core import workspace
from lifesigns.core.access import Grant, covers, is_agent_id
from lifesigns.core.enrolment import TOLERANCE_S, Enrolment, meant
from lifesigns.core.errors import Conflict, Forbidden, LifesignsError, NotFound, RateLimited
from lifesigns.core.model import Presence
from lifesigns.dialects import mission_control as dialect
from lifesigns.store.enrolment import Applicant, Asker
from lifesigns.store.put import HttpBeat
from lifesigns.web.address import address_of
from lifesigns.web.auth import token_of
from lifesigns.web.dialect import Dialect
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.mission_stream import stream

REQUEST_ID = "x-request-id"
DEEPEST = 10_000  # how far back the activity is listed: the store puts it in order for each page


@dataclass(frozen=True, slots=True)
class Found:
    """An agent, and what there is of it."""

    id: str
    enrolment: Enrolment | None
    presence: Presence | None

    @property
    def sign(self) -> dialect.Sign | None:
        return None if self.presence is None else dialect.sign_of(self.presence)

    def shown(self, project: str) -> dialect.Shown:
        return dialect.agent_read(project, self.enrolment, self.sign)


# Heartbeats.


async def bootstrap(desk: Desk, request: Request) -> Response:
    grant, asker = await _caller(desk, request)
    body = await body_of(request, desk.body_bytes)
    name, board = dialect.name_of(body)
    said = dialect.heartbeat(body, desk.limits, named=True)
    tied = _tied(grant)
    if tied is None and grant.agent is not None:  # for a prefix, of an id or of a name
        roll = await desk.enrolments.roll(grant.project, name)
        _allow(grant, meant(name, roll, board) or "", name)
    else:
        _allow(grant, tied or "", name)
    applicant = Applicant(name, board, tied, heard=True)
    at = asyncio.get_running_loop().time()
    now_ms = desk.clock.at_ms(at)
    enrolment, _ = await desk.enrolments.enrol(grant.project, applicant, asker, now_ms)
    presence = (await desk.store.read(grant.project, enrolment.id)).presence
    found = Found(enrolment.id, enrolment, presence)
    return reply(await _beat(desk, grant, found, said, at))


async def heartbeat(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    body = await body_of(request, desk.body_bytes)
    said = dialect.heartbeat(body, desk.limits)
    found = await _find(desk, grant.project, request.path_params["agent_id"])
    _allow(grant, found.id, None if found.enrolment is None else found.enrolment.name)
    at = asyncio.get_running_loop().time()
    return reply(await _beat(desk, grant, found, said, at))


async def own_heartbeat(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    body = await body_of(request, desk.body_bytes)
    said = dialect.heartbeat(body, desk.limits)
    agent = grant.me()
    _allow(grant, agent, None)
    at = asyncio.get_running_loop().time()
    return reply(await _beat(desk, grant, await _look(desk, grant.project, agent), said, at))


async def healthz(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    found = await _look(desk, grant.project, grant.me())
    return reply(dialect.healthz(grant.project, found.id, found.enrolment, found.sign))


async def _beat(
    desk: Desk, grant: Grant, found: Found, said: dialect.Heartbeat, at: float
) -> dialect.Shown:
    project, agent, enrolment = grant.project, found.id, found.enrolment
    tolerance_s = TOLERANCE_S if enrolment is None else enrolment.tolerance_s
    ttl_ms = round(tolerance_s * 1000)
    if not desk.rate.allows((grant.key_id, project, agent), at):
        await desk.store.put(
            project, HttpBeat(agent, None, ttl_ms, {}), at
        )  # it lives all the same
        raise RateLimited(f"At most {desk.rate.per_s:g} beats a second.", retry_after_s=1.0)
    presence = found.presence
    if said.leaves:
        status = dialect.OFFLINE
        if enrolment is not None:  # first, for those who are told of its end
            enrolment = await _noted(desk, project, agent, at)
        if presence is not None and presence.alive:
            presence = await desk.store.remove(project, agent, None, at)
    else:
        words = dialect.words(said, enrolment, found.sign)
        presence = await desk.store.put(project, HttpBeat(agent, None, ttl_ms, words), at)
        status = presence.words.status or dialect.ONLINE
        if enrolment is not None and not enrolment.heard_ms:
            enrolment = await _noted(desk, project, agent, at)
    after = Found(agent, enrolment, presence)
    shown = after.shown(project)
    report = dialect.reported(shown["name"], shown["board_id"], status)
    await desk.diary.note(project, agent, dialect.BOOK, report)
    return shown


async def _noted(desk: Desk, project: str, agent: str, at: float) -> Enrolment:
    """Note that an agent was heard, where its presence does not tell it, or not for ever."""
    now_ms = desk.clock.at_ms(at)
    return await desk.enrolments.change(
        project, agent, lambda former: replace(former, heard_ms=now_ms), quiet=True
    )


# Records.


async def collect(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    grant.allow_watch()
    wanted = dialect.list_of(request.query_params)
    project, limit, offset = grant.project, wanted.limit, wanted.offset
    if wanted.nobody or wanted.gateway not in (None, dialect.gateway_of(project)):
        return reply(dialect.page([], 0, limit, offset))
    if wanted.enrolled_only:
        some, total = await desk.enrolments.page(project, wanted.board, skip=offset, limit=limit)
        readings = await desk.store.readings(project, [each.id for each in some])
        found = [Found(e.id, e, r.presence) for e, r in zip(some, readings, strict=True)]
        return reply(dialect.page([each.shown(project) for each in found], total, limit, offset))
    enrolled = {each.id: each for each in await desk.enrolments.everyone(project)}
    signs = {p.id: dialect.sign_of(p) async for p in desk.store.scan(project)}
    if wanted.enrolled is False:
        signs = {agent: sign for agent, sign in signs.items() if agent not in enrolled}
        enrolled = {}
    order = sorted(
        ((dialect.created_ms(enrolled.get(a), signs.get(a)), a) for a in enrolled.keys() | signs),
        reverse=True,
    )
    items = [
        dialect.agent_read(project, enrolled.get(agent), signs.get(agent))
        for _, agent in order[offset : offset + limit]
    ]
    return reply(dialect.page(items, len(order), limit, offset))


async def create(desk: Desk, request: Request) -> Response:
    grant, asker = await _caller(desk, request)
    body = await body_of(request, desk.body_bytes)
    said = dialect.wanted(body, desk.limits, new=True)
    name, board = said.pop("name"), said.pop("board")
    if _tied(grant) is not None:
        grant.allow_admin()
    _allow(grant, "", name)
    now_ms = desk.now_ms
    applicant = Applicant(name, board, said=said)
    enrolment, new = await desk.enrolments.enrol(grant.project, applicant, asker, now_ms)
    if not new:
        raise Conflict(f"There is an agent {name!r} already.")
    return reply(Found(enrolment.id, enrolment, None).shown(grant.project))


async def get(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    grant.allow_watch()
    found = await _find(desk, grant.project, request.path_params["agent_id"])
    return reply(found.shown(grant.project))


async def patch(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    grant.allow_admin()
    body = await body_of(request, desk.body_bytes)
    changes = dialect.wanted(body, desk.limits, new=False)
    found = await _enrolled(desk, grant.project, request.path_params["agent_id"])
    now_ms = desk.now_ms
    enrolment = await desk.enrolments.change(
        grant.project, found.id, lambda former: former.altered(changes, now_ms)
    )
    return reply(replace(found, enrolment=enrolment).shown(grant.project))


async def delete(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    grant.allow_admin()
    found = await _find(desk, grant.project, request.path_params["agent_id"])
    if found.enrolment is not None:
        await desk.enrolments.remove(grant.project, found.id)
        await desk.lobby.recheck()
    if found.presence is not None:
        await desk.store.forget(grant.project, found.id)
    return reply({"ok": True})


async def renew_token(desk: Desk, request: Request) -> Response:
    grant, asker = await _caller(desk, request)
    found = await _enrolled(desk, grant.project, request.path_params["agent_id"])
    if grant.agent != found.id:
        grant.allow_admin()
    token = await desk.enrolments.renew_key(grant.project, found.id, asker.url)
    await desk.lobby.recheck()
    uuid = found.shown(grant.project)["id"]
    return reply({"ok": True, "agent_id": uuid, "token": token})


async def file(desk: Desk, request: Request) -> Response:
    grant, asker = await _caller(desk, request)
    found = await _enrolled(desk, grant.project, request.path_params["agent_id"])
    name = request.path_params["name"]
    if name not in workspace.NAMES:
        raise NotFound(f"A workspace has {', '.join(workspace.NAMES)}.")
    if request.method == "HEAD":  # who asks so is not told the key, and must not use it up
        asker = replace(asker, token="")
    trusted = grant.may("admin") if _tied(grant) is None else grant.agent == found.id
    now_ms = desk.now_ms
    text = await desk.enrolments.text(grant.project, found.id, name, asker, now_ms, trusted=trusted)
    return Response(text, media_type="text/markdown", headers={"Cache-Control": "no-store"})


async def activity(desk: Desk, request: Request) -> Response:
    grant, _ = await _caller(desk, request)
    grant.allow_watch()
    project = grant.project
    limit, offset = dialect.slice_of(request.query_params, DEEPEST)
    found = await desk.diary.latest(project, dialect.BOOK, skip=offset, limit=limit)
    items = [dialect.activity(project, e.agent, e.number, e.report) for e in found.entries]
    return reply(dialect.page(items, found.total, limit, offset))


# Who and which.


async def _caller(desk: Desk, request: Request) -> tuple[Grant, Asker]:
    grant = await grant_of(desk, request)
    token = token_of(request.url.path, request.headers) or ""
    return grant, Asker(grant.key_id, token, address_of(request))


def _tied(grant: Grant) -> str | None:
    """Name the one agent for which a key is; None if it is for several."""
    return None if grant.agent is None or grant.agent.endswith("*") else grant.agent


def _allow(grant: Grant, agent: str, name: str | None) -> None:
    """Speak for an agent; a prefix is that of an id, or of a name."""
    if not grant.may("beat"):
        raise Forbidden(f"A key of the scope {grant.scope!r} may not speak for an agent.")
    pattern = grant.agent
    if pattern is None or covers(pattern, agent):
        return
    if pattern.endswith("*") and name is not None and covers(pattern, name):
        return
    raise Forbidden("This key is for another agent.")


async def _look(desk: Desk, project: str, agent: str) -> Found:
    reading, enrolment = await asyncio.gather(
        desk.store.read(project, agent), desk.enrolments.get(project, agent)
    )
    return Found(agent, enrolment, reading.presence)


async def _find(desk: Desk, project: str, given: str) -> Found:
    """Find an agent by its id, or by its UUID."""
    uuid = dialect.as_uuid(given)
    for agent in dict.fromkeys((given, uuid)):
        if agent is not None and is_agent_id(agent):
            found = await _look(desk, project, agent)
            if found.enrolment is not None or found.presence is not None:
                return found
    if uuid is not None:
        agent = await desk.enrolments.alias(project, uuid)
        agent = agent or await desk.store.identify(project, uuid)
        if agent is not None:
            return await _look(desk, project, agent)
    raise NotFound(f"There is no agent {given[:128]!r} here.")


async def _enrolled(desk: Desk, project: str, given: str) -> Found:
    found = await _find(desk, project, given)
    if found.enrolment is None:
        raise NotFound("This agent speaks another dialect, and has no record here.")
    return found


# How all of it is told.


def refuse(error: LifesignsError, request: Request) -> Response:
    status, detail = dialect.refusal(error)
    wait_s = error.retry_after_s
    headers = {} if wait_s is None else {"Retry-After": str(max(1, round(wait_s)))}
    return reply({"detail": detail, "request_id": _request_id(request)}, status, headers)


def head(request: Request, headers: MutableHeaders) -> None:
    headers["X-Request-Id"] = _request_id(request)


def _request_id(request: Request) -> str:
    given = request.headers.get(REQUEST_ID, "")
    made: str = request.scope.setdefault(
        "lifesigns.request_id", given if dialect.is_request_id(given) else str(uuid4())
    )
    return made


DIALECT = Dialect(
    name=dialect.NAME,
    prefixes=("/api/v1",),
    refuse=refuse,
    head=head,
    routes=(
        Route("/api/v1/agents/heartbeat", handler(bootstrap), methods=["POST"]),
        Route("/api/v1/agents/stream", handler(stream), methods=["GET"]),
        Route("/api/v1/agents", handler(collect), methods=["GET"]),
        Route("/api/v1/agents", handler(create), methods=["POST"]),
        Route("/api/v1/agents/{agent_id}", handler(get), methods=["GET"]),
        Route("/api/v1/agents/{agent_id}", handler(patch), methods=["PATCH"]),
        Route("/api/v1/agents/{agent_id}", handler(delete), methods=["DELETE"]),
        Route("/api/v1/agents/{agent_id}/heartbeat", handler(heartbeat), methods=["POST"]),
        Route("/api/v1/agents/{agent_id}/token", handler(renew_token), methods=["POST"]),
        Route("/api/v1/agents/{agent_id}/files/{name}", handler(file), methods=["GET"]),
        Route("/api/v1/agent/heartbeat", handler(own_heartbeat), methods=["POST"]),
        Route("/api/v1/agent/healthz", handler(healthz), methods=["GET"]),
        Route("/api/v1/agent/agents", handler(collect), methods=["GET"]),
        Route("/api/v1/activity", handler(activity), methods=["GET"]),
    ),
)
