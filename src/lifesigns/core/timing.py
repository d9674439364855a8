"""When the next run of a schedule is due.

By an interval: the last due time plus the interval, in elapsed time, so that it does not drift; one
that falls outside the window moves to its next opening, and goes on from there. By cron: the next
of its times that lies in the window. Times that nobody looked at are counted, and run once. Must
not know what time it is, nor what a run is.
"""

from __future__ import annotations

from dataclasses import dataclass

from lifesigns.core.cron import Cron
from lifesigns.core.errors import BadValue
from lifesigns.core.window import Window
from lifesigns.core.zone import MINUTE_MS, wall

# More of them are not counted: what tells a day's outage from a year's is the time of the last run.
MOST_MISSED = 1_000


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a schedule runs, and within which hours."""

    window: Window
    interval_minutes: float = 30
    cron: Cron | None = None  # wins over the interval

    def following(self, ms: int) -> int:
        """Tell when a run is due after one that was, or after it was enabled."""
        if self.cron is None:
            return self.window.opening(ms + self.interval_ms)
        due = self.cron.following(ms, self.window)
        if due is None:
            raise BadValue(
                "No time of this cron pattern lies in the active hours and days.",
                field="cron_pattern",
            )
        return due

    @property
    def interval_ms(self) -> int:
        return max(1, round(self.interval_minutes * MINUTE_MS))

    def caught_up(self, due_ms: int, now_ms: int) -> tuple[int, int]:
        """Go on from a time that was due; answer the next one to come, and how many were missed.

        The one that runs now, late or not, is not among them. From ``MOST_MISSED`` on they are not
        counted.
        """
        missed, due_ms = 0, due_ms
        while (then := self.following(due_ms)) <= now_ms:
            if self.cron is not None and missed >= MOST_MISSED:
                return self.following(now_ms), missed
            steps = 1 if self.cron is not None else 1 + self._more(then, now_ms)
            missed = min(missed + steps, MOST_MISSED)
            due_ms = then + (steps - 1) * self.interval_ms
        return then, missed

    def _more(self, due_ms: int, now_ms: int) -> int:
        """Count the further steps of the interval up to now that stay in this opening."""
        closing = self.window.closing(due_ms)
        last_ms = now_ms if closing is None else min(now_ms, closing - 1)
        return max(0, (last_ms - due_ms) // self.interval_ms)


def period_of(now_ms: int, window: Window) -> str:
    """Name the billing period: the calendar month there."""
    return f"{wall(now_ms, window.zone):%Y-%m}"
