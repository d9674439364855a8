"""Ends what has run out: leases, states that alter by themselves, agents gone for long.

It looks twice a second at what is due in each partition, which also notes that the service is
there, and sweeps when the watermark passes the next due moment. No lease is shorter than the pause
between two looks, so none is learned of too late, whoever wrote it. Any number of
hubs sweep at the same time: the script lets each expiry happen once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgpack

from lifesigns.core.errors import NotFound, Unavailable
from lifesigns.store import keys, script
from lifesigns.store.hold import Hold
from lifesigns.store.link import Link, ReplyError
from lifesigns.store.store import Store
from lifesigns.workers.ticker import Ticker

log = logging.getLogger(__name__)

LOOK_S = 0.5
GAP_MS = 5_000  # a service that was silent for longer could not have heard its agents
AWAY_MS = -1  # beats were refused: however short the silence was, it is one
BATCH = 128  # leases that one call ends: it may hold the server for some ms
FORESEEN_MS = 60_000  # a hold that is longer for some is told when one of their leases runs out
DUE_PROJECTS = 64  # projects of a partition that one look takes up
NEVER = float("inf")


class Sweeper:
    """Sweeps while the hub runs."""

    def __init__(
        self, link: Link, store: Store, ticker: Ticker, hold: Hold, *, history_len: int
    ) -> None:
        self._link = link
        self._store = store
        self._ticker = ticker
        self._hold = hold
        self._history_len = history_len
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        # A store that is lost before it was ever looked at would not be known to have been away.
        self._wake.set()
        self._due_ms = NEVER  # the next thing to do, as far as this hub knows
        self._gap_ms = 0  # when the service was last seen to be back
        self.swept = 0  # leases that this hub ended

    def ticked(self) -> None:
        """The watermark has moved: it may have passed what is due."""
        if self._due_ms <= self._ticker.safe_ms:
            self._wake.set()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass  # time to look again in any case
            self._wake.clear()
            try:
                await self.sweep()
            except Unavailable as away:
                log.debug("no sweep: %s", away)
            except ReplyError as refused:
                log.warning("the store refuses the sweep: %s", refused)

    async def gap_ms(self, number: int) -> int:
        """Tell since when agents of a partition can be heard again; a silence is noted first.

        What was safe before this was asked has had its chance to be heard since then.
        """
        place = (keys.part(number), keys.due(number))
        reply = await self._link.ask_script(script.SERVICE, place, (b"", GAP_MS, 1))
        return int(reply[1])

    async def sweep(self) -> None:
        """Do all that is due now, and learn when to come again."""
        self._due_ms = NEVER
        # From before the look: it notes a silence of the service, our own too, and nothing that
        # became safe after it may end by it.
        safe_ms = self._ticker.safe_ms
        for number, reply in enumerate(await self._look()):
            self._note_hold(*reply[1:3])
            for project, when in zip(reply[3::2], reply[4::2], strict=True):
                next_ms = float(when)
                if next_ms <= safe_ms:
                    next_ms = await self._sweep(project.decode(), number, safe_ms)
                self._due_ms = min(self._due_ms, next_ms)

    def _note_hold(self, gap_ms: int, held_ms: int) -> None:
        """Take when the service was back, and how far the sweep has held leases on since."""
        if gap_ms > self._gap_ms:
            self._gap_ms = gap_ms
            longest_ms = min(self._store.longest_ttl_ms(), FORESEEN_MS)
            held_ms = max(held_ms, gap_ms + longest_ms)
        self._hold.reach(held_ms, "the store, or all who look after it, were away")

    async def _look(self) -> list[Any]:
        """Ask all partitions what is due, in one write."""
        # Ticks that let the watermark go on are sent after this, and arrive after it.
        refused_at, self._ticker.refused_at = self._ticker.refused_at, NEVER
        gap_ms = GAP_MS if refused_at == NEVER else AWAY_MS
        try:
            return await self._link.ask_scripts(
                script.SERVICE,
                [
                    ((keys.part(number), keys.due(number)), (b"", gap_ms, DUE_PROJECTS))
                    for number in range(keys.PARTITIONS)
                ],
            )
        except Unavailable:
            self._ticker.refused_at = min(refused_at, self._ticker.refused_at)
            raise

    async def _sweep(self, project: str, number: int, safe_ms: float) -> float:
        """Sweep a project in a partition until nothing of it is due; answer what is next."""
        try:
            await self._store.know(project)
        except NotFound:
            # Deleted: what it left behind runs out with nobody to see it.
            log.debug("sweeping what is left of the project %s", project)
        lane = self._store.lane_at(project, number)
        batch = msgpack.packb([BATCH, safe_ms, self._history_len])
        while True:
            try:
                reply = await self._link.ask_script(
                    script.SWEEP, lane.keys, (b"", *lane.tail, batch)
                )
            except ReplyError as refused:  # the others have to be swept all the same
                log.error("the store refuses to sweep %s in %d: %s", project, number, refused)
                return NEVER
            now_ms, ended, _, _, next_ms, unreadable = reply
            self.swept += ended
            for agent in unreadable:
                log.error("the record of %s in %s was damaged: dropped", agent.decode(), project)
            if not 0 < next_ms <= min(safe_ms, now_ms):
                return float(next_ms or NEVER)
