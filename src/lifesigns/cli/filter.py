"""Which agents a command means, as flags: the same for all commands that look at many."""

from __future__ import annotations

import argparse
from typing import Any

from lifesigns.core.presence import STATES


def add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these; ID* is a prefix")
    parser.add_argument("--state", action="append", choices=STATES, help="only in this state")
    parser.add_argument("--capability", action="append", help="only with this capability")
    parser.add_argument("--group", action="append", help="only of this group")


def filter_of(args: argparse.Namespace) -> dict[str, Any]:
    """Answer the parts of a filter that were typed."""
    parts = {name: getattr(args, name) for name in ("ids", "state", "capability", "group")}
    return {name: value for name, value in parts.items() if value}
