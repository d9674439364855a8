"""Command-line flags made from settings, so that no flag can be forgotten."""

from __future__ import annotations

import argparse

from lifesigns.setting import Setting, settings

UNITS = {"s": "SECONDS", "ms": "MS", "bytes": "BYTES", "dir": "DIR"}


def add_flags(parser: argparse.ArgumentParser, of: type, title: str = "settings") -> None:
    """Give a command a flag for each setting, and a second one for the file of a secret."""
    group = parser.add_argument_group(title)
    for each in settings(of):
        plain, *from_file = each.options()
        words = f"{each.doc} ({each.kind.takes}; default {each.default}; ${each.variable})"
        group.add_argument(plain, metavar=_metavar(each), help=words.replace("%", "%%"))
        for option in from_file:
            group.add_argument(
                option, metavar="FILE", help=f"read it from a file (${each.variable}_FILE)"
            )


def flags_of(args: argparse.Namespace, of: type) -> dict[str, str | None]:
    """Take the flags of these settings out of all that was typed."""
    names = [option[2:].replace("-", "_") for each in settings(of) for option in each.options()]
    return {name: getattr(args, name) for name in names}


def _metavar(each: Setting) -> str:
    if each.name.endswith("_per_s"):
        return "RATE"
    return UNITS.get(each.name.rpartition("_")[2], "VALUE")
