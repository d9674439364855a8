"""The command `lifesigns`: finds the subcommand, runs it, and turns errors into one line each.

Imports without the extra `hub`: what a command needs beyond the base it imports when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from lifesigns import __version__
from lifesigns.cli import (
    agent,
    beat,
    check,
    claim,
    demo,
    doctor,
    drain,
    keys,
    pick,
    run,
    schedule,
    serve,
    stats,
    top,
    watch,
    webhook,
    who,
    worker,
)
from lifesigns.cli.terminal import printable
from lifesigns.core.errors import BadRequest, BadValue, Conflict, LifesignsError

COMMANDS = (
    serve,
    demo,
    run,
    agent,
    beat,
    who,
    check,
    pick,
    claim,
    watch,
    top,
    stats,
    drain,
    schedule,
    webhook,
    keys,
    doctor,
    worker,
)
EXIT_CODES = """\
exit codes:
  0    it is done, or all is well
  1    it could not be done, or something is wrong; one line on stderr says what
  2    what was asked cannot be understood: a flag, a variable, a value
  130  ended with Ctrl-C
"""


class Parser(argparse.ArgumentParser):
    """Takes no shortened flags: a new flag must not change what a script says."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Where a program may follow, what stands behind -- is not looked at."""
        command = self.get_default("command")
        if command is not None and "--" in args:
            where = args.index("--")
            args, command = args[:where], args[where + 1 :]
        known, unknown = super().parse_known_args(args, namespace)
        if command is not None:
            known.command = command
        return known, unknown


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="lifesigns",
        description="Presence for agents: they beat, and anyone can ask who is alive.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"lifesigns {__version__}")
    top.set_defaults(failure=1)  # the exit code for what could not be done
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(subparsers)
    return top


def code_of(error: LifesignsError, failure: int) -> int:
    """Answer the exit code for an error; ``failure`` is the command's own for most of them."""
    if isinstance(error, (BadRequest, BadValue)):
        return 2
    return 1 if isinstance(error, Conflict) else failure


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except LifesignsError as error:
        print("lifesigns:", printable(error.message, keep="\n"), file=sys.stderr)
        return code_of(error, args.failure)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read along has left. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
