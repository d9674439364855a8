"""Leases that this hub holds, and the lanes in which their beats wait.

A lease is one session of an instance, from the hello until the socket ends. There is one for each
connected agent, so every byte of it counts: its words are kept packed. A lane is the place of one
project in one partition: what stands in it goes to the store in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgpack

from lifesigns.core.claim import HELD_MS
from lifesigns.core.errors import LifesignsError, RateLimited
from lifesigns.core.model import Instance, Words
from lifesigns.core.presence import KINDS, STALLING, own_rank, stalls_at_ms
from lifesigns.core.record import look_alike, pack_words, same_words, unpack_words
from lifesigns.store import keys
from lifesigns.store.entry import Entry

# What is kept of each agent's past, and told: its last changes, and when its lives began and ended.
PAST_LEN, PAST_MS = 500, 7 * 86_400_000
LIVES_LEN, LIVES_MS = 2_000, 90 * 86_400_000
MAX_INSTANCES = 256  # of an agent, unless a setting says otherwise


class Holder(Protocol):
    """Who has the socket."""

    def refused(self, why: LifesignsError) -> None:
        """The session may change nothing any more: a newer one counts, or there is no room."""

    def removed(self) -> None:
        """Somebody else ended the instance."""

    def ping(self) -> None:
        """Ask the peer for a sign of life; the session's own deadlines are not touched by it."""

    def tell(self, frame: Mapping[str, Any]) -> None:
        """Pass on what lies in the inbox too: a peer that does not read finds it there."""

    def hand(self, message: Mapping[str, Any], received: Callable[[], None]) -> bool:
        """Pass on what must not be lost; ``received`` is called when the peer has read it.

        False: it cannot be written now, and was not.
        """


class Lease:
    """What a hub knows of a session that it holds."""

    __slots__ = (
        "agent",
        "beat_at",
        "blob",
        "ended",
        "ends_ms",
        "epoch",
        "holder",
        "instance",
        "lane",
        "loud",
        "member",
        "n",
        "opened_at",
        "own",
        "progressed_at",
        "renewing",
        "rev",
        "seq",
        "session",
        "slots",
        "stalls_at",
        "ttl_ms",
        "worded_at",
    )

    def __init__(
        self,
        lane: Lane,
        agent: str,
        instance: str,
        session: str,
        member: bytes,
        ttl_ms: int,
        holder: Holder,
        now: float,
    ) -> None:
        self.lane = lane
        self.agent = agent
        self.instance = instance
        self.session = session
        self.member = member
        self.ttl_ms = ttl_ms
        self.holder = holder
        self.opened_at = now  # its age orders sessions: an older hello never wins
        self.beat_at = now
        self.progressed_at = now
        self.worded_at = now
        self.stalls_at: float | None = None
        self.own = -1
        self.slots = 1
        self.loud = True  # what is shown of it may differ from what the store has
        self.blob = b""
        self.n = 0  # news sent so far; refuses late and repeated batches
        self.rev: int = 0  # writes of others to its words; -1: there was one, unknown which
        self.ends_ms: float = 0.0  # the end of its lease as stored, in the store's time
        self.renewing = False  # a renewal waits to be sent
        self.ended = False
        self.seq = 0  # of the last change that the store confirmed
        self.epoch = ""

    def words(self) -> Words:
        """Unpack what it last said."""
        return unpack_words(self.blob)

    def speak(self, words: Words, now: float, clock_ms: float, *, progress: bool) -> bool:
        """Take new words; tell whether they differ from the ones before."""
        blob = pack_words(words)
        if len(blob) == len(self.blob) and same_words(words, unpack_words(self.blob)):
            blob = self.blob  # the same in another order is no news
        own = own_rank(words)
        if (own in STALLING) != (self.own in STALLING):
            self.worded_at = now
        if progress:
            self.progressed_at = now
        differs = blob != self.blob
        if differs and not self.loud:
            self.loud = not look_alike(words, unpack_words(self.blob))
        self.own, self.blob, self.slots = own, blob, words.slots
        due_ms = stalls_at_ms(
            words,
            own,
            int(self.progressed_at * 1000 + clock_ms),
            int(self.worded_at * 1000 + clock_ms),
        )
        self.stalls_at = None if due_ms is None else (due_ms - clock_ms) / 1000
        return differs

    def adopt(self, instance: Instance, clock_ms: float) -> None:
        """Take what the store has of its words and of their clocks: others wrote to them."""
        self.rev = instance.rev
        self.loud = False
        self.own, self.blob = own_rank(instance.words), pack_words(instance.words)
        self.slots = instance.words.slots
        self.progressed_at = max(self.progressed_at, (instance.progressed_ms - clock_ms) / 1000)
        self.worded_at = (instance.worded_ms - clock_ms) / 1000


class Lane:
    """The place of one project in one partition."""

    __slots__ = (
        "entries",
        "folded",
        "keys",
        "max_instances",
        "number",
        "project",
        "tail",
        "urgent",
    )

    def __init__(
        self,
        project: str,
        number: int,
        database: int,
        history_ms: int,
        retention_ms: int,
        max_instances: int = MAX_INSTANCES,
    ) -> None:
        self.project = project
        self.number = number
        self.max_instances = max_instances
        self.keys = tuple(key.encode() for key in keys.lane(project, number))
        inbox = keys.inbox(database)
        kept = (PAST_LEN, LIVES_LEN, HELD_MS, max_instances)
        rules = msgpack.packb([KINDS, history_ms, retention_ms, inbox, *kept])
        channel = keys.channel(project, number, database).encode()
        self.tail = (rules, channel, project.encode())  # what every script call carries
        self.entries: list[Entry] = []
        self.folded: list[Lease] = []  # renewals that can wait
        self.urgent: list[Lease] = []  # renewals of leases that end soon

    def too_many(self) -> RateLimited:
        """Say that there is no room for one more instance; there may be when another has ended."""
        return RateLimited(f"An agent may have at most {self.max_instances} instances.")
