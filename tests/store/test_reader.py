"""Reading: many questions at once are few commands, and a scan misses nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import Unavailable
from lifesigns.store import reader as reader_module
from lifesigns.store.reader import BATCH, PAGE
from tests.patience import until
from tests.server import Server
from tests.station import Station, station, together

MakeServer = Callable[..., Server]


async def crowd(at: Station, agents: list[str]) -> None:
    for agent in agents:
        at.open(agent)
    await at.settle()


class TestSketches:
    """What is read again is not unpacked again, and is as it is now all the same."""

    async def test_an_agent_that_is_read_again_is_shown_as_it_is_now(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", ttl_ms=20_000)
            first = await there.read("a")
            assert await there.read("a") == first
            agent.renew()
            await here.settle()
            renewed = await there.read("a")
            assert renewed.expires_at_ms == int(agent.lease.ends_ms)
            assert (renewed.seq, renewed.words) == (first.seq, first.words)
            agent.say(task="t")
            await here.settle()
            assert (await there.read("a")).words.task == "t"
            agent.lose()
            await here.settle()
            assert (await there.read("a")).state == "suspect"
            await here.store.remove(DEFAULT_PROJECT, "a", None, 0.0)
            assert [(await there.read("a")).state for _ in range(2)] == ["offline"] * 2

    async def test_only_so_many_are_kept(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reader_module, "SKETCHES", 3)
        async with station(fresh_url) as here:
            agents = [f"a{i}" for i in range(8)]
            await crowd(here, agents)
            for _ in range(2):
                assert [(await here.read(agent)).id for agent in agents] == agents
            assert len(here.store.reader._sketches) == 3


class TestCoalescing:
    async def test_all_who_ask_for_one_agent_at_once_share_one_answer(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.opened("a")
            await here.calls(anew=True)
            readings = await asyncio.gather(
                *[here.store.read(DEFAULT_PROJECT, "a") for _ in range(200)]
            )
            assert await here.calls() == 1
            assert len({id(reading) for reading in readings}) == 1

    async def test_agents_of_one_partition_are_read_together(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agents = together(BATCH * 2 + 1)
            await crowd(here, agents[:40])
            await here.calls(anew=True)
            readings = await asyncio.gather(
                *[here.store.read(DEFAULT_PROJECT, agent) for agent in agents]
            )
            assert await here.calls() == 3
            assert [each.presence and each.presence.id for each in readings] == [
                *agents[:40],
                *[None] * (len(agents) - 40),
            ]

    async def test_a_check_of_many_asks_each_partition_once(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agents = [f"a{i}" for i in range(400)]
            await crowd(here, agents)
            await here.calls(anew=True)
            checks = await here.check(*agents, "a0", "nobody")
            assert await here.calls() == 16
            assert [check.id for check in checks] == [*agents, "a0", "nobody"]
            assert all(check.presence is not None for check in checks[:-1])
            assert checks[-1].presence is None

    async def test_what_is_asked_later_is_read_anew(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            before = await here.read("a")
            agent.say(task="t")
            await here.settle()
            assert (await here.read("a")).seq > before.seq

    async def test_who_gives_up_takes_no_other_along(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.opened("a")
            asking = [asyncio.ensure_future(here.read("a")) for _ in range(3)]
            await asyncio.sleep(0)
            asking[0].cancel()
            presences = await asyncio.gather(*asking, return_exceptions=True)
            assert isinstance(presences[0], asyncio.CancelledError)
            assert [each.id for each in presences[1:] if not isinstance(each, BaseException)] == [
                "a",
                "a",
            ]


class TestAway:
    async def test_all_who_wait_are_told_when_the_link_breaks(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            server.pause()
            asking = [asyncio.ensure_future(here.read(agent)) for agent in ("a", "a", "b")]
            await asyncio.sleep(0.02)
            server.kill()
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
            assert [type(each) for each in outcomes] == [Unavailable] * 3
            with pytest.raises(Unavailable):
                await here.read("a")

    async def test_a_server_that_hangs_is_not_waited_for_for_ever(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url, patience_s=0.1) as here:
            await here.opened("a")
            server.pause()
            with pytest.raises(Unavailable, match="does not answer"):
                await here.read("a")
            with pytest.raises(Unavailable, match="does not answer"):
                await here.check("a", "b")
            server.resume()
            await until(lambda: here.link.up)
            assert (await here.read("a")).alive


class TestScan:
    async def test_an_empty_project_has_nobody(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            assert [presence async for presence in here.store.scan(DEFAULT_PROJECT)] == []
            assert await here.store.count(DEFAULT_PROJECT) == {}

    async def test_all_are_seen_the_offline_too(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await crowd(here, [f"a{i}" for i in range(300)])
            for lease in list(here.ingest.leases.values())[:100]:
                here.ingest.leave(lease, "left", "", asyncio.get_running_loop().time())
            await here.settle()
            seen = [presence async for presence in here.store.scan(DEFAULT_PROJECT)]
            assert Counter(presence.id for presence in seen) == {f"a{i}": 1 for i in range(300)}
            assert Counter(presence.rank for presence in seen) == {0: 100, 8: 200}
            assert await here.store.count(DEFAULT_PROJECT) == {0: 100, 8: 200}

    async def test_each_is_seen_once_while_others_come_and_go(self, fresh_url: str) -> None:
        """One partition, so that its table grows and shrinks under the scan."""
        async with station(fresh_url) as here:
            names = together(PAGE * 14)
            staying, going, coming = (
                names[: PAGE * 4],
                names[PAGE * 4 : PAGE * 8],
                names[PAGE * 8 :],
            )
            await crowd(here, staying + going)
            seen: Counter[str] = Counter()
            async for presence in here.store.scan(DEFAULT_PROJECT):
                seen[presence.id] += 1
                if len(seen) % 100 == 0:
                    await crowd(here, coming[:150])
                    for agent in going[:80]:
                        await here.store.forget(DEFAULT_PROJECT, agent)
                    coming, going = coming[150:], going[80:]
            assert max(seen.values()) == 1
            assert set(staying) <= set(seen)

    async def test_a_scan_reads_in_pages(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await crowd(here, together(PAGE * 4))
            await here.calls(anew=True)
            seen = [presence async for presence in here.store.scan(DEFAULT_PROJECT)]
            assert len(seen) == PAGE * 4
            # One call for each of the empty partitions, and several for the full one.
            assert 15 + 3 <= await here.calls() <= 15 + 12

    async def test_the_count_agrees_with_the_scan_after_all_sorts_of_changes(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here:
            sessions = [await here.opened(f"a{i}") for i in range(40)]
            for number, session in enumerate(sessions):
                if number % 2:
                    session.say(status="busy")
                if number % 3 == 0:
                    session.lose()
                if number % 5 == 0:
                    await here.store.forget(DEFAULT_PROJECT, f"a{number}")
                if number % 7 == 0:
                    await here.put(f"a{number}", "other", status="degraded")
            await here.settle()
            seen = [presence async for presence in here.store.scan(DEFAULT_PROJECT)]
            counted = await here.store.count(DEFAULT_PROJECT)
            assert counted == Counter(presence.rank for presence in seen)


async def test_a_presence_is_the_same_however_it_is_read(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.opened("a", "1", status="busy", task="t", ttl_ms=20_000)
        await here.opened("a", "2", status="idle", ttl_ms=40_000)
        read = await here.read("a")
        scanned = [presence async for presence in here.store.scan(DEFAULT_PROJECT)]
        (check,) = await here.check("a")
        assert [read] == scanned
        assert check.presence == read
        assert [instance.name for instance, _ in read.instances] == ["1", "2"]
        first, second = (instance.lease_ms for instance, _ in read.instances)
        assert read.expires_at_ms == second > first
