"""The guide that agents fetch, with this hub's address in it; it needs no key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lifesigns import __version__
from lifesigns.core.access import check_agent_id
from lifesigns.core.errors import NotFound
from lifesigns.dialects.callboard import guide
from lifesigns.dialects.callboard.account import GOOD_MS, Kind
from lifesigns.web.address import address_of
from lifesigns.web.http import Desk, handler, reply

MARKDOWN = "text/markdown; charset=utf-8"


def _page(text: Callable[[str, str], str]) -> Callable[[Request], Awaitable[Response]]:
    async def page(desk: Desk, request: Request) -> Response:
        return Response(text(address_of(request), __version__), media_type=MARKDOWN)

    return handler(page)


async def skill(desk: Desk, request: Request) -> Response:
    return reply(guide.skill_json(__version__))


async def setup(desk: Desk, request: Request) -> Response:
    """Tell an owner what a link is about; it holds nothing that is not in its address."""
    named = request.path_params["kind"]
    kinds: list[Kind] = [kind for kind in GOOD_MS if kind.lower() == named]
    if not kinds:
        raise NotFound("There is nothing at this address.")
    agent = check_agent_id(request.path_params["agent"], "agent")
    return PlainTextResponse(guide.setup_text(address_of(request), agent, kinds[0]))


ROUTES = (
    Route("/skill.json", handler(skill), methods=["GET"]),
    Route("/heartbeat.md", _page(guide.heartbeat_md), methods=["GET"]),
    Route("/skill.md", _page(guide.skill_md), methods=["GET"]),
    Route("/rules.md", _page(guide.rules_md), methods=["GET"]),
    Route("/setup/{agent}/{kind}/{id}", handler(setup), methods=["GET"]),
)
