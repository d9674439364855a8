"""Delegation over HTTP: claims that end by their time alone, and who could be claimed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.access import Grant, check_agent_id
from lifesigns.core.claim import Order, Won, claimed, holder_of, listed
from lifesigns.core.errors import Unavailable
from lifesigns.core.model import Presence
from lifesigns.core.presence import DETAILS
from lifesigns.core.request import ClaimAsked, read_claim, read_pick, read_renew
from lifesigns.web.delegate import new_token
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.poll import Poll, polling
from lifesigns.web.query import query_of

Claiming = Coroutine[Any, Any, tuple[Won, Presence]]


async def post(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_claim()
    asked = read_claim(await body_of(request, desk.body_bytes), None, desk.limits)
    order = Order(
        token=new_token(),
        holder=_holder(grant),
        by=grant.key_id,
        note=asked.note,
        ttl_ms=asked.ttl_ms,
        bound=False,
    )
    if asked.wait_s == 0:
        won, presence = await _claim(desk, grant, order, asked)
    else:
        async with polling(desk, grant, request) as poll:
            won, presence = await _unless_ended(_claim(desk, grant, order, asked), poll)
    return reply(claimed(won.claim, presence), 201)


async def put(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_claim()
    claim = request.path_params["id"]
    body: dict[str, Any] = await body_of(request, desk.body_bytes)
    asked = read_renew(body | {"claim": claim}, None, desk.limits)
    won = await desk.lobby.claims.renew(
        grant.project, claim, _holder(grant), asked.ttl_ms, bound=False
    )
    return reply(listed(won.claim))


async def delete(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_claim()
    claim = request.path_params["id"]
    holder = None if grant.may("admin") else _holder(grant)
    await desk.lobby.claims.release(grant.project, claim, holder, "released")
    return reply({"ok": True, "claim": claim})


async def collect(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_watch()
    agent = query_of(request, ("agent",)).get("agent")
    if agent is None:
        claims = await desk.lobby.claims.all(grant.project)
    else:
        claims = await desk.lobby.claims.of_agent(grant.project, check_agent_id(agent, "agent"))
    return reply({"claims": [listed(claim) for claim in claims]})


async def pick(desk: Desk, request: Request) -> Response:
    grant = await grant_of(desk, request)
    grant.allow_watch()
    asked = read_pick(await body_of(request, desk.body_bytes), None, desk.limits)
    found = await desk.lobby.delegation.pick(grant.project, asked.wanted, asked.n)
    return reply({"agents": [DETAILS[asked.detail](presence) for presence in found]})


def _claim(desk: Desk, grant: Grant, order: Order, asked: ClaimAsked) -> Claiming:
    return desk.lobby.delegation.claim(
        grant.project, order, asked.agent, asked.wanted, asked.wait_s
    )


async def _unless_ended(claiming: Claiming, poll: Poll) -> tuple[Won, Presence]:
    """Wait for a claim, but no longer than whoever asked for it, or this hub, is there."""
    work, end = asyncio.create_task(claiming), asyncio.create_task(poll.rung.wait())
    try:
        await asyncio.wait((work, end), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Unavailable("This hub waits for nobody any more.")
        return work.result()
    finally:
        work.cancel()
        end.cancel()


def _holder(grant: Grant) -> str:
    return holder_of(grant.key_id, None)


ROUTES = (
    Route("/v1/claims", handler(post), methods=["POST"]),
    Route("/v1/claims", handler(collect), methods=["GET"]),
    Route("/v1/claims/{id}", handler(put), methods=["PUT"]),
    Route("/v1/claims/{id}", handler(delete), methods=["DELETE"]),
    Route("/v1/pick", handler(pick), methods=["POST"]),
)
