"""Diaries on a real store: what is noted, for how long, and how it is read again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.store import keys
from lifesigns.store.diary import Entry, Page, Upkeep
from tests.station import Station, station

BOOK = "a-dialect"
EVERYTHING = Upkeep(entries=1_000, keep_ms=3_600_000, gap_ms=0)


async def note(at: Station, agent: str, said: Any, topic: str = "", book: str = BOOK) -> bool:
    return await at.diary.note(DEFAULT_PROJECT, agent, book, {"said": said}, topic)


async def read(at: Station, agent: str, topic: str = "", **which: Any) -> Page:
    return await at.diary.read(DEFAULT_PROJECT, agent, BOOK, topic, **which)


def said(entries: Sequence[Entry]) -> list[Any]:
    return [each.report["said"] for each in entries]


async def test_the_same_is_not_noted_twice_in_a_row_until_its_time_is_over(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        assert await note(here, "a", 1)
        assert not await note(there, "a", 1)
        assert await note(there, "a", 2)
        assert await note(here, "a", 1)
        assert await note(here, "b", 1), "another agent has a diary of its own"
        assert await note(here, "a", 1, topic="job"), "and so has another topic"
        page = await read(there, "a")
        assert said(page.entries) == [1, 2, 1]
        assert page.total == 3
    async with station(fresh_url, diary=EVERYTHING) as here:
        assert await note(here, "a", 1)
        assert await note(here, "a", 1)


async def test_fields_in_another_order_are_the_same_report(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        assert await here.diary.note(DEFAULT_PROJECT, "a", BOOK, {"x": 1, "y": 2})
        assert not await here.diary.note(DEFAULT_PROJECT, "a", BOOK, {"y": 2, "x": 1})


async def test_a_diary_keeps_its_last_entries_and_is_read_in_pages(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        for n in range(8):
            await note(here, "a", n)
        whole = await read(here, "a")
        assert said(whole.entries) == [7, 6, 5, 4, 3]
        first = await read(here, "a", limit=2)
        second = await read(here, "a", limit=2, before=first.entries[-1].number)
        assert said(first.entries + second.entries) == [7, 6, 5, 4]
        assert first.total == second.total == 5
        moments = [each.at_ms for each in whole.entries]
        assert moments == sorted(moments, reverse=True)
        assert abs(moments[0] - here.clock.at_ms(asyncio.get_running_loop().time())) < 60_000


async def test_what_is_too_old_is_gone_though_nothing_new_came(fresh_url: str) -> None:
    short = Upkeep(entries=5, keep_ms=60_000, gap_ms=0)
    async with station(fresh_url, diary=short) as here:
        await note(here, "old", "new", topic="t")
        lane = here.store.lane(DEFAULT_PROJECT, "old")
        name = keys.diary(DEFAULT_PROJECT, lane.number, BOOK, keys.leaf("old", "t"))
        index = keys.diaries(DEFAULT_PROJECT, lane.number, BOOK)
        assert 0 < await here.link.ask("PTTL", name) <= 60_000
        await here.link.ask("DEL", name)
        await here.link.ask("XADD", name, "1-1", "report", '{"said": "old"}')
        assert (await here.diary.latest(DEFAULT_PROJECT, BOOK)) == ([], 0)
        assert (await read(here, "old", "t")) == ([], 0)
        await here.link.ask("ZADD", index, 1, keys.leaf("old", "t"))
        assert (await here.diary.latest(DEFAULT_PROJECT, BOOK)) == ([], 0)
        assert await here.link.ask("ZCARD", index) == 0


async def test_the_latest_of_all_come_in_their_order_whoever_said_them(fresh_url: str) -> None:
    async with station(fresh_url, diary=EVERYTHING) as here:
        agents = [f"agent-{n}" for n in range(24)]
        for n in range(96):  # one after the other: their moments are in this order, or equal
            await note(here, agents[n * 7 % 24], n, topic=f"t{n % 2}")
            await asyncio.sleep(0.001)
        await note(here, "agent-0", "elsewhere", book="another")
        whole = await here.diary.latest(DEFAULT_PROJECT, BOOK, limit=200)
        assert said(whole.entries) == list(range(95, -1, -1))
        assert whole.total == 96
        some = await here.diary.latest(DEFAULT_PROJECT, BOOK, skip=10, limit=5)
        assert said(some.entries) == [85, 84, 83, 82, 81]
        assert some.total == 96
        assert some.entries[0].agent == agents[85 * 7 % 24]
        assert some.entries[0].topic == "t1"


async def test_the_diaries_of_a_project_go_with_it(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        for n in range(20):
            await note(here, f"agent-{n}", n)
            await note(here, f"agent-{n}", n, topic="t", book="another")
        assert await names(here)
        await here.diary.drop(DEFAULT_PROJECT)
        assert await names(here) == []
        assert (await here.diary.latest(DEFAULT_PROJECT, BOOK)) == ([], 0)


async def test_the_diaries_of_an_agent_go_when_it_is_to_be_forgotten(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        for agent in ("a", "ab"):
            await note(here, agent, 1)
            await note(here, agent, 2, topic="t [*]")
            await note(here, agent, 3, book="another")
        await here.diary.forget(DEFAULT_PROJECT, "a")
        assert (await read(here, "a")).total == (await read(here, "a", "t [*]")).total == 0
        assert said((await here.diary.latest(DEFAULT_PROJECT, "another")).entries) == [3]
        assert (await read(here, "ab", "t [*]")).total == 1
        await here.diary.forget(DEFAULT_PROJECT, "nobody")


async def names(at: Station) -> list[bytes]:
    found = [await at.link.ask("KEYS", f"ls:{{*}}:{kind}*") for kind in ("diar", "books")]
    return [name for some in found for name in some]
