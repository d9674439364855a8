"""The store as a whole: projects and their places, removal, and what is told of evidence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import NotFound, Unavailable
from lifesigns.store import keys
from lifesigns.store.put import HttpBeat
from lifesigns.store.registry import Registry
from tests.chronicle import chronicle, kinds
from tests.patience import until
from tests.server import Server
from tests.station import Station, station

MakeServer = Callable[..., Server]


async def projects(at: Station) -> None:
    """Make one project in one partition and one over all."""
    registry = Registry(at.link)
    now_ms = time.time_ns() // 1_000_000
    await registry.create_project("narrow", now_ms=now_ms)
    await registry.create_project("wide", spread_all=True, now_ms=now_ms)
    for name in ("narrow", "wide"):
        await at.store.know(name)


async def put(at: Station, project: str, agent: str) -> None:
    await at.store.put(project, HttpBeat(agent, None, None, {}), asyncio.get_running_loop().time())


class TestProjects:
    async def test_a_project_lies_where_it_was_made_to(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await projects(here)
            names = [f"a{i}" for i in range(100)]
            assert len({here.store.lane("narrow", name).number for name in names}) == 1
            assert {here.store.lane("wide", name).number for name in names} == set(
                range(keys.PARTITIONS)
            )
            assert len(here.store.lanes("narrow")) == 1
            assert len(here.store.lanes("wide")) == keys.PARTITIONS

    async def test_agents_of_one_name_in_two_projects_are_two(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await projects(here)
            for project in ("narrow", "wide"):
                await put(here, project, "a")
            now = asyncio.get_running_loop().time()
            await here.store.remove("narrow", "a", None, now)
            narrow = (await here.store.read("narrow", "a")).presence
            wide = (await here.store.read("wide", "a")).presence
            assert narrow is not None
            assert wide is not None
            assert (narrow.alive, wide.alive) == (False, True)
            assert (await here.store.read(DEFAULT_PROJECT, "a")).presence is None
            assert await here.store.count("narrow") == {0: 1}
            assert await here.store.count("wide") == {8: 1}

    async def test_one_that_is_not_there_is_not_found(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            with pytest.raises(NotFound, match="nowhere"):
                await here.store.know("nowhere")
            assert not here.store.knows("nowhere")

    async def test_a_dropped_one_sends_its_agents_away(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await projects(here)
            for number in range(30):
                await put(here, "wide", f"a{number}")
            await put(here, "narrow", "b")
            await here.store.drop("wide")
            assert [presence async for presence in here.store.scan("wide")] == []
            assert await here.store.count("wide") == {}
            assert await here.store.count("narrow") == {8: 1}
            told = await chronicle(here.link, "wide")
            assert {tuple(each.kind for each in all_) for all_ in told.values()} == {
                ("online", "offline", "forgotten")
            }
            # What was told of them ends by itself, though nothing is written there any more.
            logs = [lane.keys[3] for lane in here.store.lanes("wide")]
            ends = [await here.link.ask("PTTL", log) for log in logs]
            assert all(0 < end <= 600_000 or end == -2 for end in ends)
            assert max(ends) > 0


class TestRemoval:
    async def test_all_instances_end_and_what_is_left_is_answered(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            first, second = await here.opened("a", "1"), await here.opened("a", "2")
            now = asyncio.get_running_loop().time()
            presence = await here.store.remove(DEFAULT_PROJECT, "a", None, now)
            assert presence is not None
            assert (presence.state, presence.reason, presence.instances) == ("offline", "left", ())
            await until(lambda: first.told and second.told)
            assert (first.told, second.told) == (["removed"], ["removed"])
            assert here.ingest.leases == {}

    async def test_one_instance_ends_and_the_others_stay(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            first, second = await here.opened("a", "1"), await here.opened("a", "2")
            now = asyncio.get_running_loop().time()
            presence = await here.store.remove(DEFAULT_PROJECT, "a", "1", now)
            assert presence is not None
            assert [instance.name for instance, _ in presence.instances] == ["2"]
            await until(lambda: first.told)
            assert second.told == []

    async def test_nobody_is_removed_from_nothing(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            now = asyncio.get_running_loop().time()
            assert await here.store.remove(DEFAULT_PROJECT, "a", None, now) is None
            assert await here.store.forget(DEFAULT_PROJECT, "a") is False

    async def test_the_removal_of_a_living_agent_is_no_beat_of_its_own(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here:
            await here.opened("a")
            before = (await here.read("a")).last_heartbeat_ms
            await asyncio.sleep(0.05)
            now = asyncio.get_running_loop().time()
            presence = await here.store.remove(DEFAULT_PROJECT, "a", None, now)
            assert presence is not None
            assert presence.last_heartbeat_ms == before

    async def test_a_forgotten_agent_that_is_connected_is_sent_away(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            assert await here.store.forget(DEFAULT_PROJECT, "a")
            await until(lambda: agent.told)
            assert agent.told == ["removed"]
            assert await kinds(here.link, "a") == ["online", "offline", "forgotten"]


class TestEvidence:
    async def test_evidence_is_as_old_as_the_last_beat(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.opened("a", ttl_ms=20_000)
            await asyncio.sleep(0.2)
            (check,) = await here.check("a", within_ms=100)
            assert check.evidence_age_ms is not None
            assert check.evidence_age_ms >= 190
            assert not check.fresh
            assert check.valid_for_ms == 20_000 - check.evidence_age_ms
            (check,) = await here.check("a", within_ms=60_000)
            assert check.fresh

    async def test_who_is_gone_is_valid_for_no_time(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            agent.leave()
            await here.settle()
            (check,) = await here.check("a")
            assert (check.valid_for_ms, check.presence and check.presence.alive) == (0, False)


async def test_the_changes_of_a_project_are_counted(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        assert await here.store.changes(DEFAULT_PROJECT, 60) == 0
        for number in range(20):
            await here.opened(f"a{number}")
        assert await here.store.changes(DEFAULT_PROJECT, 60) == 20


async def test_a_ping_is_measured_or_says_that_the_store_is_away(
    valkey_server: MakeServer,
) -> None:
    server = valkey_server()
    async with station(server.url) as here:
        assert here.store.up
        assert 0 < await here.store.ping_ms() < 10_000
        server.kill()
        await until(lambda: not here.store.up)
        with pytest.raises(Unavailable):
            await here.store.ping_ms()
