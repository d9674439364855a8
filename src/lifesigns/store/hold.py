"""Until when expiry is held, as far as this hub knows, and who is to be told of it.

A hold opens when the store or the service was away, or when a hub's breaker trips, on this hub or
on another one. Whoever shows it asks here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from lifesigns.core.instant import to_text
from lifesigns.store.clock import StoreClock

log = logging.getLogger(__name__)

STEP_MS = 1_000  # one that reaches further by less is not told anew


class Hold:
    """One hub's knowledge of the hold; ``on_held`` is told when it begins or reaches further."""

    def __init__(self, clock: StoreClock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._until_ms = 0
        self._told_ms = 0
        self.stopped_ms = 0  # until then a breaker stops every expiry, whatever the ttl
        self.on_held: Callable[[int], None] | None = None
        self.holds = 0  # so far

    @property
    def until_ms(self) -> int | None:
        """Tell until when leases that ran out may be held; None if none is."""
        return self._until_ms if self._until_ms > self._now_ms() else None

    def reach(self, until_ms: int, why: str) -> None:
        """Hold until a moment of the store's time at least; one that has passed is none."""
        if until_ms <= max(self._until_ms, self._now_ms()):
            return
        if self.until_ms is None:
            self.holds += 1
            log.warning("expiry is held, until %s at the longest: %s", to_text(until_ms), why)
        self._until_ms = until_ms
        if until_ms >= self._told_ms + STEP_MS:
            self._told_ms = until_ms
            if self.on_held is not None:
                self.on_held(until_ms)

    def stop(self, seconds: float, why: str) -> None:
        """Hold everything: the breaker of this hub has tripped."""
        self.stop_until(self._now_ms() + round(seconds * 1000), why)

    def stop_until(self, until_ms: int, why: str) -> None:
        """Hold everything until then: the breaker of some hub has tripped."""
        self.stopped_ms = max(self.stopped_ms, until_ms)
        self.reach(until_ms, why)

    def _now_ms(self) -> int:
        return self._clock.at_ms(self._loop.time())
