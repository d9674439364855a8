"""Text as it may be shown on a terminal: nothing that moves the cursor, columns that line up."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from lifesigns.config import wants_no_colours

GAP = "  "
CUT = "…"
NARROWEST = 6  # what is left of a column that gives way, or of its title
COLOURS = {
    "available": 32,
    "busy": 36,
    "draining": 35,
    "degraded": 33,
    "stalled": 93,
    "error": 31,
    "suspect": 33,
    "offline": 90,
    "sleeping": 34,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What a stream can show; what is no terminal is a program that reads, or a file."""

    colours: bool = False
    width: int | None = None  # cells in a line, where there is an end to it

    @classmethod
    def of(cls, stream: TextIO) -> Look:
        if not stream.isatty():
            return cls()
        return cls(not wants_no_colours(), shutil.get_terminal_size().columns)

    def paint(self, text: str, state: str) -> str:
        """Give text the colour of a state."""
        code = COLOURS.get(state)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours and code else text

    def paint_states(self, cell: str, title: str, text: str) -> str:
        """Give the cells of a table's column of states their colours."""
        return self.paint(cell, text) if title == "state" else cell


def printable(text: str, *, keep: str = "") -> str:
    """Write control characters as escapes: names come from agents, and may be hostile."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


def complain(text: str) -> None:
    """Say on stderr, in a line, what went wrong with a command that goes on."""
    print("lifesigns:", printable(text), file=sys.stderr, flush=True)


def cells(text: str) -> int:
    """Say how many cells of a line a text takes: ideographs take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def fit(text: str, width: int) -> str:
    """Cut a text, or fill it up, to so many cells."""
    taken = cells(text)
    if taken <= width:
        return text + " " * (width - taken)
    kept, left = [], width - len(CUT)
    for each in text:
        left -= _cells_of(each)
        if left < 0:
            break
        kept.append(each)
    return fit("".join(kept) + CUT, width)


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    width: int | None = None,
    gives_way: Collection[str] = (),
    paint: Callable[[str, str, str], str] | None = None,
) -> str:
    """Lay rows out under their titles; None is shown as a dash.

    A table that is wider than ``width`` takes it from the widest of the columns that ``gives_way``
    names. ``paint`` is given a cell as it stands there, its title and its text.
    """
    lines = [
        list(titles),
        *(["-" if each is None else printable(str(each)) for each in row] for row in rows),
    ]
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    if width is not None:
        _narrow(widths, width, [i for i, title in enumerate(titles) if title in gives_way])
    shown = []
    for number, line in enumerate(lines):
        fitted = list(map(fit, line, widths))
        fitted[-1] = fitted[-1].rstrip()
        if paint is not None and number > 0:
            fitted = list(map(paint, fitted, titles, line))
        shown.append(GAP.join(fitted).rstrip())
    return "\n".join(shown)


def _narrow(widths: list[int], width: int, giving: Sequence[int]) -> None:
    over = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while over > 0 and giving:
        widest = max(giving, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1
        over -= 1


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
