"""What an operator says of an agent, in the scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lifesigns.core.model import Override
from lifesigns.core.presence import AVAILABLE, BUSY, DRAINING, ERROR, OFFLINE, SUSPECT, present
from tests.store.board import WORDS, Board, breaks, hello, leaves, says


@pytest.fixture
def board(fresh_url: str) -> Iterator[Board]:
    made = Board(fresh_url)
    for _ in range(5):  # past the gap that a new store opens
        made.serve()
        made.now_ms += 4_000
    yield made
    made.close()


def overrides(agent: str, rank: int, why: str = "", until_ms: int = 0) -> list[Any]:
    return ["o", agent, rank, why, until_ms]


def state(board: Board) -> tuple[str, tuple[str, ...]]:
    presence = present("default", "a", board.read("a"), epoch="", now_ms=board.now_ms)
    return presence.state, tuple(state for _, state in presence.instances)


def test_it_stands_in_place_of_the_agents_own_word_until_it_is_taken_back(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa", rank=BUSY, stalls_in_ms=2_000))
    assert board.codes(overrides("a", DRAINING, "new disk")) == [0]
    assert board.read("a").override == Override(DRAINING, "new disk", None)
    board.now_ms += 3_000  # it would have stalled
    board.sweep()
    assert state(board) == ("draining", ("draining",))
    board.beat(says("a", "i", "01aaaa", n=2, rank=AVAILABLE, blob=WORDS))
    assert board.read("a").rank == DRAINING
    assert board.codes(overrides("a", -1)) == [0]
    assert board.read("a").rank == AVAILABLE
    assert board.read("a").override is None


def test_said_twice_it_is_one_change(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"))
    board.codes(overrides("a", ERROR, "x"), overrides("a", ERROR, "x"), overrides("a", ERROR, "y"))
    assert [noted.kind for noted in board.log()] == ["o", "u", "u"]
    board.codes(overrides("a", -1), overrides("a", -1))
    assert [noted.kind for noted in board.log()] == ["o", "u", "u", "u"]


def test_a_broken_socket_is_suspect_all_the_same(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"), overrides("a", ERROR))
    board.beat(breaks("a", "i", "01aaaa"))
    assert board.read("a").rank == SUSPECT
    assert state(board) == ("suspect", ("suspect",))


def test_it_ends_with_its_time_and_that_is_a_change(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=60_000))
    board.beat(overrides("a", DRAINING, "", board.now_ms + 3_000))
    assert board.next_due_ms() == board.now_ms + 3_000
    board.now_ms += 2_999
    board.serve()
    assert board.sweep() == (0, 0, 0)
    board.now_ms += 1
    assert board.sweep() == (0, 1, 0)
    record = board.read("a")
    assert (record.rank, record.override) == (AVAILABLE, None)
    assert [noted.kind for noted in board.log()] == ["o", "u", "u"]


def test_it_waits_for_an_agent_that_is_away_and_needs_one_that_was_seen(board: Board) -> None:
    assert board.codes(overrides("a", DRAINING)) == [2]
    board.beat(hello("a", "i", "01aaaa"), leaves("a"))
    assert board.codes(overrides("a", DRAINING)) == [0]
    assert board.read("a").rank == OFFLINE
    board.now_ms += 1
    board.beat(hello("a", "i", "01aaab"))
    assert board.read("a").rank == DRAINING
