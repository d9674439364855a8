"""Acts on an agent that come from outside a session: HTTP beats, and its removal.

A beat that says only a part is merged here, onto the record as this hub knows it, and written only
if the record and the instance are still the ones that were judged; else the store answers the
record as it is, and the beat is judged again. So nothing is read before it is written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lifesigns.core.beat import beat_of
from lifesigns.core.errors import LifesignsError, NotFound, Unavailable
from lifesigns.core.model import Instance, Override, Presence, Record, Words
from lifesigns.core.presence import (
    STALLED,
    STALLING,
    SUSPECT,
    is_progress,
    merge,
    own_rank,
    present,
    stalls_at_ms,
)
from lifesigns.core.record import look_alike, pack_words, same_words, unpack_record
from lifesigns.store.clock import StoreClock
from lifesigns.store.commit import Commit
from lifesigns.store.entry import (
    ALTERED,
    NOT_HERE,
    TOO_MANY,
    WRITTEN,
    Answer,
    Entry,
    elapsed_ms,
)
from lifesigns.store.interest import Interest
from lifesigns.store.lease import Lane

HTTP_INSTANCE = "-"
TRIES = 128  # each lost one means that another writer won; a socket may say 100 things in a burst
REMEMBERED = 20_000  # records of about 300 bytes

Judged = Callable[[Presence | LifesignsError | None], None]
Forsaken = Callable[[], bool]  # whoever asked was told that it failed: then it must not be done


class Memory:
    """The records of the latest HTTP agents, as this hub last saw them; only ever a guess."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def get(self, project: str, agent: str) -> bytes | None:
        return self._records.get((project, agent))

    def set(self, project: str, agent: str, record: bytes | None) -> None:
        key = (project, agent)
        if not record:
            self._records.pop(key, None)
            return
        self._records[key] = record
        self._records.move_to_end(key)
        if len(self._records) > REMEMBERED:
            self._records.popitem(last=False)


@dataclass(frozen=True, slots=True)
class HttpBeat:
    """One beat without a session."""

    agent: str
    instance: str | None
    ttl_ms: int | None
    said: Mapping[str, Any]
    # False: no sign of life, but what somebody else has made of an instance without a socket.
    living: bool = True


class Put(Entry):
    """An HTTP beat on its way."""

    __slots__ = (
        "_clock",
        "_commit",
        "_default_ttl_ms",
        "_forsaken",
        "_instance",
        "_interest",
        "_judged",
        "_lane",
        "_memory",
        "_record",
        "_tries",
        "_ttl_ms",
        "beat",
    )

    def __init__(
        self,
        lane: Lane,
        beat: HttpBeat,
        at: float,
        judged: Judged,
        *,
        commit: Commit,
        clock: StoreClock,
        memory: Memory,
        interest: Interest,
        default_ttl_ms: int,
        forsaken: Forsaken,
    ) -> None:
        super().__init__(at)
        self._lane = lane
        self._judged = judged
        self._commit = commit
        self._clock = clock
        self._memory = memory
        self._interest = interest
        self._instance = ""  # for which it speaks, as it was judged last
        self._default_ttl_ms = default_ttl_ms
        self._forsaken = forsaken
        self._tries = 0
        self._ttl_ms = 0
        self._record = memory.get(lane.project, beat.agent)
        self.beat = beat

    def stale(self, now: float) -> bool:
        return self._forsaken()

    def row(self, now: float) -> list[Any]:
        beat = self.beat
        record = unpack_record(self._record) if self._record else None
        name, target = aim(record, beat.instance)
        self._instance = name
        before = target.words if target else _last_words(record, name)
        said = beat.said
        if record is None and "status" not in said:
            said = {"status": "idle", **said}  # the least that a new agent can be
        words = merge(before, said)
        if same_words(words, before):
            words = before  # the same in another order is no news
        own = own_rank(words)
        came_ms = self._clock.at_ms(self.at)
        progress = target is None or is_progress(before, said)
        reworded = target is None or (own in STALLING) != (own_rank(before) in STALLING)
        progressed_ms = came_ms if progress or target is None else target.progressed_ms
        worded_ms = came_ms if reworded or target is None else target.worded_ms
        due_ms = stalls_at_ms(words, own, progressed_ms, worded_ms)
        pairs = [0, own] if due_ms is None else [0, own, due_ms - came_ms or -1, STALLED]
        if target is not None and (target.session or not beat.living):
            self._ttl_ms = target.ttl_ms  # the lease is its socket's, or stays as it is
        else:
            self._ttl_ms = beat.ttl_ms or (target.ttl_ms if target else self._default_ttl_ms)
        return [
            "w",
            beat.agent,
            name,
            "",
            elapsed_ms(self.at, now),
            target.n if target else 0,
            target.rev if target else 0,
            self._ttl_ms if beat.living else -1,
            -1,
            record.seq if record else 0,
            pairs,
            0 if progress else -1,
            0 if reworded else -1,
            pack_words(words),
            1,
            words.slots,
            1 if target and look_alike(words, before) else 0,
        ]

    def landed(self, answer: Answer) -> None:
        lane, agent = self._lane, self.beat.agent
        self._record = answer.record or None
        self._memory.set(lane.project, agent, self._record)
        if answer.code == NOT_HERE or (answer.code == WRITTEN and not self.beat.living):
            self._judged(None)  # when it was heard, and whether, is to be read
        elif answer.code == WRITTEN:
            at_ms = answer.store_ms - elapsed_ms(self.at, answer.sent_at)
            record = unpack_record(answer.record, [b"%d" % (at_ms + self._ttl_ms)])
            if self._interest.wanted:
                self._show(record, at_ms)
            if len(record.instances) == 1 and not record.instances[0].session:
                presence = present(
                    lane.project, agent, record, epoch=answer.epoch, now_ms=answer.store_ms
                )
                self._judged(presence)
            else:
                self._judged(None)  # the leases of the others are to be read
        elif answer.code == ALTERED and self._tries < TRIES:
            self._tries += 1
            self._commit.add(lane, self, self._clock.at_ms(self.at), first=True)
        elif answer.code == TOO_MANY:
            self.failed(lane.too_many())
        else:
            self.failed(Unavailable("Too many write to this agent at once."))

    def _show(self, record: Record, at_ms: int) -> None:
        """Somebody wants every beat of some agents: perhaps of this one."""
        project, agent = self._lane.project, self.beat.agent
        if (project, agent) in self._interest.wanted:
            words = next((i.words for i in record.instances if i.name == self._instance), Words())
            beat = beat_of(agent, self._instance, words, at_ms, self._ttl_ms)
            self._interest.show(project, beat)

    def failed(self, error: LifesignsError) -> None:
        self._judged(error)

    def adrift(self) -> bool:
        self._judged(Unavailable("The store went away before it answered."))
        return False


class Removal(Entry):
    """All instances of an agent leave, or a named one; their sockets may not come back."""

    __slots__ = ("_agent", "_forsaken", "_instance", "_judged", "_lane", "_memory")

    def __init__(
        self,
        lane: Lane,
        agent: str,
        instance: str | None,
        at: float,
        judged: Judged,
        memory: Memory,
        forsaken: Forsaken,
    ) -> None:
        super().__init__(at)
        self._lane = lane
        self._agent = agent
        self._instance = instance
        self._judged = judged
        self._memory = memory
        self._forsaken = forsaken

    def stale(self, now: float) -> bool:
        return self._forsaken()

    def row(self, now: float) -> list[Any]:
        age_ms = elapsed_ms(self.at, now)
        return ["l", self._agent, self._instance or "", "", age_ms, "left", "", 1]

    def landed(self, answer: Answer) -> None:
        self._memory.set(self._lane.project, self._agent, None)
        self._judged(None)

    def failed(self, error: LifesignsError) -> None:
        self._judged(error)

    def adrift(self) -> bool:
        self._judged(Unavailable("The store went away before it answered."))
        return False


class Ruling(Entry):
    """What an operator says of an agent, or that nothing is said any more."""

    __slots__ = ("_agent", "_judged", "_override")

    def __init__(self, agent: str, override: Override | None, at: float, judged: Judged) -> None:
        super().__init__(at)
        self._agent = agent
        self._override = override
        self._judged = judged

    def row(self, now: float) -> list[Any]:
        if self._override is None:
            return ["o", self._agent, -1, "", 0]
        rank, why, until_ms = self._override
        return ["o", self._agent, rank, why, until_ms or 0]

    def landed(self, answer: Answer) -> None:
        if answer.code == WRITTEN:
            self._judged(None)
        else:
            self._judged(NotFound(f"No agent {self._agent!r} was ever seen."))

    def failed(self, error: LifesignsError) -> None:
        self._judged(error)

    def adrift(self) -> bool:
        return True  # said twice it is the same


def aim(record: Record | None, instance: str | None) -> tuple[str, Instance | None]:
    """Choose the instance that a beat without a session speaks for."""
    instances = record.instances if record else ()
    if instance is None:
        sockets = [i for i in instances if i.session and (0, SUSPECT) not in i.pairs]
        if len(sockets) == 1:
            return sockets[0].name, sockets[0]
        instance = HTTP_INSTANCE
    return instance, next((i for i in instances if i.name == instance), None)


def _last_words(record: Record | None, name: str) -> Words:
    if record is not None and record.last is not None and record.last.name == name:
        return record.last.words
    return Words()
