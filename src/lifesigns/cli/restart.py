"""When a program that has ended is started again, and how long that waits.

Knows no process, no clock and no chance.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass
from typing import Self

from lifesigns.cli.span import seconds
from lifesigns.core.backoff import delay_s
from lifesigns.core.errors import BadValue

WHEN = ("no", "on-failure", "always")
FIRST_S, LONGEST_S = 0.5, 60.0
STEADY_S = 60.0  # a program that ran for so long did not fail because of how it was started


@dataclass(frozen=True, slots=True)
class Limit:
    """How many restarts are too many; without a window, of all."""

    most: int
    window_s: float | None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read ``5`` or ``5/10m``."""
        found = re.fullmatch(r"([0-9]{1,6})(?:/(.+))?", text)
        if found is None:
            message = f"--max-restarts is {json.dumps(text)}: it must be like 5 or 5/10m"
            raise BadValue(message, field="max_restarts")
        window = None if found[2] is None else seconds(found[2], "--max-restarts")
        return cls(int(found[1]), window)


class Restarts:
    """The restarts of one program, those that were and the next one."""

    def __init__(self, when: str, limit: Limit | None) -> None:
        self._when = when
        self._limit = limit
        self._past: deque[float] = deque()
        self._fast = 0  # in a row, after lives that were not steady

    def pause_s(
        self, *, failed: bool, forced: bool, lived_s: float, now: float, chance: float
    ) -> float | None:
        """Say how long to wait before the next start; None: there is none.

        ``forced`` is an end that was made in order to start again.
        """
        wanted = forced or self._when == "always" or (failed and self._when == "on-failure")
        if not wanted or self._exhausted(now):
            return None
        self._past.append(now)
        self._fast = 0 if lived_s >= STEADY_S else self._fast + 1
        # At least half of it: jitter alone would now and then be no pause at all.
        return delay_s(max(0, self._fast - 1), (1 + chance) / 2, FIRST_S, LONGEST_S)

    def _exhausted(self, now: float) -> bool:
        if self._limit is None:
            return False
        window_s = self._limit.window_s
        while window_s is not None and self._past and self._past[0] <= now - window_s:
            self._past.popleft()
        return len(self._past) >= self._limit.most
