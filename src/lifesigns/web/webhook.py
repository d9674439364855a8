"""Webhooks over HTTP: who is told of what, and what became of it."""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core import circuit, delivery
from lifesigns.core.access import Grant
from lifesigns.core.delivery import ENDED, STATES, Delivery, begun_again
from lifesigns.core.errors import BadRequest, Conflict
from lifesigns.core.signature import check_secret
from lifesigns.core.webhook import Webhook, alter, make, rotate, spell
from lifesigns.store.webhook import new_secret
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.query import query_of, whole_of

PAGE, MOST_LISTED = 50, 500


async def create(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    body = await body_of(request, desk.body_bytes)
    id_ = f"wh_{secrets.token_hex(8)}"
    made = make(body, id_, new_secret(), desk.now_ms, desk.courier.allowance)
    await desk.webhooks.create(grant.project, made)
    return reply(await _shown(desk, grant, made) | {"secret": made.secret}, 201)


async def collect(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    found = await desk.webhooks.all(grant.project)
    circuits = await desk.webhooks.circuits(grant.project, [each.id for each in found])
    now_ms = desk.now_ms
    shown = [
        spell(each, now_ms) | {"health": circuit.spell(circuits[each.id], now_ms)} for each in found
    ]
    return reply({"webhooks": shown})


async def read(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    return reply(await _shown(desk, grant, await _named(desk, grant, request)))


async def change(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    body = await body_of(request, desk.body_bytes)
    now_ms, allowance = desk.now_ms, desk.courier.allowance
    changed = await desk.webhooks.change(
        grant.project, _id(request), lambda each: alter(each, body, now_ms, allowance)
    )
    return reply(await _shown(desk, grant, changed))


async def drop(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    await desk.webhooks.drop(grant.project, _id(request))
    return reply({"ok": True})


async def replace_secret(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    body = await body_of(request, desk.body_bytes)
    given = body.get("secret")
    secret = new_secret() if given is None else check_secret(given)
    now_ms = desk.now_ms
    changed = await desk.webhooks.change(
        grant.project, _id(request), lambda each: rotate(each, secret, now_ms)
    )
    return reply(await _shown(desk, grant, changed) | {"secret": secret})


async def test(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    webhook = await _named(desk, grant, request)
    return reply(delivery.spell(await desk.courier.test(grant.project, webhook)))


async def collect_deliveries(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request, "state", "limit")
    query = query_of(request, ("state", "limit"))
    limit = whole_of(query, "limit", 1, MOST_LISTED, PAGE)
    state = query.get("state")
    if state is not None and state not in STATES:
        raise BadRequest(f"state is one of {', '.join(STATES)}.", field="state")
    webhook = await _named(desk, grant, request)
    found, total = await desk.webhooks.deliveries(grant.project, webhook.id, state, limit)
    return reply({"deliveries": [delivery.spell(each) for each in found], "total": total})


async def read_delivery(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    return reply(delivery.spell(await _delivery(desk, grant, request)))


async def resend(desk: Desk, request: Request) -> Response:
    grant = await _admin(desk, request)
    found = await _delivery(desk, grant, request)
    now_ms = desk.now_ms

    def again(each: Delivery) -> Delivery:
        if each.state not in ENDED and each.state != "retrying":
            raise Conflict("It is on its way already.")
        return begun_again(each, now_ms)

    sent = await desk.webhooks.change_delivery(grant.project, found.id, again)
    return reply(delivery.spell(sent), 202)


async def _admin(desk: Desk, request: Request, *asked: str) -> Grant:
    """Webhooks are not for everybody's eyes: an address of a chat is as good as a key to it."""
    grant = await grant_of(desk, request)
    grant.allow_admin()
    query_of(request, asked)
    return grant


async def _named(desk: Desk, grant: Grant, request: Request) -> Webhook:
    return await desk.webhooks.get(grant.project, _id(request))


async def _delivery(desk: Desk, grant: Grant, request: Request) -> Delivery:
    webhook = await _named(desk, grant, request)
    name = request.path_params["delivery"]
    return await desk.webhooks.delivery(grant.project, webhook.id, name)


async def _shown(desk: Desk, grant: Grant, webhook: Webhook) -> dict[str, object]:
    state = (await desk.webhooks.circuits(grant.project, [webhook.id]))[webhook.id]
    now_ms = desk.now_ms
    return spell(webhook, now_ms) | {"health": circuit.spell(state, now_ms)}


def _id(request: Request) -> str:
    return str(request.path_params["id"])


ROUTES = (
    Route("/v1/webhooks", handler(create), methods=["POST"]),
    Route("/v1/webhooks", handler(collect), methods=["GET"]),
    Route("/v1/webhooks/{id}", handler(read), methods=["GET"]),
    Route("/v1/webhooks/{id}", handler(change), methods=["PATCH"]),
    Route("/v1/webhooks/{id}", handler(drop), methods=["DELETE"]),
    Route("/v1/webhooks/{id}/rotate", handler(replace_secret), methods=["POST"]),
    Route("/v1/webhooks/{id}/test", handler(test), methods=["POST"]),
    Route("/v1/webhooks/{id}/deliveries", handler(collect_deliveries), methods=["GET"]),
    Route("/v1/webhooks/{id}/deliveries/{delivery}", handler(read_delivery), methods=["GET"]),
    Route("/v1/webhooks/{id}/deliveries/{delivery}/resend", handler(resend), methods=["POST"]),
)
