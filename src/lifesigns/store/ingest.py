"""What the sockets of this hub say, on its way down.

Nobody who beats waits for the store. News of a session that still wait are joined by later ones;
a beat without news only renews. Sessions are fenced: one that the store finds older than another
of the same instance ends here, one that the store has lost says hello again, as old as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from lifesigns.core.beat import beat_of
from lifesigns.core.errors import Conflict, LifesignsError, Superseded, Unavailable
from lifesigns.core.model import Words
from lifesigns.core.presence import SUSPECT, is_progress, merge
from lifesigns.core.record import unpack_record
from lifesigns.store import keys
from lifesigns.store.clock import StoreClock
from lifesigns.store.commit import Commit
from lifesigns.store.entry import (
    NOT_HERE,
    OLDER,
    STORED_BEFORE,
    TOO_MANY,
    WRITTEN,
    Answer,
    Receipt,
    elapsed_ms,
)
from lifesigns.store.interest import Interest
from lifesigns.store.lease import Holder, Lane, Lease
from lifesigns.store.link import Link
from lifesigns.store.news import Done, End, News
from lifesigns.store.ping import Pings

RECKONED_MS = 10  # what is due by the store's clock may differ so much from what a hub reckons
SUPERSEDED = "A newer session has this instance."
CARRIED_MS = 10_000  # at least so long an agent has to come from a hub that goes to another


class Ingest:
    """The way down for every session of this hub."""

    def __init__(
        self,
        link: Link,
        clock: StoreClock,
        interest: Interest,
        *,
        flush_s: float,
        fold_s: float,
        grace_ms: int,
    ) -> None:
        self._clock = clock
        self.interest = interest
        self._link = link
        self._grace_ms = grace_ms
        self.node = ""
        self._counter = 0
        self._loop = asyncio.get_running_loop()
        self.commit = Commit(link, clock, flush_s=flush_s, fold_s=fold_s, missing=self._greet_again)
        self._news: dict[str, News] = {}  # by session: what is not under way yet
        self._unsaid: dict[str, dict[str, Any]] = {}  # by session: what the store could not take
        self.leases: dict[str, Lease] = {}  # by session
        self.doubtful: dict[str, None] = {}  # sessions of which the store may think otherwise
        self.pings = Pings()
        self.beats = 0  # signs of life taken, of every kind
        self.read_at = 0.0  # all that had come by then was read

    def name_node(self, node: str) -> None:
        """Take the two characters with which this hub's sessions begin."""
        self.node = node

    # What sockets say.

    def open(
        self,
        lane: Lane,
        agent: str,
        instance: str,
        ttl_ms: int,
        words: Words,
        holder: Holder,
        now: float,
        done: Done,
    ) -> Lease:
        """Begin a session; ``done`` is called when the store has it, or with why not yet."""
        self._counter = (self._counter + 1) % 64**4
        session = self.node + _digits(self._counter, 4)
        member = keys.member(agent, instance, session).encode()
        lease = Lease(lane, agent, instance, session, member, ttl_ms, holder, now)
        lease.speak(words, now, self._clock.offset_ms, progress=True)
        # The lease of the session before may end while this hello waits.
        lease.ends_ms = self._clock.at_ms(now)
        self.leases[session] = lease
        self.beats += 1
        if self.interest.wanted:
            self._show(lease, now)
        up = self._link.up
        self._write(lease, {}, done if up else None, hello=True)
        if not up:
            self._loop.call_soon(done, Unavailable("The store is away."))
        return lease

    def renew(self, lease: Lease, now: float) -> None:
        """Note a sign of life that says nothing else."""
        self.beats += 1
        lease.beat_at = now
        if self.interest.wanted:
            self._show(lease, now)
        if self.pings.waiting:
            self.pings.heard(lease.session, now)
        if lease.renewing or lease.ended or lease.session in self._news:
            return  # it is renewed by what waits
        if self._unsaid and lease.session in self._unsaid:
            self._write(lease, {}, None)
            return
        self.commit.renew(lease, now)

    def say(
        self,
        lease: Lease,
        said: Mapping[str, Any],
        ttl_ms: int | None,
        now: float,
        done: Done | None,
    ) -> None:
        """Take a beat that may have news; one that has none only renews."""
        if not said and ttl_ms is None:
            self._renew_and_tell(lease, now, done)
            return
        stalls_at = lease.stalls_at
        before = lease.words()
        words = merge(before, said)
        progress = is_progress(before, said)
        differs = lease.speak(words, now, self._clock.offset_ms, progress=progress)
        retimed = ttl_ms is not None and ttl_ms != lease.ttl_ms
        if ttl_ms is not None:
            lease.ttl_ms = ttl_ms
        if differs or progress or retimed or (said and lease.rev < 0):
            self.beats += 1
            lease.beat_at = now
            if self.interest.wanted:
                self._show(lease, now)
            if self.pings.waiting:
                self.pings.heard(lease.session, now)
            self._write(lease, said, done)
            if stalls_at is not None and stalls_at >= self.read_at:
                # It may not have stalled when this came: nobody may say so before this is stored.
                self.commit.guard(self._clock.at_ms(stalls_at) - RECKONED_MS)
            return
        self._renew_and_tell(lease, now, done)

    def leave(
        self,
        lease: Lease,
        why: str,
        text: str,
        now: float,
        done: Callable[[], None] | None = None,
    ) -> None:
        """End a session for good, because the agent said so or its key is gone.

        ``done`` is called when the store has it, or at once while that is away.
        """
        self._end(lease, End(lease, now, "l", why, text, 0, done=done))
        if done is not None and not self._link.up:
            self._loop.call_soon(done)

    def lose(self, lease: Lease, now: float) -> None:
        """End a session whose socket broke: its instance is suspect until its grace ends."""
        grace_ms = min(self._grace_ms, lease.ttl_ms)
        self._end(lease, End(lease, now, "m", SUSPECT, "disconnected", grace_ms))

    def carry(self, lease: Lease) -> None:
        """Let go of a session because this hub goes: its lease runs on for another to take over.

        What it said last is still sent, so that the lease is as long as it can be; and a short one
        is lengthened, for that its socket is gone is not the agent's doing.
        """
        now = self._loop.time()
        heard_ms = elapsed_ms(lease.beat_at, now)
        if lease.ttl_ms - heard_ms < CARRIED_MS:
            self._end(lease, End(lease, now, "c", CARRIED_MS))
        else:
            self.leases.pop(lease.session, None)

    # What the store and other hubs say.

    def told(self, what: str, session: str) -> None:
        """Take a message of the inbox about a session of this hub."""
        lease = self.leases.get(session)
        if lease is None:
            return
        if what == "altered":
            lease.rev = -1
            return
        if what == "suspected":  # this hub was taken for dead
            self.doubtful[session] = None
            return
        self._forget(lease)
        if what == "superseded":
            lease.holder.refused(Superseded(SUPERSEDED))
        else:
            lease.holder.removed()

    def doubt(self) -> None:
        """Messages may have been missed: others may have written to any session's words."""
        for lease in self.leases.values():
            lease.rev, lease.loud = -1, True
        self.doubtful.update(dict.fromkeys(self.leases))

    def affirm(self, session: str) -> None:
        """Say of a session what it last said, and when: it may count as suspect, or as gone."""
        self.doubtful.pop(session, None)
        lease = self.leases.get(session)
        if lease is None:
            return
        if (self._loop.time() - lease.beat_at) * 1000 < lease.ttl_ms:
            self._write(lease, {}, None)
        else:  # it could only come and go; the next beat, if there is one, says it
            self._unsaid.setdefault(session, {})

    def sent(self, news: News) -> None:
        """Forget news that are under way: what is said from now on is other news."""
        if self._news.get(news.lease.session) is news:
            del self._news[news.lease.session]

    def judge(self, news: News, answer: Answer) -> None:
        """Act on what the store said of a session's news."""
        lease = news.lease
        if answer.code in (WRITTEN, STORED_BEFORE):
            lease.ends_ms = answer.store_ms - elapsed_ms(news.at, answer.sent_at) + lease.ttl_ms
            lease.seq, lease.epoch = answer.seq, answer.epoch
            claimed = bool(answer.record)
            news.tell(Receipt(answer.seq, answer.epoch, int(lease.ends_ms), claimed))
        elif lease.ended:
            news.tell(Conflict("The session has ended."))
        elif answer.code == OLDER:
            self._refuse(news, Conflict(SUPERSEDED), Superseded(SUPERSEDED))
        elif answer.code == TOO_MANY:
            full = lease.lane.too_many()
            self._refuse(news, full, full)
        elif answer.code == NOT_HERE:
            news.hello = lease.loud = True
            self._again(news)
        else:
            lease.loud = True
            self._rebase(lease, news, answer.record)
            self._again(news)

    def recover(self, news: News) -> bool:
        """The link broke with these news under way; answer whether they are to be sent again."""
        lease = news.lease
        if lease.ended or news.hello:
            news.tell(Unavailable("The store is away."))
        if lease.ended:
            return not news.hello
        return self._join(news)

    def postpone(self, news: News) -> None:
        """The store cannot take these news now: the next beat says them, this one still renews."""
        lease = news.lease
        if lease.ended or news.hello:  # without its lease, a beat finds that it has to say hello
            return
        unsaid = self._unsaid.setdefault(lease.session, {})
        unsaid.update(news.said)
        if not lease.renewing:
            self.commit.renew(lease, self._loop.time())

    # Inside.

    def _refuse(self, news: News, outcome: LifesignsError, why: LifesignsError) -> None:
        """The store does not take the session: tell those who wait, and its socket why it ends."""
        self._forget(news.lease)
        news.tell(outcome)
        news.lease.holder.refused(why)

    def _show(self, lease: Lease, now: float) -> None:
        """Somebody wants every beat of some agents: perhaps of this one."""
        project, agent = lease.lane.project, lease.agent
        if (project, agent) in self.interest.wanted and not lease.ended:
            at_ms = self._clock.at_ms(now)
            beat = beat_of(agent, lease.instance, lease.words(), at_ms, lease.ttl_ms)
            self.interest.show(project, beat)

    def _renew_and_tell(self, lease: Lease, now: float, done: Done | None) -> None:
        self.renew(lease, now)
        if done is None:
            return
        news = self._news.get(lease.session)
        if news is not None:
            news.done.append(done)
        elif not lease.epoch:  # its hello is on its way: no beat is confirmed before that
            self._write(lease, {}, done)
        else:
            done(Receipt(lease.seq, lease.epoch, self._clock.at_ms(now) + lease.ttl_ms))

    def _write(
        self,
        lease: Lease,
        said: Mapping[str, Any],
        done: Done | None,
        *,
        hello: bool = False,
    ) -> None:
        news = self._news.get(lease.session)
        fresh = news is None
        if news is None:
            news = self._news[lease.session] = News(self, lease)
            news.said.update(self._unsaid.pop(lease.session, {}))
        news.hello = news.hello or hello
        news.said.update(said)
        if done is not None:
            news.done.append(done)
        if fresh:
            self.commit.add(lease.lane, news, lease.ends_ms)

    def _again(self, news: News) -> None:
        lease = news.lease
        if self._join(news):
            self.commit.add(lease.lane, news, lease.ends_ms, first=True)

    def _join(self, news: News) -> bool:
        """Join news that come back with those said since; answer whether there were none."""
        newer = self._news.setdefault(news.lease.session, news)
        if newer is not news:
            newer.hello = newer.hello or news.hello
            newer.said = news.said | newer.said
            newer.since, newer.tries = news.since, news.tries
            newer.done = news.done + newer.done
        return newer is news

    def _rebase(self, lease: Lease, news: News, packed: bytes) -> None:
        """Others wrote to the words meanwhile: say on top of theirs what was said here."""
        clock_ms = self._clock.offset_ms
        for instance in unpack_record(packed).instances:
            if instance.name == lease.instance and instance.session == lease.session:
                lease.adopt(instance, clock_ms)
                words = merge(instance.words, news.said)
                newer = self._news.get(lease.session)
                if newer is not None:
                    words = merge(words, newer.said)
                lease.speak(words, news.at, clock_ms, progress=False)

    def _greet_again(self, lease: Lease) -> None:
        """The store has no such lease: say hello again, as old as it is."""
        if not lease.ended and lease.session in self.leases:
            lease.ends_ms = self._clock.at_ms(self._loop.time())
            self._write(lease, {}, None, hello=True)

    def _end(self, lease: Lease, end: End) -> None:
        if not lease.ended:
            self._forget(lease)
            self.commit.add(lease.lane, end, lease.ends_ms)

    def _forget(self, lease: Lease) -> None:
        lease.ended = True  # renewals that wait are dropped: they would undo what ended it
        self.leases.pop(lease.session, None)
        self._unsaid.pop(lease.session, None)
        self.doubtful.pop(lease.session, None)
        self.pings.gone(lease.session)


_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"


def _digits(number: int, width: int) -> str:
    text = ""
    for _ in range(width):
        number, digit = divmod(number, 64)
        text = _DIGITS[digit] + text
    return text


def node_name(number: int) -> str:
    """Spell a hub's number in the two characters with which its sessions begin."""
    return _digits(number % 4096, 2)
