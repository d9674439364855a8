"""Random walks over the real scripts, against an oracle that was written from the contract."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from lifesigns.core.model import Words
from lifesigns.core.presence import KINDS
from lifesigns.core.record import pack_words
from lifesigns.store.keys import SEPARATOR
from tests.store.board import Board, breaks, leaves, says

STEPS = 600
SUSPECT, STALLED, NONE = 2, 4, 9
OWN_WORDS = (3, 5, 6, 7, 8)
STALLING = (5, 7)  # busy or degraded promise progress
GRACE_MS = 500


@dataclass
class Life:
    """One instance, as the contract speaks of it."""

    session: str
    start_ms: int
    word: int
    blob: bytes
    ttl_ms: int
    ends_ms: int
    n: int = 1
    rev: int = 0
    broken: bool = False
    stalls_at_ms: int | None = None

    def rank(self, now_ms: int) -> int:
        conditions = [self.word]
        if self.stalls_at_ms is not None and now_ms >= self.stalls_at_ms:
            conditions.append(STALLED)
        if self.broken:
            conditions.append(SUSPECT)
        return min(conditions)


@dataclass
class Oracle:
    """What should be there, and the changes that should have been told."""

    lives: dict[str, dict[str, Life]] = field(default_factory=dict)
    shown: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    told: list[tuple[str, str, int, int]] = field(default_factory=list)
    settled_ms: dict[str, int] = field(default_factory=dict)

    def turns(self, agent: str, safe_ms: int) -> bool:
        """Tell whether an instance has stalled since, as far as that is safe to say."""
        return any(
            life.stalls_at_ms is not None
            and self.settled_ms[agent] < life.stalls_at_ms <= safe_ms
            and not life.broken
            for life in self.lives[agent].values()
        )

    def settle(self, agent: str, now_ms: int, *, news: bool = False) -> None:
        """Note the change if there is one: agent, kind, was, is."""
        self.settled_ms[agent] = now_ms
        ranks = tuple(life.rank(now_ms) for life in self.lives.get(agent, {}).values())
        new = max(ranks, default=0)
        old, former = self.shown.get(agent, (NONE, ()))
        kind = KINDS[old * 10 + new]
        if kind == "=" and (news or ranks != former):
            kind = "u"
        if kind != "=":
            self.told.append((agent, kind, old, new))
        self.shown[agent] = (new, ranks)


class Walk:
    """One walk: each step does one thing to the store and to the oracle."""

    def __init__(self, board: Board, seed: int) -> None:
        self.board = board
        self.oracle = Oracle()
        self.random = random.Random(seed)
        self.sessions = 0
        self.words = 0

    def step(self) -> None:
        agent = self.random.choice("abcd")
        instance = self.random.choice("xyz")
        life = self.oracle.lives.get(agent, {}).get(instance)
        acts = [(self.greet, 25), (self.pass_time, 20)]
        if life is not None:
            acts += [(self.tell, 25), (self.repeat, 6), (self.drop, 8), (self.leave, 6)]
            acts += [(self.write_from_outside, 6), (self.remove, 2), (self.renew, 6)]
        act = self.random.choices([a for a, _ in acts], [w for _, w in acts])[0]
        act(agent, instance, life)

    def greet(self, agent: str, instance: str, life: Life | None) -> None:
        now = self.board.now_ms
        self.sessions += 1
        word, blob, ttl, stalls_in = self._words()
        new = Life(f"01{self.sessions:04}", now, word, blob, ttl, now + ttl)
        new.stalls_at_ms = None if stalls_in is None else now + stalls_in
        row = says(
            agent, instance, new.session, rank=word, blob=blob, ttl_ms=ttl, started_ms=0,
            stalls_in_ms=stalls_in,
        )  # fmt: skip
        assert self.board.codes(row) == [0]
        news = life is None or life.blob != blob
        self.oracle.lives.setdefault(agent, {})[instance] = new
        self.oracle.settle(agent, now, news=news)

    def tell(self, agent: str, instance: str, life: Life) -> None:
        age = self.random.choice([0, 0, 40])
        word, blob, ttl, stalls_in = self._words()
        if self.random.random() < 0.5:
            word, blob = life.word, life.blob
        life.n += 1
        heard = self.board.now_ms - age
        row = says(
            agent, instance, life.session, n=life.n, rev=life.rev, rank=word, blob=blob,
            ttl_ms=ttl, age_ms=age, stalls_in_ms=stalls_in,
        )  # fmt: skip
        assert self.board.codes(row) == [0]
        news = blob != life.blob
        life.word, life.blob, life.ttl_ms, life.ends_ms = word, blob, ttl, heard + ttl
        life.stalls_at_ms = None if stalls_in is None else heard + stalls_in
        life.broken = False
        self.oracle.settle(agent, self.board.now_ms, news=news)

    def repeat(self, agent: str, instance: str, life: Life) -> None:
        """A late batch, a beat of an older session, an older hello: nothing may happen."""
        before = self.board.redis.hget(self.board.lane.keys[1], agent), self.board.live()
        stale = says(agent, instance, life.session, n=life.n, rev=life.rev, rank=3, blob=b"old")
        other = says(agent, instance, "01----", n=99, rank=3, blob=b"old")
        older = says(agent, instance, "01----", rank=3, blob=b"old", started_ms=10**9)
        moved = says(agent, instance, life.session, n=life.n + 1, rev=life.rev + 1, blob=b"old")
        assert self.board.codes(stale, other, older, moved) == [3, 2, 1, 4]
        gone = leaves(agent, instance, "01----"), breaks(agent, instance, "01----")
        assert self.board.codes(*gone) == [2, 2]
        assert before == (self.board.redis.hget(self.board.lane.keys[1], agent), self.board.live())

    def drop(self, agent: str, instance: str, life: Life) -> None:
        now = self.board.now_ms
        assert self.board.codes(breaks(agent, instance, life.session, grace_ms=GRACE_MS)) == [0]
        life.broken = True
        life.ends_ms = min(life.ends_ms, now + GRACE_MS)
        self.oracle.settle(agent, now)

    def leave(self, agent: str, instance: str, life: Life) -> None:
        assert self.board.codes(leaves(agent, instance, life.session, text="done")) == [0]
        del self.oracle.lives[agent][instance]
        self.oracle.settle(agent, self.board.now_ms, news=True)

    def remove(self, agent: str, instance: str, life: Life) -> None:
        """All leave at once, and none of their sessions may come back."""
        row = says(agent, instance, life.session, n=life.n + 5, blob=b"back", started_ms=1)
        assert self.board.codes(leaves(agent, fence=True), row) == [0, 1]
        self.oracle.lives[agent] = {}
        self.oracle.settle(agent, self.board.now_ms, news=True)

    def write_from_outside(self, agent: str, instance: str, life: Life) -> None:
        word, blob, _, stalls_in = self._words()
        record = self.board.record(agent)
        assert record is not None
        row = says(
            agent, instance, "", n=life.n, rev=life.rev, rank=word, blob=blob,
            ttl_ms=life.ttl_ms, expect=record.seq, stalls_in_ms=stalls_in,
        )  # fmt: skip
        wrong = [*row[:9], record.seq + 1, *row[10:]]
        assert self.board.codes(wrong, row) == [4, 0]
        now = self.board.now_ms
        news = blob != life.blob
        life.rev += 1
        life.word, life.blob, life.broken = word, blob, False
        life.ends_ms = max(life.ends_ms, now + life.ttl_ms)
        life.stalls_at_ms = None if stalls_in is None else now + stalls_in
        self.oracle.settle(agent, now, news=news)

    def renew(self, agent: str, instance: str, life: Life) -> None:
        if life.broken:
            return  # its hub has dropped it
        mine = SEPARATOR.join((agent, instance, life.session)).encode()
        other = SEPARATOR.join((agent, instance, "01----")).encode()
        assert self.board.renew(life.ttl_ms, other, mine) == [0]
        life.ends_ms = self.board.now_ms + life.ttl_ms

    def pass_time(self, agent: str, instance: str, life: Life | None) -> None:
        self.board.now_ms += self.random.choice([1, 30, 200, 500, 1500])
        self.board.serve()
        now = self.board.now_ms
        safe = now - self.random.choice([0, 0, 100])
        ended = sorted(
            (life.ends_ms, SEPARATOR.join((a, i, life.session)), a, i)
            for a, lives in self.oracle.lives.items()
            for i, life in lives.items()
            if life.ends_ms <= safe
        )
        for _, _, a, i in ended:
            del self.oracle.lives[a][i]
            self.oracle.settle(a, now, news=True)
        for a in self.oracle.lives:
            if self.oracle.turns(a, safe):
                self.oracle.settle(a, now)
        assert self.board.sweep(safe_ms=safe)[0] == len(ended)

    def _words(self) -> tuple[int, bytes, int, int | None]:
        word = self.random.choice(OWN_WORDS)
        self.words += 1
        stalls_in = self.random.choice([None, 700, 2500]) if word in STALLING else None
        ttl = self.random.choice([1000, 3000, 10_000])
        return word, pack_words(Words(task=f"task {self.words}")), ttl, stalls_in

    def check(self) -> None:
        """Whatever the store has is what the oracle says."""
        log = self.board.log()
        assert [noted.seq for noted in log] == list(range(1, len(log) + 1))
        for agent in "abcd":
            got = [
                (noted.agent, noted.kind, noted.was, noted.record.rank)
                for noted in log
                if noted.agent == agent
            ]
            assert got == [each for each in self.oracle.told if each[0] == agent]
        leases = {
            SEPARATOR.join((agent, instance, life.session)): life.ends_ms
            for agent, lives in self.oracle.lives.items()
            for instance, life in lives.items()
        }
        assert self.board.live() == leases
        assert self.board.counts() == Counter(rank for rank, _ in self.oracle.shown.values())
        due = self.board.next_due_ms()
        assert not leases or (due is not None and due <= min(leases.values()))


@pytest.mark.parametrize("seed", range(6))
def test_the_scripts_do_what_the_contract_says_on_a_random_walk(fresh_url: str, seed: int) -> None:
    board = Board(fresh_url)
    walk = Walk(board, seed)
    try:
        for _ in range(5):  # past the gap that a new store opens
            board.serve()
            board.now_ms += 4_000
        for _ in range(STEPS):
            walk.step()
        walk.check()
    finally:
        board.close()
