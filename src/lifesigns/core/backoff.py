"""How long to wait before trying again.

Full jitter: anything from nothing to a ceiling that doubles with every attempt, so that a thousand
who lost the same hub do not all come back at once. Chance is an argument.
"""

from __future__ import annotations

# Doubling further leaves every cap behind, and would one day overflow a float.
_DOUBLINGS = 64


def delay_s(attempt: int, chance: float, base_s: float, cap_s: float) -> float:
    """Say how long to wait after ``attempt`` failures since the last success, from 0.

    ``chance`` is drawn by the caller, evenly from 0 to 1. A hub's own hint is not mixed in here:
    who was told when to come back has no need to guess.
    """
    return chance * min(cap_s, base_s * 2.0 ** min(attempt, _DOUBLINGS))
