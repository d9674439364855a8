"""Keys, projects, tickets: who may come in, over HTTP."""

from __future__ import annotations

import time
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core import field
from lifesigns.core.access import (
    DEFAULT_PROJECT,
    Grant,
    check_agent_pattern,
    check_name,
    check_project,
    check_scope,
    check_token,
)
from lifesigns.core.errors import BadValue, Conflict, NotFound, Unauthorized
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.store.registry import TICKETS, Project, Purpose
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.query import query_of


async def create_key(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    body = await body_of(request, desk.body_bytes)
    scope = check_scope(body.get("scope"))
    grant.allow_scope(scope)
    token, agent, poster, name = (body.get(each) for each in ("key", "agent", "poster", "name"))
    wanted = Grant(
        key_id="",
        project=grant.project,
        scope=scope,
        agent=None if agent is None else check_agent_pattern(agent),
        poster=None if poster is None else check_name(poster, "poster"),
        name=None if name is None else check_name(name),
        expires_ms=field.instant_of(body, "expires_at"),
    )
    made, shown = await desk.registry.create(
        wanted, token=None if token is None else check_token(token), now_ms=_now_ms()
    )
    if token is not None:  # it may have been refused here lately
        await desk.lobby.recheck()
    return reply(_key(made) | {"key": shown}, 201)


async def list_keys(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_admin()
    query_of(request, ())
    return reply({"keys": [_key(each) for each in await desk.registry.keys(grant.project)]})


async def read_key(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_admin()
    wanted = request.path_params["id"]
    for each in await desk.registry.keys(grant.project):
        if each.key_id == wanted:
            return reply(_key(each))
    raise _missing("key", wanted)


async def revoke_key(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_admin()
    await desk.registry.revoke(grant.project, request.path_params["id"])
    await desk.lobby.recheck()
    return reply({"ok": True})


async def create_project(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_root()
    body = await body_of(request, desk.body_bytes)
    name = check_project(body.get("name"))
    spread = field.choice_of(body, "spread", ("one", "all"))
    made = await desk.registry.create_project(name, spread_all=spread == "all", now_ms=_now_ms())
    return reply(_project(made), 201)


async def list_projects(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_root()
    query_of(request, ())
    return reply({"projects": [_project(each) for each in await desk.registry.projects()]})


async def read_project(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_root()
    name = request.path_params["name"]
    found = await desk.registry.project(name)
    if found is None:
        raise _missing("project", name)
    return reply(_project(found))


async def delete_project(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_root()
    name = request.path_params["name"]
    if name == DEFAULT_PROJECT:  # before its agents are forgotten
        raise Conflict(f"The project {name!r} stays.", field="name")
    await desk.store.drop(name)
    await desk.enrolments.drop(name)  # before the ledger: they lead to folders outside the store
    await desk.ledger.drop(name)
    await desk.diary.drop(name)
    await desk.registry.delete_project(name)
    await desk.samples.drop(name)
    await desk.lobby.recheck()
    return reply({"ok": True})


async def create_ticket(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    body = await body_of(request, desk.body_bytes)
    purpose = cast(Purpose, field.choice_of(body, "for", tuple(TICKETS)))
    ttl_s = field.number_of(body, "ttl", 1, TICKETS[purpose].ttl_s)
    ticket, expires_ms = await desk.registry.create_ticket(
        grant, purpose, ttl_s=ttl_s, now_ms=_now_ms()
    )
    body = {"ticket": ticket, "expires_at": to_text(expires_ms)}
    # A page that knows no more than its key learns so what that may.
    return reply(body | {"scope": grant.scope, "project": grant.project}, 201)


async def login(desk: Desk, request: Request) -> Response:
    body = await body_of(request, desk.body_bytes)
    ticket = body.get("ticket")
    if not isinstance(ticket, str):
        raise BadValue("ticket is a text.", field="ticket")
    if not ticket:
        raise Unauthorized("A ticket is needed.")
    grant, token = await desk.gate.login(ticket)
    return reply(_key(grant) | {"key": token})


def _key(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.key_id,
        "project": grant.project,
        "scope": grant.scope,
        "agent": grant.agent,
        "poster": grant.poster,
        "name": grant.name,
        "created_at": to_text(grant.created_ms),
        "expires_at": to_text_or_none(grant.expires_ms),
    }


def _project(project: Project) -> dict[str, Any]:
    return {
        "name": project.name,
        "spread": project.spread,
        "created_at": to_text(project.created_ms),
    }


def _missing(what: str, name: str) -> NotFound:
    return NotFound(f"There is no {what} {name[:64]!r}.")


def _now_ms() -> int:
    """The time of day: keys end by the calendar, not by the store's clock."""
    return time.time_ns() // 1_000_000


ROUTES = (
    Route("/v1/keys", handler(create_key), methods=["POST"]),
    Route("/v1/keys", handler(list_keys), methods=["GET"]),
    Route("/v1/keys/{id}", handler(read_key), methods=["GET"]),
    Route("/v1/keys/{id}", handler(revoke_key), methods=["DELETE"]),
    Route("/v1/projects", handler(create_project), methods=["POST"]),
    Route("/v1/projects", handler(list_projects), methods=["GET"]),
    Route("/v1/projects/{name}", handler(read_project), methods=["GET"]),
    Route("/v1/projects/{name}", handler(delete_project), methods=["DELETE"]),
    Route("/v1/tickets", handler(create_ticket), methods=["POST"]),
    Route("/v1/login", handler(login), methods=["POST"]),
)
