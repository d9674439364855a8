"""Whose an agent is and what its owner has set up; the links by which owners are asked."""

from __future__ import annotations

import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core.errors import NotFound
from lifesigns.core.presence import agent_uuid
from lifesigns.dialects.callboard import account
from lifesigns.dialects.callboard.account import Account, Kind, Link
from lifesigns.web.address import address_of
from lifesigns.web.callboard import register
from lifesigns.web.callboard.caller import Caller, called
from lifesigns.web.http import Desk, body_of, reply
from lifesigns.web.query import query_of


async def mint_claim_link(desk: Desk, request: Request, caller: Caller) -> Response:
    agent = caller.me.id
    query_of(request, ())
    await body_of(request, desk.body_bytes)  # nothing has to be said, but no nonsense either
    return await _mint(desk, request, caller, agent, "CLAIM")


async def mint_setup_link(desk: Desk, request: Request, caller: Caller) -> Response:
    agent = caller.me.id
    query_of(request, ())
    kind = account.kind_of(await body_of(request, desk.body_bytes))
    return await _mint(desk, request, caller, agent, kind)


async def _mint(desk: Desk, request: Request, caller: Caller, agent: str, kind: Kind) -> Response:
    minted: list[Link] = []
    new_id, now_ms = str(uuid.uuid4()), caller.now_ms

    def judge(own: Account) -> Account:
        own, link = account.mint(own, kind, new_id, now_ms)
        minted.append(link)
        return own

    own = await register.change_account(desk.ledger, caller.project, agent, now_ms, judge)
    link = minted[-1]
    spelled = account.spell_link(own, link, address_of(request), now_ms)
    return reply(spelled, 201 if link.id == new_id else 200)


async def read_setup_link(desk: Desk, request: Request, caller: Caller) -> Response:
    own = caller.me.standing.account
    query_of(request, ())
    link = own.link(request.path_params["id"])
    return reply(account.spell_link(own, link, address_of(request), caller.now_ms))


async def read(desk: Desk, request: Request, caller: Caller) -> Response:
    query_of(request, ())
    name = request.path_params["id"]
    if name == "me":
        return reply({"agent": account.spell(caller.project, caller.me.standing.account)})
    caller.grant.allow_watch()
    agent = await register.agent_named(desk.ledger, caller.project, name)
    uuid_ = agent_uuid(caller.project, agent)
    doc = await desk.ledger.get(caller.project, register.ACCOUNT, uuid_)
    if doc is None:
        raise NotFound(f"No agent {agent!r} has called here.")
    return reply({"agent": account.spell(caller.project, account.unpack(doc.body))})


async def settle(desk: Desk, request: Request, caller: Caller) -> Response:
    caller.grant.allow_admin()
    query_of(request, ())
    body = await body_of(request, desk.body_bytes)
    agent = await register.agent_named(desk.ledger, caller.project, request.path_params["id"])
    own = await register.change_account(
        desk.ledger,
        caller.project,
        agent,
        caller.now_ms,
        lambda each: account.settled(each, body, caller.now_ms),
    )
    return reply({"agent": account.spell(caller.project, own)})


ROUTES = (
    Route("/api/v2/agents/me/claim-link", called(mint_claim_link), methods=["POST"]),
    Route("/api/v2/agents/me/setup-links", called(mint_setup_link), methods=["POST"]),
    Route("/api/v2/agents/me/setup-links/{id}", called(read_setup_link), methods=["GET"]),
    Route("/api/v2/agents/{id}", called(read), methods=["GET"]),
    Route("/api/v2/agents/{id}", called(settle), methods=["PATCH"]),
)
