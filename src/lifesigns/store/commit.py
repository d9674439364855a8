"""Group commit: many acts and renewals in few, large writes.

One group is in flight at a time: at once when idle, a few milliseconds apart when busy. Acts keep
their order within a lane. Plain renewals are folded. What the store has not confirmed bounds the
watermark, up to which leases may be swept. While the store is away all is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from struct import pack
from sys import intern
from typing import Any

import msgpack

from lifesigns.core.errors import Internal, Unavailable
from lifesigns.store import script
from lifesigns.store.clock import StoreClock
from lifesigns.store.entry import Answer, Entry
from lifesigns.store.lease import Lane, Lease
from lifesigns.store.link import NOT_NOW, Link, LinkLost, ReplyError

log = logging.getLogger(__name__)

BATCH_ENTRIES = 128  # a call of 512 held the server for up to 48 ms with its file on
BATCH_BYTES = 65_536
BATCH_RENEWALS = 512
URGENT_MS = 1_500  # a lease that ends sooner is not folded
AGE_STEP_MS = 4
AGE_LIMIT = 0xFFFF
REFUSED_S = 0.25  # a store that cannot now is left alone for so long
TOLD_S = 10.0  # and it is told so often, however many try
# An act that the store still sends back after so long and so often would hold up every expiry.
TRYING_S, TRIES = 3.0, 8
NEVER = float("inf")


class Commit:
    """Sends what waits in the lanes."""

    def __init__(
        self,
        link: Link,
        clock: StoreClock,
        *,
        flush_s: float,
        fold_s: float,
        missing: Callable[[Lease], None],
    ) -> None:
        self._link = link
        self._clock = clock
        self._flush_s = flush_s
        self._fold_s = fold_s
        self._missing = missing  # told of leases that the store does not have
        self._loop = asyncio.get_running_loop()
        self._active: dict[Lane, None] = {}  # lanes with something to send, in order
        self._folding: dict[Lane, None] = {}
        self._fold_timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.Handle | None = None
        self._flying = 0  # calls without an answer
        self._returned: dict[Lane, int] = {}  # acts that came back to the head of their lane
        self._flushed_at = -NEVER
        self._told_at = -NEVER  # that the store takes nothing
        self._floor_folded = NEVER
        self._floor_waiting = NEVER
        self._floor_flying = NEVER
        self._settled: asyncio.Future[None] | None = None
        self.writes = 0
        self.renewals = 0

    @property
    def waiting(self) -> bool:
        """Whether anything is not yet confirmed."""
        return bool(self._active or self._folding or self._flying)

    async def settle(self) -> None:
        """Send all that waits, and return when it is confirmed or the link is gone."""
        self.unfold()
        while self.waiting and self._link.up:
            self._settled = self._loop.create_future()
            await self._settled

    @property
    def refused(self) -> bool:
        """Whether the store said a moment ago that it takes nothing now."""
        return self._flushed_at > self._loop.time()

    def _leave_alone(self, what: str, why: ReplyError) -> None:
        now = self._loop.time()
        self._flushed_at = now + REFUSED_S
        if now > self._told_at + TOLD_S:
            self._told_at = now
            log.warning("the store cannot take %s now, nor what comes next: %s", what, why)

    def floor_ms(self) -> float:
        """Tell the earliest end of a lease for which a beat is here and not yet confirmed."""
        return min(self._floor_folded, self._floor_waiting, self._floor_flying)

    def add(self, lane: Lane, entry: Entry, ends_ms: float, *, first: bool = False) -> None:
        """Queue an act; ``ends_ms`` is the end of the lease that depends on it."""
        if first:
            self._return(lane, [entry])
        else:
            lane.entries.append(entry)
        self.guard(ends_ms)
        self._active[lane] = None
        self._schedule()

    def guard(self, ends_ms: float) -> None:
        """Keep the watermark below the end of a lease until the next group is confirmed."""
        if ends_ms < self._floor_waiting:
            self._floor_waiting = ends_ms

    def renew(self, lease: Lease, now: float) -> None:
        """Queue a renewal, at once if its lease ends soon."""
        lease.renewing = True
        lane = lease.lane
        if lease.ends_ms - self._clock.offset_ms - now * 1000 < URGENT_MS:
            self.guard(lease.ends_ms)
            lane.urgent.append(lease)
            self._active[lane] = None
            self._schedule()
            return
        if lease.ends_ms < self._floor_folded:
            self._floor_folded = lease.ends_ms
        lane.folded.append(lease)
        self._folding[lane] = None
        fold_at = now + min(self._fold_s, lease.ttl_ms / 4000)
        timer = self._fold_timer
        if timer is None or timer.when() > fold_at:
            if timer is not None:
                timer.cancel()
            self._fold_timer = self._loop.call_at(fold_at, self.unfold)

    def unfold(self) -> None:
        """Send all that waits, folded or not."""
        if self._fold_timer is not None:
            self._fold_timer.cancel()
            self._fold_timer = None
        self.guard(self._floor_folded)
        self._floor_folded = NEVER
        for lane in self._folding:
            lane.urgent += lane.folded
            lane.folded = []
            self._active[lane] = None
        self._folding = {}
        self._schedule()

    def _schedule(self) -> None:
        if self._flying or self._flush_timer is not None or not self._active or not self._link.up:
            return
        wait_s = self._flushed_at + self._flush_s - self._loop.time()
        if wait_s > 0:
            self._flush_timer = self._loop.call_later(wait_s, self._flush)
        else:
            self._flush_timer = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_timer = None
        if not self._link.up:
            return
        now = self._flushed_at = self._loop.time()
        lanes, self._active = self._active, {}
        self._floor_flying, self._floor_waiting = self._floor_waiting, NEVER
        self._returned = {}
        for lane in lanes:
            if lane.entries:
                self._send_entries(lane, now)
            if lane.urgent:
                self._send_renewals(lane, now)
        self._link.flush()
        self._rest()

    def _rest(self) -> None:
        if self._flying == 0:
            self._floor_flying = NEVER
            self._schedule()
            if self._settled is not None and not self._settled.done():
                self._settled.set_result(None)

    # Acts.

    def _send_entries(self, lane: Lane, now: float) -> None:
        entries, lane.entries = lane.entries, []
        batch: list[Entry] = []
        rows: list[bytes] = []
        size = 0
        for entry in entries:
            if entry.stale(now):
                entry.failed(Unavailable("The store was away for too long."))
                continue
            if entry.since is None:
                entry.since = now
            elif now - entry.since > TRYING_S and entry.tries > TRIES:
                log.error("an act came back %d times and is dropped", entry.tries)
                entry.put_off(Unavailable("The store does not take it."))
                continue
            entry.tries += 1
            row = self._row(entry, now)
            if row is None:
                continue
            if batch and (len(batch) >= BATCH_ENTRIES or size + len(row) > BATCH_BYTES):
                self._send_batch(lane, batch, rows, now)
                batch, rows, size = [], [], 0
            batch.append(entry)
            rows.append(row)
            size += len(row)
        if batch:
            self._send_batch(lane, batch, rows, now)

    def _row(self, entry: Entry, now: float) -> bytes | None:
        """Lay an act out; one that cannot be is dropped, and takes no other along."""
        try:
            return bytes(msgpack.packb(entry.row(now), use_bin_type=False))
        except Exception:
            log.exception("an act cannot be laid out and is dropped")
            entry.failed(Internal())
            return None

    def _return(self, lane: Lane, entries: list[Entry]) -> None:
        """Put acts back before those that came later, and behind those that came back earlier."""
        at = self._returned.get(lane, 0)
        lane.entries[at:at] = entries
        self._returned[lane] = at + len(entries)

    def _send_batch(self, lane: Lane, batch: list[Entry], rows: list[bytes], now: float) -> None:
        packed = pack(">BH", 0xDC, len(rows)) + b"".join(rows)  # an array of 16-bit length
        self._flying += 1
        self.writes += len(batch)
        self._link.run(
            script.BEAT,
            lane.keys,
            (b"", *lane.tail, packed, self._clock.at_ms(now)),
            lambda reply: self._landed(lane, batch, reply, now),
        )

    def _landed(self, lane: Lane, batch: list[Entry], reply: Any, sent_at: float) -> None:
        self._flying -= 1
        if isinstance(reply, LinkLost):
            adrift = [entry for entry in batch if entry.adrift()]
            for entry in adrift:
                entry.since, entry.tries = None, 0
            self._return(lane, adrift)
            if adrift:
                self.guard(0.0)  # nothing is swept until it is known what became of them
                self._active[lane] = None
        elif isinstance(reply, ReplyError) and reply.code in NOT_NOW:
            self._leave_alone(f"{len(batch)} acts", reply)
            for entry in batch:
                entry.put_off(Unavailable("The store cannot take it now."))
        elif isinstance(reply, Exception):
            self._isolate(lane, batch, reply)
        else:
            store_ms, epoch = reply[0], intern(reply[1].decode())  # every lease keeps it
            for i, entry in enumerate(batch):
                code, seq, record = reply[2 + 3 * i : 5 + 3 * i]
                try:
                    entry.landed(Answer(code, seq, record, epoch, store_ms, sent_at))
                except Exception:
                    log.exception("an answer of the store cannot be taken")
        self._rest()

    def _isolate(self, lane: Lane, batch: list[Entry], error: Exception) -> None:
        """A script failed as a whole: find the act that it failed of, and drop that alone."""
        if len(batch) == 1:
            log.error("an act cannot be stored and is dropped: %s", error)
            batch[0].failed(Unavailable("The store refused it."))
            return
        log.warning("a batch of %d is sent one by one: %s", len(batch), error)
        now = self._loop.time()
        for entry in batch:
            row = self._row(entry, now)
            if row is not None:
                self._send_batch(lane, [entry], [row], now)

    # Renewals.

    def _send_renewals(self, lane: Lane, now: float) -> None:
        leases, lane.urgent = lane.urgent, []
        by_ttl: dict[int, list[Lease]] = {}
        for lease in leases:
            lease.renewing = False
            # One that is older than its lease could only shorten what others have lengthened.
            if not lease.ended and (now - lease.beat_at) * 1000 < lease.ttl_ms:
                by_ttl.setdefault(lease.ttl_ms, []).append(lease)
        for ttl_ms, group in by_ttl.items():
            for i in range(0, len(group), BATCH_RENEWALS):
                self._send_renewal(lane, ttl_ms, group[i : i + BATCH_RENEWALS], now)

    def _send_renewal(self, lane: Lane, ttl_ms: int, group: list[Lease], now: float) -> None:
        steps = 1000 / AGE_STEP_MS
        ages = [min(AGE_LIMIT, int((now - lease.beat_at) * steps)) for lease in group]
        members = [lease.member for lease in group]
        self._flying += 1
        self.renewals += len(group)
        self._link.run(
            script.RENEW,
            lane.keys[2:5:2],
            (b"", pack(f">{len(ages)}H", *ages), ttl_ms, lane.tail[-1], *members),
            lambda reply: self._renewed(ttl_ms, group, ages, reply),
        )

    def _renewed(self, ttl_ms: int, group: list[Lease], ages: list[int], reply: Any) -> None:
        self._flying -= 1
        if isinstance(reply, Exception):
            now = self._loop.time()
            if isinstance(reply, ReplyError) and reply.code in NOT_NOW:
                self._leave_alone(f"{len(group)} renewals", reply)
            elif not isinstance(reply, LinkLost):
                self._flushed_at = now + REFUSED_S
                log.error("%d renewals cannot be stored and are dropped: %s", len(group), reply)
                group = []  # the next beats try again
            for lease in group:
                if not lease.renewing and not lease.ended:
                    self.renew(lease, now)
        else:
            base = reply[0] + ttl_ms
            for lease, age in zip(group, ages, strict=True):
                lease.ends_ms = base - age * AGE_STEP_MS
            for index in reply[1:]:
                self._missing(group[index])
        self._rest()
