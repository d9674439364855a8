"""How a hub is reached: its listening socket, and uvicorn, which we tell when to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import uvicorn

from lifesigns.web.http import Site
from lifesigns.web.lobby import Lobby
from lifesigns.web.socket import HubProtocol

log = logging.getLogger(__name__)

CALLS_S = 3.0  # how long a call may still take when all others are gone: as long as for the store,
ANSWERS_S = 0.2  # how long it takes to tell it that the hub waits no longer,
FLUSH_S = 1.0  # and until a peer has read what it was told last
KEEP_ALIVE_S = 75  # longer than an agent that posts once a minute pauses
DATE_S = 1.0  # what the date counts in
BACKLOG = 4096  # thousands of agents may come back in the same moment


class Server(uvicorn.Server):
    """uvicorn, told by us when to stop."""

    def __init__(self, site: Site, lobby: Lobby, ready: Callable[[], Awaitable[None]]) -> None:
        config = uvicorn.Config(
            site,
            ws=partial(HubProtocol, lobby),  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._ready = ready
        self._going = asyncio.Event()
        self._lobby = lobby

    async def main_loop(self) -> None:
        """Keep the date of all answers; a hub that goes is told so, and need not look for it."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._going.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()

    def go(self) -> None:
        """Take nobody any more, and end when all are gone; told twice, do not wait for them."""
        if self.should_exit:
            self._lobby.hurry()
            return
        lobby = self._lobby
        log.info(
            "the hub goes, with %d sockets and %d streams", len(lobby.open), len(lobby.streams)
        )
        self.should_exit = True
        self._going.set()
        lobby.close()

    def deafen(self) -> None:
        """Listen no more; who is connected stays."""
        for server in self.servers:
            server.close()

    def left_s(self, reserve: float) -> float:
        return self._lobby.left_s(reserve)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send all away, and listen meanwhile: whoever comes is told that the hub goes."""
        await self._lobby.drain()
        self.deafen()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        await self._lobby.until(lambda: not state.tasks, most_s=CALLS_S)
        if state.tasks:
            for task in state.tasks:
                task.cancel()
            await asyncio.wait(state.tasks, timeout=ANSWERS_S)
        await self._lobby.until(lambda: not state.connections, most_s=FLUSH_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: uvicorn would raise them again before the store is closed."""
        yield


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Open the socket on which a hub listens; the kernel spreads connections over shared ones."""
    family, _, _, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.create_server(place[:2], family=family, backlog=BACKLOG, reuse_port=shared)
    # Accepted sockets inherit it. asyncio's own loop leaves it out, and then the second write of an
    # answer waits until the first is acknowledged: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
