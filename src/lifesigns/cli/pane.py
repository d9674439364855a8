"""What `lifesigns top` draws, and what keys do to it: without a terminal and without a clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lifesigns.cli.roll import SORTS, WORST_FIRST, Roll
from lifesigns.cli.span import spell
from lifesigns.cli.terminal import GAP, Look, fit, printable

ESCAPES = {
    b"[A": "up",
    b"[B": "down",
    b"OA": "up",
    b"OB": "down",
    b"[5~": "page up",
    b"[6~": "page down",
    **dict.fromkeys((b"[H", b"OH", b"[1~"), "home"),
    **dict.fromkeys((b"[F", b"OF", b"[4~"), "end"),
}
PLAIN = {"\r": "enter", "\n": "enter", "\x7f": "back", "\x08": "back", "\x15": "clear"}
FURNITURE = 5  # lines that are no agents
HINT = "q quit  s sort  / search  1-9 states  0 all  ? help"
HELP = """\
s              sort by the next of: {sorts}
/              search in ids, status, group and capabilities; Enter ends it, Esc clears it
1 to 9         show this state or not, as numbered above; 0 shows all
Up Down k j    one line
PgUp PgDn      one page; also b and Space
Home End       g and G
q              quit

Any other key goes on.""".format(sorts=", ".join(SORTS))

# Titles, widths, and which of them a narrow terminal does without first; the task takes the rest.
COLUMNS = (("id", 24), ("state", 9), ("status", 12), ("heard", 6), ("group", 12), ("task", 0))
DROPPED = ("group", "heard", "status", "task", "state")
TASK = 12

BOLD, REVERSE, PLAIN_AGAIN = "\x1b[1m", "\x1b[7m", "\x1b[0m"


def keys_of(typed: bytes) -> Iterator[str]:
    """Yield what was typed, key by key; what nobody knows is left out."""
    while typed:
        if typed[:1] == b"\x1b":
            for escape, name in ESCAPES.items():
                if typed.startswith(escape, 1):
                    yield name
                    typed = typed[1 + len(escape) :]
                    break
            else:
                if len(typed) == 1:
                    yield "escape"
                return  # an unknown sequence: its letters are no keys
        else:
            text = typed.partition(b"\x1b")[0]
            for each in text.decode("utf-8", "ignore"):
                yield PLAIN.get(each, each)
            typed = typed[len(text) :]


@dataclass
class Pane:
    """What of the fleet is looked at."""

    offset: int = 0
    searching: bool = False
    helping: bool = False
    height: int = 10  # lines for agents, as last drawn
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of those in sight

    def press(self, key: str, roll: Roll) -> bool:
        """Do what a key says; False: it says to quit."""
        if self.searching:
            self._type(key, roll)
        elif key == "q":
            return False
        elif self.helping:
            self.helping = False
        else:
            self._command(key, roll)
        self.offset = max(0, min(self.offset, len(roll) - self.height))
        return True

    def _command(self, key: str, roll: Roll) -> None:
        choice = roll.choice
        if key in MOVES:
            by, pages = MOVES[key]
            self.offset += by + pages * self.height
        elif key in ("home", "g"):
            self.offset = 0
        elif key in ("end", "G"):
            self.offset = len(roll)
        elif key == "s":
            names = list(SORTS)
            after = names[(names.index(choice.sort) + 1) % len(names)]
            roll.choose(replace(choice, sort=after))
        elif key == "/":
            self.searching = True
        elif key == "?":
            self.helping = True
        elif key == "escape" and choice.search:
            roll.choose(replace(choice, search=""))
        elif key == "0":
            roll.choose(replace(choice, states=frozenset()))
        elif key.isdecimal() and len(key) == 1 and key.isascii():
            state = WORST_FIRST[int(key) - 1]
            roll.choose(replace(choice, states=choice.states ^ {state}))

    def _type(self, key: str, roll: Roll) -> None:
        text = roll.choice.search
        if key in ("enter", "escape"):
            self.searching = False
        if key in ("escape", "clear"):
            text = ""
        elif key == "back":
            text = text[:-1]
        elif len(key) == 1 and key.isprintable():
            text += key
        if text != roll.choice.search:
            self.offset = 0
            roll.choose(replace(roll.choice, search=text))

    def draw(
        self, roll: Roll, look: Look, size: tuple[int, int], head: str, alarm: str | None
    ) -> list[str]:
        """Lay out a screen of so many columns and lines: what is on top, agents, and a hint.

        ``alarm`` says that what is shown is old.
        """
        width, lines = size
        self.height = max(1, lines - FURNITURE)
        self.offset = max(0, min(self.offset, len(roll) - self.height))
        shown = [_head(roll, width, head), _states(roll, look, width), self._where(roll, width)]
        if alarm is not None:
            shown[2] = REVERSE + fit(printable(alarm), width) + PLAIN_AGAIN
        if self.helping:
            shown += [fit(line, width) for line in ("", *HELP.splitlines())]
        else:
            columns = columns_for(width)
            titles = GAP.join(fit(title, wide) for title, wide in columns)
            shown.append(BOLD + fit(titles, width) + PLAIN_AGAIN)
            shown += self._rows(roll, look, columns)
        shown = shown[: lines - 1]
        shown += [""] * (lines - 1 - len(shown))
        return [*shown, fit(HINT, width)]

    def in_sight(self, roll: Roll) -> dict[str, bool]:
        """Name the agents that are drawn, and tell whether their details are those of now."""
        return {
            agent["id"]: self.details.get(agent["id"], {}).get("seq") == agent["seq"]
            for agent in roll.page(self.offset, self.height)
        }

    def _rows(self, roll: Roll, look: Look, columns: list[tuple[str, int]]) -> Iterator[str]:
        for agent in roll.page(self.offset, self.height):
            cells = _cells(agent, self.details.get(agent["id"], {}))
            fitted = (fit(printable(cells[title]), wide) for title, wide in columns)
            titles = (title for title, _ in columns)
            yield GAP.join(
                look.paint_states(cell, title, agent["state"])
                for cell, title in zip(fitted, titles, strict=True)
            )

    def _where(self, roll: Roll, width: int) -> str:
        choice, last = roll.choice, min(len(roll), self.offset + self.height)
        parts = [f"{min(self.offset + 1, last)}-{last} of {len(roll)}", f"sorted by {choice.sort}"]
        if self.searching or choice.search:
            parts.append(f"/{choice.search}{'_' if self.searching else ''}")
        return fit(printable("   ".join(parts)), width)


MOVES = {
    "up": (-1, 0),
    "k": (-1, 0),
    "down": (1, 0),
    "j": (1, 0),
    "page up": (0, -1),
    "b": (0, -1),
    "page down": (0, 1),
    " ": (0, 1),
}


def columns_for(width: int) -> list[tuple[str, int]]:
    """Choose the columns that fit, and their widths."""
    columns = dict(COLUMNS)
    for dropped in DROPPED:
        left = _left(columns, width)
        if left >= (TASK if "task" in columns else 0):
            break
        del columns[dropped]
    last = "task" if "task" in columns else "id"
    columns[last] = max(1, columns[last] + _left(columns, width))
    return list(columns.items())


def _left(columns: Mapping[str, int], width: int) -> int:
    return width - sum(columns.values()) - len(GAP) * (len(columns) - 1)


def summary(roll: Roll) -> str:
    """Say in a line how many there are; for what is no terminal."""
    counted = (f"{roll.counts[state]} {state}" for state in WORST_FIRST if roll.counts[state])
    return f"{roll.total} agents, {roll.alive} alive: {', '.join(counted) or 'nobody'}"


def _head(roll: Roll, width: int, head: str) -> str:
    counted = f"{roll.total} agents, {roll.alive} alive"
    return fit(f"{counted}{GAP}{printable(head)}", width)


def _states(roll: Roll, look: Look, width: int) -> str:
    """Count the states beside their keys; those that are chosen stand out."""
    counts, chosen = roll.counts, roll.choice.states
    texts = {
        state: f"{number} {state} {counts[state]}" for number, state in enumerate(WORST_FIRST, 1)
    }
    if len(GAP.join(texts.values())) > width:
        texts = {state: text for state, text in texts.items() if counts[state] or state in chosen}
    shown, left = [], width
    for state, text in texts.items():
        left -= len(text)
        if left < 0:
            break
        left -= len(GAP)
        painted = look.paint(text, state) if counts[state] else text
        shown.append(f"{REVERSE}{text}{PLAIN_AGAIN}" if state in chosen else painted)
    return GAP.join(shown)


def _cells(agent: Mapping[str, Any], detail: Mapping[str, Any]) -> dict[str, str]:
    gone = ": ".join(filter(None, (detail.get("reason"), detail.get("reason_text"))))
    age_ms = detail.get("evidence_age_ms")
    return {
        "id": agent["id"],
        "state": agent["state"],
        "status": agent["status"] or "",
        "heard": "" if age_ms is None else spell(age_ms / 1000),
        "group": agent["group"] or "",
        "task": (detail.get("task") or "") if agent["alive"] else gone,
    }
