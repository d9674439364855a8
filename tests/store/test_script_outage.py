"""The scripts on a server that forgot, was restarted, or is full; and how the log is kept short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
import redis

from lifesigns.core.model import Words
from lifesigns.core.presence import NONE, OFFLINE
from lifesigns.core.record import pack_words
from lifesigns.store import keys, script
from tests.server import Server
from tests.store.board import KEEP_MS, WORDS, Board, breaks, hello, leaves, says

HISTORY_MS = 600_000


def meta(board: Board, field: str) -> bytes | None:
    value: bytes | None = board.redis.hget(board.lane.keys[0], field)
    return value


class TestEpoch:
    def test_another_server_turns_the_epoch_and_the_numbers_go_on(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01aaab"))
        before = meta(board, "epoch")
        board.redis.hset(board.lane.keys[0], "run", "another")
        board.now_ms += 1_000
        board.beat(leaves("a", "i", "01aaaa"))
        assert meta(board, "epoch") != before
        (noted,) = board.log()
        assert (noted.seq, noted.kind) == (3, "f")
        assert board.counts() == {OFFLINE: 1, 8: 1}

    def test_the_epoch_turns_once(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.redis.hset(board.lane.keys[0], "run", "another")
        epochs = set()
        for n in range(2, 5):
            board.now_ms += 100
            board.beat(says("a", "i", "01aaaa", n=n, blob=pack_words(Words(task=str(n)))))
            epochs.add(meta(board, "epoch"))
        assert len(epochs) == 1
        assert [noted.seq for noted in board.log()] == [2, 3, 4]

    def test_a_sweep_notices_it_too(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        before = meta(board, "epoch")
        board.redis.hset(board.lane.keys[0], "run", "another")
        board.now_ms += 10_000
        assert board.sweep() == (1, 0, 0)
        assert meta(board, "epoch") != before
        assert [noted.seq for noted in board.log()] == [2]

    def test_a_later_epoch_sorts_after_an_earlier_one(self, board: Board) -> None:
        epochs = []
        for _ in range(4):
            board.redis.hset(board.lane.keys[0], "run", "another")
            board.beat(hello("a", "i", "01aaaa"))
            epochs.append(meta(board, "epoch"))
            board.now_ms += 12_345
        assert epochs == sorted(set(epochs))

    def test_a_server_that_was_emptied_begins_anew(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01aaab"))
        before = meta(board, "epoch")
        board.redis.flushdb()
        board.now_ms += 50
        assert board.renew(10_000, b"a\x1fi\x1f01aaaa", b"b\x1fi\x1f01aaab") == [0, 1]
        assert board.codes(says("a", "i", "01aaaa", n=2, blob=WORDS)) == [2]
        assert board.codes(hello("a", "i", "01aaaa", n=3, started_ms=50)) == [0]
        (noted,) = board.log()
        assert (noted.seq, noted.kind, noted.was) == (1, "o", NONE)
        assert meta(board, "epoch") not in (before, None)
        assert board.counts() == {8: 1}

    def test_a_log_without_its_numbers_is_not_trusted(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        board.redis.delete(board.lane.keys[0])
        board.now_ms += 50
        board.beat(hello("b", "i", "01aaab"))
        assert [(noted.seq, noted.agent) for noted in board.log()] == [(1, "b")]

    def test_a_clock_that_went_back_does_not_disturb_the_log(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        at_ms = board.now_ms
        board.now_ms -= 60_000
        board.beat(hello("b", "i", "01aaab"))
        board.now_ms += 120_000
        board.beat(hello("c", "i", "01aaac"))
        assert [(n.seq, n.at_ms) for n in board.log()] == [
            (1, at_ms),
            (2, at_ms),
            (3, at_ms + 60_000),
        ]


class TestRestart:
    def test_what_was_stored_is_there_after_a_crash_and_told_under_another_epoch(
        self, valkey_server: Callable[..., Server]
    ) -> None:
        server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
        board = Board(server.url)
        board.serve()
        board.beat(hello("a", "i", "01aaaa", ttl_ms=3_000), hello("b", "i", "01aaab"))
        board.now_ms += 1_000
        before = meta(board, "epoch")
        records = board.redis.hgetall(board.lane.keys[1])
        server.restart()
        assert board.redis.hgetall(board.lane.keys[1]) == records
        board.now_ms += 10_000
        assert board.serve() == board.now_ms
        assert board.sweep() == (0, 0, 0), "nobody could beat meanwhile"
        assert meta(board, "epoch") != before
        board.now_ms += 3_000
        assert board.sweep() == (1, 0, 0)
        assert [(noted.seq, noted.agent, noted.kind) for noted in board.log()] == [(3, "a", "f")]
        board.close()


@pytest.fixture
def full(valkey_server: Callable[..., Server]) -> Iterator[Board]:
    """Give a lane with some agents on a server that takes nothing more."""
    board = Board(valkey_server().url)
    board.beat(
        hello("a", "i", "01aaaa", ttl_ms=3_000),
        hello("b", "i", "01aaab", ttl_ms=60_000),
        hello("c", "i", "01aaac", ttl_ms=60_000, rank=7, stalls_in_ms=2_000),
    )
    board.redis.config_set("maxmemory-policy", "noeviction")
    board.redis.config_set("maxmemory", 1)
    yield board
    board.close()


def refused(act: Callable[[], Any]) -> None:
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        act()


class TestFull:
    """A server whose memory is full: nobody may come, everybody can go."""

    def test_a_beat_is_refused_whole(self, full: Board) -> None:
        before = {key: full.redis.dump(key) for key in full.redis.scan_iter()}
        refused(lambda: full.beat(hello("x", "i", "01aaad"), leaves("b", "i", "01aaab")))
        refused(lambda: full.beat(breaks("b", "i", "01aaab")))
        assert {key: full.redis.dump(key) for key in full.redis.scan_iter()} == before

    def test_leases_are_renewed(self, full: Board) -> None:
        full.now_ms += 2_000
        assert full.renew(3_000, b"a\x1fi\x1f01aaaa") == []
        assert full.live()["a\x1fi\x1f01aaaa"] == full.now_ms + 3_000

    def test_leases_end_states_turn_and_the_gone_are_forgotten(self, full: Board) -> None:
        full.now_ms += 3_000
        assert full.sweep() == (1, 1, 0)
        assert [noted.kind for noted in full.log()] == ["o", "o", "o", "f", "t"]
        full.now_ms += KEEP_MS
        assert full.sweep() == (2, 0, 1)

    def test_an_agent_can_be_forgotten(self, full: Board) -> None:
        assert full.forget("b") is True
        assert full.record("b") is None

    def test_the_service_notes_that_it_is_there(self, full: Board) -> None:
        full.serve()
        full.now_ms += 60_000
        assert full.serve() == full.now_ms

    def test_a_hub_says_that_it_lives(self, full: Board) -> None:
        arguments = [full.now_ms, "01", full.now_ms, 2_500, msgpack.packb([])]
        reply = full.redis.eval(script.TICK.source, 2, keys.NODES, "ls:revision", *arguments)
        assert reply[3] == b"01"

    def test_agents_can_be_read(self, full: Board) -> None:
        """The readers were refused, because they did not say that they only read."""
        assert full.read("b").instances[0].lease_ms == full.now_ms + 60_000
        read_by = (*full.lane.keys[:3], full.lane.keys[7])
        reply = full.redis.eval(script.SCAN.source, 4, *read_by, full.now_ms, 0, 100)
        assert all(agent in reply for agent in (b"a", b"b", b"c"))

    def test_all_is_well_when_there_is_room_again(self, full: Board) -> None:
        refused(lambda: full.beat(hello("x", "i", "01aaad")))
        full.redis.config_set("maxmemory", 0)
        assert full.codes(hello("x", "i", "01aaad")) == [0]
        assert [noted.seq for noted in full.log()] == [1, 2, 3, 4]


class TestLog:
    """The log is bounded by age and by length, both within a node of the stream (100 entries)."""

    def chatter(self, board: Board, count: int, *, start: int = 2) -> None:
        for first in range(start, start + count, 100):
            board.beat(
                *[
                    says("a", "i", "01aaaa", n=n, blob=pack_words(Words(task=str(n))))
                    for n in range(first, first + 100)
                ]
            )

    def test_changes_that_are_too_old_go_as_new_ones_come(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        self.chatter(board, 500)
        board.now_ms += HISTORY_MS
        self.chatter(board, 100, start=502)
        assert len(board.log()) == 601, "none is older than the history"
        board.now_ms += 1
        self.chatter(board, 100, start=602)
        assert 200 <= len(board.log()) <= 301
        assert board.log()[-1].seq == 701

    def test_a_sweep_keeps_its_length(self, board: Board) -> None:
        """A lane in which agents only talked grew without a bound: no sweep told a change."""
        board.beat(hello("a", "i", "01aaaa"))
        self.chatter(board, 1_000)
        assert board.sweep(history_len=300) == (0, 0, 0)
        assert 300 <= len(board.log()) <= 400
        assert board.log()[-1].seq == 1_001


class TestOtherVersions:
    """Hubs of two versions share a store while one replaces the other."""

    def test_words_of_a_newer_hub_are_carried_and_those_it_added_left_out(
        self, board: Board
    ) -> None:
        newer = msgpack.packb([*Words(status="idle", version="9"), "unheard of", {"of": 1}])
        board.beat(hello("a", "i", "01aaaa", blob=newer))
        (instance,) = board.read("a").instances
        assert (instance.words.status, instance.words.version) == ("idle", "9")
        assert len(instance.words) == len(Words._fields)
        board.beat(leaves("a", "i", "01aaaa"))
        assert board.log()[-1].record.last.words.status == "idle"

    def test_words_of_an_older_hub_lack_what_it_did_not_know(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa", blob=msgpack.packb(["idle", None, "t"])))
        (instance,) = board.read("a").instances
        assert instance.words == Words(status="idle", task="t")
