"""Beats are counted by the day, for as many days as are told of."""

from __future__ import annotations

from lifesigns.core.access import DEFAULT_PROJECT as PROJECT
from lifesigns.store import keys, script
from lifesigns.store.tally import DAYS, Tally
from tests.station import station

DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2


async def test_beats_are_counted_by_the_day_and_old_days_are_cleared_away(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        tally = Tally(here.link, here.store)
        key = keys.tally(PROJECT, here.store.lane(PROJECT, "a").number, "a")
        for now_ms in (NOON_MS, NOON_MS + 1, NOON_MS + DAY_MS, NOON_MS + DAYS * DAY_MS):
            await here.link.ask_script(script.TALLY, (key,), (now_ms, DAYS))
        assert await tally.read(PROJECT, "a") == {"2024-10-05": 1, "2025-01-02": 1}
        await tally.count(PROJECT, "b")
        await tally.count(PROJECT, "b")
        assert list((await tally.read(PROJECT, "b")).values()) == [2]
        await here.put("b")
        await here.store.forget(PROJECT, "b")
        assert await tally.read(PROJECT, "b") == {}
