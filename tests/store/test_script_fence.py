"""Whom the scripts refuse: older sessions, late news, beats that were judged on another record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY, ERROR
from lifesigns.core.record import pack_words, unpack_record
from tests.store.board import WORDS, Board, breaks, hello, leaves, says

DONE, OLDER, NOT_HERE, BEFORE, ALTERED = range(5)
THINKING = pack_words(Words(status="thinking"))


def posts(agent: str, instance: str, expect: int, **given: Any) -> list[Any]:
    """Lay out an HTTP beat on an agent whose record has the seq ``expect``."""
    return says(agent, instance, "", **({"n": 0, "blob": THINKING, "expect": expect} | given))


class Inbox:
    """What the scripts tell hubs."""

    def __init__(self, board: Board) -> None:
        self._feed = board.redis.pubsub(ignore_subscribe_messages=True)
        self._prefix = "ls:node:0:"
        self._feed.psubscribe(self._prefix + "*")
        assert self._feed.get_message(timeout=10) is None  # the confirmation

    def told(self) -> list[tuple[str, list[str]]]:
        """Take what came: the node, and the message."""
        messages = []
        while message := self._feed.get_message(timeout=0.05):
            node = message["channel"].decode().removeprefix(self._prefix)
            messages.append((node, msgpack.unpackb(message["data"])))
        return messages

    def close(self) -> None:
        self._feed.close()


@pytest.fixture
def inbox(board: Board) -> Iterator[Inbox]:
    inbox = Inbox(board)
    yield inbox
    inbox.close()


def snapshot(board: Board) -> Any:
    return board.redis.hgetall(board.lane.keys[1]), board.live(), board.log(), board.counts()


class TestTransit:
    """A hello that was stuck on one hub's link passed for younger than the one that overtook it."""

    def overtaken(self, board: Board, sent_ms: int) -> int:
        board.beat(hello("a", "i", "02aaaa"))
        board.now_ms += 2_000
        ((code, _, _),) = board.beat(hello("a", "i", "01aaaa"), sent_ms=sent_ms)
        return code

    def test_a_hello_that_was_overtaken_takes_nothing_over(self, board: Board) -> None:
        assert self.overtaken(board, board.now_ms - 1_000) == OLDER
        assert list(board.live()) == ["a\x1fi\x1f02aaaa"]

    @pytest.mark.parametrize("sent_ms", [1_800, 2_000, 2_500, -12_000, 3_600_000])
    def test_what_may_be_the_reckoning_or_another_clock_does_not_count(
        self, board: Board, sent_ms: int
    ) -> None:
        assert self.overtaken(board, board.now_ms + sent_ms) == DONE

    def test_its_beat_is_as_old_as_it_says(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=5_000), sent_ms=board.now_ms - 3_000)
        (instance,) = board.read("a").instances
        assert (instance.start_ms, instance.last_heartbeat_ms) == (
            board.now_ms - 3_000,
            board.now_ms,
        )


class TestSessions:
    def test_a_later_session_takes_its_instance_over(self, board: Board, inbox: Inbox) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 100
        assert board.codes(hello("a", "i", "02aaaa", ttl_ms=7_000)) == [DONE]
        assert board.live() == {"a\x1fi\x1f02aaaa": board.now_ms + 7_000}
        assert inbox.told() == [("01", ["superseded", "default", "a", "i", "01aaaa"])]

    def test_an_older_hello_that_comes_late_changes_nothing(self, board: Board) -> None:
        board.now_ms += 10_000
        board.beat(hello("a", "i", "02aaaa", started_ms=1_000))
        before = snapshot(board)
        late = hello("a", "i", "01aaaa", started_ms=1_001, age_ms=1_001, blob=THINKING)
        assert board.codes(late) == [OLDER]
        assert snapshot(board) == before

    def test_of_two_that_began_in_the_same_ms_the_one_that_comes_later_counts(
        self, board: Board
    ) -> None:
        assert board.codes(hello("a", "i", "01aaaa"), hello("a", "i", "02aaaa")) == [DONE, DONE]
        assert list(board.live()) == ["a\x1fi\x1f02aaaa"]

    def test_a_hello_is_as_old_as_its_connection_not_as_its_latest_words(
        self, board: Board
    ) -> None:
        board.beat(hello("a", "i", "01aaaa", started_ms=500))
        board.now_ms += 100
        again = hello("a", "i", "02aaaa", started_ms=700, age_ms=0)
        assert board.codes(again) == [OLDER]

    def test_what_an_older_session_says_is_not_heard(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(hello("a", "i", "02aaaa"))
        before = snapshot(board)
        assert (
            board.codes(
                says("a", "i", "01aaaa", n=2, blob=THINKING),
                leaves("a", "i", "01aaaa"),
                breaks("a", "i", "01aaaa"),
            )
            == [NOT_HERE] * 3
        )
        assert snapshot(board) == before

    def test_an_older_session_may_not_return_over_one_that_is_suspect(self, board: Board) -> None:
        board.now_ms += 10_000
        board.beat(hello("a", "i", "02aaaa"))
        board.beat(breaks("a", "i", "02aaaa"))
        assert board.codes(hello("a", "i", "01aaaa", started_ms=50)) == [OLDER]

    def test_an_older_session_may_return_when_the_newer_one_has_left(self, board: Board) -> None:
        board.beat(hello("a", "i", "02aaaa"))
        board.beat(leaves("a", "i", "02aaaa"))
        assert board.codes(hello("a", "i", "01aaaa", started_ms=50)) == [DONE]

    def test_two_instances_do_not_fence_each_other(self, board: Board) -> None:
        board.beat(hello("a", "1", "02aaaa"))
        assert board.codes(hello("a", "2", "01aaaa", started_ms=5_000)) == [DONE]

    @pytest.mark.parametrize("n", [1, 2])
    def test_news_that_are_not_newer_than_the_stored_are_refused(
        self, board: Board, n: int
    ) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(says("a", "i", "01aaaa", n=2, blob=THINKING))
        before = snapshot(board)
        board.now_ms += 1_000
        assert board.codes(says("a", "i", "01aaaa", n=n, blob=WORDS)) == [BEFORE]
        assert board.codes(hello("a", "i", "01aaaa", n=n)) == [BEFORE]
        assert snapshot(board) == before

    def test_a_session_that_says_hello_again_goes_on(self, board: Board, inbox: Inbox) -> None:
        board.beat(hello("a", "i", "01aaaa", n=1))
        board.now_ms += 1_000
        assert board.codes(hello("a", "i", "01aaaa", n=2, started_ms=1_000)) == [DONE]
        assert len(board.log()) == 1
        assert inbox.told() == []

    def test_a_hello_is_not_refused_for_a_session_that_seems_to_begin_in_the_future(
        self, board: Board
    ) -> None:
        """A reconnect was older than its own past after the store's clock had gone back."""
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms -= 3_600_000
        assert board.codes(hello("a", "i", "02aaaa", started_ms=20)) == [DONE]
        assert list(board.live()) == ["a\x1fi\x1f02aaaa"]


class TestRemoval:
    def test_the_sessions_of_a_removed_agent_may_not_come_back(
        self, board: Board, inbox: Inbox
    ) -> None:
        board.beat(hello("a", "1", "01aaaa"), hello("a", "2", "02aaaa"))
        board.now_ms += 1_000
        assert board.codes(leaves("a", fence=True)) == [DONE]
        assert sorted(inbox.told()) == [
            ("01", ["left", "default", "a", "1", "01aaaa"]),
            ("02", ["left", "default", "a", "2", "02aaaa"]),
        ]
        board.now_ms += 50
        back = hello("a", "1", "01aaaa", n=2, started_ms=1_050)
        other = hello("a", "3", "03aaaa", started_ms=51)
        assert board.codes(back, other) == [OLDER, OLDER]
        assert board.record("a").instances == ()

    def test_the_sessions_of_a_forgotten_agent_may_not_come_back(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 10
        assert board.forget("a")
        board.now_ms += 10
        row = hello("a", "i", "01aaaa", n=2, started_ms=20)
        assert board.codes(row, hello("a", "j", "01aaab", started_ms=11)) == [OLDER, OLDER]
        assert board.record("a") is None
        assert board.codes(hello("a", "i", "01aaac", started_ms=9)) == [DONE]

    def test_who_connects_after_the_removal_may(self, board: Board) -> None:
        board.beat(hello("a", "1", "01aaaa"))
        board.beat(leaves("a", fence=True))
        board.now_ms += 50
        assert board.codes(hello("a", "1", "01aaab", started_ms=50)) == [DONE]

    def test_one_instance_that_was_removed_fences_that_one_alone(self, board: Board) -> None:
        board.beat(hello("a", "1", "01aaaa"), hello("a", "2", "01aaab"))
        board.now_ms += 1_000
        assert board.codes(leaves("a", "1", fence=True)) == [DONE]
        assert [each.name for each in board.record("a").instances] == ["2"]
        assert board.codes(
            hello("a", "1", "01aaaa", n=2, started_ms=1_000),
            hello("a", "3", "01aaac", started_ms=1_000),
        ) == [OLDER, DONE]

    def test_a_session_whose_lease_is_gone_is_fenced_too(self, board: Board) -> None:
        board.beat(hello("a", "1", "01aaaa"), hello("a", "2", "01aaab", ttl_ms=2_000))
        board.now_ms += 2_000
        board.sweep()
        assert board.codes(leaves("a", "2", fence=True)) == [NOT_HERE]
        assert board.codes(hello("a", "2", "01aaab", n=2, started_ms=2_000)) == [OLDER]

    def test_several_fences_hold_side_by_side(self, board: Board) -> None:
        rows = [hello("a", f"{i}", f"01aaa{i}") for i in range(4)]
        board.beat(*rows)
        board.now_ms += 100
        board.beat(leaves("a", "1", fence=True), leaves("a", "2", fence=True))
        old = {"n": 9, "started_ms": 100}
        assert board.codes(
            hello("a", "1", "01aaa1", **old),
            hello("a", "2", "01aaa2", **old),
            hello("a", "3", "01aaa3", **old),
        ) == [OLDER, OLDER, DONE]

    def test_a_fence_that_seems_to_lie_in_the_future_holds_nobody_off(self, board: Board) -> None:
        """An agent that had been removed stayed away until the clock had caught up."""
        board.beat(hello("a", "1", "01aaaa"))
        board.beat(leaves("a", fence=True))
        board.now_ms -= 3_600_000
        assert board.codes(hello("a", "1", "01aaab")) == [DONE]

    def test_who_leaves_by_itself_is_not_told(self, board: Board, inbox: Inbox) -> None:
        board.beat(hello("a", "1", "01aaaa"))
        board.beat(leaves("a", "1", "01aaaa"))
        board.beat(posts("b", "-", 0))
        board.beat(leaves("b", fence=True))  # no socket to tell
        assert inbox.told() == []


class TestHttp:
    def test_a_beat_without_a_session_makes_an_agent(self, board: Board) -> None:
        assert board.codes(posts("a", "-", 0, ttl_ms=60_000)) == [DONE]
        assert board.live() == {"a\x1f-\x1f": board.now_ms + 60_000}

    def test_a_beat_that_was_judged_on_another_record_is_answered_with_the_one_that_is(
        self, board: Board
    ) -> None:
        board.beat(posts("a", "-", 0))
        before = snapshot(board)
        ((code, seq, packed),) = board.beat(posts("a", "-", 0, rank=ERROR))
        assert (code, seq) == (ALTERED, 1)
        assert unpack_record(packed).instances[0].words.status == "thinking"
        assert snapshot(board) == before

    def test_a_beat_that_was_judged_on_a_record_that_is_gone_is_answered_with_none(
        self, board: Board
    ) -> None:
        assert board.beat(posts("a", "-", 7)) == [(ALTERED, 0, b"")]
        assert snapshot(board) == ({}, {}, [], {})

    def test_of_two_in_one_call_that_were_judged_alike_one_counts(self, board: Board) -> None:
        first, second = board.beat(posts("a", "-", 0), posts("a", "-", 0, rank=ERROR))
        assert (first[0], second[0]) == (DONE, ALTERED)
        assert unpack_record(second[2]).seq == 1

    def test_a_beat_may_say_a_shorter_ttl_for_what_it_holds_itself(self, board: Board) -> None:
        board.beat(posts("a", "-", 0, ttl_ms=60_000))
        (instance,) = board.record("a").instances
        row = posts("a", "-", 1, ttl_ms=5_000, n=instance.n, rev=instance.rev)
        assert board.codes(row) == [DONE]
        assert list(board.live().values()) == [board.now_ms + 5_000]

    def test_a_beat_without_news_is_seen_by_the_next_that_was_judged_before(
        self, board: Board
    ) -> None:
        """What says nothing new leaves the seq as it is, but a lease, a ttl or a stall differ:
        they went back to what the later one had been judged on."""
        board.beat(posts("a", "-", 0, rank=BUSY, stalls_in_ms=1_000))
        (judged,) = board.record("a").instances
        board.now_ms += 900
        alike = {"rank": BUSY, "n": judged.n, "rev": judged.rev}
        progress = posts("a", "-", 1, stalls_in_ms=1_000, ttl_ms=30_000, **alike)
        stale = posts("a", "-", 1, stalls_in_ms=100, **alike)
        assert board.codes(progress, stale) == [DONE, ALTERED]
        (instance,) = board.record("a").instances
        assert instance.ttl_ms == 30_000
        assert len(board.log()) == 1


class TestOutsider:
    """An HTTP beat onto an instance that a socket holds."""

    def onto(self, board: Board, instance: str = "i", **given: Any) -> list[Any]:
        record = board.record("a")
        assert record is not None
        target = next(each for each in record.instances if each.name == instance)
        return posts("a", instance, record.seq, n=target.n, rev=target.rev, **given)

    def test_it_leaves_the_session_its_lease_and_never_shortens_it(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=10_000))
        assert board.codes(self.onto(board, rank=BUSY, ttl_ms=2_000)) == [DONE]
        assert board.live() == {"a\x1fi\x1f01aaaa": board.now_ms + 10_000}
        (instance,) = board.record("a").instances
        assert (instance.session, instance.ttl_ms) == ("01aaaa", 10_000)
        assert instance.words.status == "thinking"

    def test_one_that_was_long_under_way_does_not_shorten_it_either(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=10_000))
        board.beat(self.onto(board, age_ms=3_000))
        assert board.live() == {"a\x1fi\x1f01aaaa": board.now_ms + 10_000}

    def test_it_is_a_sign_of_life(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=10_000))
        board.now_ms += 6_000
        board.beat(self.onto(board, ttl_ms=10_000))
        assert board.live() == {"a\x1fi\x1f01aaaa": board.now_ms + 10_000}

    def test_its_session_is_told_and_judges_its_next_words_anew(
        self, board: Board, inbox: Inbox
    ) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(self.onto(board, rank=BUSY))
        assert inbox.told() == [("01", ["altered", "default", "a", "i", "01aaaa"])]
        ((code, _, packed),) = board.beat(says("a", "i", "01aaaa", n=2, rev=0, blob=WORDS))
        assert code == ALTERED
        (instance,) = unpack_record(packed).instances
        assert (instance.rev, instance.n, instance.words.status) == (1, 1, "thinking")
        assert board.codes(says("a", "i", "01aaaa", n=3, rev=1, blob=WORDS)) == [DONE]
        assert [noted.record.rank for noted in board.log()] == [AVAILABLE, BUSY, AVAILABLE]

    def test_a_beat_that_did_not_know_of_the_session_s_own_progress_is_judged_again(
        self, board: Board
    ) -> None:
        """The session had got on without saying anything new: the stall came all the same."""
        stalling = {"rank": BUSY, "blob": THINKING, "stalls_in_ms": 1_000}
        board.beat(hello("a", "i", "01aaaa", **stalling))
        board.now_ms += 900
        judged = self.onto(board, rank=BUSY, stalls_in_ms=100)
        board.beat(says("a", "i", "01aaaa", n=2, **stalling))
        assert board.codes(judged) == [ALTERED]
        board.now_ms += 500
        assert board.sweep() == (0, 0, 0)

    def test_it_makes_a_suspect_one_alive_for_its_whole_lease(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=30_000))
        board.beat(breaks("a", "i", "01aaaa", grace_ms=5_000))
        board.now_ms += 1_000
        board.beat(self.onto(board, rank=BUSY, ttl_ms=30_000))
        assert [noted.kind for noted in board.log()] == ["o", "s", "r"]
        assert list(board.live().values()) == [board.now_ms + 30_000]
        board.now_ms += 30_000
        board.sweep()
        assert board.record("a").why == "expired"
        assert board.record("a").last.last_heartbeat_ms == board.now_ms - 30_000

    def test_it_does_so_in_the_very_call_in_which_the_socket_breaks(self, board: Board) -> None:
        """The grace cut the lease that the later beat had lengthened."""
        board.beat(hello("a", "i", "01aaaa", ttl_ms=30_000))
        target = board.record("a").instances[0]
        after = posts("a", "i", 2, rank=BUSY, n=target.n, rev=target.rev, ttl_ms=30_000)
        assert board.codes(breaks("a", "i", "01aaaa", grace_ms=5_000), after) == [DONE, DONE]
        assert list(board.live().values()) == [board.now_ms + 30_000]

    def test_a_socket_takes_the_instance_of_http_beats_over(
        self, board: Board, inbox: Inbox
    ) -> None:
        board.beat(posts("a", "i", 0, ttl_ms=60_000))
        board.now_ms += 10
        assert board.codes(hello("a", "i", "01aaaa", ttl_ms=5_000)) == [DONE]
        assert board.live() == {"a\x1fi\x1f01aaaa": board.now_ms + 5_000}
        assert inbox.told() == []


def test_the_fences_of_an_agent_do_not_pile_up(board: Board) -> None:
    """Each removal of an instance, of one that never was too, made every later act dearer."""
    board.beat(hello("a", "i", "01aaaa"))
    for start in range(0, 2_000, 100):
        board.beat(*[leaves("a", f"x{start + i}", fence=True) for i in range(100)])
    assert board.redis.hstrlen(board.lane.keys[1], "a") < 4_096
