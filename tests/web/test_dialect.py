"""A published API beside ours: all below its addresses is told in its own shape."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lifesigns.core.errors import Forbidden, LifesignsError
from lifesigns.web.dialect import Dialect
from lifesigns.web.http import Desk, Site, grant_of, handler, reply
from tests.hub import ROOT_KEY, RunningHub, running_hub


def refuse(error: LifesignsError, request: Request) -> Response:
    return JSONResponse({"oh": error.code, "at": request.url.path}, error.http_status)


def head(request: Request, headers: MutableHeaders) -> None:
    headers["X-Tongue"] = "other"


async def greet(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    if "no" in request.query_params:
        raise Forbidden("no")
    if "fault" in request.query_params:
        raise RuntimeError("a fault of ours")
    if "beat" in request.query_params:
        assert desk.ticker._arrivals
    return reply({"hello": grant.key_id})


OTHER = Dialect(
    name="other",
    routes=(Route("/other/heartbeat", handler(greet), methods=["POST"]),),
    prefixes=("/other",),
    refuse=refuse,
    head=head,
)


async def ask(hub: RunningHub, method: str, path: str, key: str = ROOT_KEY) -> httpx.Response:
    site = Site(hub.hub.site._desk, hub.hub.site.routes, [OTHER])
    transport = httpx.ASGITransport(site)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        return await http.request(method, path, headers={"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ("POST /other/heartbeat?no=1", 403, "forbidden"),
        ("POST /other/heartbeat?fault=1", 500, "internal"),
        ("GET /other/heartbeat", 405, "method_not_allowed"),
        ("GET /other", 404, "not_found"),
        ("PUT /other/x/y", 404, "not_found"),
    ],
)
async def test_whatever_a_dialect_refuses_is_in_its_shape(
    call: str, status: int, code: str, fresh_url: str
) -> None:
    async with running_hub(fresh_url) as hub:
        answer = await ask(hub, *call.split())
        path = call.split()[1].partition("?")[0]
        assert (answer.status_code, answer.json()) == (status, {"oh": code, "at": path})
        assert answer.headers["x-tongue"] == "other"
        assert ("allow" in answer.headers) == (status == 405)


async def test_a_key_that_is_not_good_is_refused_in_its_shape(fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub:
        answer = await ask(hub, "POST", "/other/heartbeat", "no-such-key-at-all")
        assert (answer.status_code, answer.json()["oh"]) == (401, "unauthorized")


async def test_the_others_are_told_in_ours(fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub:
        for path in ("/others", "/otherwise/heartbeat", "/v1/pulse/nobody"):
            answer = await ask(hub, "GET", path)
            body: dict[str, Any] = answer.json()
            assert (answer.status_code, body["code"]) == (404, "not_found")
            assert "x-tongue" not in answer.headers


async def test_a_heartbeat_of_a_dialect_holds_the_watermark_while_it_comes_in(
    fresh_url: str,
) -> None:
    async with running_hub(fresh_url) as hub:
        answer = await ask(hub, "POST", "/other/heartbeat?beat=1")
        assert answer.json() == {"hello": "root"}
        assert not hub.hub.ticker._arrivals
