"""A row of numbers over time, as a line of small bars."""

from __future__ import annotations

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
GAP = " "


def spark(numbers: Sequence[float | None]) -> str:
    """Draw numbers from nought to the greatest of them; None is a gap."""
    most = max((number for number in numbers if number is not None), default=0)
    top = len(BARS) - 1
    return "".join(
        GAP if number is None else BARS[min(top, round(number / most * top)) if most > 0 else 0]
        for number in numbers
    )
