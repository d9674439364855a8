"""What is told of the past: spells of life as shares of days and windows, and changes in words."""

from __future__ import annotations

import msgpack
import pytest

from lifesigns.core.instant import from_text
from lifesigns.core.model import Words
from lifesigns.core.past import DAY_MS, WINDOW_MS, Life, Passage, spell, unpack_passage, uptime
from lifesigns.core.presence import AVAILABLE, BUSY, NONE, OFFLINE, SUSPECT
from lifesigns.core.record import pack_words

MIDNIGHT = from_text("2026-03-22T00:00:00.000Z")
HOUR = 3_600_000


def passage(**told: object) -> Passage:
    """Make a change, of which a test says what matters to it."""
    plain = Passage("e1", 7, MIDNIGHT, "u", AVAILABLE, 0, BUSY, "", "", Words())
    return plain._replace(**told)  # type: ignore[arg-type]


# How much of the time.


def test_an_agent_that_was_never_seen_was_never_there() -> None:
    known = uptime([], None, MIDNIGHT + HOUR)
    assert (known.share, known.window_ms, known.flaps, known.days) == (0.0, 0, 0, [])


def test_an_agent_that_has_been_there_since_it_was_first_seen_was_there_all_the_time() -> None:
    known = uptime([], MIDNIGHT + HOUR, MIDNIGHT + 3 * HOUR)
    assert (known.share, known.window_ms, known.flaps) == (1.0, 2 * HOUR, 0)
    assert known.days == [("2026-03-22", 1.0)]


def test_an_agent_that_came_this_moment_is_wholly_there() -> None:
    known = uptime([], MIDNIGHT + HOUR, MIDNIGHT + HOUR)
    assert (known.share, known.window_ms, known.days) == (1.0, 0, [("2026-03-22", 1.0)])


def test_the_time_before_an_agent_was_first_seen_does_not_count() -> None:
    now = MIDNIGHT + 10 * HOUR
    known = uptime([Life(now - 4 * HOUR, now - 2 * HOUR)], None, now)
    assert (known.share, known.window_ms, known.flaps) == (0.5, 4 * HOUR, 1)


def test_lives_and_the_present_one_add_up() -> None:
    now = MIDNIGHT + 10 * HOUR
    lives = [
        Life(MIDNIGHT, MIDNIGHT + 2 * HOUR),
        Life(MIDNIGHT + 4 * HOUR, MIDNIGHT + 5 * HOUR),
    ]
    known = uptime(lives, MIDNIGHT + 9 * HOUR, now)
    assert (known.share, known.flaps) == (0.4, 2)


def test_each_day_has_its_own_share() -> None:
    lives = [Life(MIDNIGHT + 12 * HOUR, MIDNIGHT + 18 * HOUR)]
    known = uptime(lives, MIDNIGHT + DAY_MS + 6 * HOUR, MIDNIGHT + 2 * DAY_MS + 12 * HOUR)
    assert known.days == [
        ("2026-03-22", 0.5),  # of the half in which it was known
        ("2026-03-23", 0.75),
        ("2026-03-24", 1.0),  # of the half that has passed
    ]
    assert known.window_ms == 2 * DAY_MS
    assert known.share == round((6 + 18 + 12) / 48, 6)


def test_a_life_over_midnight_is_divided() -> None:
    lives = [Life(MIDNIGHT + 18 * HOUR, MIDNIGHT + DAY_MS + 6 * HOUR)]
    known = uptime(lives, None, MIDNIGHT + 2 * DAY_MS)
    assert known.days == [("2026-03-22", 1.0), ("2026-03-23", 0.25)]


def test_days_on_which_it_never_came_are_told() -> None:
    known = uptime([Life(MIDNIGHT, MIDNIGHT + DAY_MS)], None, MIDNIGHT + 3 * DAY_MS)
    assert [share for _, share in known.days] == [1.0, 0.0, 0.0]
    assert known.share == round(1 / 3, 6)


def test_a_day_that_has_just_begun_is_not_told() -> None:
    known = uptime([], MIDNIGHT, MIDNIGHT + DAY_MS)
    assert known.days == [("2026-03-22", 1.0)]


def test_only_the_last_90_days_count() -> None:
    now = MIDNIGHT + 100 * DAY_MS
    known = uptime([Life(MIDNIGHT, MIDNIGHT + 5 * DAY_MS)], None, now)
    assert (known.share, known.window_ms, known.flaps) == (0.0, WINDOW_MS, 0)
    assert len(known.days) == 90


def test_a_life_that_began_before_the_window_counts_from_its_edge() -> None:
    now = MIDNIGHT + 100 * DAY_MS + 6 * HOUR
    known = uptime([Life(MIDNIGHT, now - WINDOW_MS + 9 * DAY_MS)], None, now)
    assert (known.share, known.window_ms, known.flaps) == (0.1, WINDOW_MS, 1)
    assert len(known.days) == 91  # the first and the last are no whole days
    assert known.days[0] == ("2026-04-01", 1.0)
    assert known.days[9] == ("2026-04-10", 0.25)


def test_an_agent_that_has_been_there_for_longer_than_the_window_was_there_all_of_it() -> None:
    known = uptime([], MIDNIGHT - 400 * DAY_MS, MIDNIGHT)
    assert (known.share, known.window_ms) == (1.0, WINDOW_MS)
    assert {share for _, share in known.days} == {1.0}


def test_lives_that_overlap_are_never_more_than_all_of_the_time() -> None:
    """The lives and the presence are read one after the other: it may have left in between."""
    now = MIDNIGHT + HOUR
    known = uptime([Life(MIDNIGHT, now)], MIDNIGHT, now)
    assert known.share == 1.0
    assert known.days == [("2026-03-22", 1.0)]


def test_a_clock_that_went_back_makes_no_window_that_ends_before_it_begins() -> None:
    known = uptime([], MIDNIGHT + HOUR, MIDNIGHT + HOUR - 5)
    assert (known.share, known.window_ms) == (1.0, 0)


@pytest.mark.parametrize("missing_ms", [1, 60_000])
def test_shares_stay_between_nothing_and_all(missing_ms: int) -> None:
    now = MIDNIGHT + 30 * DAY_MS
    known = uptime([Life(MIDNIGHT, now - DAY_MS)], now - DAY_MS + missing_ms, now)
    for share in (known.share, *(share for _, share in known.days)):
        assert 0.0 <= share <= 1.0


# One change.


def test_a_change_is_told_in_words() -> None:
    words = Words(status="thinking", task="t", progress={"done": 1}, context=["c"])
    assert spell(passage(words=words)) == {
        "kind": "updated",
        "at": "2026-03-22T00:00:00.000Z",
        "was": "available",
        "state": "busy",
        "status": "thinking",
        "task": "t",
        "progress": {"done": 1},
        "context": ["c"],
        "reason": None,
        "reason_text": None,
        "epoch": "e1",
        "seq": 7,
    }


def test_the_first_change_of_an_agent_was_nothing_before() -> None:
    told = spell(passage(kind="o", was=NONE, rank=AVAILABLE))
    assert (told["kind"], told["was"], told["state"]) == ("online", None, "available")
    assert told["downtime_ms"] is None


def test_a_return_tells_how_long_it_was_away() -> None:
    told = spell(passage(kind="o", was=OFFLINE, rank=AVAILABLE, lasted_ms=1_500))
    assert (told["was"], told["downtime_ms"]) == ("offline", 1_500)


def test_a_recovery_tells_how_long_it_took() -> None:
    told = spell(passage(kind="r", was=SUSPECT, rank=AVAILABLE, lasted_ms=0))
    assert (told["kind"], told["for_ms"]) == ("recovered", 0)


def test_an_end_tells_its_reason() -> None:
    told = spell(passage(kind="f", rank=OFFLINE, why="left", text="done for today"))
    assert (told["kind"], told["state"]) == ("offline", "offline")
    assert (told["reason"], told["reason_text"]) == ("left", "done for today")


def test_a_change_is_read_as_the_store_packs_it() -> None:
    words = Words(status="thinking", task="é")
    fields = ["e1", 7, MIDNIGHT, "f", BUSY, 0, OFFLINE, "left", "é", pack_words(words)]
    read = unpack_passage(msgpack.packb(fields))
    assert read[:-1] == ("e1", 7, MIDNIGHT, "f", BUSY, 0, OFFLINE, "left", "é")
    assert (read.words.status, read.words.task) == ("thinking", "é")


def test_a_change_without_words_is_read_too() -> None:
    read = unpack_passage(msgpack.packb(["e1", 7, MIDNIGHT, "f", BUSY, 0, OFFLINE, "", "", b""]))
    assert read.words == Words()
