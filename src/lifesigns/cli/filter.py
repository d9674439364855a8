"""Which agents a command means, as flags: the same for all commands that look at many."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from lifesigns.cli.portrait import metadata_of
from lifesigns.core.presence import STATES


def add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these; ID* is a prefix")
    parser.add_argument("--state", action="append", choices=STATES, help="only in this state")
    parser.add_argument("--capability", action="append", help="only with this capability")
    parser.add_argument("--group", action="append", help="only of this group")
    parser.add_argument(
        "--metadata", action="append", metavar="KEY=VALUE", help="only with this in its metadata"
    )


def filter_of(args: argparse.Namespace) -> dict[str, Any]:
    """Answer the parts of a filter that were typed."""
    parts = {name: getattr(args, name) for name in ("ids", "state", "capability", "group")}
    if args.metadata:
        parts["metadata"] = metadata_of(args.metadata)
    return {name: value for name, value in parts.items() if value}


def query_of(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Spell a filter as parameters of a query, which has no maps."""
    metadata = wanted.get("metadata", {})
    return {name: value for name, value in wanted.items() if name != "metadata"} | {
        f"metadata.{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
