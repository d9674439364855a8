"""Looks at every fleet each few seconds, and keeps what it saw.

One hub does it at a time, as long as it renews its turn; when it is gone another one takes over. A
look is spread over some of the time until the next one, so that neither hub nor store stands
still for it, however many there are. What could not be looked at, or not in time, is a gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from lifesigns.core.errors import NotFound, Unavailable
from lifesigns.core.presence import SLEEPING
from lifesigns.core.sample import Look, read_living
from lifesigns.store.clock import StoreClock
from lifesigns.store.link import ReplyError
from lifesigns.store.sample import FINE, Samples
from lifesigns.store.store import Store
from lifesigns.workers.ticker import Ticker

log = logging.getLogger(__name__)

LEASE_MS = 15_000  # longer than a step, so that the turn stays; a hub that dies costs two looks
RENEW_S = 3.0  # within a look that takes longer
SHARE = 0.2  # of this hub's time that a look may take while it lasts
SLICE = 64  # agents that are looked at before others have their turn


class Sampler:
    """Samples while the hub runs."""

    def __init__(
        self,
        store: Store,
        samples: Samples,
        clock: StoreClock,
        ticker: Ticker,
        metadata_keys: Sequence[str],
    ) -> None:
        self._store = store
        self._samples = samples
        self._clock = clock
        self._ticker = ticker
        self._keys = tuple(metadata_keys)
        self._loop = asyncio.get_running_loop()
        self._renewed_at = 0.0
        self.taken = 0  # samples, so far
        self.took_s = 0.0  # how long the latest look at all fleets took

    async def run(self) -> None:
        """Look for ever."""
        while True:
            now_ms = self._clock.at_ms(self._loop.time())
            await asyncio.sleep((FINE.step_ms - now_ms % FINE.step_ms) / 1000)
            now_ms = self._clock.at_ms(self._loop.time())
            # A timer may be early by what the clocks differ: the nearest step is meant.
            at_ms = (now_ms + FINE.step_ms // 2) // FINE.step_ms * FINE.step_ms
            try:
                await self.look(at_ms)
            except Unavailable as away:
                log.debug("no sample: %s", away)
            except ReplyError as refused:
                log.warning("the store does not let fleets be sampled: %s", refused)

    async def leave(self) -> None:
        """Leave the turn to another hub: this one goes."""
        try:
            await self._samples.leave_turn(self._ticker.node)
        except (Unavailable, ReplyError) as away:
            log.info("the turn to sample is left to run out: %s", away)

    async def look(self, at_ms: int) -> bool:
        """Look at all fleets if it is this hub's turn; answer whether it was, to the end.

        Of many projects the last ones are looked at so much later that it is another step.
        """
        if not await self._renew():
            return False
        began = self._loop.time()
        for project in await self._samples.projects():
            steps = int((self._loop.time() - began) * 1000) // FINE.step_ms
            worked_s = self._samples.worked_s
            if not await self._look_at(project, at_ms + steps * FINE.step_ms):
                return False
            await self._rest(self._samples.worked_s - worked_s)
            if self._loop.time() > self._renewed_at + RENEW_S and not await self._renew():
                return False
        self.took_s = self._loop.time() - began
        return True

    async def _look_at(self, project: str, at_ms: int) -> bool:
        """Look at one fleet; answer whether it is still this hub's turn."""
        try:
            await self._store.know(project)
            counts = await self._store.count(project)
        except NotFound:  # deleted: what it left behind is swept
            return True
        if not counts:
            return True
        look = Look(self._keys)
        if any(rank > SLEEPING for rank in counts):
            async for page in self._samples.records(project):
                for start in range(0, len(page), SLICE):
                    began = self._loop.time()
                    for packed in page[start : start + SLICE]:
                        if (living := read_living(packed, at_ms)) is not None:
                            look.add(*living)
                    await self._rest(self._loop.time() - began)
                if self._loop.time() > self._renewed_at + RENEW_S and not await self._renew():
                    return False
        self.taken += await self._samples.write(project, look.end(at_ms))
        return True

    async def _rest(self, worked_s: float) -> None:
        """Leave the rest of the time to others."""
        await asyncio.sleep(worked_s * (1 / SHARE - 1))

    async def _renew(self) -> bool:
        self._renewed_at = self._loop.time()
        return await self._samples.take_turn(self._ticker.node, LEASE_MS)
