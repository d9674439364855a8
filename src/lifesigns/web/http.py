"""The HTTP side of the hub: what every call has in common.

A call is checked for where it comes from and for its key, its body is read within bounds, and
whatever is refused becomes the one shape of errors. What nobody expected is logged here, once,
and told to nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route, Router
from starlette.types import Message, Receive, Scope, Send

from lifesigns.core.access import Grant
from lifesigns.core.codec import JSON
from lifesigns.core.errors import (
    BadRequest,
    Internal,
    LifesignsError,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)
from lifesigns.core.model import Limits
from lifesigns.store.board import Board
from lifesigns.store.clock import StoreClock
from lifesigns.store.diary import Diary
from lifesigns.store.enrolment import Enrolments
from lifesigns.store.feed import Feed
from lifesigns.store.hold import Hold
from lifesigns.store.job import Jobs
from lifesigns.store.ledger import Ledger
from lifesigns.store.link import ReplyError
from lifesigns.store.registry import Registry
from lifesigns.store.sample import Samples
from lifesigns.store.store import Store
from lifesigns.store.tally import Tally
from lifesigns.store.webhook import Webhooks
from lifesigns.web.auth import PROJECT, Gate, token_of
from lifesigns.web.dialect import Dialect
from lifesigns.web.door import Rules
from lifesigns.web.lobby import Lobby
from lifesigns.web.origin import check_source
from lifesigns.web.quota import Quota
from lifesigns.web.rate import Rate
from lifesigns.web.sharing import allowed, shared_with
from lifesigns.workers.census import Census
from lifesigns.workers.courier import Courier
from lifesigns.workers.sampler import Sampler
from lifesigns.workers.sweeper import Sweeper
from lifesigns.workers.ticker import Ticker
from lifesigns.workers.warden import Warden

log = logging.getLogger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Desk:
    """What the calls work with."""

    gate: Gate
    store: Store
    registry: Registry
    ledger: Ledger
    diary: Diary
    jobs: Jobs
    enrolments: Enrolments
    board: Board
    webhooks: Webhooks
    courier: Courier
    tally: Tally
    clock: StoreClock
    ticker: Ticker
    sweeper: Sweeper
    warden: Warden
    hold: Hold
    census: Census
    samples: Samples
    sampler: Sampler
    feed: Feed
    lobby: Lobby
    limits: Limits
    rate: Rate
    quota: Quota
    schedule_quota: Quota
    serves_schedules: bool
    rules: Rules
    body_bytes: int
    bulk_body_bytes: int
    sample_keys: tuple[str, ...]
    shares_port: bool  # with other workers
    open_metrics: bool  # on loopback, metrics and the description need no key

    @property
    def now_ms(self) -> int:
        """The store's time, as it is reckoned here."""
        return self.clock.at_ms(asyncio.get_running_loop().time())


Endpoint = Callable[[Desk, Request], Awaitable[Response]]


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer JSON."""
    return Response(JSON.encode(body), status, headers, media_type="application/json")


def refuse(error: LifesignsError) -> Response:
    """Answer an error in the hub's own shape."""
    named = error.field is not None
    detail = [{"field": error.field, "message": error.message}] if named else []
    body = {"error": error.message, "code": error.code, "detail": detail, **error.more}
    return reply(body, error.http_status, head_of(error))


def head_of(error: LifesignsError) -> dict[str, str]:
    """Say in headers when to come again, and with what."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


async def grant_of(desk: Desk, request: Request, *, asks: bool = True) -> Grant:
    """Find out whose call it is, and learn of the project; ``asks``: it is no use without a store.

    Such calls are refused at once while the store is away or late: if each of them waited, they
    would pile up.
    """
    headers = request.headers
    grant = await desk.gate.admit(token_of(request.url.path, headers), headers.get(PROJECT))
    if asks:
        desk.store.check_able()
    await desk.store.know(grant.project)
    return grant


def check_page(desk: Desk, request: Request) -> None:
    """Refuse a GET that is more than a look if the page of a stranger makes it."""
    rules = desk.rules
    check_source(
        request.headers.get("origin"),
        request.headers.get("host"),
        request.url.scheme,
        rules.origins,
        loopback_only=rules.loopback_only,
    )


async def body_of(request: Request, limit_bytes: int) -> dict[str, Any]:
    """Read a JSON map within bounds; an empty body is an empty map."""
    raw = await _read(request, limit_bytes)
    if not raw:
        return {}
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json" and not kind.lower().endswith("+json"):
        raise Unsupported("The body is JSON, with the content type application/json.")
    return JSON.decode(raw)


async def _read(request: Request, limit_bytes: int) -> bytes:
    too_large = TooLarge(f"The body has at most {limit_bytes} bytes.")
    length = request.headers.get("content-length")
    if length is not None and length.isdecimal() and int(length) > limit_bytes:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


class Site:
    """The ASGI application."""

    def __init__(
        self, desk: Desk, routes: Sequence[Route], dialects: Sequence[Dialect] = ()
    ) -> None:
        self._desk = desk
        self._dialects = dialects
        self.routes = [*routes, *(route for each in dialects for route in each.routes)]
        self._router = Router(routes=self.routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # no lifespan here, and sockets have a way of their own
            return
        scope["app"] = self  # makes the router raise what it would answer as plain text
        scope["desk"] = self._desk
        begun = False
        request, origins = Request(scope), self._desk.rules.origins
        origin, path = request.headers.get("origin"), scope["path"]
        dialect = next((each for each in self._dialects if each.owns(path)), None)

        async def told(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                if origin is not None:
                    MutableHeaders(scope=message).update(shared_with(origin, origins))
                if dialect is not None and dialect.head is not None:
                    dialect.head(request, MutableHeaders(scope=message))
            await send(message)

        def refusal(error: LifesignsError) -> Response:
            return refuse(error) if dialect is None else dialect.refuse(error, request)

        if dialect is None:
            beats = scope["method"] in ("PUT", "POST") and path.startswith("/v1/pulse")
        else:
            beats = dialect.beats(request)
        token = object()
        if beats:
            self._desk.ticker.arriving(token)
        try:
            self._check_source(scope)
            await self._router(scope, receive, told)
        except ClientDisconnect:
            log.debug("a client went away before its request was whole")
        except asyncio.CancelledError:  # the hub goes, and waits for this call no longer
            if not begun:
                await refusal(Unavailable("This hub goes."))(scope, receive, told)
        except Exception as error:
            if begun:
                log.exception("a call failed after its answer had begun")
                raise
            answer = refusal(known := _known(error))
            if isinstance(known, MethodNotAllowed):
                if scope["method"] == "OPTIONS":
                    answer = Response(status_code=204, headers=allowed(origin, origins))
                answer.headers["Allow"] = ", ".join(self._methods(scope))
            await answer(scope, receive, told)
        finally:
            if beats:
                self._desk.ticker.arrived(token, refused=not self._desk.store.able)

    def _methods(self, scope: Scope) -> list[str]:
        """Name what an address takes, on all of its routes."""
        here = [each for each in self.routes if each.matches(scope)[0] is not Match.NONE]
        return sorted({method for route in here for method in route.methods or ()})

    def _check_source(self, scope: Scope) -> None:
        rules = self._desk.rules
        headers = Request(scope).headers
        check_source(
            headers.get("origin") if scope["method"] not in SAFE else None,
            headers.get("host"),
            scope["scheme"],
            rules.origins,
            loopback_only=rules.loopback_only,
        )


def _known(error: Exception) -> LifesignsError:
    if isinstance(error, LifesignsError):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 405:
            return MethodNotAllowed("This address does not take that method.")
        if error.status_code == 404:
            return NotFound("There is nothing at this address.")
        return BadRequest(str(error.detail))
    if isinstance(error, ReplyError | asyncio.TimeoutError):
        log.warning("the store refused a call: %s", error)
        return Unavailable("The store does not take it now.")
    log.error("a call failed", exc_info=error)
    return Internal()


def handler(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """Give an endpoint its desk."""

    async def handle(request: Request) -> Response:
        return await endpoint(request.scope["desk"], request)

    return handle
