"""What the scripts tell: each act's change with its kind, its words, and why."""

from __future__ import annotations

import msgpack
import pytest

from lifesigns.core.model import Words
from lifesigns.core.presence import (
    AVAILABLE,
    BUSY,
    DEGRADED,
    ERROR,
    NONE,
    OFFLINE,
    STALLED,
    SUSPECT,
)
from lifesigns.core.record import pack_words
from tests.store.board import WORDS, Board, breaks, hello, leaves, says

THINKING = pack_words(Words(status="thinking"))
TASKED = pack_words(Words(status="thinking", task="query"))


def kinds(board: Board) -> str:
    return "".join(noted.kind for noted in board.log())


class TestKinds:
    def test_the_first_hello_of_an_agent_is_online(self, board: Board) -> None:
        assert board.beat(hello("a", "i", "01aaaa")) == [(0, 1, b"")]
        (noted,) = board.log()
        assert (noted.seq, noted.at_ms, noted.kind) == (1, board.now_ms, "o")
        assert (noted.was, noted.agent, noted.lasted_ms) == (NONE, "a", 0)
        assert (noted.record.rank, noted.record.up_ms) == (AVAILABLE, board.now_ms)
        assert board.counts() == {AVAILABLE: 1}

    def test_an_agent_that_comes_back_tells_how_long_it_was_down(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 2_000
        board.beat(leaves("a", "i", "01aaaa"))
        board.now_ms += 7_000
        board.beat(hello("a", "i", "01aaab"))
        online = board.log()[-1]
        assert (online.kind, online.was, online.lasted_ms) == ("o", OFFLINE, 7_000)
        assert online.record.up_ms == board.now_ms

    def test_a_recovered_agent_tells_for_how_long_it_was_suspect(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 500
        board.beat(breaks("a", "i", "01aaaa"))
        board.now_ms += 1_300
        board.beat(hello("a", "i", "02aaaa"))
        assert kinds(board) == "osr"
        assert [noted.was for noted in board.log()] == [NONE, AVAILABLE, SUSPECT]
        assert board.log()[-1].lasted_ms == 1_300
        assert board.record("a").up_ms == board.now_ms - 1_800, "its life went on"

    def test_a_recovered_agent_tells_for_how_long_it_was_stalled(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", rank=BUSY, stalls_in_ms=1_000))
        board.now_ms += 1_100
        assert board.sweep() == (0, 1, 0)
        board.now_ms += 250
        board.beat(says("a", "i", "01aaaa", n=2, rank=BUSY, blob=WORDS, stalls_in_ms=1_000))
        assert [(noted.kind, noted.lasted_ms) for noted in board.log()] == [
            ("o", 0),
            ("t", 0),
            ("r", 250),
        ]

    def test_what_is_suspect_does_not_stall(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", rank=BUSY, stalls_in_ms=1_000))
        board.beat(breaks("a", "i", "01aaaa"))
        board.now_ms += 2_000
        board.sweep()
        assert kinds(board) == "os"
        board.now_ms += 3_000
        board.sweep()
        assert kinds(board) == "osf"

    @pytest.mark.parametrize(
        ("before", "after", "kind"),
        [
            (AVAILABLE, BUSY, "u"),
            (BUSY, ERROR, "u"),
            (ERROR, AVAILABLE, "u"),
            (STALLED, SUSPECT, "s"),
            (SUSPECT, STALLED, "t"),
            (STALLED, DEGRADED, "r"),
            (SUSPECT, ERROR, "r"),
            (ERROR, STALLED, "t"),
        ],
    )
    def test_another_word_of_the_agent_is_the_kind_of_the_table(
        self, board: Board, before: int, after: int, kind: str
    ) -> None:
        board.beat(hello("a", "i", "01aaaa", rank=before))
        board.beat(says("a", "i", "01aaaa", n=2, rank=after, blob=THINKING))
        last = board.log()[-1]
        assert (last.kind, last.was, last.record.rank) == (kind, before, after)
        assert board.counts() == {after: 1}

    def test_a_beat_without_news_is_no_change(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 4_000
        assert board.beat(says("a", "i", "01aaaa", n=2, blob=WORDS)) == [(0, 1, b"")]
        assert kinds(board) == "o"
        assert board.record("a").seq == 1
        assert board.live() == {"a\x1fi\x1f01aaaa": board.now_ms + 10_000}

    def test_other_words_of_the_same_state_are_an_update(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", rank=BUSY, blob=THINKING))
        board.beat(says("a", "i", "01aaaa", n=2, rank=BUSY, blob=TASKED))
        assert kinds(board) == "ou"
        assert board.record("a").since_ms == board.now_ms

    def test_a_takeover_with_the_same_words_is_no_change(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 10
        board.beat(hello("a", "i", "02aaaa"))
        assert kinds(board) == "o"
        assert list(board.live()) == ["a\x1fi\x1f02aaaa"]


class TestReasons:
    def test_who_leaves_says_why_in_words(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.now_ms += 800
        assert board.codes(leaves("a", "i", "01aaaa", text="done for today")) == [0]
        last = board.log()[-1]
        assert (last.kind, last.was) == ("f", AVAILABLE)
        assert (last.record.why, last.record.text) == ("left", "done for today")
        assert last.record.down_ms == board.now_ms
        assert board.live() == {}

    def test_who_falls_silent_has_expired(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        board.now_ms += 3_000
        assert board.sweep() == (1, 0, 0)
        assert (board.record("a").why, board.record("a").text) == ("expired", "")

    def test_a_broken_socket_that_nobody_mends_is_disconnected(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=60_000))
        board.beat(breaks("a", "i", "01aaaa", grace_ms=5_000))
        board.now_ms += 4_999
        assert board.sweep() == (0, 0, 0)
        board.now_ms += 1
        assert board.sweep() == (1, 0, 0)
        assert board.record("a").why == "disconnected"

    def test_a_broken_socket_that_came_back_can_still_expire(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000))
        board.beat(breaks("a", "i", "01aaaa"), hello("a", "i", "02aaaa", ttl_ms=3_000))
        board.now_ms += 3_000
        board.sweep()
        assert board.record("a").why == "expired"

    def test_a_grace_never_lengthens_a_lease(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=10_000))
        board.now_ms += 9_000
        board.beat(breaks("a", "i", "01aaaa", grace_ms=5_000))
        assert list(board.live().values()) == [board.now_ms + 1_000]

    def test_a_broken_socket_loses_nothing_that_its_agent_said(self, board: Board) -> None:
        """A renewal that waited was dropped: with a ttl of 2 s the grace was up to 0.5 s short."""
        board.beat(hello("a", "i", "01aaaa", ttl_ms=2_000))
        board.now_ms += 1_000
        board.beat(breaks("a", "i", "01aaaa", grace_ms=2_000, heard_ms=400))
        assert list(board.live().values()) == [board.now_ms + 1_600]
        assert board.record("a").instances[0].heard_ms == board.now_ms - 400

    def test_a_revoked_key_is_a_reason(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(["l", "a", "i", "01aaaa", 0, "revoked", "", 0])
        assert (board.log()[-1].kind, board.record("a").why) == ("f", "revoked")

    def test_the_reason_is_gone_when_the_agent_is_back(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(leaves("a", "i", "01aaaa", text="bye"))
        board.beat(hello("a", "i", "01aaab"))
        assert (board.record("a").why, board.record("a").text) == ("", "")


class TestInstances:
    def test_an_agent_is_as_well_as_its_best_instance(self, board: Board) -> None:
        board.beat(
            hello("a", "1", "01aaaa", rank=ERROR),
            hello("a", "2", "01aaab", rank=BUSY),
            hello("a", "3", "01aaac", rank=DEGRADED),
        )
        assert [(noted.kind, noted.record.rank) for noted in board.log()] == [
            ("o", ERROR),
            ("u", BUSY),
            ("u", BUSY),
        ]
        assert board.counts() == {BUSY: 1}

    def test_the_best_instance_gone_the_next_best_counts(self, board: Board) -> None:
        board.beat(hello("a", "1", "01aaaa"), hello("a", "2", "01aaab", rank=ERROR))
        board.beat(leaves("a", "1", "01aaaa"))
        last = board.log()[-1]
        assert (last.kind, last.was, last.record.rank) == ("u", AVAILABLE, ERROR)
        assert board.counts() == {ERROR: 1}

    def test_a_lesser_instance_that_turns_suspect_is_an_update_of_the_agent(
        self, board: Board
    ) -> None:
        board.beat(hello("a", "1", "01aaaa"), hello("a", "2", "01aaab", rank=BUSY))
        board.beat(breaks("a", "2", "01aaab"))
        last = board.log()[-1]
        assert (last.kind, last.was, last.record.rank) == ("u", AVAILABLE, AVAILABLE)

    def test_all_instances_that_end_at_once_make_one_offline(self, board: Board) -> None:
        board.beat(*[hello("a", f"{i}", f"01aaa{i}", ttl_ms=2_000) for i in range(5)])
        board.now_ms += 2_000
        assert board.sweep() == (5, 0, 0)
        assert kinds(board).count("f") == 1
        assert kinds(board).endswith("f")
        assert board.counts() == {OFFLINE: 1}

    def test_the_words_of_the_last_instance_stay(self, board: Board) -> None:
        board.beat(hello("a", "1", "01aaaa", blob=TASKED), hello("a", "2", "01aaab", blob=THINKING))
        board.now_ms += 100
        board.beat(leaves("a", "2", "01aaab"))
        board.now_ms += 100
        board.beat(leaves("a", "1", "01aaaa"))
        record = board.record("a")
        assert record.instances == ()
        assert (record.last.name, record.last.words.task) == ("1", "query")
        assert record.last.last_heartbeat_ms == board.now_ms

    def test_the_last_beat_of_an_expired_instance_is_remembered(self, board: Board) -> None:
        board.beat(hello("a", "1", "01aaaa", ttl_ms=3_000))
        board.now_ms += 1_200
        assert board.renew(3_000, b"a\x1f1\x1f01aaaa") == []
        beat_ms = board.now_ms
        board.now_ms += 9_000
        board.sweep()
        assert board.record("a").last.last_heartbeat_ms == beat_ms

    def test_removing_an_agent_ends_all_of_its_instances_in_one_change(self, board: Board) -> None:
        board.beat(hello("a", "1", "01aaaa"), hello("a", "2", "02aaaa"), hello("b", "1", "01aaab"))
        board.beat(leaves("a", fence=True))
        assert kinds(board) == "ouof"
        assert list(board.live()) == ["b\x1f1\x1f01aaab"]


class TestBatch:
    def test_two_changes_of_one_agent_in_one_call_carry_each_their_own_words(
        self, board: Board
    ) -> None:
        board.beat(
            hello("a", "i", "01aaaa", rank=BUSY, blob=THINKING),
            says("a", "i", "01aaaa", n=2, rank=BUSY, blob=TASKED),
            leaves("a", "i", "01aaaa"),
        )
        first, second, third = board.log()
        assert first.record.instances[0].words.task is None
        assert second.record.instances[0].words.task == "query"
        assert (third.record.rank, third.record.instances) == (OFFLINE, ())
        assert [noted.record.seq for noted in (first, second, third)] == [1, 2, 3]

    def test_one_call_publishes_once_all_that_it_changed(self, board: Board) -> None:
        channel = board.lane.tail[1]
        with board.redis.pubsub(ignore_subscribe_messages=True) as feed:
            feed.subscribe(channel)
            assert feed.get_message(timeout=10) is None  # the confirmation
            board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01aaab"))
            board.beat(says("a", "i", "01aaaa", n=2, blob=WORDS))
            board.beat(leaves("b", "i", "01aaab"))
            first = msgpack.unpackb(feed.get_message(timeout=10)["data"], raw=True)
            second = msgpack.unpackb(feed.get_message(timeout=10)["data"], raw=True)
        epoch = board.redis.hget(board.lane.keys[0], "epoch")
        logged = [fields[b"c"] for _, fields in board.redis.xrange(board.lane.keys[3])]
        assert first == [epoch, 1, logged[:2]]
        assert second == [epoch, 3, logged[2:]], "a beat without news is not published"

    def test_the_log_is_numbered_without_a_hole_and_by_time(self, board: Board) -> None:
        for n in range(1, 6):
            board.beat(hello(f"a{n}", "i", "01aaaa"), hello(f"b{n}", "i", "01aaaa"))
            board.now_ms += n % 2  # some calls come in the same ms
        ids = [entry_id for entry_id, _ in board.redis.xrange(board.lane.keys[3])]
        assert [int(each.partition(b"-")[2]) for each in ids] == list(range(1, 11))
        noted = board.log()
        assert [int(each.partition(b"-")[0]) for each in ids] == [each.at_ms for each in noted]

    def test_an_age_counts_from_when_the_beat_came(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", ttl_ms=5_000, age_ms=900, started_ms=2_000))
        assert list(board.live().values()) == [board.now_ms + 4_100]
        (instance,) = board.record("a").instances
        assert instance.start_ms == board.now_ms - 2_000
        assert instance.said_ms == board.now_ms - 900

    def test_an_answer_carries_the_record_if_it_is_wanted(self, board: Board) -> None:
        (_, _, none), (_, seq, record) = board.beat(
            hello("a", "i", "01aaaa"), says("a", "i", "01aaaa", n=2, blob=TASKED, want=True)
        )
        assert (none, seq) == (b"", 2)
        assert record == board.redis.hget(board.lane.keys[1], "a")

    def test_an_act_on_nobody_leaves_nothing(self, board: Board) -> None:
        rows = leaves("x", fence=True), leaves("x", "i", "01aaaa"), breaks("x", "i", "01aaaa")
        stray = says("x", "i", "01aaaa", n=4, blob=WORDS)
        assert board.codes(*rows, stray) == [2, 2, 2, 2]
        assert board.redis.keys("*agents*") == []
        assert (board.log(), board.live(), board.counts()) == ([], {}, {})

    def test_every_act_may_come_twice(self, board: Board) -> None:
        acts = [
            (hello("a", "i", "01aaaa"), 3),
            (says("a", "i", "01aaaa", n=2, rank=BUSY, blob=TASKED), 3),
            (breaks("a", "i", "01aaaa"), 0),
            (hello("a", "i", "02aaaa"), 3),
            (leaves("a", "i", "02aaaa"), 2),
        ]
        for row, code in acts:
            assert board.codes(row) == [0]
            before = board.log(), board.live(), board.record("a").rank
            assert board.codes(row) == [code]
            assert (board.log(), board.live(), board.record("a").rank) == before
            board.now_ms += 10

    def test_a_grace_is_not_begun_anew_by_the_same_news(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.beat(breaks("a", "i", "01aaaa", grace_ms=2_000))
        ends = board.live()
        board.now_ms += 1_500
        board.beat(breaks("a", "i", "01aaaa", grace_ms=2_000))
        assert board.live() == ends
