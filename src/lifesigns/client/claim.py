"""Claims: to enter one is to hold a peer, to leave it is to let go."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from lifesigns.client.line import Line
from lifesigns.client.peer import Peer


class Claim:
    """A claim to be: enter it to hold a peer, leave it to let go; or await it, and release."""

    def __init__(
        self,
        line: Line,
        patience_s: float,
        ttl_s: float,
        fields: Mapping[str, Any],
    ) -> None:
        self._line = line
        self._patience_s = patience_s
        self._ttl_s = ttl_s
        self._fields = fields
        self._peer: Peer | None = None

    async def __aenter__(self) -> Peer:
        await self._line.start()
        try:
            return await self._line.run(self._take())
        except BaseException:
            # In a thread it may have been taken just when its program was told to stop.
            self._line.runtime.tell(self._give_up)
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    def __await__(self) -> Generator[Any, None, Peer]:
        return self.__aenter__().__await__()

    async def _take(self) -> Peer:
        self._peer = await self._line.claims.claim(self._patience_s, self._ttl_s, self._fields)
        return self._peer

    def _give_up(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            self._line.claims.drop(peer)

    async def release(self) -> None:
        """Let go, if it was held."""
        peer, self._peer = self._peer, None
        if peer is not None and not self._line.stopped:
            try:
                await self._line.run(self._line.claims.release(peer))
            except BaseException:
                # Told to stop, perhaps before the thread had begun with it.
                self._line.runtime.tell(self._line.claims.drop, peer)
                raise
