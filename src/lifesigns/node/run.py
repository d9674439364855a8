"""A hub as a process: how it is started, told to go, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Protocol

from lifesigns.config import Config
from lifesigns.core.access import DEFAULT_PROJECT, ROOT_ID, Grant
from lifesigns.node.hub import Hub, Revive, open_hub
from lifesigns.store.address import Address
from lifesigns.store.embedded import EmbeddedStore
from lifesigns.store.keyfile import NAME as KEY_FILE
from lifesigns.web.server import Server, listen

log = logging.getLogger(__name__)

# Nearly all that a call makes ends with it, without the collector. With its own thresholds the
# slowest of large checks were three times as slow.
COLLECTIONS = (10_000, 5, 10)
AFTER_STORE = 0.02  # of a drain's time: what is kept for all that comes after the store's end


class Starter(Protocol):
    """Whoever started a hub: a person, or a process that runs several of them on one port."""

    shares_port: bool
    greets: bool  # whether it wants the address of the dashboard, with a login ticket

    def announce(self, text: str) -> None:
        """Take a line for people."""

    def ready(self, node: str, url: str) -> None:
        """The hub serves, by this name and at this address."""

    def attend(self, bell: Bell) -> None:
        """Take the bell: who ends a hub need not do it by a signal."""


async def run(config: Config, starter: Starter) -> None:
    """Run a hub until it is told to stop."""
    gc.set_threshold(*COLLECTIONS)
    gc.freeze()  # what is there by now stays: no collection looks at it again
    async with AsyncExitStack() as stack:
        bell = stack.enter_context(_signals())  # outermost: nothing cuts the parting short
        starter.attend(bell)
        # First: a port that is taken costs nothing yet.
        listener = listen(config.host, config.port, shared=starter.shares_port)
        stack.callback(listener.close)
        address, revive = await _find_store(config, stack, bell)
        hub = await stack.enter_async_context(open_hub(config, address, revive))
        url = _url(listener)
        if config.auth:
            await _open_accounts(config, hub, url, starter)
        elif starter.greets:
            starter.announce(f"dashboard: {url}/")
        server = Server(hub.site, hub.lobby, lambda: _ready(hub, url, starter))
        bell.server = server
        await server.serve(sockets=[listener])


class Bell:
    """Rung by a signal: a hub that starts gives up, one that serves goes, told twice at once."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.rung = False
        self._starting = asyncio.current_task()

    def ring(self) -> None:
        if self.server is not None:
            self.server.go()
        elif not self.rung and self._starting is not None:
            self._starting.cancel()
        self.rung = True

    def retire(self) -> None:
        """Go, and leave the port at once to others who share it."""
        if self.server is not None:
            self.server.deafen()
        self.ring()

    def left_s(self, reserve: float) -> float | None:
        """Tell how long a hub that goes may still take; None: as long as it likes."""
        return self.server.left_s(reserve) if self.server is not None and self.rung else None


@contextlib.contextmanager
def _signals() -> Iterator[Bell]:
    loop, bell = asyncio.get_running_loop(), Bell()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, bell.ring)
    try:
        yield bell
    except asyncio.CancelledError:
        if not bell.rung:
            raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _find_store(config: Config, stack: AsyncExitStack, bell: Bell) -> tuple[Address, Revive]:
    if config.redis is not None:
        return Address.parse(config.redis), None
    embedded = EmbeddedStore(config.data_dir)
    await embedded.start()
    stack.push_async_callback(_stop_store, embedded, bell)
    log.info("the embedded store was %s in %s", embedded.how, embedded.folder)
    return Address.parse(embedded.url), embedded.revive


async def _stop_store(embedded: EmbeddedStore, bell: Bell) -> None:
    """A server that takes longer than a drain may ends by itself; else the next hub adopts it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(bell.left_s(AFTER_STORE)):
            await embedded.stop()


async def _open_accounts(config: Config, hub: Hub, url: str, starter: Starter) -> None:
    now_ms = time.time_ns() // 1_000_000
    made = await hub.registry.ensure_root(config.admin_key, config.data_dir, now_ms=now_ms)
    await hub.gate.recheck()  # a root key that was replaced is no news to those who come now
    if made is not None:
        starter.announce(f"root key, kept in {config.data_dir / KEY_FILE}, shown only now: {made}")
    if not starter.greets:
        return
    root = Grant(ROOT_ID, DEFAULT_PROJECT, "root")
    ticket, _ = await hub.registry.create_ticket(root, "login", now_ms=now_ms)
    # Behind the hash, where no proxy and no log sees it.
    starter.announce(f"dashboard, its login ticket good for 15 minutes: {url}/#ticket={ticket}")


async def _ready(hub: Hub, url: str, starter: Starter) -> None:
    starter.ready(hub.ticker.node, url)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
