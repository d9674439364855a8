"""The sampler: one hub looks at every fleet, and when it is gone another one does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.model import Words
from lifesigns.core.sample import OTHER, Sample
from lifesigns.store import keys
from lifesigns.store.registry import Registry
from lifesigns.store.sample import FINE, Grain, Samples
from lifesigns.workers import sampler as sampler_module
from lifesigns.workers.sampler import Sampler
from tests.patience import until, until_told
from tests.server import Server
from tests.station import Session, Station, station

MakeServer = Callable[..., Server]
AT_MS = 1_800_000_000_000


def sampler(at: Station, *metadata_keys: str, of: type[Samples] = Samples) -> Sampler:
    return Sampler(at.store, of(at.link, at.store), at.clock, at.ticker, metadata_keys)


async def found(at: Station, project: str = DEFAULT_PROJECT) -> list[Sample]:
    samples: list[Sample] = []
    await Samples(at.link, at.store).read(project, FINE, 0, AT_MS * 2, samples.append)
    return samples


async def test_a_look_counts_the_living_and_adds_their_numbers_up(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.opened("a", status="thinking", metadata={"model": "m", "depth": 3})
        await here.opened("b", "1", status="idle", metadata={"model": "n", "depth": 4})
        await here.opened("b", "2", status="thinking", metadata={"model": "m", "depth": 5})
        await here.put("c", group="eu")
        gone = await here.opened("d", status="thinking")
        gone.leave()
        await here.settle()
        assert await sampler(here, "model", "depth").look(AT_MS)
        (sample,) = await found(here)
        assert (sample.at_ms, sample.looks, sample.total) == (AT_MS, 1, 3)
        assert sample.counts["state"] == {"available": 2, "busy": 1}
        assert sample.counts["status"] == {"idle": 2, "thinking": 1}
        assert sample.counts["group"] == {"": 2, "eu": 1}
        assert sample.counts["metadata.model"] == {"": 1, "m": 1, "n": 1}
        assert sample.numbers["depth"].spell() == {
            **{"sum": 7, "avg": 3.5, "min": 3, "max": 4, "n": 2},
        }


async def test_a_fleet_of_which_nobody_is_alive_is_seen_as_that(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        session = await here.opened("a")
        session.leave()
        await here.settle()
        await sampler(here).look(AT_MS)
        (sample,) = await found(here)
        assert (sample.total, sample.counts["state"]) == (0, {})


async def test_a_project_without_agents_costs_nothing(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        assert await sampler(here).look(AT_MS)
        await here.opened("a")
        await here.store.forget(DEFAULT_PROJECT, "a")
        assert await sampler(here).look(AT_MS)
        assert await here.link.ask("KEYS", "*:fine:*") == []
        assert await here.link.ask("KEYS", "*:coarse:*") == []


async def test_every_project_has_samples_of_its_own(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await Registry(here.link).create_project("shop", now_ms=1)
        await here.store.know("shop")
        await here.opened("a", status="thinking")
        other = Session(here.ingest)
        other.open(here.store.lane("shop", "b"), "b", "i", 30_000, Words(status="packing"))
        await until(lambda: other.outcomes)
        await sampler(here).look(AT_MS)
        (mine,), (theirs,) = await found(here), await found(here, "shop")
        assert mine.counts["status"] == {"thinking": 1}
        assert theirs.counts["status"] == {"packing": 1}


class Slow(Samples):
    """Samples that take longer to be kept than there is between two steps."""

    async def write(self, project: str, sample: Sample) -> bool:
        await asyncio.sleep(0.06)
        return await super().write(project, sample)


async def test_what_is_seen_a_step_later_is_a_sample_of_that_step(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "FINE", Grain("fine", 50, 1_000, 1_000))
    async with station(fresh_url) as here:
        await Registry(here.link).create_project("shop", now_ms=1)
        await here.store.know("shop")
        await here.opened("a")
        other = Session(here.ingest)
        other.open(here.store.lane("shop", "b"), "b", "i", 30_000, Words())
        await until(lambda: other.outcomes)
        await sampler(here, of=Slow).look(AT_MS)
        (first,), (second,) = await found(here), await found(here, "shop")
        assert first.at_ms == AT_MS
        assert second.at_ms > AT_MS
        assert second.at_ms % 50 == 0


async def test_a_deleted_project_does_not_keep_others_from_being_sampled(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.opened("a")
        await here.link.ask("ZADD", keys.due(0), 1, "another")
        assert await sampler(here).look(AT_MS)
        assert len(await found(here)) == 1


async def test_a_damaged_record_is_nobody(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.opened("a")
        await here.link.ask("HSET", here.store.lane(DEFAULT_PROJECT, "a").keys[1], "x", b"\xc1")
        await sampler(here).look(AT_MS)
        assert [sample.total for sample in await found(here)] == [1]


async def test_one_hub_looks_and_the_next_one_does_when_it_goes(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        await here.opened("a")
        first, second = sampler(here), sampler(there)
        assert await first.look(AT_MS)
        assert not await second.look(AT_MS + 10_000)
        assert await first.look(AT_MS + 20_000)
        await first.leave()
        assert await second.look(AT_MS + 30_000)
        assert not await first.look(AT_MS + 40_000)
        assert [sample.at_ms for sample in await found(here)] == [
            *(AT_MS, AT_MS + 20_000, AT_MS + 30_000),
        ]


class Cut(Samples):
    """Samples of a hub that is killed when it has read everything, and before it writes."""

    async def write(self, project: str, sample: Sample) -> bool:
        raise asyncio.CancelledError


async def test_a_hub_that_dies_over_a_look_is_followed_by_another(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "LEASE_MS", 50)
    async with station(fresh_url) as here, station(fresh_url) as there:
        await here.opened("a")
        with contextlib.suppress(asyncio.CancelledError):
            await sampler(here, of=Cut).look(AT_MS)
        second = sampler(there)
        await until_told(lambda: second.look(AT_MS + 10_000))
        assert [sample.at_ms for sample in await found(here)] == [AT_MS + 10_000]  # a gap is a gap


async def test_who_loses_its_turn_over_a_long_look_gives_it_up(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "RENEW_S", -1.0)
    async with station(fresh_url) as here:
        await here.opened("a")
        first = sampler(here)

        class Taken(Samples):
            async def projects(self) -> list[str]:
                await here.link.ask("SET", keys.SAMPLER, "another")
                return await super().projects()

        assert not await sampler(here, of=Taken).look(AT_MS)
        assert await found(here) == []
        await here.link.ask("DEL", keys.SAMPLER)
        assert await first.look(AT_MS)


@contextlib.asynccontextmanager
async def sampling(at: Station) -> AsyncIterator[None]:
    task = asyncio.create_task(sampler(at).run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()


async def test_it_looks_at_every_step(fresh_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "FINE", Grain("fine", 100, 1_000, 1_000))
    async with station(fresh_url) as here:
        await here.opened("a")

        async def three() -> list[Sample]:
            return (await found(here))[2:]

        async with sampling(here):
            await until_told(three)
        moments = [sample.at_ms for sample in await found(here)]
        now_ms = here.clock.at_ms(asyncio.get_running_loop().time())
        assert all(at_ms % 100 == 0 and at_ms <= now_ms + 100 for at_ms in moments)
        assert sorted(set(moments)) == moments


async def test_it_goes_on_when_the_store_was_away(
    valkey_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "FINE", Grain("fine", 50, 1_000, 1_000))
    server = valkey_server()
    async with station(server.url) as here:
        await here.opened("a")
        async with sampling(here):
            await until_told(lambda: found(here))
            server.restart()
            await until(lambda: here.losses and here.link.up)
            await here.put("a")
            await here.link.ask("DEL", keys.samples(DEFAULT_PROJECT, "fine"))
            await until_told(lambda: found(here))


async def test_words_that_nobody_can_tell_apart_are_others(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        for n in range(20):
            here.open(f"a{n}", status=f"step {n}")
        await here.settle()
        await sampler(here).look(AT_MS)
        (sample,) = await found(here)
        assert sample.counts["status"][OTHER] == 4
        assert sum(sample.counts["status"].values()) == 20
