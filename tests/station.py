"""What stands between a hub's sockets and a real store, without the hub: nothing runs by itself.

Sessions are opened as sockets would open them; what they are told is kept. ``Elsewhere`` is such a
station on a loop of its own that ticks and sweeps, whatever the test's loop does.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import LifesignsError, Superseded
from lifesigns.core.evidence import Check
from lifesigns.core.model import Presence, Words
from lifesigns.core.request import CheckAsked
from lifesigns.store import keys, script
from lifesigns.store.address import Address
from lifesigns.store.clock import StoreClock
from lifesigns.store.diary import Diary, Upkeep
from lifesigns.store.entry import Receipt
from lifesigns.store.hold import Hold
from lifesigns.store.inbox import TELL, Inbox
from lifesigns.store.ingest import Ingest
from lifesigns.store.interest import Interest
from lifesigns.store.lease import Lane
from lifesigns.store.ledger import Ledger
from lifesigns.store.link import Link
from lifesigns.store.probe import PROBE, SIGNS, Probe
from lifesigns.store.put import HttpBeat
from lifesigns.store.registry import Registry
from lifesigns.store.store import Store, Terms
from lifesigns.workers.agenda import Agenda
from lifesigns.workers.sweeper import Sweeper
from lifesigns.workers.ticker import Ticker
from lifesigns.workers.warden import Warden
from tests.patience import SOON_S, until

Outcome = Receipt | LifesignsError
UPKEEP = Upkeep(entries=5, keep_ms=3_600_000, gap_ms=600_000)


class Session:
    """One session, as its socket has it."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._loop = asyncio.get_running_loop()
        self.told: list[str] = []  # what became of it
        self.letters: list[Mapping[str, Any]] = []
        self.outcomes: list[Outcome] = []  # of the hello

    def refused(self, why: LifesignsError) -> None:
        self.told.append("fenced" if isinstance(why, Superseded) else why.code)

    def removed(self) -> None:
        self.told.append("removed")

    def ping(self) -> None:
        self.told.append("pinged")

    def tell(self, frame: Mapping[str, Any]) -> None:
        self.letters.append(frame)

    def open(self, lane: Lane, agent: str, instance: str, ttl_ms: int, words: Words) -> None:
        now = self._loop.time()
        self.lease = self._ingest.open(
            lane, agent, instance, ttl_ms, words, self, now, self.outcomes.append
        )

    @property
    def id(self) -> str:
        return self.lease.session

    def renew(self) -> None:
        self._ingest.renew(self.lease, self._loop.time())

    def say(self, *, ttl_ms: int | None = None, **said: Any) -> list[Outcome]:
        """Beat; what comes back is in the list, when it has come."""
        outcomes: list[Outcome] = []
        self._ingest.say(self.lease, said, ttl_ms, self._loop.time(), outcomes.append)
        return outcomes

    def leave(self, text: str = "") -> None:
        self._ingest.leave(self.lease, "left", text, self._loop.time())

    def lose(self) -> None:
        self._ingest.lose(self.lease, self._loop.time())


@dataclass(frozen=True)
class Pace:
    """How quick a station is, and for how long it keeps what."""

    flush_s: float = 0.002
    fold_s: float = 1.0
    patience_s: float = 10.0
    lease_ms: int = 2_500  # the hub's own
    retention_ms: int = 3_600_000
    diary: Upkeep = UPKEEP


class Station:
    """The parts; the ticker ticks and the sweeper sweeps when they are told to."""

    def __init__(self, url: str, pace: Pace) -> None:
        address = Address.parse(url)
        self.clock = StoreClock()
        self.link = Link(
            address, name="test", scripts=script.ALL, on_up=self._up, on_down=self._down
        )
        self.inbox = Link(address, name="test-inbox", on_push=self._pushed)
        self.ingest = Ingest(
            self.link,
            self.clock,
            Interest(self.link, self.inbox),
            flush_s=pace.flush_s,
            fold_s=pace.fold_s,
            grace_ms=5_000,
        )
        self.commit = self.ingest.commit
        terms = Terms(
            history_ms=600_000,
            retention_ms=pace.retention_ms,
            http_ttl_ms=60_000,
            patience_s=pace.patience_s,
        )
        self.store = Store(self.link, self.clock, self.ingest, Registry(self.link), terms)
        self.probe = Probe(self.store, self.link, self.clock, self.ingest)
        self.hold = Hold(self.clock)
        self.letters = Inbox(self.store, self.link, self.inbox, self.clock, self.ingest)
        self.ticker = Ticker(
            self.link, self.clock, self.ingest, self.hold, tick_s=0.1, lease_ms=pace.lease_ms
        )
        self.sweeper = Sweeper(self.link, self.store, self.ticker, self.hold, history_len=100_000)
        self.warden = Warden(self.link, self.store, self.ticker, self.ingest)
        self.ledger = Ledger(self.link, self.store)
        self.diary = Diary(self.link, self.store, self.clock, pace.diary)
        self.agenda = Agenda(self.link, self.store, self.ledger, self.clock, self.ticker)
        self.ticker.on_tick = self._ticked
        self._loop = asyncio.get_running_loop()
        self._hears = False
        self.losses = 0  # of the link
        self.pushes = 0  # messages of its inbox
        self.confirmed = 0  # subscriptions to other channels
        self._channel = ""  # its inbox

    async def start(self) -> None:
        await self.link.start()
        await self.inbox.start()
        node = await self.ticker.join()
        self._channel = keys.inbox(self.link.address.db, node)
        self.inbox.subscribe(self._channel)
        await self.store.know(DEFAULT_PROJECT)
        await until(lambda: self._hears)

    async def stop(self) -> None:
        await self.ticker.leave()
        await self.inbox.aclose()
        await self.link.aclose()

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Tick and sweep as a hub does."""
        loops = [
            asyncio.create_task(self.ticker.run()),
            asyncio.create_task(self.sweeper.run()),
            asyncio.create_task(self.warden.run()),
        ]
        try:
            yield
        finally:
            for each in loops:
                each.cancel()
            ended = await asyncio.gather(*loops, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    # Sessions.

    def open(
        self, agent: str, instance: str = "i", *, ttl_ms: int = 30_000, **words: Any
    ) -> Session:
        """Say hello, and await nothing."""
        session = Session(self.ingest)
        lane = self.store.lane(DEFAULT_PROJECT, agent)
        session.open(lane, agent, instance, ttl_ms, Words(**words))
        return session

    async def opened(self, agent: str, instance: str = "i", **given: Any) -> Session:
        """Say hello, and await that it is stored."""
        session = self.open(agent, instance, **given)
        await until(lambda: session.outcomes)
        assert isinstance(session.outcomes[0], Receipt), session.outcomes
        return session

    async def settle(self) -> None:
        """Await that all is stored."""
        await until(lambda: self.link.up)
        self.commit.unfold()
        await until(lambda: not self.commit.waiting)

    @property
    def under_way(self) -> bool:
        """Whether all that was to be said has left, and waits for its answer."""
        lanes = self.store.lanes(DEFAULT_PROJECT)
        return self.commit.waiting and not any(lane.entries or lane.urgent for lane in lanes)

    # HTTP.

    async def put(
        self, agent: str, instance: str | None = None, *, ttl_ms: int | None = None, **said: Any
    ) -> Presence:
        beat = HttpBeat(agent, instance, ttl_ms, said)
        return await self.store.put(DEFAULT_PROJECT, beat, self._loop.time())

    async def read(self, agent: str) -> Presence:
        presence = (await self.store.read(DEFAULT_PROJECT, agent)).presence
        assert presence is not None, f"{agent} was never seen"
        return presence

    async def check(self, *agents: str, **asked: Any) -> list[Check]:
        """Check as a peer does; ``asked`` are fields of CheckAsked."""
        fields = {"ref": None, "within_ms": None, "detail": "full"} | asked
        return await self.probe.check(DEFAULT_PROJECT, CheckAsked(agents=list(agents), **fields))

    # What the server was asked.

    async def calls(self, *, anew: bool = False) -> int:
        """Count the scripts that were run on the server, by anybody, since last begun anew."""
        stats = (await self.link.ask("INFO", "commandstats")).decode()
        found = re.search(r"cmdstat_evalsha:calls=(\d+)", stats)
        if anew:
            await self.link.ask("CONFIG", "RESETSTAT")
        return int(found[1]) if found else 0

    def _ticked(self) -> None:
        self.sweeper.ticked()
        self.warden.ticked()

    def _up(self) -> None:
        self.ticker.store_is_back()
        self.commit.unfold()

    def _down(self) -> None:
        self.losses += 1

    def _pushed(self, push: list[Any]) -> None:
        what, channel = push[0], push[1].decode()
        if channel != self._channel:
            if what == b"message":
                self.letters.heard(channel, push[2])
            elif what == b"subscribe":
                self.confirmed += 1
                self.letters.confirmed(channel)
        elif what == b"message":
            self.pushes += 1
            self._told(*msgpack.unpackb(push[2]))
        elif what == b"subscribe":
            self._hears = True
            self.ingest.doubt()

    def _told(self, what: str, *told: Any) -> None:
        if what == PROBE:
            self.probe.asked(*told)
        elif what == SIGNS:
            self.probe.answered(*told)
        elif what == TELL:
            self.letters.told(*told)
        else:
            self.ingest.told(what, told[-1])


def together(agents: int, *, project: str = DEFAULT_PROJECT) -> list[str]:
    """Name agents that share a partition."""
    named = (f"agent-{number}" for number in range(1_000_000))
    first = keys.partition(project, "agent-0", keys.PARTITIONS)
    shared = (each for each in named if keys.partition(project, each, keys.PARTITIONS) == first)
    return [next(shared) for _ in range(agents)]


@contextlib.asynccontextmanager
async def station(url: str, **pace: Any) -> AsyncIterator[Station]:
    """Run a station on a store; ``pace`` are fields of Pace."""
    made = Station(url, Pace(**pace))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


class Elsewhere:
    """Another hub's station, at work in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._work(),))
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Elsewhere:
        self._thread.start()
        assert self._ready.wait(SOON_S)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()

    @property
    def swept(self) -> int:
        return self._station.sweeper.swept

    @property
    def safe_ms(self) -> int:
        return self._station.ticker.safe_ms

    async def _work(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with station(self._url) as self._station, self._station.working():
            self._ready.set()
            await self._over.wait()
