"""The changes of the lanes that somebody here follows, in order and without a gap.

Publishing carries them, the log proves them. Every confirmation of a subscription is a gap: what
was published before was not heard. A gap is healed from the log; if the log does not reach back,
or the epoch turned, the lane is read anew and those who follow are told that it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import Iterable
from typing import Protocol

import msgpack

from lifesigns.core.backoff import delay_s
from lifesigns.core.change import Place, head_of, pack_snapshot, tip_of
from lifesigns.core.errors import Unavailable
from lifesigns.core.model import Words
from lifesigns.core.presence import NONE
from lifesigns.core.record import unpack_words
from lifesigns.store import keys, script
from lifesigns.store.lease import Lane
from lifesigns.store.link import Link, ReplyError
from lifesigns.store.reader import Reader

log = logging.getLogger(__name__)

HEAL_AT_ONCE = 512
PASTS_AT_ONCE = 256
WAITING_MESSAGES = 10_000  # of a lane that is being healed
RETRY_S = 0.05
RETRY_CAP_S = 1.0


class Follower(Protocol):
    """Who follows a lane."""

    def changed(self, lane: int, place: Place, changes: list[bytes]) -> None:
        """These came next; ``place`` is where they lead to."""

    def renewed(self, lane: int, place: Place, agents: dict[str, bytes], why: str) -> None:
        """The lane was read anew: whoever is not among ``agents`` is not there."""


class Feed:
    """All lanes that this hub follows."""

    def __init__(self, link: Link, inbox: Link, reader: Reader) -> None:
        self._link = link
        self._inbox = inbox  # the link that subscribes
        self._reader = reader
        self._followed: dict[str, _Lane] = {}  # by channel
        self.healed = 0  # changes that were read from the log
        self.resyncs = 0  # times that a lane was read anew
        self.lag_s = 0.0  # how late this hub heard its own tick

    def follow(self, lane: Lane, follower: Follower) -> None:
        """Follow a lane from now on; it begins with ``renewed``."""
        channel = self._channel(lane)
        assert channel not in self._followed, "one follower a lane"
        self._followed[channel] = _Lane(self, lane, follower)
        self._inbox.subscribe(channel)

    def leave(self, lane: Lane) -> None:
        """Follow a lane no more."""
        channel = self._channel(lane)
        self._inbox.unsubscribe(channel)
        self._followed.pop(channel).stop()

    def confirmed(self, channel: str) -> None:
        """A subscription was confirmed: what came before was not heard."""
        followed = self._followed.get(channel)
        if followed is not None:
            followed.doubt()

    def heard(self, channel: str, data: bytes) -> None:
        """A message came on a channel."""
        followed = self._followed.get(channel)
        if followed is not None:
            followed.hear(data)

    async def catch_up(self, lane: Lane) -> None:
        """Return when all is known of a lane that was written before now."""
        followed = self._followed[self._channel(lane)]
        followed.doubt()
        await followed.healed()

    def doubt(self) -> None:
        """Something may have happened that nobody tells: the store may have been emptied."""
        for followed in self._followed.values():
            followed.doubt()

    def store_is_back(self) -> None:
        """The link for questions is up again: what could not be healed can be now."""
        for followed in self._followed.values():
            followed.wake()

    async def missed(self, lane: Lane, place: Place, until: Place) -> list[bytes] | None:
        """Read the changes between two places from the log; None if it does not reach back."""
        changes: list[bytes] = []
        while place.seq < until.seq:
            _, reply = await self.ask_missed(lane, place)
            if not reply:
                return None
            changes += reply
            place = Place(place.epoch, *tip_of(reply[-1]))
        surplus = place.seq - until.seq
        return changes[: len(changes) - surplus] if surplus > 0 else changes

    async def before(self, lane: Lane, changes: list[bytes]) -> dict[str, Words]:
        """Read what agents said before the first of these changes, as far as that is kept."""
        firsts: dict[str, int] = {}
        counts: Counter[str] = Counter()
        for packed in changes:
            head = head_of(packed)
            if head.was != NONE:  # else there was nothing before
                firsts.setdefault(head.agent, head.seq)
            counts[head.agent] += 1
        words: dict[str, Words] = {}
        agents = list(firsts)
        for i in range(0, len(agents), PASTS_AT_ONCE):
            some = agents[i : i + PASTS_AT_ONCE]
            batch = [each for agent in some for each in (agent, counts[agent], firsts[agent])]
            args = (b"", *lane.tail, msgpack.packb(batch))
            _, _, *blobs = await self._link.ask_script(script.BEFORE, lane.keys, args)
            found = zip(some, blobs, strict=True)
            words.update((agent, unpack_words(blob)) for agent, blob in found if blob)
        return words

    async def ask_missed(self, lane: Lane, place: Place) -> tuple[str, list[bytes] | None]:
        """Read what follows a place, up to a bound; without it why it cannot be had any more."""
        packed = msgpack.packb([place.epoch, place.at_ms, place.seq, HEAL_AT_ONCE])
        reply = await self._link.ask_script(script.HEAL, lane.keys, (b"", *lane.tail, packed))
        why = reply[3].decode()
        return why, None if why else reply[4:]

    def _channel(self, lane: Lane) -> str:
        return keys.channel(lane.project, lane.number, self._link.address.db)


class Source:
    """One project's part of the feed: its lanes go by their numbers."""

    def __init__(self, feed: Feed, lanes: Iterable[Lane]) -> None:
        self._feed = feed
        self._lanes = {lane.number: lane for lane in lanes}

    @property
    def lanes(self) -> list[int]:
        return list(self._lanes)

    def follow(self, lane: int, follower: Follower) -> None:
        """Follow a lane from now on; it begins with ``renewed``."""
        self._feed.follow(self._lanes[lane], follower)

    def leave(self, lane: int) -> None:
        """Follow a lane no more."""
        self._feed.leave(self._lanes[lane])

    async def catch_up(self, lane: int) -> None:
        """Return when all is known of a lane that was written before now."""
        await self._feed.catch_up(self._lanes[lane])

    async def missed(self, lane: int, place: Place, until: Place) -> list[bytes] | None:
        """Read the changes between two places from the log; None if it does not reach back."""
        return await self._feed.missed(self._lanes[lane], place, until)

    async def before(self, lane: int, changes: list[bytes]) -> dict[str, Words]:
        """Read what agents said before the first of these changes, as far as that is kept."""
        return await self._feed.before(self._lanes[lane], changes)


class _Lane:
    """One lane that is followed."""

    def __init__(self, feed: Feed, lane: Lane, follower: Follower) -> None:
        self._feed = feed
        self._lane = lane
        self._follower = follower
        self._place: Place | None = None  # None: to be read anew
        self._waiting: deque[bytes] = deque()  # messages that came while it is healed
        self._healing: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._again = False  # doubted once more while it was healed

    def doubt(self) -> None:
        """Something may have been missed."""
        if self._healing is None or self._healing.done():
            self._healing = asyncio.get_running_loop().create_task(self._heal())
        else:
            self._again = True

    def hear(self, data: bytes) -> None:
        if self._healing is not None and not self._healing.done():
            if len(self._waiting) >= WAITING_MESSAGES:
                self._waiting.clear()  # the log has them too
            self._waiting.append(data)
        elif not self._take(data):
            self.doubt()

    async def healed(self) -> None:
        """Return when nothing is in doubt."""
        if self._healing is not None:
            await asyncio.shield(self._healing)

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        if self._healing is not None:
            self._healing.cancel()

    def _take(self, data: bytes) -> bool:
        """Take a message if it is the next one; answer whether there was no gap."""
        place = self._place
        try:
            epoch, first, changes = msgpack.unpackb(data, raw=True)
            known = epoch.decode()
        except (ValueError, TypeError, AttributeError):
            log.warning("what came for %s is no message of a hub", self._lane.project)
            return False
        if place is None or known != place.epoch or first > place.seq + 1:
            return False
        fresh = changes[max(0, place.seq + 1 - first) :]
        if fresh:
            self._advance(place.epoch, fresh)
        return True

    def _advance(self, epoch: str, changes: list[bytes]) -> None:
        self._place = Place(epoch, *tip_of(changes[-1]))
        self._follower.changed(self._lane.number, self._place, changes)

    async def _heal(self) -> None:
        tries = 0
        while True:
            self._again = False
            try:
                await self._catch_up()
            except Exception as error:
                if isinstance(error, Unavailable | ReplyError):
                    log.debug("a lane of %s cannot be healed now: %s", self._lane.project, error)
                else:  # a lane that nobody heals would be wrong for ever
                    log.exception("a lane of %s is read anew", self._lane.project)
                    self._place = None
                self._wake.clear()
                tries += 1
                with contextlib.suppress(TimeoutError):  # then it is tried again in any case
                    async with asyncio.timeout(delay_s(tries, 1.0, RETRY_S, RETRY_CAP_S)):
                        await self._wake.wait()
                continue
            while self._waiting and self._take(self._waiting[0]):
                self._waiting.popleft()
            if not self._waiting and not self._again:
                return

    async def _catch_up(self) -> None:
        """Learn all that was published before this moment, and perhaps more."""
        while (place := self._place) is not None:
            self._waiting.clear()  # what was heard so far was written before it is asked for
            why, changes = await self._feed.ask_missed(self._lane, place)
            if changes is None:
                self._feed.resyncs += 1
                await self._read_anew(why)
                return
            if not changes:
                return
            self._feed.healed += len(changes)
            self._advance(place.epoch, changes)
        await self._read_anew("store_lost")

    async def _read_anew(self, why: str) -> None:
        """Read the lane; changes that come meanwhile wait, and those it has seen are skipped."""
        self._waiting.clear()
        # Asking the log first gives a lane that was never written to its epoch.
        await self._feed.ask_missed(self._lane, Place("", 0, 0))
        agents: dict[str, bytes] = {}
        place: Place | None = None
        async for page in self._feed._reader.pages(self._lane):
            if place is None:
                place = Place(page.epoch, page.seq, page.at_ms)
            elif page.epoch != place.epoch:
                raise Unavailable("The epoch turned while a lane was read.")
            for agent, record, leases in page.records:
                ends_ms = max((int(float(end)) for end in leases if end is not None), default=0)
                agents[agent] = pack_snapshot(agent, record, ends_ms)
        assert place is not None, "a lane has at least one page"
        self._place = place
        self._follower.renewed(self._lane.number, place, agents, why)
