"""Walks over the real scripts, step by step beside an oracle that was written from the contract.

Every walk is the same each time; ``WALKS=500`` takes as many others instead.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from math import ceil, inf
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lifesigns.core.model import Words
from lifesigns.core.record import pack_words
from tests.store.board import breaks, leaves, says
from tests.store.desk import Desk
from tests.store.oracle import (
    ALTERED,
    AVAILABLE,
    BEFORE,
    BUSY,
    DEGRADED,
    DONE,
    DRAINING,
    ERROR,
    NOT_HERE,
    OFFLINE,
    OLDER,
    SEP,
    Agent,
    Life,
    Oracle,
    Says,
    Told,
)

WALKS = os.environ.get("WALKS")
BOUNDS = settings(
    max_examples=int(WALKS or 40),
    stateful_step_count=60,
    derandomize=WALKS is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
BEGAN_MS = 1_760_000_000_000
AGENTS, INSTANCES, NODES = "ab", "xy", ("01", "02")

agents, instances, nodes = (
    st.sampled_from(AGENTS),
    st.sampled_from(INSTANCES),
    st.sampled_from(NODES),
)
ages = st.sampled_from([0, 0, 40, 800])
ttls = st.sampled_from([1_000, 3_000, 10_000, 90_000, 7_200_000])
lags = st.sampled_from([0, 0, 0, 100, 2_000])
limits = st.sampled_from([128, 128, 2])


@st.composite
def words(draw: st.DrawFn) -> Says:
    word = draw(st.sampled_from([AVAILABLE, AVAILABLE, BUSY, BUSY, DEGRADED, DRAINING, ERROR]))
    slots = draw(st.sampled_from([1, 1, 2, 3, 0]))
    blob = pack_words(Words(task=draw(st.sampled_from("pqr")), slots=slots))
    stalls = st.sampled_from([None, 700, 2_500, 20_000]) if word in (BUSY, DEGRADED) else st.none()
    quiet = draw(st.sampled_from([False, False, True]))
    return Says(word, blob, draw(ttls), slots, draw(stalls), quiet)


class Walk(RuleBasedStateMachine):
    """Each step does one thing to the store and to the oracle."""

    desk: Desk

    def __init__(self) -> None:
        super().__init__()
        self.desk.redis.flushdb()
        self.desk.now_ms = BEGAN_MS
        self.oracle = Oracle()
        self.made = 0
        self.heard_is_certain = True
        self.waiting: list[tuple[list[Any], int]] = []  # acts of one batch, and what is answered
        self.gone: list[tuple[str, str, str, int]] = []  # sessions that may come back
        self.read_id = "-"
        self.seq = 0
        self.seqs: dict[str, int] = {}

    @property
    def now_ms(self) -> int:
        return self.desk.now_ms

    @initialize(first=words())
    def served_for_long(self, first: Says) -> None:
        for _ in range(20):
            self._serve()
            self.desk.now_ms += 5_000
        self._serve()
        for agent in AGENTS:
            self._hello(agent, "x", f"01{self._number():04}", first, 1, 0, 0, True)

    # What instances and their hubs say

    @rule(
        agent=agents, instance=instances, node=nodes, said=words(), age=ages, older=ages,
        more=st.booleans(),
    )  # fmt: skip
    def connects(
        self, agent: str, instance: str, node: str, said: Says, age: int, older: int, more: bool
    ) -> None:
        """Perhaps after one that connected later, and over one that is there."""
        self._hello(agent, instance, f"{node}{self._number():04}", said, 1, age, age + older, more)

    @rule(data=st.data(), said=words(), more=st.booleans())
    @precondition(lambda self: self.gone)
    def comes_back(self, data: st.DataObject, said: Says, more: bool) -> None:
        """A session that was taken over, removed or missed says hello as old as it is."""
        agent, instance, session, start_ms = data.draw(st.sampled_from(self.gone[-8:]))
        started = max(0, self.now_ms - start_ms)
        if session not in (life.session for _, _, life in self._lives()):
            self._hello(agent, instance, session, said, 50, 0, started, more)

    @rule(data=st.data(), said=words(), more=st.booleans(), twice=st.booleans())
    @precondition(lambda self: self._sockets())
    def says_hello_again(self, data: st.DataObject, said: Says, more: bool, twice: bool) -> None:
        agent, instance, life = self._draw(data, self._sockets())
        n = life.n if twice else life.n + 1
        started = max(0, self.now_ms - life.start_ms)
        self._hello(agent, instance, life.session, said, n, 0, started, more)

    def _hello(
        self, agent: str, instance: str, session: str, said: Says, n: int, age: int, started: int,
        more: bool,
    ) -> None:  # fmt: skip
        now, heard = self.now_ms, self.now_ms - age
        life = Life(session, now - started, said, heard + said.ttl_ms, heard, n=n)
        row = self._row(agent, instance, session, said, n=n, age_ms=age, started_ms=started)
        former = self.oracle.find(agent, instance)
        code = self.oracle.hello(agent, instance, life, now, heard_ms=heard)
        self._act(row, code, more)
        if code == OLDER:
            self.gone.append((agent, instance, session, now - started))
        elif former and former.session != session:
            self._goes(agent, instance, former)

    @rule(data=st.data(), said=words(), age=ages, same=st.booleans(), more=st.booleans())
    @precondition(lambda self: self._sockets())
    def beats(self, data: st.DataObject, said: Says, age: int, same: bool, more: bool) -> None:
        """With news or, if not seen by its hub, without."""
        agent, instance, life = self._draw(data, self._sockets())
        if same:
            said = life.said
        row = self._row(agent, instance, life.session, said, n=life.n + 1, rev=life.rev, age_ms=age)
        self.oracle.tell(agent, instance, said, self.now_ms, self.now_ms - age)
        self._act(row, DONE, more)

    @rule(data=st.data(), more=st.booleans())
    @precondition(lambda self: self._sockets())
    def says_what_does_not_count(self, data: st.DataObject, more: bool) -> None:
        """A beat that is repeated or late, of an older session, or on words that were altered."""
        agent, instance, life = self._draw(data, self._sockets())
        said = Says(ERROR, b"old", 1_000)
        at = agent, instance, life.session
        self._act(self._row(*at, said, n=life.n, rev=life.rev), BEFORE, True)
        self._act(self._row(*at, said, n=life.n + 1, rev=life.rev + 1), ALTERED, True)
        older = agent, instance, "01----"
        self._act(self._row(*older, said, n=99), NOT_HERE, True)
        self._act(leaves(*older), NOT_HERE, True)
        self._act(breaks(*older), NOT_HERE, more)

    @rule(data=st.data(), age=ages)
    @precondition(lambda self: self._sockets())
    def renews(self, data: st.DataObject, age: int) -> None:
        self._flush()
        agent, instance, life = self._draw(data, self._sockets())
        mine = SEP.join((agent, instance, life.session)).encode()
        other = SEP.join((agent, instance, "01----")).encode()
        assert self.desk.redis.zscore(self.desk.lane.keys[2], mine) is not None
        assert self.desk.renew(life.said.ttl_ms, other, mine, age_ms=age) == [0]
        self.oracle.renew(agent, instance, self.now_ms, self.now_ms - age)

    @rule(data=st.data(), age=ages, more=st.booleans())
    @precondition(lambda self: self._sockets())
    def breaks(self, data: st.DataObject, age: int, more: bool) -> None:
        agent, instance, life = self._draw(data, self._sockets())
        age, grace = self._age(life, age), min(5_000, life.said.ttl_ms)
        row = breaks(agent, instance, life.session, grace_ms=grace, heard_ms=age)
        if life.why != "disconnected":
            self.oracle.breaks(
                agent, instance, self.now_ms, grace_ms=grace, heard_ms=self.now_ms - age
            )
            self._act(row, DONE, more)

    @rule(data=st.data(), more=st.booleans())
    @precondition(lambda self: self._sockets())
    def says_bye(self, data: st.DataObject, more: bool) -> None:
        agent, instance, life = self._draw(data, self._sockets())
        life.heard_ms = self.now_ms
        self.oracle.leave(agent, self.now_ms, instance)
        self._act(leaves(agent, instance, life.session, text="done"), DONE, more)

    @rule(agent=agents, data=st.data(), more=st.booleans())
    def is_removed(self, agent: str, data: st.DataObject, more: bool) -> None:
        """All instances or one, and none of their sessions may come back."""
        instance = data.draw(st.sampled_from(["", *INSTANCES]))
        known = self.oracle.agents.get(agent)
        lives = dict(known.lives) if known else {}
        found = [name for name in lives if instance in ("", name)]
        code = self.oracle.leave(agent, self.now_ms, *found, fence=instance)
        self._act(leaves(agent, instance, fence=True), code, more)
        for name in found:
            self._goes(agent, name, lives[name])

    @rule(agent=agents, instance=instances, said=words(), more=st.booleans())
    def posts(self, agent: str, instance: str, said: Says, more: bool) -> None:
        """Over HTTP, onto whatever is there; judged on another record it is refused."""
        self._flush()
        life = self.oracle.find(agent, instance)
        n, rev = (life.n, life.rev) if life else (0, 0)
        expect = self.seqs.get(agent, 0) if agent in self.oracle.agents else 0
        ttl = life.said.ttl_ms if life and life.session else said.ttl_ms
        said = Says(said.word, said.blob, ttl, said.slots, said.stalls_in_ms, said.quiet)
        wrong = self._row(agent, instance, "", said, n=n, rev=rev, expect=expect + 1)
        self._act(wrong, ALTERED, True)
        if life:
            wrong = self._row(agent, instance, "", said, n=n, rev=rev + 1, expect=expect)
            self._act(wrong, ALTERED, True)
        self.oracle.post(agent, instance, said, self.now_ms)
        self._act(self._row(agent, instance, "", said, n=n, rev=rev, expect=expect), DONE, more)

    @rule(
        agent=agents,
        word=st.sampled_from([DRAINING, ERROR, None]),
        data=st.data(),
        more=st.booleans(),
    )
    def is_overridden(self, agent: str, word: int | None, data: st.DataObject, more: bool) -> None:
        lasts = data.draw(st.sampled_from([inf, 800, 3_000, 10_800_000]))
        override = None if word is None else (word, self.now_ms + lasts)
        until = 0 if override is None or lasts == inf else override[1]
        code = self.oracle.rule(agent, override, self.now_ms)
        self._act(["o", agent, -1 if word is None else word, "", until], code, more)

    # Hubs, the service and its sweepers

    @rule(data=st.data(), age=ages)
    @precondition(lambda self: self._kept())
    def is_carried(self, data: st.DataObject, age: int) -> None:
        """Its hub goes in order, and leaves it time to come to another one."""
        self._flush()
        agent, instance, life = self._draw(data, self._kept())
        age = self._age(life, age)
        self.oracle.carry(agent, instance, self.now_ms, 10_000, self.now_ms - age)
        self._act(["c", agent, instance, life.session, age, 10_000], DONE, False)

    @rule(node=nodes, back=st.booleans())
    def hub_is_lost(self, node: str, back: bool) -> None:
        """Unless it is back since it was found lost."""
        self._flush()
        if back:
            self.desk.redis.hset(self.desk.lane.keys[7], f"back:{node}", self.now_ms)
            assert self.desk.lose(node, lapsed_ms=self.now_ms - 1) == ("", 0)
        else:
            self.desk.redis.hdel(self.desk.lane.keys[7], f"back:{node}")
            assert self.desk.lose(node) == (None, self.oracle.lose(node, self.now_ms))

    @rule(ms=st.sampled_from([1, 30, 200, 500, 1_500, 4_000]), lag=lags, limit=limits)
    def time_passes(self, ms: int, lag: int, limit: int) -> None:
        self._flush()
        self.desk.now_ms += ms
        self._serve()
        self._sweep(lag, limit)

    @rule(ms=st.sampled_from([1, 700, 4_000, 9_000]))
    def nobody_sweeps(self, ms: int) -> None:
        self._flush()
        for _ in range(0, ms, 4_000):
            self.desk.now_ms += min(ms, 4_000)
            self._serve()

    @rule(lag=lags, limit=limits, other=lags)
    def two_sweep(self, lag: int, limit: int, other: int) -> None:
        """Of what one has ended the other finds nothing."""
        self._flush()
        self._sweep(lag, limit)
        self._sweep(other, limit)

    @rule(ms=st.sampled_from([5_000, 5_001, 20_000, 3_600_000]))
    def nobody_serves(self, ms: int) -> None:
        self._flush()
        self.desk.now_ms += ms
        self._serve()

    @rule(ms=st.sampled_from([900, 3_000, 3_600_000]))
    def clock_goes_back(self, ms: int) -> None:
        self._flush()
        self.heard_is_certain = False  # when one was heard is told in two clocks from now on
        ms += self._number() % 100
        self.desk.now_ms -= ms
        self._serve()

    @rule(data=st.data())
    def server_restarts(self, data: st.DataObject) -> None:
        """Numbers that were told may come again: the epoch turns, and the log begins anew."""
        if not self._rarely(data):
            return
        self._flush()
        meta, part = self.desk.lane.keys[0], self.desk.lane.keys[7]
        before = self.desk.redis.hget(meta, "epoch")
        self.desk.now_ms += 100
        for key in (meta, part):
            if self.desk.redis.exists(key):
                self.desk.redis.hset(key, "run", "another")
        self.oracle.restarted = True
        self._serve()
        assert self.desk.forget("nobody") is False
        assert self.desk.redis.hget(meta, "epoch") != before
        assert not self.desk.log()

    @rule(data=st.data(), ms=st.sampled_from([20, 6_000]))
    def server_is_emptied(self, data: st.DataObject, ms: int) -> None:
        if not self._rarely(data):
            return
        self._flush()
        self.desk.redis.flushdb()
        self.desk.now_ms += ms
        self.gone += [(a, i, life.session, life.start_ms) for a, i, life in self._sockets()]
        self.oracle = Oracle()
        self.seq, self.seqs, self.read_id = 0, {}, "-"
        self._serve()

    @rule(agent=agents, data=st.data())
    def is_forgotten(self, agent: str, data: st.DataObject) -> None:
        if not self._rarely(data):
            return
        self._flush()
        known = agent in self.oracle.agents
        assert self.desk.forget(agent) is known
        if known:
            for instance, life in self.oracle.agents[agent].lives.items():
                self._goes(agent, instance, life)
            self.oracle.drop(agent, self.now_ms)

    def _serve(self) -> None:
        assert self.desk.serve() == self.oracle.serve(self.now_ms)

    def _sweep(self, lag: int, limit: int) -> None:
        safe = self.now_ms - lag
        lives = self._sockets()
        expected = self.oracle.sweep(self.now_ms, safe, limit)
        assert self.desk.sweep(safe_ms=safe, limit=limit) == expected
        there = [life for _, _, life in self._sockets()]
        for agent, instance, life in lives:
            if life not in there:
                self._goes(agent, instance, life)

    # Claims

    @rule(data=st.data(), bound=st.booleans(), ttl=st.sampled_from([1_000, 5_000, 60_000]))
    @precondition(lambda self: any(map(self.oracle.claimable, self.oracle.agents)))
    def is_claimed(self, data: st.DataObject, bound: bool, ttl: int) -> None:
        self._flush()
        named = [a for a in self.oracle.agents if self.oracle.claimable(a)]
        if not named:
            return
        agent = data.draw(st.sampled_from(named))
        known = self.oracle.agents[agent]
        instance = max(zip(known.ranks, known.lives, strict=True))[1]
        token = f"k{self._number()}"
        options: dict[str, Any] = {"instance": instance, "ttl_ms": ttl, "bound": bound}
        stale = self.desk.claim(token, agent, **options, seq=self.seqs[agent] + 1)
        assert stale == (None, 0, ["altered"])
        answer = self.desk.claim(token, agent, **options)
        if self.oracle.is_late(agent, instance, self.now_ms):
            assert answer == (None, 0, ["late"])
            return
        former = self.oracle.fence
        fence = self.oracle.claim(agent, instance, token, self.now_ms, ttl_ms=ttl, bound=bound)
        assert answer == (agent, fence, [""])
        assert fence > former
        assert len(known.claims) <= known.slots(known.ranks)

    @rule(data=st.data(), bound=st.booleans(), ttl=st.sampled_from([0, 2_000, 30_000]))
    @precondition(lambda self: self._claims())
    def claim_is_renewed(self, data: st.DataObject, bound: bool, ttl: int) -> None:
        self._flush()
        agent, token = data.draw(st.sampled_from(self._claims()))
        assert self.desk.renew_claim(token, agent, holder="another", ttl_ms=ttl) is None
        ends = self.oracle.renew_claim(agent, token, self.now_ms, ttl_ms=ttl, bound=bound)
        assert self.desk.renew_claim(token, agent, ttl_ms=ttl, bound=bound) == ends

    @rule(data=st.data())
    @precondition(lambda self: self._claims())
    def holders_are_there(self, data: st.DataObject) -> None:
        self._flush()
        for agent, token in self._claims():
            claim = self.oracle.agents[agent].claims[token]
            if claim.bound:
                self.desk.hold(f"{token}@{agent}", ends_ms=claim.ends_ms)
                self.oracle.hold(agent, token, self.now_ms)

    @rule(data=st.data(), holder=st.sampled_from(["h", ""]))
    @precondition(lambda self: self._claims())
    def claim_is_released(self, data: st.DataObject, holder: str) -> None:
        self._flush()
        agent, token = data.draw(st.sampled_from(self._claims()))
        assert not self.desk.release(token, "another", agent)
        assert self.desk.release(token, holder, agent)
        assert not self.desk.release(token, holder, agent)
        self.oracle.release(agent, token, self.now_ms)

    # What must be so after each step

    @invariant()
    def all_is_as_the_oracle_says(self) -> None:
        if self.waiting:
            return
        self._follow_log()
        known = self.oracle.agents.values()
        assert self.desk.counts() == Counter(agent.rank for agent in known)
        names = {name.decode() for name in self.desk.redis.hkeys(self.desk.lane.keys[1])}
        assert names == set(self.oracle.agents)
        for agent in known:
            self._compare(agent)
        members = {
            SEP.join((agent, instance, life.session)).encode(): life.ends_ms
            for agent, instance, life in self._lives()
        }
        assert self._scores(2) == members
        claims = {
            f"{token}@{agent.name}".encode(): claim.due_ms
            for agent in known
            for token, claim in agent.claims.items()
        }
        assert self._scores(8) == claims
        assert set(self.desk.redis.hkeys(self.desk.lane.keys[9])) == set(claims)
        turns = {a.name.encode(): a.turns_ms for a in known if a.turns_ms < inf}
        assert self._scores(5) == turns
        gone = {a.name.encode(): a.gone_ms for a in known if a.gone_ms < inf}
        assert self._scores(6) == gone
        moments = [*members.values(), *claims.values(), *turns.values(), *gone.values()]
        due = self.desk.next_due_ms()
        assert not moments or (due is not None and due <= ceil(min(moments)))

    def _compare(self, agent: Agent) -> None:
        record = self.desk.read(agent.name)
        assert record.rank == agent.rank
        assert record.seq == self.seqs[agent.name]
        assert (agent.rank == OFFLINE) is (not agent.lives)
        assert record.why == (agent.why if agent.rank == OFFLINE else "")
        assert dict(record.claims) == {t: claim.instance for t, claim in agent.claims.items()}
        assert len(record.instances) == len(agent.lives)
        for instance, (name, life) in zip(record.instances, agent.lives.items(), strict=True):
            got = instance.name, instance.session, instance.start_ms, instance.n, instance.rev
            assert got == (name, life.session, life.start_ms, life.n, life.rev)
            if self.heard_is_certain:
                assert instance.last_heartbeat_ms == life.heard_ms
        if record.last is not None and self.heard_is_certain:
            assert record.last.last_heartbeat_ms == agent.last_ms

    def _follow_log(self) -> None:
        """Each change is numbered without a hole, and is the one that the oracle told of."""
        for noted in self.desk.log(self.read_id):
            self.seq += 1
            assert noted.seq == self.seq
            told = self.oracle.told[noted.agent].pop(0)
            rank = noted.record.rank
            assert Told(noted.kind, noted.was, rank, noted.lasted_ms) == told
            self.seqs[noted.agent] = noted.seq
            self.read_id = f"({noted.at_ms}-{noted.seq}"
        assert not any(self.oracle.told.values())

    def teardown(self) -> None:
        self._flush()

    def _scores(self, key: int) -> dict[bytes, float]:
        return dict(self.desk.redis.zrange(self.desk.lane.keys[key], 0, -1, withscores=True))

    # Aids

    def _act(self, row: list[Any], code: int, more: bool) -> None:
        """Let an act leave, or wait for others of its batch."""
        self.waiting.append((row, code))
        if not more:
            self._flush()

    def _flush(self) -> None:
        rows, codes = [row for row, _ in self.waiting], [code for _, code in self.waiting]
        self.waiting = []
        if rows:
            assert self.desk.codes(*rows) == codes
            self.all_is_as_the_oracle_says()

    def _row(self, agent: str, instance: str, session: str, said: Says, **given: Any) -> list[Any]:
        stalls = said.stalls_in_ms
        spoken = {"rank": said.word, "blob": said.blob, "ttl_ms": said.ttl_ms}
        row = says(agent, instance, session, **spoken, **given, stalls_in_ms=stalls)
        return [*row, said.slots, int(said.quiet)]

    def _rarely(self, data: st.DataObject) -> bool:
        """What ends all that was there must not happen as often as the rest."""
        return data.draw(st.integers(0, 7)) == 7

    def _number(self) -> int:
        self.made += 1
        return self.made

    def _age(self, life: Life, age: int) -> int:
        """What a hub tells of a session never is older than what it told before."""
        return max(0, min(age, self.now_ms - life.heard_ms)) // 4 * 4

    def _goes(self, agent: str, instance: str, life: Life) -> None:
        if life.session:
            self.gone.append((agent, instance, life.session, life.start_ms))

    def _draw(self, data: st.DataObject, lives: list[tuple[str, str, Life]]) -> Any:
        return lives[data.draw(st.integers(0, len(lives) - 1))]

    def _lives(self) -> Iterator[tuple[str, str, Life]]:
        for agent in self.oracle.agents.values():
            for instance, life in agent.lives.items():
                yield agent.name, instance, life

    def _sockets(self) -> list[tuple[str, str, Life]]:
        return [each for each in self._lives() if each[2].session]

    def _kept(self) -> list[tuple[str, str, Life]]:
        """Those that their hubs speak for: one that was taken for lost says all anew first."""
        return [
            (agent, instance, life)
            for agent, instance, life in self._sockets()
            if not life.why and life.ends_ms % 1 != 0.25
        ]

    def _claims(self) -> list[tuple[str, str]]:
        return [(agent.name, t) for agent in self.oracle.agents.values() for t in agent.claims]


@pytest.fixture
def desk(fresh_url: str) -> Iterator[Desk]:
    desk = Desk(fresh_url)
    yield desk
    desk.close()


def test_the_scripts_do_what_the_contract_says_on_any_walk(desk: Desk) -> None:
    class OnThisDesk(Walk):
        pass

    OnThisDesk.desk = desk
    run_state_machine_as_test(OnThisDesk, settings=BOUNDS)
