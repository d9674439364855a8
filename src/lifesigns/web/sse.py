"""A watch as Server-Sent Events: the same frames, for whoever has no WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lifesigns.core.access import Grant
from lifesigns.core.codec import JSON
from lifesigns.core.errors import BadRequest, BadValue, Unavailable
from lifesigns.core.filter import check_named
from lifesigns.core.request import WATCH_DETAILS, WatchAsked
from lifesigns.hub.packet import Packet, message
from lifesigns.web.auth import PROJECT, token_of
from lifesigns.web.http import Desk, check_page, grant_of, handler
from lifesigns.web.query import filter_of_query
from lifesigns.web.spectator import Spectator

COMMENT_S = 15.0  # proxies cut what says nothing for a minute, some for half of one
PARTING_S = 2.0  # for the last words to a reader that does not read
BACKLOG_BYTES = 262_144  # what waits for a slow reader; then its watch waits as well
EVENT_STREAM = "text/event-stream"
COMMENT = b": still here\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Source(Protocol):
    """What a stream tells of."""

    def close(self) -> None:
        """Nobody is told any more."""


class Stream:
    """Where the frames of one event stream wait for their reader."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._limit: asyncio.Timeout | None = None  # of the answer, while it is under way
        self.ended = False

    @property
    def ready(self) -> bool:
        return self._size < BACKLOG_BYTES

    def deliver(self, packet: Packet) -> None:
        if packet.event is None:
            cursor = b"" if packet.cursor is None else b"id: %s\n" % packet.cursor.encode()
            type_ = packet.type.encode()
            packet.event = b"%sevent: %s\ndata: %s\n\n" % (cursor, type_, packet.payload)
        self._waiting.append(packet.event)
        self._size += len(packet.event)
        self._filled.set()

    def forewarn(self, reconnect_in_ms: int) -> None:
        self.deliver(message(JSON, "goaway", reconnect_in_ms=reconnect_in_ms, why="drain"))

    def send_away(self) -> None:
        self.end()

    def end(self) -> None:
        """Say no more; its reader comes back by itself, if its key is still good."""
        if self.ended:
            return
        self.ended = True
        self._filled.set()
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + PARTING_S)

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """End what is within soon after the end of the stream, even if nobody reads."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as self._limit:
                    yield
        finally:
            self._limit = None

    async def take(self) -> bytes:
        """Take all that waits; a comment when nothing came for a while."""
        if not self._waiting:
            try:
                async with asyncio.timeout(COMMENT_S):
                    await self._filled.wait()
            except TimeoutError:
                return COMMENT
        self._filled.clear()
        events, self._waiting, self._size = self._waiting, [], 0
        return b"".join(events)


class Told(StreamingResponse):
    """The answer that goes on; what it tells of ends with it, even if it never began."""

    def __init__(
        self, desk: Desk, stream: Stream, source: Source, content: AsyncIterator[bytes]
    ) -> None:
        super().__init__(content, headers=HEADERS, media_type=EVENT_STREAM)
        self._streams = desk.lobby.streams
        self._stream = stream
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._stream.bounded():
                await super().__call__(scope, receive, send)
        finally:
            self._streams.pop(self._stream, None)
            self._source.close()


async def events(desk: Desk, request: Request) -> Response:
    grant = await viewer_of(desk, request)
    wanted, query = filter_of_query(
        request, ("since", "ticket"), alive="any", details=WATCH_DETAILS
    )
    if request.method == "HEAD":  # who asks so waits for an end
        return Response(headers=HEADERS, media_type=EVENT_STREAM)
    if desk.lobby.full:
        raise Unavailable("This hub takes no more connections now.", retry_after_s=1.0)
    stream = Stream()
    spectator = Spectator(desk.lobby.fanout, grant.project, JSON, stream, most=1)
    since = request.headers.get("last-event-id") or query.get("since")
    detail = query.get("detail", "full")
    try:
        if detail == "beats":
            check_named(wanted)
        await spectator.begin(WatchAsked(1, wanted, since, detail))
    except BadValue as bad:  # in a query it is a bad query, and its filter stands open
        raise BadRequest(bad.message, field=(bad.field or "").removeprefix("filter.")) from bad
    return opened(desk, grant, stream, spectator, _told(desk, grant, stream, spectator))


def opened(
    desk: Desk, grant: Grant, stream: Stream, source: Source, content: AsyncIterator[bytes]
) -> Told:
    """Enter a stream among those that are open, and answer it."""
    desk.lobby.streams[stream] = grant.key_id
    if desk.lobby.draining:  # since a moment ago: it is none of those that are sent away
        stream.end()
    return Told(desk, stream, source, content)


async def viewer_of(desk: Desk, request: Request) -> Grant:
    """Find out who opens a stream. A page of another origin could read it, as it can no answer."""
    check_page(desk, request)
    grant = await _grant_of(desk, request)
    grant.allow_watch()
    return grant


async def _grant_of(desk: Desk, request: Request) -> Grant:
    """A browser's event source has no headers: it comes with a ticket."""
    ticket = request.query_params.get("ticket")
    if ticket is None or token_of(request.url.path, request.headers) is not None:
        return await grant_of(desk, request, asks=False)  # a scene may be at hand
    grant = await desk.gate.redeem(ticket, "events")
    grant = await desk.gate.enter(grant, request.headers.get(PROJECT))
    await desk.store.know(grant.project)
    return grant


async def _told(
    desk: Desk, grant: Grant, stream: Stream, spectator: Spectator
) -> AsyncIterator[bytes]:
    while not stream.ended and not desk.gate.ended(grant):
        yield await stream.take()
        spectator.pump()


ROUTES = (Route("/v1/events", handler(events), methods=["GET"]),)
