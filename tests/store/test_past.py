"""The past of each agent in a real store: what is kept of it, for how long, and when it goes."""

from __future__ import annotations

import asyncio

from lifesigns.core.model import Words
from lifesigns.core.past import Life, Passage, unpack_passage
from lifesigns.core.presence import AVAILABLE, BUSY, NONE, OFFLINE
from lifesigns.core.record import pack_words
from lifesigns.store import keys
from lifesigns.store.lease import LIVES_LEN, LIVES_MS, PAST_LEN, PAST_MS
from lifesigns.store.put import HttpBeat
from tests.station import station
from tests.store.board import KEEP_MS, PROJECT, Board, hello, leaves, says


def passages(board: Board, agent: str = "a") -> list[Passage]:
    kept = board.redis.lrange(keys.past(PROJECT, 0, agent), 0, -1)
    return [unpack_passage(each) for each in kept]


def lives(board: Board, agent: str = "a") -> list[Life]:
    kept = board.redis.lrange(keys.lives(PROJECT, 0, agent), 0, -1)
    return [Life(*map(int, each.split())) for each in kept]


def live_once(board: Board, number: int, *, ms: int = 1_000) -> Life:
    """Come, stay for a while, and leave."""
    began = board.now_ms
    session = f"01{number:06x}"
    board.beat(hello("a", "i", session))
    board.now_ms += ms
    board.beat(leaves("a", "i", session, text="enough"))
    return Life(began, board.now_ms)


def test_every_change_is_kept_in_order_with_what_the_agent_said(board: Board) -> None:
    began = board.now_ms
    board.beat(hello("a", "i", "01aaaa"))
    board.now_ms += 10
    blob = pack_words(Words(status="thinking", task="t"))
    board.beat(says("a", "i", "01aaaa", n=2, rank=BUSY, blob=blob))
    board.now_ms += 10
    board.beat(leaves("a", "i", "01aaaa", text="done"))
    came, worked, left = passages(board)
    assert (came.kind, came.was, came.rank, came.at_ms) == ("o", NONE, AVAILABLE, began)
    assert (worked.kind, worked.was, worked.rank) == ("u", AVAILABLE, BUSY)
    assert (worked.words.status, worked.words.task) == ("thinking", "t")
    assert (left.kind, left.was, left.rank) == ("f", BUSY, OFFLINE)
    assert (left.why, left.text) == ("left", "done")
    assert left.words.task == "t"  # what it said last
    noted = [(each.seq, each.at_ms, each.kind, each.was) for each in board.log()]
    assert [(p.seq, p.at_ms, p.kind, p.was) for p in passages(board)] == noted


def test_a_beat_without_news_is_no_past(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"))
    board.now_ms += 10
    board.renew(10_000, b"a\x1fi\x1f01aaaa")
    assert [each.kind for each in passages(board)] == ["o"]


def test_each_agent_has_its_own_past(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01bbbb"), leaves("b", "i", "01bbbb"))
    assert [each.kind for each in passages(board)] == ["o"]
    assert [each.kind for each in passages(board, "b")] == ["o", "f"]
    assert (lives(board), lives(board, "b")) == ([], [Life(board.now_ms, board.now_ms)])


def test_the_last_500_changes_are_kept(board: Board) -> None:
    for i in range(0, PAST_LEN + 100, 100):
        rows = []
        for n in range(i, i + 100):
            blob = pack_words(Words(task=f"task {n}"))
            row = hello("a", "i", "01aaaa", blob=blob) if n == 0 else None
            rows.append(row or says("a", "i", "01aaaa", n=n + 1, blob=blob))
        assert set(board.codes(*rows)) == {0}
        board.now_ms += 1
    kept = [each.words.task for each in passages(board)]
    assert kept == [f"task {n}" for n in range(100, PAST_LEN + 100)]


def test_lives_are_kept_when_they_end(board: Board) -> None:
    ended = []
    for number in range(3):
        ended.append(live_once(board, number))
        board.now_ms += 500
    assert lives(board) == ended
    board.beat(hello("a", "i", "01ffff"))
    assert lives(board) == ended  # the present one has not ended


def test_a_lease_that_runs_out_ends_a_life_too(board: Board) -> None:
    began = board.now_ms
    board.serve()
    board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
    board.now_ms += 4_000
    board.serve()
    assert board.sweep()[0] == 1
    assert lives(board) == [Life(began, board.now_ms)]
    assert passages(board)[-1].why == "expired"


def test_a_life_goes_on_while_one_of_its_instances_does(board: Board) -> None:
    began = board.now_ms
    board.beat(hello("a", "i", "01aaaa"), hello("a", "j", "01bbbb"))
    board.now_ms += 10
    board.beat(leaves("a", "i", "01aaaa"))
    assert lives(board) == []
    board.now_ms += 10
    board.beat(leaves("a", "j", "01bbbb"))
    assert lives(board) == [Life(began, board.now_ms)]


def test_the_past_outlives_its_agent_until_that_is_forgotten(board: Board) -> None:
    board.serve()
    life = live_once(board, 1)
    board.now_ms += KEEP_MS - 1
    board.serve()
    board.sweep()
    assert (lives(board), [each.kind for each in passages(board)]) == ([life], ["o", "f"])
    board.now_ms += 1
    assert board.sweep()[2] == 1
    assert (lives(board), passages(board)) == ([], [])


def test_who_is_forgotten_on_demand_leaves_no_past(board: Board) -> None:
    """Its end was noted again after its past had been dropped."""
    live_once(board, 1)
    board.beat(hello("a", "i", "01ffff"), hello("b", "i", "01bbbb"))
    assert board.forget("a")
    assert (lives(board), passages(board)) == ([], [])
    assert [each.kind for each in passages(board, "b")] == ["o"]
    board.beat(hello("a", "i", "02aaaa"))
    assert [(each.kind, each.was) for each in passages(board)] == [("o", NONE)]


def test_no_more_lives_are_kept_than_have_room(board: Board) -> None:
    key = keys.lives(PROJECT, 0, "a")
    board.redis.rpush(key, *[f"{n} {n + 1}" for n in range(LIVES_LEN)])
    life = live_once(board, 1)
    kept = lives(board)
    assert len(kept) == LIVES_LEN
    assert (kept[0], kept[-1]) == (Life(1, 2), life)


async def test_the_store_reads_the_past_of_one_agent(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        now = asyncio.get_running_loop().time()
        await here.store.put(PROJECT, HttpBeat("a", None, None, {"status": "thinking"}), now)
        await here.store.remove(PROJECT, "a", None, now)
        reading = await here.store.read(PROJECT, "a")
        changes, ended = await here.store.past(PROJECT, "a")
        assert [(each.kind, each.words.status) for each in changes] == [
            ("o", "thinking"),
            ("f", "thinking"),
        ]
        assert reading.presence is not None
        assert [life.down_ms for life in ended] == [reading.presence.offline_since_ms]
        assert await here.store.past(PROJECT, "nobody") == ([], [])
        here.clock.offset_ms += PAST_MS
        assert await here.store.past(PROJECT, "a") == ([], ended)
        here.clock.offset_ms += LIVES_MS - PAST_MS
        assert await here.store.past(PROJECT, "a") == ([], []), "it is too long ago"
        here.clock.offset_ms -= LIVES_MS
        await here.store.forget(PROJECT, "a")
        assert await here.store.past(PROJECT, "a") == ([], [])
