"""The fleet over time, as `lifesigns stats --since` shows it: a line for each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from lifesigns.cli.span import spell
from lifesigns.cli.spark import spark
from lifesigns.cli.terminal import cells, fit, printable, table
from lifesigns.core.instant import from_text

BARS = 48  # in a line that goes nowhere in particular,
LEAST_BARS = 12  # and in one on a narrow terminal
NUMBERS_WIDTH = 40  # of the columns before it
LEAST_STEP_S = 10
LONGEST_NAME = 24
TITLES = ("now", "least", "average", "most")
NOTHING = "Nothing was sampled in that time."


def bars_of(width: int | None) -> int:
    """Say how many bars a line has on a terminal of a width; None: it is none."""
    return BARS if width is None else max(LEAST_BARS, width - NUMBERS_WIDTH)


def step_of(span_s: float, bars: int) -> int:
    """Say how many seconds one bar stands for."""
    return max(LEAST_STEP_S, ceil(span_s / bars / LEAST_STEP_S) * LEAST_STEP_S)


def trend(
    answer: Mapping[str, Any], by: str, value: str | None, *, from_ms: int, to_ms: int
) -> str:
    """Lay out the points of the hub's answer, the part with the most on top."""
    points: Sequence[Mapping[str, Any]] = answer["points"]
    if not points:
        return NOTHING
    step_ms = answer["step_s"] * 1000
    places = [
        (from_text(point["at"]) - from_ms // step_ms * step_ms) // step_ms for point in points
    ]
    bars = max(places[-1] + 1, (to_ms - 1) // step_ms - from_ms // step_ms + 1)
    names = {word: None for point in points for word in point["counts"]}
    rows = [(name or None, [point["counts"].get(name, 0) for point in points]) for name in names]
    rows.sort(key=lambda row: (-sum(row[1]), row[0] or ""))
    if len(rows) != 1:
        rows.append(("all", [point["total"] for point in points]))
    if value is not None:
        rows.append((f"{value}, average", [point["value"]["avg"] for point in points]))
    shown = [_row(name, numbers, places, bars) for name, numbers in rows]
    titled = table(
        (by, *TITLES, f"{spell(bars * step_ms / 1000)}, a bar is {spell(step_ms / 1000)}"), shown
    )
    return "\n".join(line.rstrip() for line in titled.splitlines())


def _row(
    name: str | None, numbers: Sequence[float | None], places: Sequence[int], bars: int
) -> tuple[object, ...]:
    line: list[float | None] = [None] * bars
    for place, number in zip(places, numbers, strict=True):
        if 0 <= place < bars:
            line[place] = number
    known = [number for number in numbers if number is not None]
    if name is not None:
        name = printable(name)
        name = fit(name, LONGEST_NAME).rstrip() if cells(name) > LONGEST_NAME else name
    least, most = min(known, default=None), max(known, default=None)
    average = sum(known) / len(known) if known else None
    return (name, _said(numbers[-1]), _said(least), _said(average), _said(most), spark(line))


def _said(number: float | None) -> str | None:
    return None if number is None else f"{number:.1f}".removesuffix(".0")
