"""A hold as it is shown: until when, told when it begins or reaches further, and logged once."""

from __future__ import annotations

import asyncio

import pytest

from lifesigns.store.clock import StoreClock
from lifesigns.store.hold import Hold
from tests.patience import until


@pytest.fixture
async def clock() -> StoreClock:
    clock = StoreClock()
    clock.heard(1_760_000_000_000, asyncio.get_running_loop().time())
    return clock


def now_ms(clock: StoreClock) -> int:
    return clock.at_ms(asyncio.get_running_loop().time())


async def test_it_is_over_by_itself(clock: StoreClock) -> None:
    hold = Hold(clock)
    assert hold.until_ms is None
    ends_ms = now_ms(clock) + 200
    hold.reach(ends_ms, "a test")
    assert hold.until_ms == ends_ms
    await until(lambda: hold.until_ms is None)
    assert now_ms(clock) >= ends_ms


async def test_it_reaches_further_and_never_less_far(
    clock: StoreClock, caplog: pytest.LogCaptureFixture
) -> None:
    hold, told = Hold(clock), []
    hold.on_held = told.append
    first_ms = now_ms(clock) + 60_000
    for until_ms in (first_ms, first_ms - 30_000, first_ms + 400, first_ms + 2_000):
        hold.reach(until_ms, "a test")
    assert hold.until_ms == first_ms + 2_000
    assert told == [first_ms, first_ms + 2_000], "a moment more is not worth a word"
    assert (hold.holds, len(caplog.records)) == (1, 1)


async def test_what_has_passed_is_none(clock: StoreClock) -> None:
    hold, told = Hold(clock), []
    hold.on_held = told.append
    hold.reach(now_ms(clock) - 1, "a test")
    hold.reach(0, "a test")
    assert (hold.until_ms, hold.holds, told) == (None, 0, [])


async def test_a_breaker_s_is_one_for_every_lease(clock: StoreClock) -> None:
    hold = Hold(clock)
    hold.reach(now_ms(clock) + 60_000, "the store was away")
    assert hold.stopped_ms == 0
    hold.stop(2.0, "the network is cut")
    assert 0 < hold.stopped_ms - now_ms(clock) <= 2_000
