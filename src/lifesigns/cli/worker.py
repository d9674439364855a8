"""`lifesigns worker`: one of the hubs of `serve --workers`, at the end of the line to it.

Messages are JSON, one a line. The first one down has the settings; up go what people shall read,
that it is ready, or why it is not. When the line ends, whoever watched over it is gone, and so
that no worker is left behind for ever, it goes as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from lifesigns.cli.hub import check_install, run_hub, secrets_of
from lifesigns.config import Config
from lifesigns.core.errors import BadRequest, LifesignsError

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

    from lifesigns.cli.log import Signature
    from lifesigns.node.run import Bell

log = logging.getLogger(__name__)

RETIRE = b"retire\n"


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "worker", description="One of the hubs of `lifesigns serve --workers`, which starts it."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        told = json.loads(sys.stdin.readline())
        config = Config.load(told["flags"])
        greets = bool(told["greets"])
    except (ValueError, KeyError, TypeError):
        raise BadRequest("it is `lifesigns serve --workers` that starts workers") from None
    check_install()

    from lifesigns.cli.log import set_up

    line = Line(set_up(config.log_format, config.log_level, secrets_of(config)), greets)
    try:
        run_hub(config, line)
    except LifesignsError as error:
        line.say("failed", error.message)
        return 1
    return 0


class Line:
    """The way to the process that started this one; as a starter, it shares a port."""

    shares_port = True

    def __init__(self, signature: Signature, greets: bool) -> None:
        self.greets = greets
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print is no message
        self._signature = signature
        self._bell: Bell | None = None

    def announce(self, text: str) -> None:
        self.say("says", text)

    def ready(self, node: str, url: str) -> None:
        self._signature.node = node
        self.say("ready", {"node": node, "url": url})

    def attend(self, bell: Bell) -> None:
        self._bell = bell
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._hear)

    def say(self, what: str, content: Any) -> None:
        try:
            print(json.dumps([what, content]), file=self._out, flush=True)
        except BrokenPipeError:
            log.debug("nobody hears this worker any more")  # the end of the other way says so too

    def _hear(self) -> None:
        assert self._bell is not None
        heard = os.read(sys.stdin.fileno(), len(RETIRE))
        if heard:
            self._bell.retire()
        else:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            log.warning("whoever watched over this worker is gone, and so it goes")
            self._bell.ring()
