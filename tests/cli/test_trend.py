"""The fleet over time, as it is drawn for people."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.cli.spark import BARS, spark
from lifesigns.cli.trend import NOTHING, bars_of, step_of, trend
from lifesigns.core.instant import to_text

MINUTE_MS = 60_000


def point(minute: int, value: float | None = None, **counts: float) -> dict[str, Any]:
    shown: dict[str, Any] = {"at": to_text(minute * MINUTE_MS), "total": sum(counts.values())}
    shown["counts"] = counts
    return shown | ({} if value is None else {"value": {"avg": value}})


def drawn(*points: dict[str, Any], value: str | None = None, minutes: int = 5) -> list[str]:
    answer = {"step_s": 60, "points": list(points)}
    to_ms = minutes * MINUTE_MS
    return trend(answer, "status", value, from_ms=1, to_ms=to_ms).splitlines()


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ([], ""),
        ([0, 0], "▁▁"),
        ([0, 7], "▁█"),
        ([7, None, 3.5], "█ ▅"),
        ([1e-9], "█"),
        (list(range(8)), BARS),
    ],
)
def test_numbers_are_bars_and_what_is_not_known_is_a_gap(
    numbers: list[float | None], line: str
) -> None:
    assert spark(numbers) == line


def test_each_part_has_a_line_and_all_of_them_one() -> None:
    assert drawn(point(0, busy=4, idle=1), point(1, busy=2), point(4, busy=1, idle=4)) == [
        "status  now  least  average  most  5m, a bar is 1m",
        "busy    1    1      2.3      4     █▅  ▃",
        "idle    4    0      1.7      4     ▃▁  █",
        "all     5    2      4        5     █▄  █",
    ]


def test_a_number_has_a_line_of_its_own_whether_or_not_somebody_has_it() -> None:
    lines = drawn(point(0, 3.5, busy=1), {**point(2, busy=1), "value": {"avg": None}}, value="q")
    assert [line.split()[0] for line in lines[1:]] == ["busy", "q,"]
    assert lines[-1].split()[1:] == ["average", "-", "3.5", "3.5", "3.5", "█"]


def test_agents_without_a_word_and_with_a_hostile_one_have_lines_too() -> None:
    answer = {
        "step_s": 60,
        "points": [{"at": to_text(0), "total": 3, "counts": {"": 2, "\x1b[2J" + "x" * 50: 1}}],
    }
    _, nobody, hostile, _ = trend(answer, "group", None, from_ms=0, to_ms=1).splitlines()
    assert nobody.startswith("-  ")
    assert hostile.startswith(r"\x1b[2Jxxx")
    assert "…" in hostile


def test_nothing_is_drawn_of_nothing() -> None:
    assert trend({"step_s": 10, "points": []}, "state", None, from_ms=0, to_ms=9) == NOTHING


@pytest.mark.parametrize(
    ("width", "span_s", "step_s"),
    [(None, 60, 10), (None, 86_400, 1_800), (80, 86_400, 2_160), (20, 3_600, 300), (240, 600, 10)],
)
def test_a_line_fits_a_terminal(width: int | None, span_s: float, step_s: int) -> None:
    bars = bars_of(width)
    assert step_of(span_s, bars) == step_s
    assert span_s / step_s <= bars
