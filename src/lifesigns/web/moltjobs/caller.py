"""Who calls the MoltJobs API, in which words it is refused, and what all its calls share."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from lifesigns.core.access import Grant, check_agent_id
from lifesigns.core.errors import BadRequest, LifesignsError
from lifesigns.dialects.moltjobs.answer import refusal
from lifesigns.web.auth import PROJECT, token_of
from lifesigns.web.http import Desk, check_page, grant_of, head_of, reply
from lifesigns.web.query import whole_of

PREFIXES = ("/agents", "/jobs", "/v1/agents", "/v1/jobs")
REQUEST_ID = "X-Request-Id"
KEY_PARAMETER = "apiKey"  # of the one call that needs no header

LISTED, LISTED_AT_MOST = 20, 100

_PRINTABLE = re.compile(r"[!-~]{1,128}")


async def grant_of_query(desk: Desk, request: Request) -> Grant:
    """Find out whose call it is by a header or, without any, by its address."""
    check_page(desk, request)  # it is a sign of life, and a page needs no header for it
    key = request.query_params.get(KEY_PARAMETER)
    if key is None or token_of(request.url.path, request.headers) is not None:
        return await grant_of(desk, request)
    grant = await desk.gate.admit(key, request.headers.get(PROJECT))
    desk.store.check_able()
    await desk.store.know(grant.project)
    return grant


def agent_of(grant: Grant, request: Request) -> str:
    """Take the agent that a call is about; ``me`` is the key's."""
    named = request.path_params["id"]
    return grant.me() if named == "me" else check_agent_id(named)


def limit_of(request: Request) -> int:
    """Take how many things of a list are wanted."""
    return whole_of(request.query_params, "limit", 1, LISTED_AT_MOST, LISTED)


def cursor_of(request: Request, form: re.Pattern[str] | None = None) -> str:
    """Take where a list is to go on; empty: from its beginning."""
    cursor = request.query_params.get("cursor", "")
    if cursor and form is not None and not form.fullmatch(cursor):
        raise BadRequest("This is no cursor of such a list.", field="cursor")
    return cursor


def actor(grant: Grant) -> str:
    """Name who does something, as the trail of a job tells it."""
    return grant.poster or grant.agent or grant.name or grant.key_id


def refuse(error: LifesignsError, request: Request) -> Response:
    """Answer an error in this API's shape."""
    desk: Desk = request.scope["desk"]
    given = request.headers.get(REQUEST_ID, "")
    request_id = given if _PRINTABLE.fullmatch(given) else str(uuid4())
    body: dict[str, Any] = refusal(error, request.url.path, request_id, desk.now_ms)
    return reply(body, error.http_status, head_of(error) | {REQUEST_ID: request_id})
