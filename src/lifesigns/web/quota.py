"""How many calls a caller has in each window of time, as they are told with each answer."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Left:
    """What a caller has left after a call."""

    allowed: bool
    remaining: int
    reset_s: int


class Quota:
    """Allows ``calls`` in each ``window_s`` seconds, which begin with a caller's first call."""

    def __init__(self, calls: int, window_s: int) -> None:
        self.calls = calls
        self.window_s = window_s
        # When each caller's window ends, and the calls in it; in the order of their ends.
        self._windows: dict[Hashable, tuple[float, int]] = {}

    def untouched(self) -> Left:
        """Tell what somebody has left who has not called."""
        return Left(True, self.calls, self.window_s)

    def count(self, caller: Hashable, now: float) -> Left:
        """Count a call, and tell what is left."""
        ends, used = self._windows.get(caller, (0.0, 0))
        if now >= ends:
            self._windows.pop(caller, None)
            ends, used = now + self.window_s, 0
        allowed = used < self.calls
        used += allowed
        self._windows[caller] = (ends, used)
        if len(self._windows) > REMEMBERED:
            del self._windows[next(iter(self._windows))]
        return Left(allowed, self.calls - used, max(1, math.ceil(ends - now)))
