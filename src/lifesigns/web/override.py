"""The operator's word on agents: to drain them, or to take them out of service."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core import field
from lifesigns.core.access import Grant, check_agent_id, is_agent_prefix
from lifesigns.core.errors import BadValue, NotFound
from lifesigns.core.model import Override
from lifesigns.core.presence import OVERRIDES, full, spell_override
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.query import query_of


async def put(desk: Desk, request: Request) -> Response:
    grant, name = await _asked(desk, request)
    body = await body_of(request, desk.body_bytes)
    state = body.get("state")
    if not isinstance(state, str) or state not in OVERRIDES:
        raise BadValue(f"state is one of {', '.join(OVERRIDES)}.", field="state")
    until_ms = field.instant_of(body, "until")
    if until_ms is not None and until_ms <= desk.now_ms:
        raise BadValue("until is in the future, or absent.", field="until")
    why = field.reason_of(body, desk.limits, "why")
    return await _say(desk, grant, name, Override(OVERRIDES[state], why, until_ms))


async def delete(desk: Desk, request: Request) -> Response:
    grant, name = await _asked(desk, request)
    return await _say(desk, grant, name, None)


async def get(desk: Desk, request: Request) -> Response:
    grant, name = await _asked(desk, request, reads=True)
    if is_agent_prefix(name):
        override = await desk.lobby.operator.standing(grant.project, name)
    else:
        presence = (await desk.store.read(grant.project, name)).presence
        override = None if presence is None else presence.override
    if override is None:
        raise NotFound(f"Nothing overrides {name!r}.")
    return reply({"id": name, "override": spell_override(override)})


async def _asked(desk: Desk, request: Request, *, reads: bool = False) -> tuple[Grant, str]:
    grant = await grant_of(desk, request)
    if reads:
        grant.allow_watch()
    else:
        grant.allow_admin()
    query_of(request, ())
    name = request.path_params["id"]
    return grant, name if is_agent_prefix(name) else check_agent_id(name)


async def _say(desk: Desk, grant: Grant, name: str, override: Override | None) -> Response:
    if not is_agent_prefix(name):
        return reply(full(await desk.store.override(grant.project, name, override)))
    count = await desk.lobby.operator.override(grant.project, name, override)
    shown: dict[str, Any] = {"id": name, "override": spell_override(override), "agents": count}
    return reply(shown)


ROUTES = (
    Route("/v1/pulse/{id}/override", handler(put), methods=["PUT"]),
    Route("/v1/pulse/{id}/override", handler(get), methods=["GET"]),
    Route("/v1/pulse/{id}/override", handler(delete), methods=["DELETE"]),
)
