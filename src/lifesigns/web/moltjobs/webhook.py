"""The MoltJobs API about the webhook that an agent has of its own: what becomes of its jobs."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from lifesigns.core import delivery
from lifesigns.core.errors import BadValue, NotFound
from lifesigns.core.webhook import Webhook, check_url
from lifesigns.dialects import moltjobs
from lifesigns.dialects.moltjobs import agent as agent_words
from lifesigns.dialects.moltjobs.answer import one
from lifesigns.store.webhook import new_secret
from lifesigns.web.http import Desk, body_of, grant_of, reply
from lifesigns.web.moltjobs.caller import agent_of

TOLD = ("job.*", "slot.*")


async def put(desk: Desk, request: Request) -> Response:
    """Make it, or have it lead elsewhere; either way its secret is new."""
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    grant.allow_beat(agent)
    body = await body_of(request, desk.body_bytes)
    if body.get("url") is None:
        raise BadValue("A webhook needs a url.", field="url")
    url = check_url(body["url"], desk.courier.allowance)
    now = desk.now_ms
    hook = Webhook(
        agent_words.hook_id(agent),
        url,
        new_secret(),
        TOLD,
        filter={"ids": [agent]},
        dialect=moltjobs.NAME,
        created_ms=now,
        updated_ms=now,
    )
    if await desk.webhooks.find(grant.project, [hook.id]):

        def judge(former: Webhook) -> Webhook:
            return replace(hook, created_ms=former.created_ms)

        hook = await desk.webhooks.change(grant.project, hook.id, judge)
    else:
        await desk.webhooks.create(grant.project, hook)
    return reply(one(agent_words.hook_shown(hook)), 201)


async def test(desk: Desk, request: Request) -> Response:
    """Send it a message of no event."""
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    grant.allow_beat(agent)
    hook = await _hook(desk, grant.project, agent)
    sent = await desk.courier.test(grant.project, hook)
    return reply(one(delivery.spell(sent)))


async def drop(desk: Desk, request: Request) -> Response:
    """End it."""
    grant = await grant_of(desk, request)
    agent = agent_of(grant, request)
    grant.allow_beat(agent)
    hook = await _hook(desk, grant.project, agent)
    await desk.webhooks.drop(grant.project, hook.id)
    return reply({"ok": True})


async def _hook(desk: Desk, project: str, agent: str) -> Webhook:
    found = await desk.webhooks.find(project, [agent_words.hook_id(agent)])
    for hook in found.values():
        return hook
    raise NotFound(f"The agent {agent!r} has no webhook of its own.")
