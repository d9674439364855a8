"""Of whom something was altered that is none of a presence, told to all hubs as it happens.

Nothing of it is kept: who listens reads what is so. Whoever may have missed something is told that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lifesigns.core.errors import Unavailable
from lifesigns.store import keys
from lifesigns.store.link import Link

LISTENING_S = 3.0  # a store that is there confirms a subscription at once

Hear = Callable[[str | None], None]  # the agent; None: some may have been missed


class Bulletin:
    """Who is told on this hub, and the way to tell those on all."""

    def __init__(self, link: Link, feed: Link) -> None:
        self._link = link
        self._feed = feed  # the link that subscribes
        self._rooms: dict[str, _Room] = {}  # by channel

    def tell(self, project: str, agent: str) -> None:
        """Something of an agent was altered."""
        channel = keys.bulletin(project, self._link.address.db)
        self._link.call(("PUBLISH", channel, agent), lambda _: None)

    async def follow(self, project: str, hear: Hear) -> Callable[[], None]:
        """Hear of all alterations from now on; call what is answered to end that."""
        channel = keys.bulletin(project, self._link.address.db)
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = _Room()
            self._feed.subscribe(channel)
        token = object()
        room.listeners[token] = hear

        def leave() -> None:
            room.listeners.pop(token, None)
            if not room.listeners and self._rooms.get(channel) is room:
                del self._rooms[channel]
                self._feed.unsubscribe(channel)

        try:
            async with asyncio.timeout(LISTENING_S):
                await room.open.wait()
        except BaseException as error:
            leave()
            if isinstance(error, TimeoutError):
                raise Unavailable("Nothing can be heard now.") from None
            raise
        return leave

    # What the channels say.

    def heard(self, channel: str, data: bytes) -> None:
        """A message came on a channel."""
        if channel in self._rooms:
            self._rooms[channel].tell(data.decode())

    def confirmed(self, channel: str) -> None:
        """A subscription was confirmed: what was told before was not heard."""
        room = self._rooms.get(channel)
        if room is not None:
            if room.open.is_set():
                room.tell(None)
            room.open.set()


class _Room:
    """Who listens on one channel."""

    def __init__(self) -> None:
        self.listeners: dict[object, Hear] = {}
        self.open = asyncio.Event()  # since its subscription was confirmed

    def tell(self, agent: str | None) -> None:
        for hear in list(self.listeners.values()):
            hear(agent)
