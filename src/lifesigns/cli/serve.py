"""`lifesigns serve`: one hub, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from lifesigns import __version__
from lifesigns.cli import descriptor
from lifesigns.cli.extra import INSTALL, missing
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.config import Config, misspelt
from lifesigns.core.errors import LifesignsError, Unavailable

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

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
    config = Config.load(flags_of(args, Config))
    if absent := missing():
        raise Unavailable(f"a hub needs {', '.join(absent)}: {INSTALL}")
    store, secrets = _store(config)

    from lifesigns.cli.log import set_up

    set_up(config.log_format, config.log_level, secrets)
    _look_around(config)
    announce(f"Lifesigns {__version__}")
    announce(f"store: {store}")
    try:
        _run_node(config)
    except Exception as error:
        log.debug("the hub ended", exc_info=True)
        raise _told(_leaf(error), config) from error
    return 0


def announce(text: str) -> None:
    print(text, flush=True)


def _store(config: Config) -> tuple[str, list[str]]:
    """Say which store it will be, and what of it must never be shown."""
    from lifesigns.store.address import Address

    secrets = [config.admin_key] if config.admin_key else []
    if config.redis is None:
        return f"an embedded Valkey in {config.data_dir}", secrets
    address = Address.parse(config.redis)
    return str(address), [*secrets, address.password] if address.password else secrets


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


def _run_node(config: Config) -> None:
    from lifesigns import node

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(node.run(config, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _leaf(error: Exception) -> Exception:
    """Take the first error out of the groups that task groups make."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _told(error: Exception, config: Config) -> LifesignsError:
    """Make of what ended the hub a sentence for whoever started it."""
    if isinstance(error, LifesignsError):
        return error
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return Unavailable(f"{config.host}:{config.port} is taken: choose another --port")
    if isinstance(error, OSError):
        return Unavailable(f"the hub could not run: {error}")
    kind = type(error).__name__
    return Unavailable(f"the hub ended by an error of its own: {kind}: {error}")
