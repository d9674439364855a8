"""Hubs that are lost, and this one if it was taken for one.

A hub whose lease ran out is dead, hangs or cannot reach the store; its agents may all live. Any
hub that is sure of itself marks them as suspect, lengthens their leases, so that they have time to
come to another hub, and takes the lost one from the list. One does it at a time; whoever dies over
it is followed by another. A hub that comes back first forbids all such marking, then reads what its
sockets held meanwhile, and then says again what its agents last said, and when.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import msgpack

from lifesigns.core.errors import Unavailable
from lifesigns.core.presence import SUSPECT
from lifesigns.store import keys, script
from lifesigns.store.ingest import Ingest
from lifesigns.store.lease import Lane
from lifesigns.store.link import Link, ReplyError
from lifesigns.store.store import Store
from lifesigns.workers.ticker import TURNS, Node, Ticker

log = logging.getLogger(__name__)

WHY = "node_lost"
LEAST_MS, MOST_MS = 10_000, 60_000  # time to notice, and to come to another hub
TURN_MS = 2_000  # a hub that marks and is not heard of for so long is followed by another
PAGE = 256  # leases that one call looks at,
BATCH = 128  # and marks
WAVE = 4  # calls that leave together
SLICE = 256  # sessions that are said again at once; all would stop the loop
PAUSE_S = 0.01


class Warden:
    """Looks after what the ticks tell."""

    def __init__(self, link: Link, store: Store, ticker: Ticker, ingest: Ingest) -> None:
        self._link = link
        self._store = store
        self._ticker = ticker
        self._ingest = ingest
        self._wake = asyncio.Event()
        self._last: Node | None = None  # that was taken from the list
        self.lost = 0  # hubs that this one found lost
        self.marked = 0  # and instances of theirs

    def ticked(self) -> None:
        """There may be something to do."""
        ticker = self._ticker
        if ticker.lapsed_ms is not None or self._ingest.doubtful or ticker.lost:
            self._wake.set()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.look()
            except Unavailable as away:
                log.debug("nobody is looked after: %s", away)
            except ReplyError as refused:
                log.warning("the store does not let hubs be looked after: %s", refused)

    async def look(self) -> None:
        """Do all that the last tick gave cause for."""
        ticker = self._ticker
        if (lapsed_ms := ticker.lapsed_ms) is not None:
            await self._forbid(lapsed_ms)
            self._ingest.doubtful.update(dict.fromkeys(self._ingest.leases))
            if ticker.lapsed_ms == lapsed_ms:
                ticker.lapsed_ms = None
        if self._ingest.doubtful:
            await self._affirm()
        for node in ticker.lost:
            if ticker.steady and node != self._last:
                await self._lose(node)

    # This hub was taken for lost.

    async def _forbid(self, now_ms: int) -> None:
        """From here nobody marks an agent of this hub because of a lease that ended before."""
        field = f"back:{self._ticker.node}"
        parts = [keys.part(number) for number in range(keys.PARTITIONS)]
        await asyncio.gather(*[self._link.ask("HSET", part, field, now_ms) for part in parts])

    async def _affirm(self) -> None:
        """Say again what the store may have otherwise, once all that had come was read.

        Sockets that broke meanwhile have ended by then.
        """
        for _ in range(TURNS):
            await asyncio.sleep(0)
        sessions = list(self._ingest.doubtful)
        for start in range(0, len(sessions), SLICE):
            for session in sessions[start : start + SLICE]:
                self._ingest.affirm(session)
            await asyncio.sleep(PAUSE_S)

    # Others are.

    async def _lose(self, node: Node) -> None:
        turn = keys.losing(node.id)
        if not await self._link.ask("SET", turn, self._ticker.node, "NX", "PX", TURN_MS):
            return  # another hub is at it; the next tick looks again
        log.warning("hub %s is lost: its agents are suspect", node.id)
        lanes = await self._lanes()
        marked = await self._mark(node, lanes, turn)
        if marked is None:
            log.info("hub %s is back", node.id)
        else:
            await self._link.ask_script(script.UNLIST, (keys.NODES,), (node.id, node.lease_ms))
            log.warning("hub %s had %d agents that are suspect now", node.id, marked)
            self.lost += 1
            self._last = node  # the ticks are a moment behind
        await self._link.ask("DEL", turn)

    async def _lanes(self) -> list[Lane]:
        """Find every place where there may be a lease."""
        numbers = range(keys.PARTITIONS)
        due = await asyncio.gather(
            *[self._link.ask("ZRANGE", keys.due(number), 0, -1) for number in numbers]
        )
        return [
            self._store.lane_at(project.decode(), number)
            for number, projects in zip(numbers, due, strict=True)
            for project in projects
        ]

    async def _mark(self, node: Node, lanes: list[Lane], turn: str) -> int | None:
        """Mark all of its instances; answer how many, None if it came back meanwhile."""
        pages: deque[tuple[Lane, bytes]] = deque((lane, b"0") for lane in lanes)
        total = 0
        while pages:
            if node not in self._ticker.lost:
                return None
            wave = [pages.popleft() for _ in range(min(WAVE, len(pages)))]
            calls = [self._page(node, lane, cursor) for lane, cursor in wave]
            replies = await asyncio.gather(
                *calls,
                self._link.ask("SET", turn, self._ticker.node, "XX", "PX", TURN_MS),
                return_exceptions=True,
            )
            for (lane, _), reply in zip(wave, replies[:-1], strict=True):
                if isinstance(reply, ReplyError):  # the others have to be marked all the same
                    log.error("%s in %d cannot be marked: %s", lane.project, lane.number, reply)
                    continue
                if isinstance(reply, BaseException):
                    raise reply
                _, _, cursor, marked, more = reply
                total += marked
                self.marked += marked
                if cursor == b"":
                    return None
                if more or cursor != b"0":
                    pages.append((lane, cursor))
        return total

    def _page(self, node: Node, lane: Lane, cursor: bytes) -> Any:
        batch = [node.id, node.lease_ms, cursor, PAGE, BATCH, SUSPECT, WHY, LEAST_MS, MOST_MS]
        packed = msgpack.packb(batch, use_bin_type=False)
        return self._link.ask_script(script.LOSE, lane.keys, (b"", *lane.tail, packed))
