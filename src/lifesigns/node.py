"""One hub, put together: the only file that knows all rooms."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import msgpack
import uvicorn

from lifesigns.config import Config
from lifesigns.core.access import DEFAULT_PROJECT, ROOT_ID, Grant
from lifesigns.core.errors import Unavailable
from lifesigns.core.model import Limits
from lifesigns.hub.fanout import Fanout
from lifesigns.store import keys, script
from lifesigns.store.address import Address
from lifesigns.store.clock import StoreClock
from lifesigns.store.embedded import EmbeddedStore
from lifesigns.store.feed import Feed, Source
from lifesigns.store.ingest import Ingest
from lifesigns.store.keyfile import NAME as KEY_FILE
from lifesigns.store.link import Link, ReplyError
from lifesigns.store.registry import Registry
from lifesigns.store.store import Store, Terms
from lifesigns.web import account, operation, pulse, sse
from lifesigns.web.auth import Gate, OpenGate
from lifesigns.web.door import Rules
from lifesigns.web.http import Desk, Site
from lifesigns.web.lobby import Lobby
from lifesigns.web.rate import Rate
from lifesigns.web.socket import HubProtocol
from lifesigns.workers.census import Census
from lifesigns.workers.sweeper import Sweeper
from lifesigns.workers.ticker import Ticker

log = logging.getLogger(__name__)

Announce = Callable[[str], None]
Revive = Callable[[], Awaitable[None]] | None

FEED_SILENT_S = 1.5  # a half-open feed is found within three seconds
OWN_TICK_S = 1.0  # how often a hub tells itself something, to hear how late it comes
PARTING_S = 3.0  # how long a hub that goes waits for its last beats to be stored
FAREWELL_S = 5  # how long it waits for its connections to end
KEEP_ALIVE_S = 75  # longer than an agent that posts once a minute pauses
BACKLOG = 4096  # thousands of agents may come back in the same moment


async def run(config: Config, announce: Announce) -> None:
    """Run a hub until it is told to stop; ``announce`` takes the lines for who started it."""
    async with AsyncExitStack() as stack:
        bell = stack.enter_context(_signals())  # outermost: nothing cuts the parting short
        listener = listen(config.host, config.port)  # first: a port that is taken costs nothing yet
        stack.callback(listener.close)
        address, revive = await _find_store(config, stack)
        hub = await stack.enter_async_context(open_hub(config, address, revive))
        if config.auth:
            await _open_accounts(config, hub, announce)
        server = Server(hub.site, hub.lobby, lambda: _ready(hub, listener, announce))
        bell.server = server
        await server.serve(sockets=[listener])


class Hub:
    """The parts of a running hub that its shell needs."""

    def __init__(self, config: Config, address: Address, revive: Revive) -> None:
        self.clock = StoreClock()
        self.link = Link(
            address,
            name="lifesigns",
            scripts=script.ALL,
            on_up=self._store_is_back,
            before_reconnect=revive,
        )
        self.inbox = Link(
            address,
            name="lifesigns-inbox",
            on_push=self._pushed,
            before_reconnect=revive,
            silent_s=FEED_SILENT_S,
        )
        self.registry = Registry(self.link)
        self.ingest = Ingest(
            self.link,
            self.clock,
            flush_s=config.flush_ms / 1000,
            fold_s=config.fold_ms / 1000,
            grace_ms=round(config.grace_s * 1000),
        )
        terms = Terms(
            history_ms=round(config.history_s * 1000),
            retention_ms=round(config.retention_s * 1000),
            http_ttl_ms=round(config.http_ttl_s * 1000),
            patience_s=config.store_timeout_s,
        )
        self.store = Store(self.link, self.clock, self.ingest, self.registry, terms)
        self.feed = Feed(self.link, self.inbox, self.store.reader)
        limits = _limits(config)
        self.fanout = Fanout(
            lambda project: Source(self.feed, self.store.lanes(project)),
            frame_bytes=limits.outgoing_frame_bytes,
        )
        self.ticker = Ticker(
            self.link,
            self.clock,
            self.ingest,
            tick_s=config.tick_ms / 1000,
            lease_ms=config.node_lease_ms,
        )
        self.sweeper = Sweeper(self.link, self.store, self.ticker, history_len=config.history_len)
        self.ticker.on_tick = self._ticked
        self._inbox_channel = ""
        self._told_at = 0.0
        self._rechecking: asyncio.Task[None] | None = None
        self.gate = (
            Gate(self.registry, root_token=config.admin_key, good_s=config.key_memory_s)
            if config.auth
            else OpenGate(self.registry, good_s=config.key_memory_s)
        )
        rules = Rules(config.origins, loopback_only=not config.auth)
        self.lobby = Lobby(
            gate=self.gate,
            store=self.store,
            ingest=self.ingest,
            clock=self.clock,
            fanout=self.fanout,
            limits=limits,
            rules=rules,
            max_connections=config.max_connections,
        )
        desk = Desk(
            gate=self.gate,
            store=self.store,
            registry=self.registry,
            clock=self.clock,
            ticker=self.ticker,
            sweeper=self.sweeper,
            census=Census(self.store),
            feed=self.feed,
            lobby=self.lobby,
            limits=limits,
            rate=Rate(config.beats_per_s, config.burst_s),
            rules=rules,
            body_bytes=config.body_bytes,
            bulk_body_bytes=config.bulk_body_bytes,
            open_metrics=config.loopback,
        )
        self.site = Site(desk, (*pulse.ROUTES, *sse.ROUTES, *account.ROUTES, *operation.ROUTES))

    async def start(self) -> None:
        """Connect, and join the other hubs."""
        await self.link.start()
        await self.inbox.start()
        node = await self.ticker.join()
        self.lobby.node = node
        self._inbox_channel = keys.inbox(self.link.address.db, node)
        self.inbox.subscribe(self._inbox_channel)
        await self.store.know(DEFAULT_PROJECT)
        await self.gate.recheck()

    async def stop(self) -> None:
        """Write what is left, and leave the other hubs."""
        self.lobby.wheel.stop()
        try:
            async with asyncio.timeout(PARTING_S):
                await self.ingest.commit.settle()
        except TimeoutError:
            log.warning("the store did not take the last beats in %g s", PARTING_S)
        await self.ticker.leave()
        await self.inbox.aclose()
        await self.link.aclose()

    def _store_is_back(self) -> None:
        self.ingest.commit.unfold()
        self.feed.store_is_back()

    def _pushed(self, push: list[Any]) -> None:
        what, channel = push[0], push[1].decode()
        mine = channel == self._inbox_channel
        if what == b"message":
            if mine:
                about, *_, last = msgpack.unpackb(push[2])
                if about == "tick":
                    self.feed.lag_s = max(0.0, asyncio.get_running_loop().time() - last)
                else:
                    self.ingest.told(about, last)
            else:
                self.feed.heard(channel, push[2])
        elif what == b"subscribe":  # whatever was told before this moment was missed
            if mine:
                self.ingest.doubt()
            else:
                self.feed.confirmed(channel)

    def _ticked(self) -> None:
        self.sweeper.ticked()
        now = asyncio.get_running_loop().time()
        if now >= self._told_at + OWN_TICK_S:
            self._told_at = now
            tick = msgpack.packb(["tick", now])
            self.link.call(("PUBLISH", self._inbox_channel, tick), lambda _: None)
        now_ms = time.time_ns() // 1_000_000
        if expired := self.gate.expired_ids(now_ms):
            self.lobby.revoke(expired)
        if self.ticker.revision != self.gate.revision and (
            self._rechecking is None or self._rechecking.done()
        ):
            self._rechecking = asyncio.create_task(self._recheck())

    async def _recheck(self) -> None:
        try:
            await self.lobby.recheck()
        except (Unavailable, ReplyError) as away:
            log.info("keys cannot be looked at now: %s", away)  # the next tick tries again


@asynccontextmanager
async def open_hub(config: Config, address: Address, revive: Revive) -> AsyncIterator[Hub]:
    """Run everything of a hub but its listening socket."""
    hub = Hub(config, address, revive)
    await hub.start()
    loops = [
        asyncio.create_task(hub.ticker.run(), name="ticker"),
        asyncio.create_task(hub.sweeper.run(), name="sweeper"),
    ]
    for each in loops:
        each.add_done_callback(_mourn)
    try:
        yield hub
    finally:
        for each in loops:
            each.cancel()
        await asyncio.wait(loops)
        await hub.stop()


class Server(uvicorn.Server):
    """uvicorn, told by us when to stop."""

    def __init__(self, site: Site, lobby: Lobby, ready: Callable[[], Awaitable[None]]) -> None:
        config = uvicorn.Config(
            site,
            ws=partial(HubProtocol, lobby),  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=FAREWELL_S,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._ready = ready
        self._lobby = lobby

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._lobby.drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: uvicorn would raise them again before the store is closed."""
        yield


class Bell:
    """Rung by a signal: a hub that starts gives up, one that serves goes; once is enough."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.rung = False
        self._starting = asyncio.current_task()

    def ring(self) -> None:
        if not self.rung:
            self.rung = True
            if self.server is not None:
                self.server.should_exit = True
            elif self._starting is not None:
                self._starting.cancel()


@contextlib.contextmanager
def _signals() -> Iterator[Bell]:
    loop, bell = asyncio.get_running_loop(), Bell()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, bell.ring)
    try:
        yield bell
    except asyncio.CancelledError:
        if not bell.rung:
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _find_store(config: Config, stack: AsyncExitStack) -> tuple[Address, Revive]:
    if config.redis is not None:
        return Address.parse(config.redis), None
    embedded = EmbeddedStore(config.data_dir)
    await embedded.start()
    stack.push_async_callback(embedded.stop)
    log.info("the embedded store was %s in %s", embedded.how, embedded.folder)
    return Address.parse(embedded.url), embedded.revive


async def _open_accounts(config: Config, hub: Hub, announce: Announce) -> None:
    now_ms = time.time_ns() // 1_000_000
    made = await hub.registry.ensure_root(config.admin_key, config.data_dir, now_ms=now_ms)
    await hub.gate.recheck()  # a root key that was replaced is no news to those who come now
    if made is not None:
        announce(f"root key, kept in {config.data_dir / KEY_FILE}, shown only now: {made}")
    root = Grant(ROOT_ID, DEFAULT_PROJECT, "root")
    ticket, _ = await hub.registry.create_ticket(root, "login", now_ms=now_ms)
    announce(f"login ticket, good for 15 minutes: {ticket}")


async def _ready(hub: Hub, listener: socket.socket, announce: Announce) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    announce(f"hub {hub.ticker.node}: http://{shown}:{port}")
    announce("ready")


def listen(host: str, port: int) -> socket.socket:
    """Open the socket on which a hub listens."""
    family, _, _, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    # Accepted sockets inherit it. asyncio's own loop leaves it out, and then the second write of an
    # answer waits until the first is acknowledged: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _limits(config: Config) -> Limits:
    return Limits(
        min_ttl_s=config.min_ttl_s,
        max_ttl_s=config.max_ttl_s,
        metadata_bytes=config.metadata_bytes,
        metadata_depth=config.metadata_depth,
        message_bytes=config.message_bytes,
        check_message_bytes=config.check_message_bytes,
        messages_per_s=config.messages_per_s,
        burst_s=config.burst_s,
        flood_s=config.flood_s,
        default_ttl_s=config.default_ttl_s,
        hello_timeout_s=config.hello_timeout_s,
        pong_timeout_s=config.pong_timeout_s,
    )


def _mourn(task: asyncio.Task[None]) -> None:
    """A loop of the hub ended by an error of its own: a hub without it must not go on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("the %s ended: the hub stops", task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)
