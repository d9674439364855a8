"""The store's clock as a hub reckons it: never ahead, and as little behind as it was ever heard."""

from __future__ import annotations

from lifesigns.store.clock import FAR_MS, GOOD_S, StoreClock

STORE_MS = 1_760_000_000_000


def test_the_quickest_answer_counts() -> None:
    """A link that became slow put the store's time back, and what was said with it."""
    clock = StoreClock()
    clock.heard(STORE_MS + 50, 0.052)
    for at, delay_ms in ((1.0, 900), (2.0, 2_000), (3.0, 40)):
        clock.heard(STORE_MS + round(at * 1000) - delay_ms, at)
        assert clock.at_ms(at) == STORE_MS + at * 1000 - 2
    clock.heard(STORE_MS + 4_000, 4.0)
    assert clock.at_ms(4.0) == STORE_MS + 4_000


def test_it_does_not_count_for_ever() -> None:
    clock = StoreClock()
    clock.heard(STORE_MS, 0.0)
    late = GOOD_S + 1
    clock.heard(STORE_MS + round(late * 1000) - 30, late)
    assert clock.at_ms(late) == STORE_MS + late * 1000 - 30


def test_a_clock_that_was_put_back_or_forth_is_followed_at_once() -> None:
    clock = StoreClock()
    clock.heard(STORE_MS, 0.0)
    for ahead_ms in (3_600_000, 0, -FAR_MS - 1):
        clock.heard(STORE_MS + ahead_ms, 1.0)
        assert clock.at_ms(1.0) == STORE_MS + ahead_ms
