"""A call that waits for something to happen, for as long as it may.

Those that wait count as connections: there are not more of them than a hub takes, they end when it
goes, when their key does and when whoever called has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from lifesigns.core.access import Grant
from lifesigns.core.errors import Unauthorized, Unavailable
from lifesigns.store.inbox import Bell
from lifesigns.web.http import Desk

LONGEST_S = 60  # proxies cut what says nothing for longer


class Poll(Bell):
    """One call that waits; the lobby ends it as it ends an event stream."""

    def forewarn(self, reconnect_in_ms: int) -> None:
        self.end()

    def send_away(self) -> None:
        self.end()


@asynccontextmanager
async def polling(desk: Desk, grant: Grant, request: Request) -> AsyncIterator[Poll]:
    """Wait within; what is found after the key has ended is not told any more."""
    if desk.lobby.full:
        raise Unavailable("This hub takes no more connections now.", retry_after_s=1.0)
    poll = Poll()
    desk.lobby.streams[poll] = grant.key_id
    leaving = asyncio.create_task(_left(request, poll))
    try:
        yield poll
    finally:
        leaving.cancel()
        del desk.lobby.streams[poll]
    if desk.gate.ended(grant):
        raise Unauthorized("This key is not good any more.")


async def _left(request: Request, poll: Poll) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    poll.end()
