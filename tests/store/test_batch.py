"""A batch does what its acts would do one by one: which beats share a call is chance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from lifesigns.core.model import Words
from lifesigns.core.record import pack_words
from tests.store.board import Board, breaks, leaves, says

CALLS = 60
BLOBS = [pack_words(Words(task=f"task {i}")) for i in range(3)]
AGENTS, INSTANCES = "ab", "xy"


class Acts:
    """Whatever hubs may send, likely or not, on what one lane has."""

    def __init__(self, board: Board, seed: int) -> None:
        self._board = board
        self._random = random.Random(seed)
        self._sessions = 0

    def size(self) -> int:
        return self._random.choice([1, 2, 3, 5, 9])

    def pause_ms(self) -> int:
        return self._random.choice([0, 1, 50, 400, 1_500])

    def next(self) -> list[Any]:
        rng = self._random
        agent, instance = rng.choice(AGENTS), rng.choice(INSTANCES)
        record = self._board.record(agent)
        there = [each for each in record.instances if each.name == instance] if record else []
        session, n, rev = "", 0, 0
        if there:
            session, n, rev = there[0].session, there[0].n, there[0].rev
        words = {
            "rank": rng.choice([3, 5, 6, 7, 8]),
            "blob": rng.choice(BLOBS),
            "ttl_ms": rng.choice([1_000, 2_000, 5_000]),
            "age_ms": rng.choice([0, 0, 30, 900]),
            "stalls_in_ms": rng.choice([None, None, 0, 300, 2_000]),
            "want": rng.random() < 0.2,
        }
        act = rng.choice(
            ["hello", "hello", "news", "news", "http", "http", "break", "leave", "end"]
        )
        if act == "hello":
            self._sessions += 1
            session = f"01{self._sessions:04}"
            return says(agent, instance, session, started_ms=rng.choice([0, 0, 60]), **words)
        if act == "news":
            return says(agent, instance, session, n=n + rng.choice([0, 1, 1]), rev=rev, **words)
        if act == "http":
            expect = record.seq if record else 0
            return says(agent, instance, "", n=n, rev=rev, expect=expect, **words)
        if act == "break":
            return breaks(agent, instance, session, grace_ms=rng.choice([0, 500, 5_000]))
        if act == "leave":
            return leaves(agent, instance, session, text="bye")
        return leaves(agent, rng.choice(["", instance]), fence=True)


@pytest.fixture
def other(fresh_url: str) -> Iterator[Board]:
    """Give a second lane, beside that of ``board``."""
    other = Board(fresh_url, number=1)
    yield other
    other.close()


def everything(board: Board) -> dict[str, Any]:
    """Read all keys of a lane but what may differ: when its epoch began, how low a bound is."""
    store = board.redis
    read: dict[bytes, Any] = {
        b"hash": store.hgetall,
        b"zset": lambda key: store.zrange(key, 0, -1, withscores=True),
        b"stream": store.xrange,
    }
    meta, agents, live, log, _, turn, gone, _, claims, terms = board.lane.keys
    found = {
        key.decode().partition("}")[2]: read[store.type(key)](key)
        for key in (agents, live, log, turn, gone, claims, terms)
        if store.exists(key)
    }
    # A count that was never touched is a zero too.
    found["counts"] = board.counts()
    found["place"] = store.hmget(meta, "seq", "last")
    return found


def nothing_is_overlooked(board: Board) -> bool:
    """Tell whether the sweep is to look no later than the first thing to do."""
    _, _, live, _, _, turn, gone, _, claims, _ = board.lane.keys
    what = (live, turn, gone, claims)
    firsts = [board.redis.zrange(key, 0, 0, withscores=True) for key in what]
    times = [first[0][1] for first in firsts if first]
    due_ms = board.next_due_ms()
    return not times if due_ms is None else due_ms <= min(times)


@pytest.mark.parametrize("seed", range(6))
def test_a_batch_does_what_its_acts_do_one_by_one(board: Board, other: Board, seed: int) -> None:
    single, batched = board, other
    acts = Acts(single, seed)
    for _ in range(CALLS):
        rows, alone = [], []
        for _ in range(acts.size()):
            rows.append(acts.next())
            alone += single.beat(rows[-1])
        assert batched.beat(*rows) == alone
        assert everything(batched) == everything(single), rows
        single.now_ms += (pause_ms := acts.pause_ms())
        batched.now_ms += pause_ms
        assert nothing_is_overlooked(batched)
        assert single.sweep() == batched.sweep()
        assert everything(batched) == everything(single)
        assert nothing_is_overlooked(batched)
    assert len({noted.kind for noted in single.log()}) == 6
