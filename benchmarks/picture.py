"""Draws what bench_detection.py found, as an SVG that follows the reader's light or dark theme.

tail -1 results | python benchmarks/picture.py > docs/detection.svg
"""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

WIDTH = 860
LEFT, RIGHT = 206, 828  # where both diagrams begin and end
ROW = 30
RANGES_TOP = 108
CURVES_TOP = 446
CURVES_HEIGHT = 230
LANE = 38  # of the band for what was never seen

PAPER = {  # what is no figure: in the light, in the dark
    ".page { fill: %s }": ("#ffffff", "#0d1117"),
    ".page, .grid { stroke: %s }": ("#d8dee4", "#30363d"),
    ".band { fill: %s }": ("#f3f5f8", "#161b22"),
    "text { fill: %s }": ("#1f2328", "#e6edf3"),
    ".soft { fill: %s }": ("#59636e", "#9198a1"),
}
INKS = {
    "suspect": ("#bc4c00", "#f0883e"),
    "offline": ("#57606a", "#9ea7b3"),
    "calm": ("#1a7f37", "#3fb950"),
    "busy": ("#0969da", "#58a6ff"),
    "rough": ("#bc4c00", "#f0883e"),
}
SHAPES = """
text { font: 13px ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif }
.title { font-size: 17px; font-weight: 600 }
.soft { font-size: 12px }
.small { font-size: 11px }
.name { font-weight: 600 }
.span { stroke-width: 6; stroke-linecap: round; opacity: .3 }
.end, .curve { stroke-width: 2 }
.fall { stroke-dasharray: 2 5 }
"""
ROWS = (  # what it is called, what was told first, what was told at last
    ("bye", None, "bye offline"),
    ("socket closed", "closed suspect", "closed offline"),
    ("socket reset", "reset suspect", "reset offline"),
    ("agent killed", "killed suspect", "killed offline"),
    ("hub killed", "hub suspect", "hub offline"),
    ("silence, after the lease", None, "silent offline"),
    ("the same, over HTTP", None, "posting offline"),
)
CONDITIONS = (
    ("rough", "rough network"),  # on top: only its curve falls into its lane
    ("busy", "starved of CPU"),
    ("calm", "calm machine"),
)


class Axis:
    """A logarithmic axis."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._stop = start, stop

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return round(self._start + min(1.0, max(0.0, share)) * (self._stop - self._start), 1)


def draw(result: dict[str, Any]) -> str:
    """Draw both diagrams."""
    height = CURVES_TOP + CURVES_HEIGHT + LANE * len(CONDITIONS) + 64
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        f' width="{WIDTH}" height="{height}" role="img" aria-labelledby="what">',
        '<title id="what">How soon an end is known, and how many false alarms that costs</title>',
        f"<style>{SHAPES}{theme(0)}@media (prefers-color-scheme: dark) {{\n{theme(1)}}}</style>",
        box(0.5, 0.5, WIDTH - 1, height - 1, "page", 10),
        *ranges(result["ends"]),
        *curves(result["conditions"]),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def theme(which: int) -> str:
    """Write the colours of the light theme, or of the dark one."""
    rules = [rule % colours[which] for rule, colours in PAPER.items()]
    for name, colours in INKS.items():
        rules.append(f".{name} .mark, .{name} .name {{ fill: {colours[which]} }}")
        rules.append(f".{name} line {{ stroke: {colours[which]} }}")
    return "".join(rule + "\n" for rule in rules)


def ranges(ends: dict[str, Any]) -> list[str]:
    """Draw for each way to end how long it took until a watcher on another hub was told."""
    axis = Axis(0.5, 30_000, LEFT, RIGHT)
    bottom = RANGES_TOP + ROW * len(ROWS)
    drawn = [
        text(24, 36, "How soon a watcher on another hub knows", "title"),
        text(
            24,
            57,
            "dot: the median; bar: to the 99th of a hundred, which is named; tick: the longest",
            "soft",
        ),
        *key(RIGHT - 140, 53, "suspect", "suspect"),
        *key(RIGHT - 56, 53, "offline", "offline"),
    ]
    for value, label in (
        (1, "1 ms"),
        (10, "10 ms"),
        (100, "0.1 s"),
        (1_000, "1 s"),
        (10_000, "10 s"),
    ):
        x = axis.at(value)
        drawn += [
            line(x, RANGES_TOP - 16, x, bottom - 8, "grid"),
            text(x, bottom + 10, label, "soft", "middle"),
        ]
    for number, (name, first, last) in enumerate(ROWS):
        y = RANGES_TOP + ROW * number
        drawn.append(text(LEFT - 14, y + 4, name, "", "end"))
        for kind, css in ((first, "suspect"), (last, "offline")):
            if kind is not None:
                drawn += one_range(axis, y, ends[kind], css)
    return drawn


def one_range(axis: Axis, y: float, row: dict[str, Any], css: str) -> list[str]:
    median, most, longest = (axis.at(row[f"{each}_ms"]) for each in ("p50", "p99", "max"))
    return [
        f'<g class="{css}">',
        line(median, y, most, y, "span"),
        line(longest, y - 6, longest, y + 6, "end"),
        dot(median, y, 5),
        text(most, y - 9, shown_ms(row["p99_ms"]), "small name", "middle"),
        "</g>",
    ]


def curves(conditions: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Draw for each condition how many false alarms which speed costs."""
    rows = [row for each in conditions.values() for row in each]
    most = max([10.0, *(row["alarms_per_hour"] for row in rows)])
    least = min([1.0, *(row["alarms_per_hour"] for row in rows if row["alarms_per_hour"] > 0)])
    top, floor = math.ceil(math.log10(most)), math.floor(math.log10(least))
    across = Axis(0.8, 60, LEFT, RIGHT)
    bottom = CURVES_TOP + CURVES_HEIGHT
    up = Axis(10.0**floor, 10.0**top, bottom - 10, CURVES_TOP)
    end = bottom + LANE * len(CONDITIONS)
    drawn = [
        text(24, CURVES_TOP - 62, "What a shorter lease costs", "title"),
        text(
            24,
            CURVES_TOP - 41,
            "a point for each ttl: how often a living agent was said to be suspect or offline",
            "soft",
        ),
        text(LEFT - 14, CURVES_TOP - 16, "false alarms an agent-hour", "soft", "end"),
        text(
            (LEFT + RIGHT) / 2,
            end + 42,
            "from the last beat until another hub says offline, the 99th of a hundred",
            "soft",
            "middle",
        ),
        box(24, bottom, RIGHT - 12, end - bottom, "band", 6),
    ]
    for value in (1, 2, 5, 10, 20, 50):
        x = across.at(value)
        drawn += [
            line(x, CURVES_TOP - 10, x, end, "grid"),
            text(x, end + 20, f"{value} s", "soft", "middle"),
        ]
    for power in range(floor, top + 1):
        y = up.at(10.0**power)
        label = text(LEFT - 14, y + 4, f"{10.0**power:,g}", "soft", "end")
        drawn += [line(LEFT, y, RIGHT, y, "grid"), label]
    for number, (condition, name) in enumerate(CONDITIONS):
        lane = bottom + LANE * (number + 0.5)
        drawn += curve(across, up, lane, conditions[condition], condition)
        drawn.append(f'<g class="{condition}">{text(LEFT - 14, lane, name, "name", "end")}')
        none = [row["agent_hours"] for row in conditions[condition] if not row["alarms_per_hour"]]
        told = f"none in {sum(none):.2g} agent-hours" if none else "at every ttl"
        drawn.append(text(LEFT - 14, lane + 14, told, "soft small", "end") + "</g>")
    return drawn


def curve(
    across: Axis, up: Axis, lane: float, rows: list[dict[str, Any]], condition: str
) -> list[str]:
    """Draw one condition; what was without a false alarm lies in its lane below."""
    points = [
        (
            across.at(row["p99_ms"] / 1000),
            up.at(row["alarms_per_hour"]) if row["alarms_per_hour"] else lane + 5,
            row,
        )
        for row in rows
    ]
    falling = any(row["alarms_per_hour"] for row in rows)  # labels stand on either side
    drawn = [f'<g class="{condition}">']
    for (x, y, row), (to_x, to_y, to) in pairwise(points):
        falls = bool(row["alarms_per_hour"]) != bool(to["alarms_per_hour"])
        drawn.append(line(x, y, to_x, to_y, "curve fall" if falls else "curve"))
    for number, (x, y, row) in enumerate(points):
        beside = (x, y - 10, "middle")
        if falling:
            below = number % 2 and row["alarms_per_hour"]
            beside = (x - 9, y + 13, "end") if below else (x + 9, y - 5, "start")
        drawn += [dot(x, y, 4.5), text(*beside[:2], f"ttl {row['ttl']} s", "small name", beside[2])]
    return [*drawn, "</g>"]


def key(x: float, y: float, label: str, css: str) -> list[str]:
    return [f'<g class="{css}">{dot(x, y, 5)}{text(x + 11, y + 4, label, "soft")}</g>']


def shown_ms(value: float) -> str:
    if value < 1_000:
        return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
    return f"{value / 1000:.1f} s" if value >= 3_000 else f"{value / 1000:.2f} s"


def text(x: float, y: float, words: str, css: str, anchor: str = "start") -> str:
    named = f' class="{css}"' if css else ""
    return f'<text x="{x}" y="{y}"{named} text-anchor="{anchor}">{escape(words)}</text>'


def line(x: float, y: float, to_x: float, to_y: float, css: str) -> str:
    return f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" class="{css}"/>'


def dot(x: float, y: float, radius: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius}" class="mark"/>'


def box(x: float, y: float, width: float, height: float, css: str, round_by: float) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{round_by}" class="{css}"/>'
    )


if __name__ == "__main__":
    sys.stdout.write(draw(json.load(sys.stdin)))
