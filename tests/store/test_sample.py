"""Samples as the store keeps them: once each, in both grains, for their time, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import Unavailable
from lifesigns.core.model import Words
from lifesigns.core.presence import BUSY
from lifesigns.core.sample import Look, Sample
from lifesigns.store import keys
from lifesigns.store import sample as sample_module
from lifesigns.store.sample import COARSE, DAY_MS, FINE, Grain, Samples
from tests.patience import until_told
from tests.station import Station, station

START_MS = COARSE.start_ms(1_800_000_000_000)


def taken(at_ms: int, n: int = 1, status: str = "thinking") -> Sample:
    look = Look(())
    for _ in range(n):
        look.add(BUSY, Words(status=status))
    return look.end(at_ms)


async def read(
    of: Samples, grain: Grain = FINE, from_ms: int = 0, to_ms: int = START_MS * 2
) -> list[Sample]:
    found: list[Sample] = []
    await of.read(DEFAULT_PROJECT, grain, from_ms, to_ms, found.append)
    return found


@asynccontextmanager
async def samples(url: str) -> AsyncIterator[tuple[Station, Samples]]:
    async with station(url) as here:
        yield here, Samples(here.link, here.store)


async def test_what_was_written_is_read_in_its_order(fresh_url: str) -> None:
    async with samples(fresh_url) as (_, kept):
        written = [taken(START_MS + n * 10_000, n) for n in range(70)]
        for each in written:
            assert await kept.write(DEFAULT_PROJECT, each)
        assert await read(kept) == written
        middle = await read(kept, FINE, START_MS + 100_000, START_MS + 200_000)
        assert middle == written[10:20]


async def test_a_coarse_sample_is_what_its_fine_ones_add_up_to(fresh_url: str) -> None:
    async with samples(fresh_url) as (_, kept):
        for n in range(33):
            await kept.write(DEFAULT_PROJECT, taken(START_MS + n * 10_000, n))
        first, second = await read(kept, COARSE)
        assert (first.at_ms, first.looks, first.total) == (START_MS, 30, sum(range(30)))
        assert (second.at_ms, second.looks, second.total) == (START_MS + 300_000, 3, 93)
        assert first.counts["status"] == {"thinking": sum(range(30))}


async def test_a_moment_is_sampled_once(fresh_url: str) -> None:
    async with samples(fresh_url) as (here, kept):
        other = Samples(here.link, here.store)
        assert await kept.write(DEFAULT_PROJECT, taken(START_MS, 1))
        assert not await other.write(DEFAULT_PROJECT, taken(START_MS, 2))
        assert [each.total for each in await read(kept)] == [1]
        assert [each.total for each in await read(kept, COARSE)] == [1]


async def test_two_hubs_that_write_at_once_lose_nothing(fresh_url: str) -> None:
    async with samples(fresh_url) as (here, kept), samples(fresh_url) as (_, others):
        moments = [START_MS + n * 10_000 for n in range(4)]
        wrote = await asyncio.gather(
            *[each.write(DEFAULT_PROJECT, taken(at)) for at in moments for each in (kept, others)]
        )
        assert sorted(wrote) == [False] * 4 + [True] * 4
        assert [each.at_ms for each in await read(kept)] == moments
        (coarse,) = await read(kept, COARSE)
        assert coarse.looks == 4
        assert here.link.up


async def test_what_is_old_is_dropped_with_the_next_one(fresh_url: str) -> None:
    async with samples(fresh_url) as (here, kept):
        await kept.write(DEFAULT_PROJECT, taken(START_MS, 1))
        await kept.write(DEFAULT_PROJECT, taken(START_MS + DAY_MS, 2))
        assert [each.total for each in await read(kept)] == [1, 2]  # just a day: it is whole yet
        await kept.write(DEFAULT_PROJECT, taken(START_MS + DAY_MS + 2 * FINE.chunk_ms, 3))
        assert [each.total for each in await read(kept)] == [2, 3]
        assert [each.total for each in await read(kept, COARSE)] == [1, 2, 3]
        late_ms = START_MS + COARSE.keep_ms + 2 * COARSE.chunk_ms
        await kept.write(DEFAULT_PROJECT, taken(late_ms, 4))
        assert START_MS not in [each.at_ms for each in await read(kept, COARSE)]
        for grain in (FINE, COARSE):
            left_ms = await here.link.ask("PTTL", keys.samples(DEFAULT_PROJECT, grain.name))
            assert grain.keep_ms - 60_000 < left_ms <= grain.keep_ms


async def test_a_gap_of_months_is_read_over(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_module, "CHUNKS", 2)
    async with samples(fresh_url) as (_, kept):
        moments = [START_MS + n * 10 * DAY_MS for n in (0, 1, 2, 3, 8)]
        for at_ms in moments:
            await kept.write(DEFAULT_PROJECT, taken(at_ms))
        assert [each.at_ms for each in await read(kept, COARSE)] == moments
        assert await read(kept, COARSE, moments[0] + 1, moments[1]) == []


async def test_damaged_samples_are_dropped_and_harm_no_others(fresh_url: str) -> None:
    async with samples(fresh_url) as (here, kept):
        await kept.write(DEFAULT_PROJECT, taken(START_MS))
        name = keys.samples(DEFAULT_PROJECT, FINE.name)
        await here.link.ask("ZADD", name, START_MS + FINE.chunk_ms, b"no samples at all")
        assert len(await read(kept)) == 1
        await kept.write(DEFAULT_PROJECT, taken(START_MS + FINE.chunk_ms))
        assert len(await read(kept)) == 2


async def test_with_a_project_its_samples_go(fresh_url: str) -> None:
    async with samples(fresh_url) as (_, kept):
        await kept.write(DEFAULT_PROJECT, taken(START_MS))
        await kept.drop(DEFAULT_PROJECT)
        assert await read(kept) == await read(kept, COARSE) == []


async def test_the_turn_is_one_hubs_until_it_leaves_it_or_is_gone(fresh_url: str) -> None:
    async with samples(fresh_url) as (here, kept):
        assert await kept.take_turn("aa", 60_000)
        assert not await kept.take_turn("bb", 60_000)
        await kept.leave_turn("bb")  # what is not its own it cannot leave
        assert await kept.take_turn("aa", 60_000)
        await kept.leave_turn("aa")
        assert await kept.take_turn("bb", 1)
        await until_told(lambda: kept.take_turn("aa", 60_000))
        assert await here.link.ask("GET", keys.SAMPLER) == b"aa"


async def test_all_records_are_gone_through_once(fresh_url: str) -> None:
    async with samples(fresh_url) as (here, kept):
        for n in range(600):
            here.open(f"a{n}")
        await here.settle()
        pages = [page async for page in kept.records(DEFAULT_PROJECT)]
        assert sum(map(len, pages)) == 600


async def test_projects_with_agents_are_found_and_no_others(fresh_url: str) -> None:
    async with samples(fresh_url) as (here, kept):
        assert await kept.projects() == []
        await here.opened("a")
        assert await kept.projects() == [DEFAULT_PROJECT]


async def test_nothing_is_read_while_the_store_is_away(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        kept = Samples(here.link, here.store)
    with pytest.raises(Unavailable):
        await read(kept)
