"""Who calls: an agent with its own key, or somebody else, and how often that one may.

Whatever an agent calls here is a sign of life of the runtime that beat last, unless that has said
that it is OFFLINE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

from lifesigns.core.access import Grant
from lifesigns.core.errors import LifesignsError, RateLimited
from lifesigns.core.model import Presence
from lifesigns.dialects.callboard import cadence, heartbeat, refusal
from lifesigns.dialects.callboard.cadence import Standing
from lifesigns.dialects.callboard.heartbeat import ROLES, Row
from lifesigns.dialects.callboard.home import RECENT
from lifesigns.store.put import HttpBeat
from lifesigns.web.callboard import register
from lifesigns.web.callboard.standing import standing_of
from lifesigns.web.http import Desk, grant_of, handler, reply
from lifesigns.web.quota import Left

LEFT: Final = "callboard.left"  # in the scope of a call: what its caller has left
FINE_MS: Final = 10_000  # a row's time is no finer than this, so that not each call writes it


@dataclass(frozen=True, slots=True)
class Self:
    """What an agent that calls is, after this call was noted as a sign of its life."""

    id: str
    rows: Sequence[Row]  # its latest runtimes, the one that beat last first
    standing: Standing
    presence: Presence | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever calls."""

    grant: Grant
    own: Self | None  # None: it is no agent
    now_ms: int

    @property
    def project(self) -> str:
        return self.grant.project

    @property
    def me(self) -> Self:
        """Tell which agent calls; Forbidden if it is none."""
        self.grant.allow_beat(self.grant.me())
        assert self.own is not None
        return self.own


Endpoint = Callable[[Desk, Request, Caller], Awaitable[Response]]


def called(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """Give an endpoint its desk, and who calls."""

    async def handle(desk: Desk, request: Request) -> Response:
        return await endpoint(desk, request, await caller_of(desk, request))

    return handler(handle)


def is_agent(grant: Grant) -> bool:
    """Tell whether a key is one agent's own."""
    return grant.agent is not None and not grant.agent.endswith("*")


async def caller_of(desk: Desk, request: Request) -> Caller:
    """Find out who calls, count the call, and note that its runtime was heard of."""
    grant = await grant_of(desk, request)
    at = asyncio.get_running_loop().time()
    now_ms = desk.clock.at_ms(at)
    if not is_agent(grant):
        count(desk, request, grant, "")
        return Caller(grant, None, now_ms)
    agent, project = grant.me(), grant.project
    rows = await register.rows(desk.ledger, project, agent, RECENT)
    count(desk, request, grant, rows[0].runtime_id if rows else "")
    role = rows[0].role if rows else ROLES[0]
    standing, reading = await asyncio.gather(
        standing_of(desk, project, agent, role, now_ms), desk.store.read(project, agent)
    )
    presence = reading.presence
    if rows and rows[0].status != "OFFLINE":
        lease_ms = cadence.row(standing, now_ms).lease_ms
        presence = await _renew(desk, project, rows[0], presence, lease_ms, at)
    return Caller(grant, Self(agent, rows, standing, presence), now_ms)


def count(desk: Desk, request: Request, grant: Grant, runtime_id: str) -> None:
    """Count a call of a runtime; raises RateLimited."""
    now = asyncio.get_running_loop().time()
    left = desk.quota.count((grant.project, grant.agent or grant.key_id, runtime_id), now)
    request.scope[LEFT] = left
    if not left.allowed:
        each = f"At most {desk.quota.calls} calls in {desk.quota.window_s} seconds"
        raise RateLimited(f"{each}, of each runtime.", retry_after_s=left.reset_s)


async def _renew(
    desk: Desk, project: str, last: Row, presence: Presence | None, lease_ms: int, at: float
) -> Presence | None:
    """Note that a runtime was heard of; one whose lease had run out says all again."""
    now_ms = desk.clock.at_ms(at)

    def heard(row: Row | None) -> Row:
        if row is None or row.status == "OFFLINE" or now_ms < row.seen_ms + FINE_MS:
            return row or last
        return heartbeat.renewed(row, now_ms, lease_ms)

    row = await register.change_row(desk.ledger, project, last, heard)
    if row.status == "OFFLINE":
        return presence
    here = presence is not None and any(i.name == row.runtime_id for i, _ in presence.instances)
    said = {} if here else heartbeat.words(row, desk.limits)
    await desk.store.put(project, HttpBeat(row.agent, row.runtime_id, lease_ms, said), at)
    return await settle(desk, project, row, at)


async def settle(desk: Desk, project: str, row: Row, at: float) -> Presence | None:
    """Make an instance what its row says now: an OFFLINE may have come beside another call."""
    after, reading = await asyncio.gather(
        register.row_of(desk.ledger, project, row), desk.store.read(project, row.agent)
    )
    if after is not None and after.status == "OFFLINE":
        return await desk.store.remove(project, row.agent, row.runtime_id, at)
    presence: Presence | None = reading.presence
    return presence


def head(request: Request, headers: MutableHeaders) -> None:
    """Tell with each answer what its caller has left."""
    quota = request.scope["desk"].quota
    left: Left = request.scope.get(LEFT) or quota.untouched()
    headers["RateLimit-Policy"] = f"{quota.calls};w={quota.window_s}"
    headers["RateLimit"] = f"limit={quota.calls}, remaining={left.remaining}, reset={left.reset_s}"


def refuse(error: LifesignsError, request: Request) -> Response:
    """Answer an error in this API's shape."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return reply(refusal.refusal(error), error.http_status, headers)
