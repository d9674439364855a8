"""How often one caller may do one thing: a rate with a burst, one number a caller."""

from __future__ import annotations

from collections.abc import Hashable

REMEMBERED = 100_000


class Rate:
    """Allows ``per_s`` a second, and after a pause what comes together in ``burst_s``."""

    def __init__(self, per_s: float, burst_s: float) -> None:
        self.per_s = per_s
        self._step_s = 1 / per_s
        self._burst_s = burst_s
        # Up to which moment each caller has used its rate; in the order of their last call.
        self._used_s: dict[Hashable, float] = {}

    def allows(self, caller: Hashable, now: float) -> bool:
        """Tell whether this call is within the rate, and count it if it is."""
        used_s = max(self._used_s.pop(caller, now), now)
        allowed = used_s - now < self._burst_s
        self._used_s[caller] = used_s + self._step_s if allowed else used_s
        if len(self._used_s) > REMEMBERED:
            del self._used_s[next(iter(self._used_s))]
        return allowed
