"""Text as it may be shown on a terminal: nothing that moves the cursor, columns that line up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

GAP = "  "


def printable(text: str, *, keep: str = "") -> str:
    """Write control characters as escapes: names come from agents, and may be hostile."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay rows out under their titles; None is shown as a dash."""
    cells = [
        list(titles),
        *(["-" if each is None else printable(str(each)) for each in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(GAP.join(map(str.ljust, line, widths)).rstrip() for line in cells)
