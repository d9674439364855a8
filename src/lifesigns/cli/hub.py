"""One hub in this process, from its settings to its end; what ended it becomes a sentence."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from lifesigns.cli.extra import INSTALL, missing
from lifesigns.config import Config
from lifesigns.core.errors import LifesignsError, Unavailable

if TYPE_CHECKING:
    from lifesigns.node.run import Starter

log = logging.getLogger(__name__)


def run_hub(config: Config, starter: Starter) -> None:
    """Run a hub until it is told to go; raise the error that ended it before."""
    from lifesigns.node.run import run

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(run(config, starter))
        except Exception as error:
            log.debug("the hub ended", exc_info=True)
            raise told(_leaf(error), config) from error


def check_install() -> None:
    """Refuse to run a hub on an install that has not all it needs."""
    if absent := missing():
        raise Unavailable(f"a hub needs {', '.join(absent)}: {INSTALL}")


def secrets_of(config: Config) -> list[str]:
    """List what must never be shown."""
    from lifesigns.store.address import Address

    secrets = [config.admin_key] if config.admin_key else []
    if config.redis is not None:
        secrets += Address.parse(config.redis).secrets
    return secrets


def told(error: Exception, config: Config) -> LifesignsError:
    """Make of what ended the hub a sentence for whoever started it."""
    if isinstance(error, LifesignsError):
        return error
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return Unavailable(f"{config.host}:{config.port} is taken: choose another --port")
    if isinstance(error, OSError):
        return Unavailable(f"the hub could not run: {error}")
    kind = type(error).__name__
    return Unavailable(f"the hub ended by an error of its own: {kind}: {error}")


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
