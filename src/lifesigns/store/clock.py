"""The store's clock, as this hub reckons it.

The store's is the one clock that counts. An answer of the store was made before it was received,
so the reckoning lags behind by at most one way of a message and never runs ahead.
"""

from __future__ import annotations


class StoreClock:
    """Tells the store's time from the loop's; ``offset_ms`` is what to add."""

    __slots__ = ("offset_ms",)

    def __init__(self) -> None:
        self.offset_ms = 0.0

    def heard(self, store_ms: int, now: float) -> None:
        """Take what the store said its time was, at the moment of its arrival."""
        self.offset_ms = store_ms - now * 1000

    def at_ms(self, now: float) -> int:
        """Tell the store's time at a moment of the loop's clock."""
        return int(now * 1000 + self.offset_ms)
