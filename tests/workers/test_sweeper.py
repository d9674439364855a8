"""The sweep at work: whoever fell silent ends once and soon, and nobody else, whatever stalls."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.store import keys
from lifesigns.store.address import Address
from lifesigns.store.commit import BATCH_ENTRIES
from lifesigns.store.link import Link
from lifesigns.store.put import HttpBeat
from lifesigns.store.registry import Registry
from lifesigns.workers import sweeper as sweeper_module
from lifesigns.workers.sweeper import Sweeper
from tests.chronicle import chronicle, kinds
from tests.patience import SOON_S, until
from tests.server import Server
from tests.station import Elsewhere, Session, Station, station, together
from tests.store.peer import Valve
from tests.workers.wire import wired

MakeServer = Callable[..., Server]
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


async def store_ms(at: Station) -> int:
    seconds, micros = await at.link.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def until_told(at: Station, agent: str, kind: str) -> None:
    """Await that a change of an agent is in the log."""
    async with asyncio.timeout(30):
        while kind not in await kinds(at.link, agent):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_counted(at: Station, *wanted: dict[int, int]) -> None:
    """Await that so many agents have each rank."""
    async with asyncio.timeout(30):
        while await at.store.count(DEFAULT_PROJECT) not in wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def beating(sessions: list[Session], every_s: float):
    """Let all of them beat while the block runs."""

    async def beat() -> None:
        while True:
            for session in sessions:
                session.renew()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class TestEnd:
    async def test_who_falls_silent_is_offline_soon_and_once(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, here.working():
            living = await here.opened("living", ttl_ms=600)
            async with beating([living], 0.1):
                await here.opened("silent", ttl_ms=600)
                await until_told(here, "silent", "offline")
                await asyncio.sleep(1.0)
            assert await kinds(here.link, "silent") == ["online", "offline"]
            assert await kinds(here.link, "living") == ["online"]
            assert (await here.read("silent")).reason == "expired"
            assert here.sweeper.swept == 1

    async def test_no_lease_ends_before_its_time(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, here.working():
            agents = [await here.opened(f"a{i}", ttl_ms=300 + 10 * i) for i in range(30)]
            ends = {agent.lease.agent: int(agent.lease.ends_ms) for agent in agents}
            await until_counted(here, {0: 30})
            for name, told in (await chronicle(here.link)).items():
                assert told[-1].at_ms >= ends[name]

    async def test_what_another_hub_wrote_is_swept_too(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            with Elsewhere(fresh_url) as there:
                await here.opened("a", ttl_ms=300)
                await here.ticker.leave()  # its watermark would hold the other back
                await until_told(here, "a", "offline")
                await until(lambda: there.swept == 1)

    async def test_several_sweepers_make_one_change_of_each_end(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agents = [here.open(f"a{i}", ttl_ms=700) for i in range(600)]
            await here.settle()
            for number in range(0, 600, 3):
                agents[number].say(status="busy", progress_ttl_ms=200)
            await here.settle()
            with Elsewhere(fresh_url) as one, Elsewhere(fresh_url) as two:
                async with here.working():
                    await until_counted(here, {0: 600})
                    await until(lambda: one.swept + two.swept + here.sweeper.swept == 600)
            told = Counter(
                tuple(change.kind for change in changes if change.kind != "stalled")
                for changes in (await chronicle(here.link)).values()
            )
            assert told == {("online", "offline"): 400, ("online", "updated", "offline"): 200}
            # A machine that is late for both finds an agent gone that it never saw stall.
            for changes in (await chronicle(here.link)).values():
                assert sum(change.kind == "stalled" for change in changes) <= 1

    async def test_five_thousand_that_end_at_once_end_in_small_calls(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, listening(here, fresh_url) as calls:
            for number in range(5_000):
                here.open(f"a{number}", ttl_ms=1_000)
            await until(lambda: sum(calls) == 5_000)
            calls.clear()
            async with here.working():
                await until_counted(here, {0: 5_000})
            await until(lambda: here.sweeper.swept == 5_000)
            told = Counter(
                tuple(change.kind for change in changes)
                for changes in (await chronicle(here.link)).values()
            )
            assert told == {("online", "offline"): 5_000}
            await until(lambda: sum(calls) == 5_000)
            assert max(calls) <= BATCH_ENTRIES

    async def test_states_turn_and_the_gone_are_forgotten_without_anybody_asking(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url, retention_ms=700) as here, here.working():
            agent = await here.opened("a", ttl_ms=60_000, status="busy", progress_ttl_ms=200)
            await until_told(here, "a", "stalled")
            agent.leave()
            await until_told(here, "a", "forgotten")
            assert await kinds(here.link, "a") == ["online", "stalled", "offline", "forgotten"]

    async def test_a_broken_socket_ends_with_its_grace(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, here.working():
            agent = await here.opened("a", ttl_ms=700)
            agent.lose()
            await until_told(here, "a", "offline")
            assert await kinds(here.link, "a") == ["online", "suspect", "offline"]
            assert (await here.read("a")).reason == "disconnected"


class TestHeldBack:
    async def test_a_stall_of_the_loop_ends_nobody_who_beat(self, fresh_url: str) -> None:
        """The beats lie in the sockets while the loop stands still, and another hub sweeps."""
        async with station(fresh_url) as here, contextlib.AsyncExitStack() as stack:
            there = stack.enter_context(Elsewhere(fresh_url))
            sessions = [await here.opened(f"a{i}", ttl_ms=1_000) for i in range(40)]
            wires = [await stack.enter_async_context(wired(session)) for session in sessions]
            await stack.enter_async_context(here.working())
            silent = await here.opened("silent", ttl_ms=1_000)
            for _ in range(2):
                # Half of the lease is gone; the rest ends while the loop stands still.
                await asyncio.sleep(0.4)
                beat(wires)
                time.sleep(0.9)  # noqa: ASYNC251 (the stall is what is tested)
            beat(wires)
            await until_told(here, "silent", "offline")
            told = await chronicle(here.link)
            assert [told[f"a{i}"][1:] for i in range(40)] == [[]] * 40
            assert there.swept + here.sweeper.swept == 1
            assert silent.lease.ended is False

    async def test_a_slow_link_ends_nobody_who_beat(self, valkey_server: MakeServer) -> None:
        """The beats are with their hub, which cannot store them; another one sweeps meanwhile."""
        server = valkey_server()
        async with Valve(server) as valve, station(valve.url) as here:
            with Elsewhere(server.url) as there:
                sessions = [await here.opened(f"a{i}", ttl_ms=1_000) for i in range(40)]
                async with here.working(), beating(sessions, 0.2):
                    for hold in (valve.hold_questions, valve.hold_answers):
                        await asyncio.sleep(0.3)
                        hold()
                        await asyncio.sleep(1.4)  # less than the lease of the hub
                        valve.release()
                    await asyncio.sleep(0.3)
                    assert there.swept == 0
                    assert await here.store.count(DEFAULT_PROJECT) == {8: 40}
                assert {len(told) for told in (await chronicle(here.link)).values()} == {1}

    async def test_a_hub_that_is_gone_holds_nobody_back_for_longer_than_its_lease(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here, station(fresh_url, lease_ms=500) as gone:
            await gone.ticker.tick()  # for the last time
            await here.opened("a", ttl_ms=200)
            async with here.working():
                await until_told(here, "a", "offline")


class TestAway:
    async def test_after_an_outage_of_the_store_nobody_ends_who_comes_back(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server(*KEPT)
        async with station(server.url) as here, here.working():
            living = [await here.opened(f"living{i}", ttl_ms=900) for i in range(20)]
            for number in range(20):
                await here.opened(f"silent{number}", ttl_ms=900)
            server.kill()
            await until(lambda: not here.link.up)
            await asyncio.sleep(1.5)
            async with beating(living, 0.2):
                server.start()
                await until(lambda: here.link.up)
                await until_counted(here, {8: 20, 0: 20})
                await asyncio.sleep(1.2)
            # The restart turned the epoch: what is in the log came after it.
            told = await chronicle(here.link)
            assert [change.kind for number in range(20) for change in told[f"silent{number}"]] == [
                "offline"
            ] * 20
            assert [told[f"living{number}"] for number in range(20)] == [[]] * 20

    async def test_after_a_silence_of_the_service_nobody_ends_who_comes_back(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweeper_module, "GAP_MS", 900)
        async with station(fresh_url) as here:
            async with here.working():
                living = await here.opened("living", ttl_ms=1_000)
                await here.opened("silent", ttl_ms=1_000)
                await until_looked(here)
            await asyncio.sleep(1.5)
            async with here.working():
                await until_held(here, "living")
                await until(lambda: here.hold.until_ms is not None)
                async with beating([living], 0.2):
                    await until_told(here, "silent", "offline")
                    await until(lambda: here.hold.until_ms is None)
                assert here.hold.holds == 1
            assert await kinds(here.link, "living") == ["online"]
            assert await kinds(here.link, "silent") == ["online", "offline"]

    async def test_a_hub_that_begins_looks_at_once(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A store that was killed within half a second of the first look was not held."""
        monkeypatch.setattr(sweeper_module, "LOOK_S", 2 * SOON_S)
        async with station(fresh_url) as here, here.working():
            await until_looked(here)

    async def test_a_sweep_that_itself_stood_still_ends_nothing_by_what_it_knew_before(
        self, fresh_url: str
    ) -> None:
        """It had looked, was stopped for a minute, ticked, and went on with what was due."""

        class Stopped(Sweeper):
            pause: Callable[[], Awaitable[None]] | None = None

            async def _look(self) -> list[Any]:
                due = await super()._look()
                if self.pause is not None:
                    await self.pause()
                return due

        async with station(fresh_url) as here:
            sweeper = Stopped(here.link, here.store, here.ticker, here.hold, history_len=1_000)
            first, second = together(2)
            due = await here.opened(first, ttl_ms=100)
            later = await here.opened(second, ttl_ms=1_500)
            await until_store(here, int(due.lease.ends_ms) + 100)
            await here.ticker.tick()

            async def stop() -> None:
                await until_store(here, int(later.lease.ends_ms) + 200)
                await here.ticker.tick()

            sweeper.pause = stop
            await sweeper.sweep()
            assert await kinds(here.link, first) == ["online", "offline"]
            assert await kinds(here.link, second) == ["online"]
            sweeper.pause = None
            await sweeper.sweep()
            assert await kinds(here.link, second) == ["online", "offline"]

    async def test_it_goes_on_when_the_store_is_back(self, valkey_server: MakeServer) -> None:
        server = valkey_server()
        async with station(server.url) as here, here.working():
            await until_looked(here)
            server.restart()
            await until(lambda: here.losses and here.link.up)
            await here.opened("a", ttl_ms=300)
            await until_told(here, "a", "offline")


class TestRest:
    async def test_a_damaged_record_stops_nobody_and_is_dropped(
        self, fresh_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody of its lane was ever ended again."""
        async with station(fresh_url) as here:
            agents = [await here.opened(f"a{i}", ttl_ms=300) for i in range(60)]
            lane = here.store.lane_at(DEFAULT_PROJECT, 0)
            for name, damaged in (("bad", b"\xc1"), ("worse", b"\x01"), ("worst", b"\x91\x01")):
                await here.link.ask("HSET", lane.keys[1], name, damaged)
                await here.link.ask("ZADD", lane.keys[2], 1, f"{name}\x1fi\x1f01aaaa")
                await here.link.ask("ZADD", lane.keys[5], 1, name)
            async with here.working():
                for agent in agents:
                    await until_told(here, agent.lease.agent, "offline")
            assert await here.link.ask("ZCARD", lane.keys[2]) == 0
            assert await here.link.ask("HMGET", lane.keys[1], "bad", "worse", "worst") == [None] * 3
        assert "the record of worst in default was damaged" in caplog.text

    async def test_one_partition_that_cannot_be_swept_does_not_stop_the_others(
        self, fresh_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with station(fresh_url) as here:
            agents = [await here.opened(f"a{i}", ttl_ms=300) for i in range(60)]
            broken = here.store.lane_at(DEFAULT_PROJECT, 0)
            spared = [a.lease.agent for a in agents if a.lease.lane is not broken]
            await here.link.ask("DEL", broken.keys[5])
            await here.link.ask("SET", broken.keys[5], "no sorted set")
            async with here.working():
                for agent in spared:
                    await until_told(here, agent, "offline")
        assert "the store refuses to sweep default in 0" in caplog.text

    async def test_what_a_deleted_project_left_runs_out(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            registry = Registry(here.link)
            await registry.create_project("brief", now_ms=1)
            await here.store.know("brief")
            lane = here.store.lane("brief", "a")
            now = asyncio.get_running_loop().time()
            await here.store.put("brief", HttpBeat("a", None, 300, {}), now)
            await registry.delete_project("brief")
            await here.store.relearn()
            assert not here.store.knows("brief")
            async with here.working():
                async with asyncio.timeout(30):
                    while await here.link.ask("ZCARD", lane.keys[2]):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)

    async def test_projects_are_swept_each_for_itself(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            registry = Registry(here.link)
            now = asyncio.get_running_loop().time()
            names = [f"project{i}" for i in range(90)]
            for name in names:
                await registry.create_project(name, now_ms=1)
                await here.store.know(name)
                await here.store.put(name, HttpBeat("a", None, 300, {}), now)
            async with here.working():
                for name in names:
                    async with asyncio.timeout(30):
                        while await here.store.count(name) != {0: 1}:  # noqa: ASYNC110
                            await asyncio.sleep(0.01)

    async def test_nothing_to_do_costs_one_look_and_no_sweep(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            for agent in together(20):
                await here.opened(agent)
            await here.ticker.tick()
            await here.calls(anew=True)
            await here.sweeper.sweep()
            assert await here.calls() == keys.PARTITIONS


def beat(wires: list[socket.socket]) -> None:
    for wire in wires:
        wire.send(b".")


async def until_store(at: Station, when_ms: int) -> None:
    while await store_ms(at) < when_ms:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def until_looked(at: Station) -> None:
    """Await that the service was noted in every partition."""
    async with asyncio.timeout(30):
        for number in range(keys.PARTITIONS):
            while not await at.link.ask("HEXISTS", keys.part(number), "last"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def until_held(at: Station, agent: str) -> None:
    async with asyncio.timeout(30):
        while not (await at.read(agent)).held:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def listening(at: Station, url: str):
    """Give a list that grows by the number of changes of each call."""
    calls: list[int] = []
    confirmed: list[bytes] = []

    def pushed(push: list[Any]) -> None:
        if push[0] == b"message":
            calls.append(len(msgpack.unpackb(push[2], raw=True)[2]))
        else:
            confirmed.append(push[1])

    feed = Link(Address.parse(url), name="test-feed", on_push=pushed)
    await feed.start()
    for number in range(keys.PARTITIONS):
        feed.subscribe(keys.channel(DEFAULT_PROJECT, number, at.link.address.db))
    await until(lambda: len(confirmed) == keys.PARTITIONS)
    try:
        yield calls
    finally:
        await feed.aclose()
