"""All that belongs to one connection, put together, on the loop on which it runs."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from lifesigns.client.connection import Connection
from lifesigns.client.peer import Claims
from lifesigns.client.question import Watches
from lifesigns.client.runtime import Here, Runtime, Thread
from lifesigns.client.signal import Closed, Signal
from lifesigns.client.target import Target
from lifesigns.core.errors import Unavailable
from lifesigns.core.portrait import Portrait

T = TypeVar("T")

FIRST_S = 5.0  # a program does not wait longer for its first connection


class Line:
    """A connection with its claims, its watches and the loop for them."""

    def __init__(
        self,
        url: str | Sequence[str] | None,
        key: str | None,
        portrait: Portrait | None,
        *,
        thread: bool,
    ) -> None:
        self.runtime: Runtime = Thread() if thread else Here()
        self.connected = Signal()
        self.closed = Closed()
        self.claims = Claims()
        self.connection = Connection(
            Target.of(url, key), portrait, self.connected, self.closed, claims=self.claims.names
        )
        self.claims.attach(self.connection)
        self.watches = Watches(self.connection)
        self.connection.listeners += [self.claims, self.watches]
        self.started = False
        self.stopped = False

    async def start(self) -> None:
        """Go on the line; return when a hub has answered or none is there, but not later."""
        if not self.started:
            self.started = True
            self.runtime.start()
            await self.runtime.run(self.connection.start(FIRST_S))
        if self.stopped:
            raise Unavailable("This client has left.")

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something where the connection is; it must have been started."""
        if self.stopped:
            work.close()
            raise Unavailable("This client has left.")
        return await self.runtime.run(work)

    async def stop(self, reason: str | None = None) -> None:
        """Leave, once for all."""
        await self._end(self.connection.stop(reason))

    async def abort(self) -> None:
        """Be gone, once for all, without a word."""
        await self._end(self.connection.abort())

    async def _end(self, work: Coroutine[Any, Any, None]) -> None:
        if not self.started or self.stopped:
            work.close()
            return
        self.stopped = True
        try:
            await self.runtime.run(work)
        finally:
            self.runtime.stop()
