"""The sweep: what has run out ends once, in small calls, and never before it is safe."""

from __future__ import annotations

import pytest

from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY, NONE, OFFLINE, STALLED
from lifesigns.core.record import pack_words
from tests.store.board import KEEP_MS, WORDS, Board, breaks, hello, leaves, says

THINKING = pack_words(Words(status="thinking"))


def kinds(board: Board, agent: str = "a") -> str:
    return "".join(noted.kind for noted in board.log() if noted.agent == agent)


def nothing_is_left(board: Board) -> bool:
    """Tell whether the lane's own books are all that there is: no key is about any agent.

    That one was forgotten on demand is known for a day.
    """
    meta, _, _, log, due, _, _, part, *_ = board.lane.keys
    left = set(board.redis.scan_iter()) - {meta, log, due, part}
    return all(b":fence:" in key and 0 < board.redis.ttl(key) <= 86_400 for key in left)


class TestLeases:
    def test_a_lease_ends_with_its_last_ms_and_not_before(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        board.now_ms += 2_999
        assert board.sweep() == (0, 0, 0)
        board.now_ms += 1
        assert board.sweep() == (1, 0, 0)
        assert kinds(board) == "of"

    def test_nothing_beyond_what_is_safe_ends(self, board: Board) -> None:
        """Some hub has a beat for a lease that ended since, and has not stored it yet."""
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        safe_ms = board.now_ms + 2_999
        board.now_ms += 60_000
        assert board.sweep(safe_ms=safe_ms) == (0, 0, 0)
        assert board.next_due_ms() == safe_ms + 1
        assert board.sweep(safe_ms=safe_ms + 1) == (1, 0, 0)

    def test_what_is_safe_lies_never_ahead_of_the_clock(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        assert board.sweep(safe_ms=board.now_ms + 10**9) == (0, 0, 0)

    def test_an_ended_lease_ends_once_however_many_sweep(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000), hello("b", "i", "01aaab"))
        board.now_ms += 3_000
        assert [board.sweep() for _ in range(3)] == [(1, 0, 0), (0, 0, 0), (0, 0, 0)]
        assert (kinds(board), kinds(board, "b")) == ("of", "o")

    def test_one_call_ends_no_more_than_its_limit(self, board: Board) -> None:
        for start in range(0, 300, 100):
            board.beat(*[hello(f"a{start + i}", "i", "01aaaa") for i in range(100)])
        board.now_ms += 10_000
        told = len(board.log())
        for expected in (128, 128, 44, 0):
            assert board.sweep(limit=128) == (expected, 0, 0)
            assert len(board.log()) == (told := told + expected)
        assert board.counts() == {OFFLINE: 300}

    def test_those_that_end_first_go_first(self, board: Board) -> None:
        board.beat(hello("late", "i", "01aaaa", ttl_ms=9_000), hello("early", "i", "01aaab"))
        board.beat(says("early", "i", "01aaab", n=2, blob=WORDS, ttl_ms=4_000))
        board.now_ms += 20_000
        assert [board.sweep(limit=1)[0] for _ in range(3)] == [1, 1, 0]
        assert [noted.agent for noted in board.log() if noted.kind == "f"] == ["early", "late"]

    def test_a_lease_for_which_nothing_speaks_is_cleared_away(self, board: Board) -> None:
        board.beat(hello("a", "i", "02aaaa"))
        board.redis.zadd(board.lane.keys[2], {"a\x1fi\x1f01aaaa": 1, "x\x1fi\x1f01aaaa": 1})
        before = board.log()
        board.sweep()
        assert list(board.live()) == ["a\x1fi\x1f02aaaa"]
        assert board.log() == before
        assert board.record("x") is None

    def test_an_instance_is_named_by_any_text(self, board: Board) -> None:
        board.beat(hello("a", "köln 1/%s.*", "01aaaa", ttl_ms=1_000))
        board.now_ms += 1_000
        assert board.sweep() == (1, 0, 0)
        assert board.record("a").last.name == "köln 1/%s.*"

    def test_an_instance_of_http_beats_ends_as_any_other(self, board: Board) -> None:
        board.beat(says("a", "-", "", n=0, blob=WORDS, expect=0, ttl_ms=1_000))
        board.now_ms += 1_000
        assert board.sweep() == (1, 0, 0)
        assert kinds(board) == "of"


class TestGap:
    """After the service was away a lease ends no sooner than one ttl later, and then once."""

    @pytest.fixture(autouse=True)
    def _served(self, board: Board) -> None:
        assert board.serve() == 0, "where nobody has served yet, nobody was missed"
        for _ in range(20):
            board.now_ms += 4_000
            board.serve()

    def test_a_service_that_goes_on_opens_none(self, board: Board) -> None:
        began = board.serve()
        board.now_ms += 5_000
        assert board.serve() == began
        board.now_ms -= 1_000  # as clocks do that are put right
        assert board.serve() == began

    def test_a_silence_opens_one(self, board: Board) -> None:
        board.now_ms += 5_001
        assert board.serve() == board.now_ms

    def test_a_clock_that_went_back_opens_one(self, board: Board) -> None:
        board.now_ms -= 1_001
        assert board.serve() == board.now_ms

    def test_another_server_opens_one(self, board: Board) -> None:
        board.now_ms += 100
        board.redis.hset(board.lane.keys[7], "run", "another")
        assert board.serve() == board.now_ms

    def test_a_lease_that_ended_meanwhile_runs_one_full_ttl_more(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000), hello("b", "i", "01aaab", ttl_ms=8_000))
        board.now_ms += 20_000
        gap_ms = board.serve()
        assert board.sweep() == (0, 0, 0)
        for pause_ms in (1_000, 1_999):
            board.now_ms += pause_ms
            board.serve()
            assert board.sweep() == (0, 0, 0)
            assert board.next_due_ms() == gap_ms + 3_000, "nobody need come before"
        board.now_ms = gap_ms + 3_000
        assert board.sweep() == (1, 0, 0)
        assert board.sweep() == (0, 0, 0)
        assert (kinds(board), kinds(board, "b")) == ("of", "o")
        board.serve()
        board.now_ms = gap_ms + 8_000
        assert board.sweep() == (1, 0, 0)
        assert kinds(board, "b") == "of"

    def test_a_lease_that_ends_after_the_gap_runs_one_full_ttl_from_it(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=30_000))
        board.now_ms += 29_000
        gap_ms = board.serve()
        while board.now_ms < gap_ms + 29_000:
            board.now_ms += 1_000
            board.serve()
            assert board.sweep() == (0, 0, 0)
        board.now_ms += 1_000
        assert board.sweep() == (1, 0, 0)

    def test_who_beats_again_lives_by_its_own_lease(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        board.now_ms += 20_000
        gap_ms = board.serve()
        board.sweep()
        board.now_ms += 500
        assert board.renew(3_000, b"a\x1fi\x1f01aaaa") == []
        board.now_ms = gap_ms + 3_499
        assert board.sweep() == (0, 0, 0)
        board.now_ms += 1
        assert board.sweep() == (1, 0, 0)
        assert board.record("a").last.last_heartbeat_ms == gap_ms + 500

    def test_a_beat_from_before_the_gap_that_is_stored_after_it_is_held_too(
        self, board: Board
    ) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        board.now_ms += 20_000
        gap_ms = board.serve()
        board.renew(3_000, b"a\x1fi\x1f01aaaa", age_ms=15_000)
        assert board.sweep() == (0, 0, 0)
        board.now_ms = gap_ms + 3_000
        assert board.sweep() == (1, 0, 0)

    def test_a_held_instance_shows_the_beat_that_it_sent_and_no_other(self, board: Board) -> None:
        """The sweep lengthened the lease, and so made up a beat at the moment of the gap."""
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        beat_ms = board.now_ms
        board.now_ms += 20_000
        board.serve()
        for _ in range(2):
            (instance,) = board.read("a").instances
            assert instance.held
            assert instance.last_heartbeat_ms == beat_ms
            board.sweep()
            board.now_ms += 500
        board.renew(3_000, b"a\x1fi\x1f01aaaa")
        (instance,) = board.read("a").instances
        assert (instance.held, instance.last_heartbeat_ms) == (False, board.now_ms)
        board.now_ms += 3_000
        assert board.sweep() == (1, 0, 0)
        assert board.record("a").last.last_heartbeat_ms == board.now_ms - 3_000

    def test_a_held_instance_that_never_came_back_was_heard_when_it_was(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        beat_ms = board.now_ms
        board.now_ms += 20_000
        board.serve()
        board.sweep()
        board.now_ms += 3_000
        assert board.sweep() == (1, 0, 0)
        assert board.record("a").last.last_heartbeat_ms == beat_ms

    def test_more_than_one_call_s_worth_is_held(self, board: Board) -> None:
        board.beat(*[hello(f"a{i}", "i", "01aaaa", ttl_ms=3_000) for i in range(100)])
        board.now_ms += 20_000
        gap_ms = board.serve()
        for _ in range(4):
            assert board.sweep(limit=32) == (0, 0, 0)
        assert set(board.live().values()) == {gap_ms + 3_000}
        assert board.next_due_ms() == gap_ms + 3_000

    def test_nobody_is_a_ghost_for_as_long_as_the_clock_went_back(self, board: Board) -> None:
        """Whoever fell silent just before the clock went back by an hour lived for that hour."""
        for start in range(0, 300, 100):
            rows = [hello(f"a{start + i}", "i", "01aaaa", ttl_ms=3_000) for i in range(100)]
            board.beat(*rows)
        board.beat(hello("far", "i", "01aaaa", ttl_ms=7_200_000))
        board.sweep()
        board.now_ms -= 3_600_000
        gap_ms = board.serve()
        assert board.next_due_ms() == board.now_ms, "else nobody would look"
        for _ in range(20):
            assert board.sweep(limit=32) == (0, 0, 0)
        board.now_ms = gap_ms + 3_000
        board.serve()
        assert sum(board.sweep(limit=32)[0] for _ in range(11)) == 300
        assert list(board.live()) == ["far\x1fi\x1f01aaaa"]
        assert list(board.live().values()) == [gap_ms + 7_200_000]


class TestTurn:
    def stalling(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", rank=BUSY, stalls_in_ms=2_000))

    def test_a_busy_agent_stalls_by_itself_and_once(self, board: Board) -> None:
        self.stalling(board)
        board.now_ms += 1_999
        assert board.sweep() == (0, 0, 0)
        board.now_ms += 1
        assert [board.sweep() for _ in range(2)] == [(0, 1, 0), (0, 0, 0)]
        last = board.log()[-1]
        assert (last.kind, last.was, last.record.rank) == ("t", BUSY, STALLED)
        assert board.counts() == {STALLED: 1}

    def test_it_comes_back_with_its_progress_and_may_stall_again(self, board: Board) -> None:
        self.stalling(board)
        board.now_ms += 2_000
        board.sweep()
        board.beat(says("a", "i", "01aaaa", n=2, rank=BUSY, blob=THINKING, stalls_in_ms=2_000))
        board.now_ms += 2_000
        assert board.sweep() == (0, 1, 0)
        assert kinds(board) == "otrt"

    def test_progress_puts_it_off(self, board: Board) -> None:
        self.stalling(board)
        for n in range(2, 7):
            board.now_ms += 1_900
            row = says("a", "i", "01aaaa", n=n, rank=BUSY, blob=WORDS, stalls_in_ms=2_000)
            assert board.codes(row) == [0]
            assert board.sweep() == (0, 0, 0)
        assert kinds(board) == "o"

    def test_who_is_not_busy_any_more_does_not_stall(self, board: Board) -> None:
        self.stalling(board)
        board.beat(says("a", "i", "01aaaa", n=2, rank=AVAILABLE, blob=THINKING))
        board.now_ms += 5_000
        assert board.sweep() == (0, 0, 0)
        assert board.redis.zcard(board.lane.keys[5]) == 0

    def test_who_left_does_not_stall(self, board: Board) -> None:
        self.stalling(board)
        board.beat(leaves("a", "i", "01aaaa"))
        board.now_ms += 5_000
        assert board.sweep() == (0, 0, 0)
        assert kinds(board) == "of"

    def test_while_another_instance_works_the_agent_only_updates(self, board: Board) -> None:
        self.stalling(board)
        board.beat(hello("a", "j", "01aaab", rank=BUSY))
        board.now_ms += 2_000
        assert board.sweep() == (0, 1, 0)
        last = board.log()[-1]
        assert (last.kind, last.record.rank) == ("u", BUSY)

    def test_a_stall_that_is_due_when_it_is_told_is_one_at_once(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", rank=BUSY, stalls_in_ms=0))
        assert board.log()[0].record.rank == STALLED

    def test_one_call_turns_no_more_than_its_limit(self, board: Board) -> None:
        board.beat(*[hello(f"a{i}", "i", "01aaaa", rank=BUSY, stalls_in_ms=500) for i in range(50)])
        board.now_ms += 500
        assert [board.sweep(limit=20)[1] for _ in range(4)] == [20, 20, 10, 0]
        assert board.counts() == {STALLED: 50}


class TestRetention:
    def test_who_is_gone_for_long_is_forgotten(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 1_000
        board.beat(leaves("a", "i", "01aaaa"))
        board.now_ms += KEEP_MS - 1
        assert board.sweep() == (0, 0, 0)
        board.now_ms += 1
        assert [board.sweep() for _ in range(2)] == [(0, 0, 1), (0, 0, 0)]
        last = board.log()[-1]
        assert (last.kind, last.was, last.agent, last.seq) == ("g", OFFLINE, "a", 3)
        assert board.record("a") is None
        assert board.counts() == {}
        assert board.next_due_ms() is None
        assert nothing_is_left(board)

    def test_who_came_back_is_not(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(leaves("a", "i", "01aaaa"))
        board.now_ms += KEEP_MS - 10
        board.beat(hello("a", "i", "01aaab"))
        board.now_ms += 1_000
        assert board.sweep() == (0, 0, 0)
        assert board.record("a") is not None

    def test_who_was_forgotten_begins_anew(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(leaves("a", "i", "01aaaa"))
        board.now_ms += KEEP_MS
        board.sweep()
        board.beat(hello("a", "i", "01aaab"))
        last = board.log()[-1]
        assert (last.kind, last.was, last.lasted_ms, last.seq) == ("o", NONE, 0, 4)

    def test_one_call_forgets_no_more_than_its_limit(self, board: Board) -> None:
        board.beat(*[hello(f"a{i}", "i", "01aaaa") for i in range(50)])
        board.beat(*[leaves(f"a{i}", "i", "01aaaa") for i in range(50)])
        board.now_ms += KEEP_MS
        assert [board.sweep(limit=20)[2] for _ in range(4)] == [20, 20, 10, 0]
        assert board.counts() == {}

    def test_an_agent_is_forgotten_on_demand_living_or_not(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01aaab"))
        board.beat(leaves("b", "i", "01aaab"))
        assert (board.forget("a"), board.forget("b"), board.forget("a")) == (True, True, False)
        assert (kinds(board), kinds(board, "b")) == ("ofg", "ofg")
        assert (board.counts(), board.live()) == ({}, {})
        assert nothing_is_left(board)


class TestDue:
    def test_each_write_lowers_it_and_only_the_sweep_raises_it(self, board: Board) -> None:
        began = board.now_ms
        board.beat(hello("a", "i", "01aaaa", ttl_ms=9_000))
        assert board.next_due_ms() == began + 9_000
        board.beat(hello("b", "i", "01aaab", ttl_ms=4_000))
        assert board.next_due_ms() == began + 4_000
        board.now_ms += 1_000
        board.renew(9_000, b"a\x1fi\x1f01aaaa", b"b\x1fi\x1f01aaab")
        board.beat(leaves("b", "i", "01aaab"), breaks("a", "i", "01aaaa", grace_ms=2_000))
        assert board.next_due_ms() == began + 3_000
        board.beat(hello("a", "i", "02aaaa", rank=BUSY, stalls_in_ms=500, ttl_ms=9_000))
        assert board.next_due_ms() == began + 1_500
        board.sweep()
        assert board.next_due_ms() == began + 1_500
        board.now_ms += 500
        board.sweep()
        assert board.next_due_ms() == began + 10_000

    def test_it_names_the_one_who_is_to_be_forgotten(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(leaves("a", "i", "01aaaa"))
        ends = board.now_ms + KEEP_MS
        board.now_ms += 10_000
        board.sweep()
        assert board.next_due_ms() == ends

    def test_it_is_there_for_one_who_is_forgotten_before_his_lease_would_have_ended(
        self, board: Board
    ) -> None:
        """The sweep came for him no sooner than for the lease that he had given back."""
        board.beat(hello("a", "i", "01aaaa", ttl_ms=2 * KEEP_MS))
        board.beat(leaves("a", "i", "01aaaa"))
        assert board.next_due_ms() == board.now_ms + KEEP_MS

    def test_a_lane_without_anybody_has_none(self, board: Board) -> None:
        assert board.sweep() == (0, 0, 0)
        assert board.next_due_ms() is None
