"""A real socket through which a session beats, with a far end that is not on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from tests.station import Session


class Ear(asyncio.Protocol):
    """A socket whose every byte is a beat, as a hub's framing would hand it on."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def data_received(self, data: bytes) -> None:
        self._session.renew()

    def eof_received(self) -> None:
        self._session.lose()


@contextlib.asynccontextmanager
async def wired(session: Session) -> AsyncIterator[socket.socket]:
    """Give the far end of a socket through which a session beats; it is not on the loop."""
    near, far = socket.socketpair()
    near.setblocking(False)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: Ear(session), near
    )
    try:
        yield far
    finally:
        transport.abort()
        far.close()
