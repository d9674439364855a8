"""What an agent says of itself, as flags: for the commands that speak for one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from lifesigns.cli.span import seconds
from lifesigns.core.errors import BadValue
from lifesigns.core.presence import HINTS


def add_words(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is said of the agent; an empty text clears it")
    group.add_argument("--status", metavar="WORD", help="its own word: idle, thinking, ...")
    group.add_argument("--state", choices=HINTS, help="its state, whatever the word")
    group.add_argument("--task", metavar="TEXT", help="what it works on")
    group.add_argument("--progress", metavar="TEXT", help="how far it is: a note, or a JSON map")
    group.add_argument(
        "--progress-ttl",
        metavar="SPAN",
        help="busy without progress for longer than this, it counts as stalled (30s, 5m)",
    )
    group.add_argument("--busy-for", metavar="SPAN", help="it is not stalled for so long")
    group.add_argument("--ttl", metavar="SPAN", help="how long one sign of life counts")
    group.add_argument(
        "--capability",
        action="append",
        dest="capabilities",
        metavar="NAME",
        help="what it can do; may be repeated",
    )
    group.add_argument("--slots", type=int, metavar="N", help="how much it takes on at once")
    group.add_argument("--group", metavar="NAME", help="what it belongs to")
    group.add_argument(
        "--metadata",
        action="append",
        metavar="KEY=VALUE",
        help="a value is JSON if it can be read as that, else text; may be repeated",
    )


def words_of(args: argparse.Namespace) -> dict[str, Any]:
    """Take what was typed, by the names of the wire; None is said where it shall be cleared."""
    said = {name: read(getattr(args, name)) for name, read in READ.items() if _typed(args, name)}
    for name in ("progress_ttl", "busy_for", "ttl"):
        if _typed(args, name):
            said[name] = seconds(getattr(args, name), "--" + name.replace("_", "-"))
    return said


def _typed(args: argparse.Namespace, name: str) -> bool:
    return getattr(args, name) is not None


def _text(text: str) -> str | None:
    return text or None


def _progress(text: str) -> Any:
    return _json(text) if text.startswith("{") else _text(text)


def metadata_of(pairs: list[str]) -> dict[str, Any]:
    """Read pairs like KEY=VALUE, as they were typed behind --metadata."""
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            message = f"--metadata is {json.dumps(pair)}: it must be like KEY=VALUE"
            raise BadValue(message, field="metadata")
        found[name] = _json(value)
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _as_it_is(value: Any) -> Any:
    return value


READ: dict[str, Callable[[Any], Any]] = {
    "status": _text,
    "state": _as_it_is,
    "task": _text,
    "progress": _progress,
    "capabilities": _as_it_is,
    "slots": _as_it_is,
    "group": _text,
    "metadata": metadata_of,
}
