"""The parts of one hub, put together."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgpack

from lifesigns.config import Config
from lifesigns.core import job
from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.destination import Allowance
from lifesigns.core.errors import Unavailable
from lifesigns.core.model import Limits
from lifesigns.core.schedule import Terms as ScheduleTerms
from lifesigns.dialects.callboard.guide import CALLS, WINDOW_S
from lifesigns.hub.delegation import Delegation
from lifesigns.hub.fanout import Fanout
from lifesigns.store import keys, script
from lifesigns.store.address import Address
from lifesigns.store.board import Board
from lifesigns.store.bulletin import Bulletin
from lifesigns.store.claim import ASSIGNED, UNASSIGNED, Claims
from lifesigns.store.clock import StoreClock
from lifesigns.store.diary import Diary, Upkeep
from lifesigns.store.enrolment import Enrolments
from lifesigns.store.feed import Feed, Source
from lifesigns.store.hold import Hold
from lifesigns.store.inbox import TELL, Inbox
from lifesigns.store.ingest import Ingest
from lifesigns.store.interest import Interest
from lifesigns.store.job import Jobs
from lifesigns.store.ledger import Ledger
from lifesigns.store.link import Link, ReplyError
from lifesigns.store.operator import Operator
from lifesigns.store.probe import PROBE, SIGNS, Probe
from lifesigns.store.registry import Registry
from lifesigns.store.sample import Samples
from lifesigns.store.schedule import NOTICE, RUN, SCHEDULE, Schedules
from lifesigns.store.store import Store, Terms
from lifesigns.store.tally import Tally
from lifesigns.store.webhook import Webhooks
from lifesigns.web import (
    account,
    boostgpt,
    callboard,
    capacity,
    claim,
    inbox,
    mission_control,
    moltjobs,
    operation,
    override,
    page,
    pulse,
    run,
    schedule,
    sse,
    webhook,
)
from lifesigns.web.auth import Gate, OpenGate
from lifesigns.web.dialect import Dialect
from lifesigns.web.door import Rules
from lifesigns.web.http import Desk, Site
from lifesigns.web.lobby import Lobby
from lifesigns.web.quota import Quota
from lifesigns.web.rate import Rate
from lifesigns.workers.agenda import Agenda
from lifesigns.workers.board import Marshal
from lifesigns.workers.breaker import Breaker
from lifesigns.workers.caller import Caller
from lifesigns.workers.census import Census
from lifesigns.workers.courier import Courier
from lifesigns.workers.job import Foreman
from lifesigns.workers.keeper import Keeper
from lifesigns.workers.notifier import Notifier
from lifesigns.workers.outbox import Outbox
from lifesigns.workers.sampler import Sampler
from lifesigns.workers.scheduler import Scheduler
from lifesigns.workers.sender import Sender
from lifesigns.workers.sweeper import Sweeper
from lifesigns.workers.ticker import Ticker
from lifesigns.workers.warden import Warden

log = logging.getLogger(__name__)

Revive = Callable[[], Awaitable[None]] | None

# The published APIs that are served beside our own.
DIALECTS: tuple[Dialect, ...] = (
    mission_control.DIALECT,
    callboard.DIALECT,
    boostgpt.DIALECT,
    moltjobs.DIALECT,
)
FEED_SILENT_S = 1.5  # a half-open feed is found within three seconds
OWN_TICK_S = 1.0  # how often a hub tells itself something, to hear how late it comes
PARTING_S = 3.0  # how long a hub that goes waits for its last beats to be stored,
LEAVING_S = 1.0  # and for the store to hear that it goes
# Of the time that a drain has: what is kept for all that comes after this.
AFTER_BEATS, AFTER_LEAVING = 0.2, 0.15


class Hub:
    """The parts of a running hub that its shell needs."""

    def __init__(self, config: Config, address: Address, revive: Revive) -> None:
        self.clock = StoreClock()
        self.hold = Hold(self.clock)
        self.link = Link(
            address,
            name="lifesigns",
            scripts=script.ALL,
            on_up=self._store_is_back,
            on_down=self._tell_of_store,
            before_reconnect=revive,
        )
        self.inbox = Link(
            address,
            name="lifesigns-inbox",
            on_up=self._tell_of_store,
            on_down=self._tell_of_store,
            on_push=self._pushed,
            before_reconnect=revive,
            silent_s=FEED_SILENT_S,
        )
        self.registry = Registry(self.link)
        self.interest = Interest(self.link, self.inbox)
        self.ingest = Ingest(
            self.link,
            self.clock,
            self.interest,
            flush_s=config.flush_ms / 1000,
            fold_s=config.fold_ms / 1000,
            grace_ms=round(config.grace_s * 1000),
        )
        terms = Terms(
            history_ms=round(config.history_s * 1000),
            retention_ms=round(config.retention_s * 1000),
            http_ttl_ms=round(config.http_ttl_s * 1000),
            patience_s=config.store_timeout_s,
            max_instances=config.max_instances,
        )
        self.store = Store(self.link, self.clock, self.ingest, self.registry, terms)
        self.probe = Probe(self.store, self.link, self.clock, self.ingest)
        self.letters = Inbox(self.store, self.link, self.inbox, self.clock, self.ingest)
        self.feed = Feed(self.link, self.inbox, self.store.reader)
        limits = _limits(config)
        self.fanout = Fanout(
            lambda project: Source(self.feed, self.store.lanes(project)),
            self.interest,
            self.hold,
            frame_bytes=limits.outgoing_frame_bytes,
        )
        self.hold.on_held = self.fanout.held
        self.store.reader.hold = self.hold
        self.claims = Claims(self.link, self.store, self.ingest)
        self.delegation = Delegation(self.claims, self.fanout, self.clock)
        self.keeper = Keeper(self.claims, self.delegation)
        self.ticker = Ticker(
            self.link,
            self.clock,
            self.ingest,
            self.hold,
            tick_s=config.tick_ms / 1000,
            lease_ms=config.node_lease_ms,
        )
        self.sweeper = Sweeper(
            self.link, self.store, self.ticker, self.hold, history_len=config.history_len
        )
        self.warden = Warden(self.link, self.store, self.ticker, self.ingest)
        self.breaker = Breaker(self.ticker, self.hold, self.ingest, enabled=config.breaker)
        self.ledger = Ledger(self.link, self.store)
        upkeep = Upkeep(
            entries=config.diary_len,
            keep_ms=config.diary_s * 1000,
            gap_ms=round(config.diary_gap_s * 1000),
        )
        self.diary = Diary(self.link, self.store, self.clock, upkeep)
        self.bulletin = Bulletin(self.link, self.inbox)
        self.enrolments = Enrolments(
            self.ledger, self.registry, self.bulletin, config.data_dir.absolute()
        )
        self.agenda = Agenda(self.link, self.store, self.ledger, self.clock, self.ticker)
        samples = Samples(self.link, self.store)
        self.sampler = Sampler(self.store, samples, self.clock, self.ticker, config.sample_keys)
        self.jobs = Jobs(self.ledger, self.letters, _job_terms(config))
        self.foreman = Foreman(self.ledger, self.jobs, self.agenda, self.ticker, self.sweeper)
        self.board = Board(self.ledger, self.letters, self.jobs)
        self.marshal = Marshal(self.ledger, self.board, self.agenda, self.ticker, self.sweeper)
        self.webhooks = Webhooks(
            self.ledger,
            self.link,
            self.store,
            kept_ms=config.deliveries_s * 1000,
            kept=config.deliveries_len,
        )
        allowance = Allowance(loopback=config.loopback, private=config.private_webhooks)
        self.sender = Sender(allowance)
        outbox = Outbox(self.link, self.store, self.ledger, self.webhooks, self.agenda)
        self.courier = Courier(
            self.store, self.ledger, self.webhooks, outbox, self.sender, self.clock, self.agenda
        )
        self.schedules = Schedules(self.ledger, self.store, self.link, _schedule_terms(config))
        self.scheduler = Scheduler(
            self.schedules,
            self.store,
            self.ingest,
            self.letters,
            self.clock,
            Caller(self.sender, limits),
            lambda: str(uuid4()),
        )
        self.agenda.on(SCHEDULE, self.scheduler.schedules_due)
        self.agenda.on(RUN, self.scheduler.runs_due)
        self.notifier = Notifier(self.ledger, self.sender, self.clock)
        self.agenda.on(NOTICE, self.notifier.due)
        self.ticker.on_tick = self._ticked
        self._inbox_channel = ""
        self._common_channel = keys.inbox(address.db)
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
            probe=self.probe,
            breaker=self.breaker,
            claims=self.claims,
            delegation=self.delegation,
            inbox=self.letters,
            operator=Operator(self.store, self.link),
            scheduler=self.scheduler,
            clock=self.clock,
            fanout=self.fanout,
            limits=limits,
            rules=rules,
            max_connections=config.max_connections,
            drain_s=config.drain_s,
            drain_window_s=config.drain_window_s,
        )
        desk = Desk(
            gate=self.gate,
            store=self.store,
            registry=self.registry,
            ledger=self.ledger,
            diary=self.diary,
            jobs=self.jobs,
            board=self.board,
            enrolments=self.enrolments,
            webhooks=self.webhooks,
            courier=self.courier,
            tally=Tally(self.link, self.store),
            clock=self.clock,
            ticker=self.ticker,
            sweeper=self.sweeper,
            warden=self.warden,
            hold=self.hold,
            census=Census(self.store),
            samples=samples,
            sampler=self.sampler,
            feed=self.feed,
            lobby=self.lobby,
            limits=limits,
            rate=Rate(config.beats_per_s, config.burst_s),
            quota=Quota(CALLS, WINDOW_S),
            schedule_quota=Quota(round(config.schedule_calls_per_s * 60), 60),
            serves_schedules=config.schedules,
            rules=rules,
            body_bytes=config.body_bytes,
            bulk_body_bytes=config.bulk_body_bytes,
            sample_keys=config.sample_keys,
            shares_port=config.workers > 1,
            open_metrics=config.loopback,
        )
        rooms = (
            *(pulse, override, claim, inbox, run, sse, account, operation, capacity, webhook),
            *(schedule, page),
        )
        self.site = Site(desk, [route for room in rooms for route in room.ROUTES], DIALECTS)

    async def start(self) -> None:
        """Connect, and join the other hubs."""
        await self.link.start()
        await self.inbox.start()
        node = await self.ticker.join()
        self.lobby.node = node
        self._inbox_channel = keys.inbox(self.link.address.db, node)
        self.inbox.subscribe(self._inbox_channel)
        self.inbox.subscribe(self._common_channel)
        self.interest.start()
        await self.store.know(DEFAULT_PROJECT)
        await self.gate.recheck()

    async def settle(self) -> None:
        """Write what is left."""
        self.lobby.wheel.stop()
        patience_s = min(PARTING_S, self.lobby.left_s(AFTER_BEATS))
        try:
            async with asyncio.timeout(patience_s):
                await self.ingest.commit.settle()
        except TimeoutError:
            log.warning("the store did not take the last beats in %.1f s", patience_s)
        try:
            async with asyncio.timeout(min(PARTING_S, self.lobby.left_s(AFTER_BEATS))):
                await self.courier.settle()
        except TimeoutError:
            log.info("what webhooks are told waits for another hub")

    async def stop(self) -> None:
        """Leave the other hubs."""
        try:
            async with asyncio.timeout(min(LEAVING_S, self.lobby.left_s(AFTER_LEAVING))):
                await asyncio.gather(self.sampler.leave(), self.ticker.leave())
        except TimeoutError:
            log.info("the store did not hear that this hub goes")
        self.interest.stop()
        await asyncio.gather(self.inbox.aclose(), self.link.aclose())

    def _store_is_back(self) -> None:
        self.ticker.store_is_back()
        self.ingest.commit.unfold()
        self.feed.store_is_back()
        self.interest.store_is_back()
        self._tell_of_store()

    def _tell_of_store(self) -> None:
        """Say to those who watch whether what they see is what is so: it takes both links."""
        if self.link.up and self.inbox.up:
            self.fanout.store_is_back()
        else:
            self.fanout.store_is_away()

    def _pushed(self, push: list[Any]) -> None:
        what, channel = push[0], push[1].decode()
        mine = channel == self._inbox_channel
        if channel == self._common_channel:  # by a message or anew: there may be something to tell
            self.agenda.foresee(0)
        elif what == b"message":
            if mine:
                self._told(*msgpack.unpackb(push[2]))
            else:
                self.feed.heard(channel, push[2])
                self.interest.heard(channel, push[2])
                self.letters.heard(channel, push[2])
                self.bulletin.heard(channel, push[2])
        elif what == b"subscribe":  # whatever was told before this moment was missed
            if mine:
                self.ingest.doubt()
            else:
                self.feed.confirmed(channel)
                self.interest.confirmed(channel)
                self.letters.confirmed(channel)
                self.bulletin.confirmed(channel)

    def _told(self, about: str, *told: Any) -> None:
        """Take a message of the inbox: the first word says what it is about."""
        if about == "tick":
            self.feed.lag_s = max(0.0, asyncio.get_running_loop().time() - told[-1])
        elif about == PROBE:
            self.probe.asked(*told)
        elif about == SIGNS:
            self.probe.answered(*told)
        elif about in (ASSIGNED, UNASSIGNED):
            self.claims.told(about, *told[-2:])
        elif about == RUN:
            self.scheduler.told(*told)
        elif about == TELL:
            self.letters.told(*told)
        else:
            self.ingest.told(about, told[-1])

    def _ticked(self) -> None:
        self.sweeper.ticked()
        if self.ticker.lapsed_ms is not None:  # its own entry was gone: perhaps all others, too
            self.feed.doubt()
        self.warden.ticked()
        self.breaker.look()
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
        asyncio.create_task(hub.warden.run(), name="warden"),
        asyncio.create_task(hub.keeper.run(), name="keeper"),
        asyncio.create_task(hub.agenda.run(), name="agenda"),
        asyncio.create_task(hub.sampler.run(), name="sampler"),
    ]
    for each in loops:
        each.add_done_callback(_mourn)
    try:
        yield hub
    finally:
        await hub.settle()  # while it still ticks: a hub that is silent meanwhile seems to be dead
        for each in loops:
            each.cancel()
        await asyncio.wait(loops)
        await hub.stop()


def _job_terms(config: Config) -> job.Terms:
    return job.Terms(
        window_ms=round(config.job_window_s * 1000),
        dispute_ms=round(config.dispute_delay_s * 1000),
        kept_ms=config.closed_jobs_s * 1000,
        strict=config.strict_jobs,
    )


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


def _schedule_terms(config: Config) -> ScheduleTerms:
    return ScheduleTerms(
        least_interval_minutes=config.run_interval_s / 60,
        timeout_ms=round(config.run_timeout_s * 1000),
        kept_ms=config.run_retention_s * 1000,
    )


def _mourn(task: asyncio.Task[None]) -> None:
    """A loop of the hub ended by an error of its own: a hub without it must not go on."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("the %s ended: the hub stops", task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)
