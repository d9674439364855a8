"""Agents of Mission Control as Server-Sent Events: whoever changes, comes or goes.

It is a watch on all agents, and an ear for what is altered of their enrolments; both say only who
it is about, and what is told is what is so when the reader is ready for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from lifesigns.core.access import Grant
from lifesigns.core.codec import JSON
from lifesigns.core.errors import Unavailable
from lifesigns.core.filter import Filter
from lifesigns.core.instant import from_text
from lifesigns.core.request import WatchAsked
from lifesigns.dialects import mission_control as dialect
from lifesigns.hub.packet import Packet
from lifesigns.web.http import Desk
from lifesigns.web.spectator import Spectator
from lifesigns.web.sse import (
    COMMENT,
    COMMENT_S,
    EVENT_STREAM,
    HEADERS,
    Stream,
    opened,
    viewer_of,
)

WAITING = 1_000  # agents of which a slow reader has not heard yet; then its watch waits as well
AGAIN_S = 1.0  # after the store was away

Signs = dict[str, dialect.Sign | None]  # None: to be read


class Agents(Stream):
    """Of whom something is to be told: each once, the latest."""

    def __init__(self, since_ms: int) -> None:
        super().__init__()
        self.begun_ms = since_ms  # what changed before was not asked for
        self._since_ms = since_ms  # and this is known
        self.doubt = False  # whether alterations of enrolments may have been missed
        self._signs: Signs = {}

    @property
    def ready(self) -> bool:
        return len(self._signs) < WAITING

    def deliver(self, packet: Packet) -> None:
        if packet.type not in ("snapshot", "changes"):
            return
        frame = JSON.decode(packet.payload)
        if packet.type == "changes":
            for change in frame["changes"]:
                self._since_ms = max(self._since_ms, from_text(change["at"]))
                if change["kind"] == "forgotten":
                    self._signs.pop(change["id"], None)
                else:
                    self._signs[change["id"]] = dialect.sign_in(change)
        else:  # at the beginning, or when changes were missed
            for agent in frame["agents"]:
                sign = dialect.sign_in(agent)
                if max(sign.seen_ms, sign.since_ms) >= self._since_ms:
                    self._signs[sign.id] = sign
        self._filled.set()

    def altered(self, agent: str | None) -> None:
        """Its enrolment is another now; None: those of some may be."""
        if agent is None:
            self.doubt = True
        else:
            self._signs.setdefault(agent, None)
        self._filled.set()

    def again(self, signs: Signs) -> None:
        """Tell of these later."""
        self._signs = signs | self._signs

    async def agents(self) -> Signs:
        """Take all of whom something is to be told; nobody when nothing came for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(COMMENT_S):
                while not (self._signs or self.doubt or self.ended):
                    self._filled.clear()
                    await self._filled.wait()
        signs, self._signs = self._signs, {}
        return signs


class Source:
    """The watch and the ear."""

    def __init__(self, spectator: Spectator, leave: Callable[[], None]) -> None:
        self.spectator = spectator
        self._leave = leave

    def close(self) -> None:
        self._leave()
        self.spectator.close()


async def stream(desk: Desk, request: Request) -> Response:
    grant = await viewer_of(desk, request)
    board = dialect.board_of(request.query_params)
    since_ms = dialect.since_of(request.query_params)
    if request.method == "HEAD":
        return Response(headers=HEADERS, media_type=EVENT_STREAM)
    if desk.lobby.full:
        raise Unavailable("This hub takes no more connections now.")
    if since_ms is None:
        since_ms = desk.now_ms
    agents = Agents(since_ms)
    spectator = Spectator(desk.lobby.fanout, grant.project, JSON, agents, most=1)
    leave = await desk.enrolments.bulletin.follow(grant.project, agents.altered)
    source = Source(spectator, leave)
    try:
        await spectator.begin(WatchAsked(1, Filter(), None, "full"))
    except BaseException:
        source.close()
        raise
    return opened(desk, grant, agents, source, _told(desk, grant, agents, source, board))


async def _told(
    desk: Desk, grant: Grant, agents: Agents, source: Source, board: str | None
) -> AsyncIterator[bytes]:
    yield COMMENT  # who reads knows from here on that nothing is missed
    while not agents.ended and not desk.gate.ended(grant):
        signs = await agents.agents()
        try:
            if agents.doubt:
                signs = await _doubted(desk, grant.project, agents.begun_ms) | signs
                agents.doubt = False
            yield await _spelled(desk, grant.project, signs, board) if signs else COMMENT
        except Unavailable:
            agents.again(signs)
            await asyncio.sleep(AGAIN_S)
        source.spectator.pump()


async def _doubted(desk: Desk, project: str, since_ms: int) -> Signs:
    """Name whose alteration may have been missed."""
    found = await desk.enrolments.everyone(project)
    return {each.id: None for each in found if each.updated_ms >= since_ms}


async def _spelled(
    desk: Desk, project: str, signs: Mapping[str, dialect.Sign | None], board: str | None
) -> bytes:
    unread = [agent for agent, sign in signs.items() if sign is None]
    enrolled, readings = await asyncio.gather(
        desk.enrolments.read(project, list(signs)), desk.store.readings(project, unread)
    )
    read = {
        agent: None if reading.presence is None else dialect.sign_of(reading.presence)
        for agent, reading in zip(unread, readings, strict=True)
    }
    shown: list[dict[str, Any]] = []
    for agent, sign in {**signs, **read}.items():
        enrolment = enrolled.get(agent)
        if board is not None and (enrolment is None or enrolment.board != board):
            continue
        if enrolment is not None or sign is not None:
            shown.append(dialect.agent_read(project, enrolment, sign))
    return b"".join(b"event: agent\ndata: %s\n\n" % JSON.encode({"agent": each}) for each in shown)
