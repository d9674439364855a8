"""Marking the instances of a hub that is lost, with a clock of the test's own."""

from __future__ import annotations

import msgpack
import pytest

from lifesigns.core.presence import AVAILABLE, SUSPECT
from tests.store.board import WORDS, Board, breaks, hello, leaves, says


def kinds(board: Board, agent: str = "a") -> str:
    return "".join(noted.kind for noted in board.log() if noted.agent == agent)


def expires_ms(board: Board, agent: str = "a") -> int:
    (instance,) = board.read(agent).instances
    assert instance.lease_ms is not None
    return instance.lease_ms - board.now_ms


def test_only_the_instances_of_that_hub_are_marked(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "02aaaa"), hello("a", "j", "02aaab"))
    board.beat(says("c", "-", "", n=0, blob=WORDS, expect=0))
    assert board.lose("01") == (None, 1)
    assert [kinds(board, agent) for agent in "abc"] == ["ouu", "o", "o"]
    assert board.counts() == {AVAILABLE: 3}
    assert board.lose("02") == (None, 2)
    assert [kinds(board, agent) for agent in "abc"] == ["ouus", "os", "o"]
    assert board.counts() == {AVAILABLE: 1, SUSPECT: 2}


def test_nobody_is_marked_twice(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01aaab", ttl_ms=90_000))
    before = [board.lose("01")[1], board.live(), board.log()]
    for _ in range(3):
        board.now_ms += 1_000
        assert [2, board.live(), board.log()] == before
        assert board.lose("01") == (None, 0)


@pytest.mark.parametrize(
    ("ttl_ms", "waited_ms", "left_ms"),
    [
        (1_000, 900, 10_000),
        (30_000, 29_000, 30_000),
        (90_000, 5_000, 85_000),
        (90_000, 80_000, 60_000),
    ],
)
def test_a_lease_is_only_lengthened(
    board: Board, ttl_ms: int, waited_ms: int, left_ms: int
) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=ttl_ms))
    board.now_ms += waited_ms
    board.lose("01")
    assert expires_ms(board) == left_ms
    (instance,) = board.read("a").instances
    assert (instance.held, instance.last_heartbeat_ms) == (False, board.now_ms - waited_ms)
    board.now_ms += left_ms - 1
    assert board.sweep() == (0, 0, 0)
    board.now_ms += 2
    assert board.sweep() == (1, 0, 0)
    assert kinds(board) == "osf"
    gone = board.record("a")
    assert gone is not None
    assert gone.last is not None
    assert gone.why == "node_lost"
    assert gone.last.last_heartbeat_ms == board.now_ms - 1 - left_ms - waited_ms


def test_one_who_comes_to_another_hub_was_never_away(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=1_000))
    board.lose("01")
    board.now_ms += 9_000
    board.beat(hello("a", "i", "02aaaa", ttl_ms=1_000))
    assert kinds(board) == "osr"
    assert list(board.live().values()) == [board.now_ms + 1_000]
    assert board.lose("01") == (None, 0)


def test_one_whose_hub_comes_back_lives_by_its_last_beat(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=8_000))
    board.now_ms += 3_000
    board.lose("01")
    board.now_ms += 1_000
    board.renew(8_000, b"a\x1fi\x1f01aaaa", age_ms=500)
    assert kinds(board) == "os", "only its words tell who is asked for them"
    board.beat(says("a", "i", "01aaaa", n=2, blob=WORDS, age_ms=500, ttl_ms=8_000))
    assert kinds(board) == "osr"
    assert expires_ms(board) == 7_500
    (instance,) = board.read("a").instances
    assert instance.last_heartbeat_ms == board.now_ms - 500


def test_words_that_come_too_late_do_not_end_a_lengthened_lease(board: Board) -> None:
    """A hub that is back may have words that lay there for long, and later signs unread."""
    board.beat(hello("a", "i", "01aaaa", ttl_ms=2_000))
    board.lose("01")
    board.now_ms += 4_000
    board.beat(says("a", "i", "01aaaa", n=2, blob=WORDS, age_ms=3_000, ttl_ms=2_000))
    assert kinds(board) == "osr"
    assert expires_ms(board) == 6_000
    assert board.read("a").instances[0].last_heartbeat_ms == board.now_ms - 3_000
    board.now_ms += 100
    assert board.sweep() == (0, 0, 0)
    board.beat(says("a", "i", "01aaaa", n=3, blob=WORDS, age_ms=50, ttl_ms=2_000))
    assert expires_ms(board) == 1_950


def test_who_breaks_off_after_its_hub_was_lost_was_not_heard_then(board: Board) -> None:
    """Its lengthened lease was cut to the grace, and told of a beat that nobody had sent."""
    board.beat(hello("a", "i", "01aaaa", ttl_ms=2_000))
    heard_ms = board.now_ms
    board.lose("01")
    board.now_ms += 3_000
    board.beat(breaks("a", "i", "01aaaa", grace_ms=2_000))
    assert expires_ms(board) == 1_999
    (instance,) = board.read("a").instances
    assert (instance.last_heartbeat_ms, instance.held) == (heard_ms, False)
    board.now_ms += 2_000
    assert board.sweep() == (1, 0, 0)
    gone = board.record("a")
    assert gone is not None
    assert gone.last is not None
    assert gone.last.last_heartbeat_ms == heard_ms


def test_a_broken_socket_keeps_its_grace(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=8_000))
    board.now_ms += 1_000
    board.beat(breaks("a", "i", "01aaaa", grace_ms=2_000))
    for _ in range(2):
        assert board.lose("01") == (None, 0)
    assert expires_ms(board) == 2_000
    (instance,) = board.read("a").instances
    assert instance.last_heartbeat_ms == board.now_ms - 1_000
    board.now_ms += 2_001
    assert board.sweep() == (1, 0, 0)
    assert kinds(board) == "osf"
    assert board.record("a").why == "disconnected"


def test_a_large_page_is_marked_in_small_calls(board: Board) -> None:
    for start in range(0, 400, 100):
        board.beat(*[hello(f"a{start + i}", "i", "01aaaa") for i in range(100)])
        board.beat(*[hello(f"b{start + i}", "i", "02aaaa") for i in range(100)])
    cursor, total, calls = "0", 0, 0
    while cursor is not None:
        cursor, marked = board.lose("01", cursor=cursor, count=200, limit=32)
        assert marked <= 32
        total, calls = total + marked, calls + 1
        assert calls < 100
    assert total == 400
    assert board.counts() == {AVAILABLE: 400, SUSPECT: 400}


def test_a_lease_for_which_nothing_speaks_is_cleared_away(board: Board) -> None:
    board.redis.zadd(board.lane.keys[2], {f"a{i}\x1fi\x1f01aaaa": board.now_ms for i in range(9)})
    assert [board.lose("01", limit=4)[1] for _ in range(3)] == [0, 0, 0]
    assert board.live() == {}


def test_a_hub_that_is_back_forbids_what_its_former_lease_gave_cause_for(board: Board) -> None:
    """A page that was on its way marked agents that had just been said to live."""
    board.beat(hello("a", "i", "01aaaa"))
    lapsed_ms = board.now_ms
    board.now_ms += 300
    board.redis.hset(board.lane.keys[7], "back:01", board.now_ms)
    assert board.lose("01", lapsed_ms=lapsed_ms) == ("", 0)
    assert kinds(board) == "o"
    assert board.lose("01", lapsed_ms=board.now_ms + 2_500) == (None, 1), "it died once more"


def test_the_hub_is_told_of_each(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"), hello("a", "j", "01aaab"), hello("b", "i", "02aaaa"))
    with board.redis.pubsub() as inbox:
        inbox.subscribe("ls:node:0:01")
        inbox.get_message(timeout=5)
        board.lose("01")
        told = [msgpack.unpackb(inbox.get_message(timeout=5)["data"]) for _ in range(2)]
    assert sorted(told) == [
        ["suspected", "default", "a", "i", "01aaaa"],
        ["suspected", "default", "a", "j", "01aaab"],
    ]


def test_who_has_left_is_not_marked(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"))
    board.beat(leaves("a", "i", "01aaaa"))
    assert board.lose("01") == (None, 0)
    assert kinds(board) == "of"


def test_a_gap_holds_a_marked_one_too(board: Board) -> None:
    board.serve()
    board.beat(hello("a", "i", "01aaaa", ttl_ms=20_000))
    beat_ms = board.now_ms
    board.lose("01")
    board.now_ms += 19_000
    gap_ms = board.serve()
    board.now_ms += 2_000
    board.serve()
    assert board.sweep() == (0, 0, 0)
    (instance,) = board.read("a").instances
    assert (instance.held, instance.last_heartbeat_ms) == (True, beat_ms)
    assert set(board.live().values()) == {gap_ms + 20_000}
    board.now_ms = gap_ms + 20_000
    assert board.sweep() == (1, 0, 0)
    assert board.record("a").last.last_heartbeat_ms == beat_ms
