"""The store's clock, as this hub reckons it.

The store's is the one clock that counts. An answer of the store was made before it was received,
so no reckoning runs ahead, and the one from the quickest answer lags behind the least: it counts
until it is old, so that a link that has become slow does not make the store's time a past one.
"""

from __future__ import annotations

GOOD_S = 60.0  # clocks of two machines part by some ms in that time
FAR_MS = 10_000  # no answer takes longer: the store's clock was put back


class StoreClock:
    """Tells the store's time from the loop's; ``offset_ms`` is what to add."""

    __slots__ = ("_good_until", "offset_ms")

    def __init__(self) -> None:
        self.offset_ms = 0.0
        self._good_until = 0.0

    def heard(self, store_ms: int, now: float) -> None:
        """Take what the store said its time was, at the moment of its arrival."""
        offset_ms = store_ms - now * 1000
        lags_ms = self.offset_ms - offset_ms
        if lags_ms <= 0 or lags_ms > FAR_MS or now >= self._good_until:
            self.offset_ms, self._good_until = offset_ms, now + GOOD_S

    def at_ms(self, now: float) -> int:
        """Tell the store's time at a moment of the loop's clock."""
        return int(now * 1000 + self.offset_ms)
