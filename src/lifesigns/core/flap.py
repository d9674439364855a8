"""When an agent comes and goes so often that each time is no news any more.

Told from the moments at which it came or went, and from nothing else: whoever asks about the same
moment gets the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from lifesigns.core.past import Life

TURNS: Final = 6  # so many in the window are told as one,
WINDOW_MS: Final = 600_000  # until it has been quiet for so long

Verdict = Literal["each", "flapping", "still"]


def moments(lives: Iterable[Life], at_ms: int) -> list[int]:
    """List when an agent came and went, up to and with a moment at which it did either."""
    known = {moment for life in lives for moment in life if moment < at_ms}
    return [*sorted(known), at_ms]


def judge(turns: Sequence[int]) -> Verdict:
    """Judge the last of its turns: to be told, told as flapping, or told so already."""
    if not _flaps(turns):
        return "each"
    return "still" if _flaps(turns[:-1]) else "flapping"


def _flaps(turns: Sequence[int]) -> bool:
    return len(turns) >= TURNS and turns[-1] - turns[-TURNS] <= WINDOW_MS
