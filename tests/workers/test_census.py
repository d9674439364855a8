"""The census: the living counted by any part of what they say, and their numbers added up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import Unavailable
from lifesigns.core.model import Presence
from lifesigns.store.registry import Registry
from lifesigns.store.store import Store, Terms
from lifesigns.workers import census as census_module
from lifesigns.workers.census import Census
from tests.patience import until
from tests.server import Server
from tests.station import Station, station

MakeServer = Callable[..., Server]
FLEET = (
    ("a", {"status": "idle", "group": "eu", "metadata": {"model": "x", "depth": 3}}),
    ("b", {"status": "busy", "group": "eu", "metadata": {"model": "x", "depth": 5.5}}),
    ("c", {"status": "busy", "group": "us", "metadata": {"model": "y", "depth": -1}}),
    ("d", {"task": "t", "host": "h1", "version": "2", "metadata": {"depth": "deep"}}),
)


async def fleet(at: Station) -> None:
    for agent, words in FLEET:
        await at.opened(agent, **words)
    gone = await at.opened("gone", status="busy", group="eu", metadata={"depth": 1_000})
    gone.leave()
    await at.settle()


class Looks(Store):
    """A store that counts how often all of it is looked at, and can be away for that."""

    looks = 0
    away = False

    async def scan(self, project: str) -> AsyncIterator[Presence]:
        self.looks += 1
        if self.away:
            raise Unavailable("The store is away.")
        async for presence in super().scan(project):
            yield presence


async def looked_at(at: Station) -> Looks:
    terms = Terms(history_ms=1, retention_ms=1, http_ttl_ms=1, patience_s=10)
    store = Looks(at.link, at.clock, at.ingest, Registry(at.link), terms)
    await store.know(DEFAULT_PROJECT)
    return store


class TestCounts:
    @pytest.mark.parametrize(
        ("by", "counts"),
        [
            ("state", {"available": 1, "busy": 3}),
            ("status", {"idle": 1, "busy": 2, "": 1}),
            ("group", {"eu": 2, "us": 1, "": 1}),
            ("host", {"h1": 1, "": 3}),
            ("version", {"2": 1, "": 3}),
            ("dialect", {"pulse": 4}),
            ("metadata.model", {"x": 2, "y": 1, "": 1}),
            ("metadata.depth", {"3": 1, "5.5": 1, "-1": 1, "deep": 1}),
            ("metadata.nothing", {"": 4}),
        ],
    )
    async def test_the_living_are_counted_by_what_they_say(
        self, fresh_url: str, by: str, counts: dict[str, int]
    ) -> None:
        async with station(fresh_url) as here:
            await fleet(here)
            tally = await Census(here.store).take(DEFAULT_PROJECT, by)
            assert tally.counts == counts

    async def test_a_number_of_theirs_is_added_up(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await fleet(here)
            tally = await Census(here.store).take(DEFAULT_PROJECT, "state", "depth")
            assert tally.numbers.spell() == {"sum": 7.5, "avg": 2.5, "min": -1, "max": 5.5, "n": 3}

    async def test_a_number_that_nobody_has_is_none(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await fleet(here)
            numbers = (
                await Census(here.store).take(DEFAULT_PROJECT, "state", "model")
            ).numbers.spell()
            assert (numbers["n"], numbers["avg"], numbers["min"], numbers["max"]) == (
                0,
                None,
                None,
                None,
            )

    async def test_numbers_that_add_up_to_more_than_can_be_sent_have_no_sum(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here:
            for agent in ("a", "b"):
                await here.opened(agent, metadata={"n": 1.7e308})
            numbers = (await Census(here.store).take(DEFAULT_PROJECT, "state", "n")).numbers.spell()
            assert (numbers["sum"], numbers["avg"], numbers["max"]) == (None, None, 1.7e308)

    async def test_an_empty_project_counts_nobody(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            tally = await Census(here.store).take(DEFAULT_PROJECT, "state")
            assert tally.counts == {}

    async def test_whether_something_is_true_is_no_number(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.opened("a", metadata={"ready": True})
            census = Census(here.store)
            tally = await census.take(DEFAULT_PROJECT, "metadata.ready", "ready")
            assert (tally.counts, tally.numbers.spell()["n"]) == ({"true": 1}, 0)


class TestLooks:
    async def test_all_who_ask_at_once_share_one_look(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await fleet(here)
            store = await looked_at(here)
            census = Census(store)
            asking = [census.take(DEFAULT_PROJECT, "state") for _ in range(20)]
            tallies = await asyncio.gather(*asking)
            assert store.looks == 1
            assert len({id(tally) for tally in tallies}) == 1
            await census.take(DEFAULT_PROJECT, "group")
            await census.take(DEFAULT_PROJECT, "state", "depth")
            assert store.looks == 3, "another question is another look"

    async def test_an_answer_is_good_for_a_while_and_then_looked_up_anew(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with station(fresh_url) as here:
            store = await looked_at(here)
            census = Census(store)
            await census.take(DEFAULT_PROJECT, "state")
            await here.opened("a")
            assert (await census.take(DEFAULT_PROJECT, "state")).counts == {}
            monkeypatch.setattr(census_module, "GOOD_S", 0.0)
            assert (await census.take(DEFAULT_PROJECT, "state")).counts == {"available": 1}
            assert store.looks == 2

    async def test_a_look_that_takes_long_is_not_begun_once_more_meanwhile(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A hundred thousand agents took longer than an answer is good for, and looks piled up."""
        async with station(fresh_url) as at:
            store = await looked_at(at)
            census = Census(store)
            monkeypatch.setattr(census_module, "GOOD_S", -1.0)
            first, second = (
                asyncio.create_task(census.take(DEFAULT_PROJECT, "state")) for _ in "ab"
            )
            await asyncio.gather(first, second)
            assert store.looks == 1

    async def test_a_look_that_failed_is_not_remembered(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await fleet(here)
            store = await looked_at(here)
            census = Census(store)
            store.away = True
            with pytest.raises(Unavailable):
                await census.take(DEFAULT_PROJECT, "state")
            store.away = False
            assert (await census.take(DEFAULT_PROJECT, "state")).counts

    async def test_who_gives_up_takes_no_other_along(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await fleet(here)
            census = Census(here.store)
            asking = [asyncio.ensure_future(census.take(DEFAULT_PROJECT, "state")) for _ in "ab"]
            await asyncio.sleep(0)
            asking[0].cancel()
            assert (await asking[1]).counts == {"available": 1, "busy": 3}

    async def test_no_more_questions_are_remembered_than_may_be(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(census_module, "REMEMBERED", 2)
        async with station(fresh_url) as here:
            store = await looked_at(here)
            census = Census(store)
            for by in ("state", "group", "host"):
                await census.take(DEFAULT_PROJECT, by)
            await census.take(DEFAULT_PROJECT, "host")
            await census.take(DEFAULT_PROJECT, "group")
            assert store.looks == 3
            await census.take(DEFAULT_PROJECT, "state")
            assert store.looks == 4


class TestChanges:
    async def test_the_rate_is_told_at_once_and_of_late_only(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was that since the question before: nothing at the first, or after a minute."""
        async with station(fresh_url) as here:
            census = Census(here.store)
            assert await census.changes_per_s(DEFAULT_PROJECT) == 0.0
            for number in range(30):
                here.open(f"a{number}")
            await here.settle()
            for another in (census, Census(here.store)):
                monkeypatch.setattr(census_module, "CHANGES_SPAN_S", 60.0)
                assert await another.changes_per_s(DEFAULT_PROJECT) == 0.5
            await asyncio.sleep(0.05)
            monkeypatch.setattr(census_module, "CHANGES_SPAN_S", 0.01)
            assert await census.changes_per_s(DEFAULT_PROJECT) == 0.0

    async def test_a_store_that_lost_its_numbers_has_no_negative_rate(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            census = Census(here.store)
            for number in range(10):
                await here.opened(f"a{number}")
            server.restart()
            await until(lambda: here.losses and here.link.up)
            assert await census.changes_per_s(DEFAULT_PROJECT) == 0.0
