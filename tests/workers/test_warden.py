"""Hubs that are lost: their agents are suspect in time, and never dead for that alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.store import keys, script
from lifesigns.store.registry import Registry
from lifesigns.workers import warden as warden_module
from tests.chronicle import kinds
from tests.patience import until
from tests.station import Station, station
from tests.workers.wire import wired

LEASE_MS = 500


@contextlib.asynccontextmanager
async def two(url: str) -> AsyncIterator[tuple[Station, Station]]:
    """Give a hub at work, and another one that never ticks unless it is told to."""
    async with (
        station(url, lease_ms=LEASE_MS) as here,
        station(url, lease_ms=LEASE_MS) as there,
        here.working(),
    ):
        yield here, there


async def told(at: Station, agent: str, *wanted: str) -> None:
    """Await that these are all the changes of an agent."""
    async with asyncio.timeout(30):
        while len(await kinds(at.link, agent)) < len(wanted):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await kinds(at.link, agent) == list(wanted)


async def comes_back(at: Station) -> None:
    await at.ticker.tick()
    await at.warden.look()
    await at.settle()


async def test_agents_of_a_lost_hub_are_suspect_and_come_back_with_it(fresh_url: str) -> None:
    async with two(fresh_url) as (here, there):
        mine = await here.opened("mine")
        await here.put("posts")
        brief = await there.opened("brief", ttl_ms=1_000)
        fleet = [await there.opened(f"a{i}") for i in range(40)]
        for session in fleet:
            await told(here, session.lease.agent, "online", "suspect")
        await told(here, "brief", "online", "suspect")
        await until(lambda: there.ticker.node not in {node.id for node in here.ticker.nodes})
        shown = await here.read("brief")
        assert (shown.state, shown.held) == ("suspect", False)
        assert shown.last_heartbeat_ms <= brief.lease.ends_ms - 1_000
        assert (await here.read("a0")).state == "suspect"

        await asyncio.sleep(1.2)
        assert (await here.read("brief")).state == "suspect", "for ten seconds"
        brief.renew()  # it beat all the time
        await comes_back(there)
        for session in (*fleet, brief):
            await told(here, session.lease.agent, "online", "suspect", "recovered")
            assert session.told == []
        mine.renew()
        await told(here, "mine", "online")
        await told(here, "posts", "online")
        assert (here.warden.lost, here.warden.marked) == (1, 41)


async def test_one_that_moved_stays_where_it_is_and_its_old_socket_is_closed(
    fresh_url: str,
) -> None:
    async with two(fresh_url) as (here, there):
        old = await there.opened("a")
        await told(here, "a", "online", "suspect")
        new = await here.opened("a")
        await told(here, "a", "online", "suspect", "recovered")
        await comes_back(there)
        await until(lambda: old.told)
        assert (old.told, new.told) == (["fenced"], [])
        assert await kinds(here.link, "a") == ["online", "suspect", "recovered"]


async def test_a_socket_that_broke_meanwhile_is_not_said_to_live(fresh_url: str) -> None:
    async with two(fresh_url) as (here, there):
        agent = await there.opened("a")
        async with wired(agent) as far:
            await told(here, "a", "online", "suspect")
            far.close()
            await comes_back(there)
            assert agent.lease.ended
            assert (await here.read("a")).state == "suspect"
            assert await kinds(here.link, "a") == ["online", "suspect"]


async def test_one_silent_for_longer_than_its_lease_is_not_said_to_live_either(
    fresh_url: str,
) -> None:
    """It was online again for a moment, and offline after it."""
    async with two(fresh_url) as (here, there):
        agent = await there.opened("a", ttl_ms=600)
        await told(here, "a", "online", "suspect")
        await asyncio.sleep(0.3)
        await comes_back(there)
        assert await kinds(here.link, "a") == ["online", "suspect"]
        agent.renew()
        await told(here, "a", "online", "suspect", "recovered")


async def test_a_mark_that_the_hub_hears_of_is_answered_at_once(fresh_url: str) -> None:
    async with station(fresh_url) as here, here.working():
        agent = await here.opened("a")
        lane = agent.lease.lane
        page = here.warden._page(here.ticker.nodes[0], lane, b"0")
        assert (await page)[3] == 1
        await told(here, "a", "online", "suspect", "recovered")


async def test_an_inbox_that_was_away_leaves_nobody_suspect(fresh_url: str) -> None:
    """What was told meanwhile is lost: each session is said again."""
    async with station(fresh_url) as here:
        agent = await here.opened("a")
        await here.inbox.aclose()
        await here.warden._page(here.ticker.nodes[0], agent.lease.lane, b"0")
        await told(here, "a", "online", "suspect")
        here.ingest.doubt()
        await here.warden.look()
        await told(here, "a", "online", "suspect", "recovered")


async def test_a_hub_that_is_not_sure_of_itself_declares_nobody_lost(fresh_url: str) -> None:
    """After an outage every hub looked dead to the first that came back."""
    async with station(fresh_url, lease_ms=LEASE_MS) as here, station(fresh_url) as there:
        await there.opened("a")
        await there.link.ask("HSET", keys.NODES, there.ticker.node, await over(there))
        await asyncio.sleep(2 * LEASE_MS / 1000)  # its own ticks stop, too
        for _ in range(3):
            await here.ticker.tick()
            assert not here.ticker.steady
            await here.warden.look()
        assert [node.id for node in here.ticker.lost] == [there.ticker.node]
        await there.ticker.tick()
        await here.ticker.tick()
        assert here.ticker.lost == []
        assert await kinds(here.link, "a") == ["online"]


async def test_a_clock_that_jumps_makes_a_hub_unsure_of_itself(fresh_url: str) -> None:
    async with station(fresh_url, lease_ms=LEASE_MS) as here:
        async with here.working():
            await until(lambda: here.ticker.steady)
        now_ms, now = here.ticker._heard
        for jump_ms in (3_600_000, -3_600_000):
            here.ticker._steady_since = now - 100
            assert here.ticker.steady
            here.ticker._heard = now_ms + jump_ms, now
            await here.ticker.tick()
            assert not here.ticker.steady


async def test_one_hub_marks_at_a_time_and_another_follows_one_that_died_over_it(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warden_module, "TURN_MS", 400)
    async with two(fresh_url) as (here, there):
        await there.opened("a")
        turn = keys.losing(there.ticker.node)
        await here.link.ask("SET", turn, "zz", "PX", 1_500)
        await until(lambda: here.ticker.lost)
        await asyncio.sleep(0.3)
        assert await kinds(here.link, "a") == ["online"]
        await told(here, "a", "online", "suspect")
        await until(lambda: not here.ticker.lost)
        assert not await here.link.ask("EXISTS", turn)


async def test_a_hub_that_comes_back_while_it_is_marked_is_left_alone(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url, lease_ms=20) as there:
        await there.opened("a")
        await asyncio.sleep(0.05)
        for _ in range(2):
            await here.ticker.tick()
        (lost,) = here.ticker.lost
        await comes_back(there)
        lanes = await here.warden._lanes()
        assert await here.warden._mark(lost, lanes, keys.losing(lost.id)) is None
        assert await kinds(here.link, "a") == ["online"]
        given = (lost.id, lost.lease_ms)
        assert await here.link.ask_script(script.UNLIST, (keys.NODES,), given) == 0
        assert await here.link.ask("HEXISTS", keys.NODES, there.ticker.node)


async def test_agents_of_every_project_are_marked_though_one_place_is_broken(
    fresh_url: str,
) -> None:
    async with two(fresh_url) as (here, there):
        registry = Registry(there.link)
        for project in ("one", "other"):
            await registry.create_project(project, now_ms=1)
        await here.store.know("one")
        broken = here.store.lane("one", "a")
        await there.link.ask("ZADD", broken.keys[4], 10**13, "one")
        await there.link.ask("SET", broken.keys[1], "no hash")
        await there.opened("a")
        await told(here, "a", "online", "suspect")
        await until(lambda: here.warden.lost == 1)
        assert await here.store.count(DEFAULT_PROJECT) == {2: 1}


async def over(at: Station) -> bytes:
    """Give a station's entry, with a lease that has run out."""
    entry = await at.link.ask("HGET", keys.NODES, at.ticker.node)
    watermark, _, shown = entry.split(b" ", 2)
    return b"%s %s %s" % (watermark, watermark, shown)
