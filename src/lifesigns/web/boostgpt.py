"""The BoostGPT Heartbeat API: calls that make schedules, and tell what became of their runs."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core import schedule as schedules
from lifesigns.core.access import Grant
from lifesigns.core.errors import (
    Altered,
    BadRequest,
    Forbidden,
    LifesignsError,
    NotFound,
    RateLimited,
    Unavailable,
)
from lifesigns.core.schedule import Schedule, Turn
from lifesigns.core.signature import SECRET_BYTES, make_secret
from lifesigns.core.webhook import check_url
from lifesigns.dialects import boostgpt
from lifesigns.dialects.boostgpt import Bot, Configuration
from lifesigns.store.ledger import TRIES, Write
from lifesigns.store.schedule import Kept, Logged, Schedules, write_bot
from lifesigns.web.dialect import Dialect
from lifesigns.web.http import Desk, body_of, grant_of, handler, reply
from lifesigns.web.poll import LONGEST_S, polling
from lifesigns.web.query import query_of, whole_of

PREFIX = "/v1/bot"
MOST_PER_PAGE = 100
MOST_DAYS = 90
PLACE = ("project_id", "bot_id", "heartbeat_id")
LEFT = "boostgpt.left"  # of the caller's quota, in the scope of a call


async def configure(desk: Desk, request: Request) -> Response:
    grant = await _administrator(desk, request)
    wanted = boostgpt.read_configuration(await _said(desk, request))
    for name in ("webhook_url", "notify_url"):
        if (url := wanted.said.get(name)) is not None:
            check_url(url, desk.courier.allowance, name)
    for _ in range(TRIES):
        made = await _configure(desk, grant.project, wanted)
        if made is not None:
            schedule, new_secret = made
            shown = boostgpt.heartbeat(schedule, desk.now_ms, secret=new_secret)
            return reply({"heartbeat": shown})
    raise Unavailable("Too many change this at once.")


async def _configure(
    desk: Desk, project: str, wanted: Configuration
) -> tuple[Schedule, bool] | None:
    """Make a heartbeat or alter it; None if somebody else was first."""
    store, bot = _schedules(desk), wanted.bot
    switched = await store.bot(project, bot.agent)
    if switched is None or not _switch_of(switched.body, bot):
        raise Forbidden("Heartbeats are not enabled for this bot: update it with heartbeat true.")
    kept: Kept | None = None
    if wanted.heartbeat_id is not None:
        kept = await _find(desk, project, bot, wanted.heartbeat_id)
    elif not wanted.new:
        kept = await store.of(project, bot.agent, bot.project_id, wanted.member_id)
    now_ms, said = desk.now_ms, dict(wanted.said)
    new = kept is None
    if kept is None:
        boostgpt.check_whole(wanted)
        blank = Schedule(
            *(str(uuid4()), bot.agent, bot.bot_id, bot.project_id, "", now_ms, now_ms),
            member_id=wanted.member_id,
        )
    else:
        blank = kept.schedule
    called = said.get("webhook_url") or said.get("notify_url")
    new_secret = called is not None and blank.webhook_secret is None
    if new_secret:
        said["webhook_secret"] = make_secret(secrets.token_bytes(SECRET_BYTES))
    schedule = schedules.configure(blank, said, now_ms, store.terms, new=new)
    # Who makes one writes its bot as well: two who make the same at once are so told apart.
    claimed = write_bot(bot.agent, switched.version, switched.body) if new else None
    if not await _commit(desk, project, schedule, kept, claimed):
        return None
    return schedule, new_secret


async def _commit(
    desk: Desk, project: str, schedule: Schedule, kept: Kept | None, bot: Write | None = None
) -> bool:
    store, agent = _schedules(desk), schedule.agent
    step = store.step(Turn(schedule), kept, agent=agent, bot=bot)
    return (await desk.ledger.commit_each(project, [step], agent))[0] is not None


async def list_all(desk: Desk, request: Request) -> Response:
    grant = await _watcher(desk, request)
    query = query_of(request, ("project_id", "bot_id", "member_id"))
    bot, member = boostgpt.read_bot(query), boostgpt.read_member(query)
    await _check_label(desk, grant.project, bot)
    now_ms = desk.now_ms
    return reply(
        {
            "heartbeats": [
                boostgpt.heartbeat(kept.schedule, now_ms)
                for kept in await _schedules(desk).all(grant.project, bot.agent)
                if str(kept.schedule.project_id) == bot.label
                and (member is None or str(kept.schedule.member_id) == str(member))
            ]
        }
    )


async def read(desk: Desk, request: Request) -> Response:
    grant = await _watcher(desk, request)
    query = query_of(request, PLACE)
    kept = await _find(
        desk, grant.project, boostgpt.read_bot(query), boostgpt.read_heartbeat_id(query)
    )
    return reply({"heartbeat": boostgpt.heartbeat(kept.schedule, desk.now_ms)})


async def enable(desk: Desk, request: Request) -> Response:
    return await _alter(desk, request, schedules.enable, needs_bot=True)


async def disable(desk: Desk, request: Request) -> Response:
    return await _alter(desk, request, schedules.disable)


async def _alter(
    desk: Desk,
    request: Request,
    change: Callable[[Schedule, int], Schedule],
    *,
    needs_bot: bool = False,
) -> Response:
    grant = await _administrator(desk, request)
    said = await _said(desk, request)
    bot, id_ = boostgpt.read_bot(said), boostgpt.read_heartbeat_id(said)
    for _ in range(TRIES):
        kept = await _find(desk, grant.project, bot, id_)
        if needs_bot:
            await _check_on(desk, grant.project, bot)
        now_ms = desk.now_ms
        schedule = change(kept.schedule, now_ms)
        if await _commit(desk, grant.project, schedule, kept):
            return reply({"heartbeat": boostgpt.heartbeat(schedule, now_ms)})
    raise Unavailable("Too many change this at once.")


async def trigger(desk: Desk, request: Request) -> Response:
    grant = await _administrator(desk, request)
    said = await _said(desk, request)
    bot, id_ = boostgpt.read_bot(said), boostgpt.read_heartbeat_id(said)
    wait = said.get("wait", LONGEST_S)
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= LONGEST_S:
        raise BadRequest(f"wait is a number of seconds from 0 to {LONGEST_S}.", field="wait")
    scheduler = desk.lobby.scheduler
    for _ in range(TRIES):
        kept = await _find(desk, grant.project, bot, id_)
        await _check_on(desk, grant.project, bot)
        run = await scheduler.trigger(grant.project, kept)
        if run is not None:
            break
    else:
        raise Unavailable("Too many change this at once.")
    if run.open and wait > 0:
        async with polling(desk, grant, request) as poll:
            run = await scheduler.wait(grant.project, run, wait, poll)
    return reply({"result": boostgpt.result(run)}, 202 if run.open else 200)


async def delete(desk: Desk, request: Request) -> Response:
    grant = await _administrator(desk, request)
    said = {**query_of(request, PLACE), **await _said(desk, request)}
    bot, id_ = boostgpt.read_bot(said), boostgpt.read_heartbeat_id(said)
    for _ in range(TRIES):
        kept = await _find(desk, grant.project, bot, id_)
        step = _schedules(desk).drop(kept)
        if (await desk.ledger.commit_each(grant.project, [step], bot.agent))[0] is not None:
            return reply({"success": True})
    raise Unavailable("Too many change this at once.")


async def logs(desk: Desk, request: Request) -> Response:
    grant = await _watcher(desk, request)
    query = query_of(request, (*PLACE, "member_id", "status", "page", "per_page"))
    bot, member = boostgpt.read_bot(query), boostgpt.read_member(query)
    page = whole_of(query, "page", 1, 1_000_000, 1)
    per_page = whole_of(query, "per_page", 1, MOST_PER_PAGE, 20)
    status = boostgpt.read_status(query.get("status"))
    schedule_id = query.get("heartbeat_id") or None
    await _check_label(desk, grant.project, bot)
    logged = Logged(bot.agent, schedule_id, member, status)
    skip = (page - 1) * per_page
    found, total = await _schedules(desk).log(grant.project, logged, skip, per_page)
    return reply(boostgpt.logs(found, total, page, per_page))


async def stats(desk: Desk, request: Request) -> Response:
    grant = await _watcher(desk, request)
    query = query_of(request, ("project_id", "bot_id", "days"))
    bot = boostgpt.read_bot(query)
    await _check_label(desk, grant.project, bot)
    today = datetime.fromtimestamp(desk.now_ms / 1000, UTC).date()
    wanted = whole_of(query, "days", 1, MOST_DAYS, 30)
    days = [f"{today - timedelta(days=n):%Y-%m-%d}" for n in reversed(range(wanted))]
    store = _schedules(desk)
    tallies = await store.tallies(grant.project, bot.agent, days)
    kept = await store.all(grant.project, bot.agent)
    active = sum(each.schedule.runs for each in kept)
    return reply({"stats": boostgpt.stats(days, tallies, active)})


async def update(desk: Desk, request: Request) -> Response:
    """Turn the heartbeats of a bot on, or stop them."""
    grant = await _administrator(desk, request)
    said = await _said(desk, request)
    bot, on = boostgpt.read_bot(said), boostgpt.read_switch(said)
    store = _schedules(desk)
    for _ in range(TRIES):
        doc = await store.bot(grant.project, bot.agent)
        body = {**(doc.body if doc is not None else {}), bot.label: on}
        write = write_bot(bot.agent, 0 if doc is None else doc.version, body)
        try:
            await desk.ledger.commit(grant.project, [write], home=bot.agent)
            break
        except Altered:
            continue
    else:
        raise Unavailable("Too many change this at once.")
    for kept in await store.all(grant.project, bot.agent):
        if str(kept.schedule.project_id) == bot.label:
            await _switch(desk, grant.project, kept, on)
    return reply({"bot": {"project_id": bot.project_id, "bot_id": bot.bot_id, "heartbeat": on}})


async def _switch(desk: Desk, project: str, kept: Kept | None, on: bool) -> None:
    for _ in range(TRIES):
        if kept is None:
            return
        schedule = schedules.switch(kept.schedule, on, desk.now_ms)
        if schedule is kept.schedule or await _commit(desk, project, schedule, kept):
            return
        kept = await _schedules(desk).get(project, kept.schedule.agent, kept.schedule.id)


# What they have in common.


def _schedules(desk: Desk) -> Schedules:
    return desk.lobby.scheduler.schedules


async def _administrator(desk: Desk, request: Request) -> Grant:
    grant = await _caller(desk, request)
    grant.allow_admin()
    if not desk.serves_schedules:
        raise Forbidden("This hub's plan has no heartbeats: schedules are off.")
    return grant


async def _watcher(desk: Desk, request: Request) -> Grant:
    grant = await _caller(desk, request)
    grant.allow_watch()
    return grant


async def _caller(desk: Desk, request: Request) -> Grant:
    grant = await grant_of(desk, request)
    left = desk.schedule_quota.count(grant.key_id, desk.lobby.loop.time())
    request.scope[LEFT] = left
    if not left.allowed:
        calls = desk.schedule_quota.calls
        raise RateLimited(f"At most {calls} calls a minute.", retry_after_s=left.reset_s)
    return grant


async def _said(desk: Desk, request: Request) -> dict[str, Any]:
    return await body_of(request, desk.body_bytes)


async def _find(desk: Desk, project: str, bot: Bot, id_: str) -> Kept:
    kept = await _schedules(desk).get(project, bot.agent, id_)
    if (
        kept is None
        or kept.schedule.agent != bot.agent
        or str(kept.schedule.project_id) != bot.label
    ):
        raise NotFound("Heartbeat not found.", field="heartbeat_id")
    return kept


def _switch_of(body: Mapping[str, Any], bot: Bot) -> bool:
    return bool(body.get(bot.label))


async def _check_on(desk: Desk, project: str, bot: Bot) -> None:
    doc = await _schedules(desk).bot(project, bot.agent)
    if doc is None or not _switch_of(doc.body, bot):
        raise Forbidden("Heartbeats are not enabled for this bot.")


async def _check_label(desk: Desk, project: str, bot: Bot) -> None:
    """Refuse another project's bot; one that nobody knows has no heartbeats, and that is all."""
    doc = await _schedules(desk).bot(project, bot.agent)
    if doc is not None and bot.label not in doc.body:
        raise NotFound("There is no such bot in this project.", field="project_id")


def refuse(error: LifesignsError, request: Request) -> Response:
    """Say no as this API does."""
    status, body = boostgpt.refusal(error)
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return reply(body, status, headers)


def head(request: Request, headers: MutableHeaders) -> None:
    """Tell what is left of the caller's calls."""
    desk: Desk = request.scope["desk"]
    left = request.scope.get(LEFT) or desk.schedule_quota.untouched()
    headers["X-RateLimit-Limit"] = str(desk.schedule_quota.calls)
    headers["X-RateLimit-Remaining"] = str(left.remaining)
    headers["X-RateLimit-Reset"] = str(desk.now_ms // 1000 + left.reset_s)


Endpoint = Callable[[Desk, Request], Awaitable[Response]]


def _route(name: str, endpoint: Endpoint, *methods: str) -> Route:
    return Route(f"{PREFIX}/{name}", handler(endpoint), methods=list(methods))


DIALECT = Dialect(
    name="boostgpt",
    prefixes=(PREFIX,),
    refuse=refuse,
    beats=lambda request: False,  # no agent calls here
    head=head,
    routes=(
        _route("heartbeat/configure", configure, "POST"),
        _route("heartbeat/readall", list_all, "GET"),
        _route("heartbeat/read", read, "GET"),
        _route("heartbeat/enable", enable, "POST"),
        _route("heartbeat/disable", disable, "POST"),
        _route("heartbeat/trigger", trigger, "POST"),
        _route("heartbeat/delete", delete, "DELETE", "POST"),
        _route("heartbeat/logs", logs, "GET"),
        _route("heartbeat/stats", stats, "GET"),
        _route("update", update, "PUT"),
    ),
)
