"""Renewals: a lease is lengthened from when the beat came, and who has none is named."""

from __future__ import annotations

import time

import pytest

from lifesigns.store.script import RENEW
from tests.store.board import PROJECT, WORDS, Board, breaks, hello, leaves, says

A, B = b"a\x1fi\x1f01aaaa", b"b\x1fi\x1f01aaab"


def test_a_renewal_lengthens_a_lease_and_tells_nobody(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"))
    board.now_ms += 9_000
    assert board.renew(10_000, A) == []
    assert board.live() == {A.decode(): board.now_ms + 10_000}
    assert len(board.log()) == 1
    assert board.read("a").instances[0].last_heartbeat_ms == board.now_ms


def test_a_renewal_counts_from_when_its_beat_came(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"))
    board.now_ms += 5_000
    board.renew(10_000, A, age_ms=800)
    assert board.live() == {A.decode(): board.now_ms + 9_200}


def test_leases_that_are_not_there_are_named_by_their_place(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01aaab"))
    board.now_ms += 1_000
    assert board.renew(10_000, b"x\x1fi\x1f01aaac", A, b"y\x1fi\x1f01aaad", B) == [0, 2]
    assert set(board.live()) == {A.decode(), B.decode()}


def test_a_lease_that_has_this_very_end_already_is_not_missing(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"), hello("b", "i", "01aaab"))
    assert board.renew(10_000, A, B) == []
    board.now_ms += 1_000
    board.renew(10_000, A)
    assert board.renew(10_000, A, B, b"x\x1fi\x1f01aaac") == [2]


def test_a_renewal_of_an_older_session_misses(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa"))
    board.beat(hello("a", "i", "02aaaa", ttl_ms=5_000))
    assert board.renew(3_600_000, A) == [0]
    assert board.live() == {"a\x1fi\x1f02aaaa": board.now_ms + 5_000}


@pytest.mark.parametrize("how", ["left", "swept"])
def test_a_renewal_brings_nobody_back(board: Board, how: str) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=2_000))
    board.now_ms += 2_000
    if how == "left":
        board.beat(leaves("a", "i", "01aaaa"))
    else:
        board.sweep()
    assert board.renew(2_000, A) == [0]
    assert board.live() == {}


def test_a_lease_that_lies_too_far_ahead_after_the_clock_went_back_is_shortened(
    board: Board,
) -> None:
    board.beat(hello("a", "i", "01aaaa"))
    board.now_ms -= 3_600_000
    assert board.renew(10_000, A) == []
    assert board.live() == {A.decode(): board.now_ms + 10_000}


def test_a_full_call_of_renewals_is_done_in_one(board: Board) -> None:
    rows = [hello(f"a{i}", "i", "01aaaa") for i in range(512)]
    for start in range(0, 512, 128):
        board.beat(*rows[start : start + 128])
    board.now_ms += 1_000
    members = [f"a{i}\x1fi\x1f01aaaa".encode() for i in range(512)]
    assert board.renew(10_000, *members) == []
    assert set(board.live().values()) == {board.now_ms + 10_000}


def test_the_server_s_own_clock_counts_when_none_is_given(board: Board) -> None:
    board.now_ms = int(time.time() * 1000)
    board.beat(hello("a", "i", "01aaaa"))
    keys = board.lane.keys[2:5:2]
    now_ms, *missing = board.redis.eval(RENEW.source, 2, *keys, b"", b"\0\0", 17_000, PROJECT, A)
    assert missing == []
    assert list(board.live().values()) == [now_ms + 17_000]
    assert abs(now_ms - board.now_ms) < 60_000


def test_a_broken_socket_s_lease_ends_with_its_grace_though_it_was_just_renewed(
    board: Board,
) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=60_000))
    board.now_ms += 10_000
    board.renew(60_000, A)
    heard_ms = board.now_ms
    board.now_ms += 3_000
    board.beat(breaks("a", "i", "01aaaa", grace_ms=5_000))
    assert list(board.live().values()) == [board.now_ms + 5_000]
    assert board.read("a").instances[0].last_heartbeat_ms == heard_ms


def test_a_late_renewal_shortens_nothing_that_another_gave(board: Board) -> None:
    """It waits for up to a second in its hub, while a beat over HTTP is written at once."""
    board.beat(hello("a", "i", "01aaaa"))
    board.now_ms += 4_000
    seq = board.read("a").seq
    posted = says("a", "i", "", n=1, blob=WORDS, expect=seq)
    assert board.codes(posted) == [0]
    board.now_ms += 100
    assert board.renew(10_000, A, age_ms=900) == []
    assert board.live() == {A.decode(): board.now_ms - 100 + 10_000}
    assert board.read("a").instances[0].last_heartbeat_ms == board.now_ms - 100


def test_a_lease_that_a_renewal_shortens_is_swept_in_time(board: Board) -> None:
    """It was lengthened while its hub was taken for lost, and the sweep had seen it so."""
    board.beat(hello("a", "i", "01aaaa", ttl_ms=1_000))
    board.lose("01")
    board.sweep()
    assert board.next_due_ms() == board.now_ms + 10_001, "at a fraction, rounded up"
    board.now_ms += 3_000
    board.renew(1_000, A, age_ms=200)
    assert board.live() == {A.decode(): board.now_ms + 800}
    assert board.next_due_ms() == board.now_ms + 800


def test_a_renewal_that_is_over_leaves_a_lengthened_lease(board: Board) -> None:
    board.beat(hello("a", "i", "01aaaa", ttl_ms=1_000))
    board.lose("01")
    before = board.live()
    board.now_ms += 3_000
    assert board.renew(1_000, A, age_ms=1_000) == []
    assert board.live() == before
    assert board.read("a").instances[0].last_heartbeat_ms == board.now_ms - 3_000
