"""`lifesigns serve`: one hub, or several on one port, until they are told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
from typing import TYPE_CHECKING

from lifesigns import __version__
from lifesigns.cli import descriptor
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.hub import check_install, run_hub, secrets_of, told
from lifesigns.config import Config, misspelt

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

    from lifesigns.cli.log import Signature
    from lifesigns.node.run import Bell

log = logging.getLogger(__name__)


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "serve",
        usage="lifesigns serve [SETTING ...]",
        help="run a hub",
        description="Run a hub, with a Valkey of its own unless --redis names another store.",
        epilog="A flag counts before its variable, a variable before the default.",
    )
    add_flags(parser, Config)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    flags = flags_of(args, Config)
    config = Config.load(flags)
    check_install()
    store, secrets = _store(config), secrets_of(config)

    from lifesigns.cli.log import set_up

    signature = set_up(config.log_format, config.log_level, secrets)
    _look_around(config)
    announce(f"Lifesigns {__version__}")
    announce(f"store: {store}")
    if config.workers == 1:
        run_hub(config, Person(signature))
    else:
        from lifesigns.cli.workforce import Workforce

        try:
            asyncio.run(Workforce(config, flags, announce).run())
        except OSError as error:
            raise told(error, config) from error
    return 0


class Person:
    """Somebody at a terminal, or a service manager, who started one hub."""

    shares_port = False
    greets = True

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def announce(self, text: str) -> None:
        announce(text)

    def ready(self, node: str, url: str) -> None:
        self._signature.node = node
        announce(f"hub {node}: {url}")
        announce("ready")

    def attend(self, bell: Bell) -> None:
        """Signals are enough."""


def announce(text: str) -> None:
    print(text, flush=True)


def _store(config: Config) -> str:
    """Say which store it will be."""
    from lifesigns.store.address import Address

    if config.redis is None:
        return f"an embedded Valkey in {config.data_dir}"
    return str(Address.parse(config.redis))


def _look_around(config: Config) -> None:
    wanted = descriptor.needed(config.max_connections)
    allowed = descriptor.raise_limit(wanted)
    if allowed < wanted:
        log.warning(
            "this process may open %d files, too few for %d connections",
            allowed,
            config.max_connections,
        )
    for name in misspelt():
        log.warning("%s is no setting", name)
