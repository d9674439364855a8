"""Group commit: few large writes, in order, and the bound that they set for the watermark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lifesigns.store.commit import NEVER
from lifesigns.store.entry import Receipt
from tests.chronicle import chronicle, kinds
from tests.patience import until
from tests.server import Server
from tests.station import station, together
from tests.store.act import add, bye, hello

MakeServer = Callable[..., Server]
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


class TestGroups:
    async def test_what_comes_in_one_moment_leaves_in_one_call_a_partition(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here:
            await here.calls(anew=True)
            sessions = [here.open(f"a{i}") for i in range(500)]
            await here.settle()
            assert await here.calls() == 16
            assert all(len(session.outcomes) == 1 for session in sessions)
            assert here.commit.writes == 500
            assert len(await chronicle(here.link)) == 500

    async def test_a_call_carries_no_more_acts_than_its_limit(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.calls(anew=True)
            for agent in together(300):
                here.open(agent)
            await here.settle()
            assert await here.calls() == 3

    async def test_a_call_carries_no_more_bytes_than_its_limit(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.calls(anew=True)
            for agent in together(12):
                here.open(agent, metadata={"text": "x" * 16_000})
            await here.settle()
            assert await here.calls() == 3

    async def test_while_one_group_is_under_way_the_next_gathers(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            agents = [await here.opened(agent) for agent in together(3)]
            await here.calls(anew=True)
            server.pause()
            outcomes = []
            for number in range(40):
                outcomes += [agent.say(task=f"task {number}") for agent in agents]
                await asyncio.sleep(0.005)  # each in a turn of its own
            server.resume()
            await here.settle()
            assert await here.calls() == 2
            assert [len(each) for each in outcomes] == [1] * 120
            assert all(isinstance(each[0], Receipt) for each in outcomes)
            for agent in agents:
                assert (await here.read(agent.lease.agent)).words.task == "task 39"
                assert len(await kinds(here.link, agent.lease.agent)) == 3

    async def test_acts_of_a_partition_are_done_in_their_order(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agents = together(200)
            acts = []
            for agent in agents:
                acts.append(add(here, agent, lambda agent=agent: hello(agent)))
            for agent in reversed(agents):
                acts.append(add(here, agent, lambda agent=agent: bye(agent, "so long")))
            await here.settle()
            assert [act.became for act in acts] == [["landed 0"]] * 400
            history = await chronicle(here.link)
            told = sorted((each.seq, agent) for agent, all_ in history.items() for each in all_)
            assert [agent for _, agent in told] == [*agents, *reversed(agents)]


class TestRenewals:
    async def test_plain_renewals_are_folded_into_one_call(self, fresh_url: str) -> None:
        async with station(fresh_url, fold_s=60) as here:
            agents = [await here.opened(agent, ttl_ms=86_400_000) for agent in together(100)]
            await here.calls(anew=True)
            for _ in range(5):
                for agent in agents:
                    agent.renew()
                await asyncio.sleep(0.01)
            assert await here.calls() == 0
            assert here.commit.waiting
            await here.settle()
            assert await here.calls() == 1
            assert here.commit.renewals == 100

    async def test_they_leave_by_themselves_when_they_were_folded_for_long_enough(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url, fold_s=0.05) as here:
            agent = await here.opened("a")
            ends_ms = agent.lease.ends_ms
            await asyncio.sleep(0.02)
            agent.renew()
            assert here.commit.waiting
            await until(lambda: not here.commit.waiting)
            assert agent.lease.ends_ms > ends_ms

    async def test_a_short_lease_is_folded_for_a_quarter_of_it_at_most(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url, fold_s=3_600) as here:
            long = await here.opened("long", ttl_ms=86_400_000)
            short = await here.opened("short", ttl_ms=2_000)
            long.renew()
            short.renew()
            await until(lambda: not here.commit.waiting)
            assert here.commit.renewals == 2, "the first to leave takes all along"

    async def test_a_lease_that_ends_soon_is_not_folded(self, fresh_url: str) -> None:
        async with station(fresh_url, fold_s=3_600) as here:
            patient = await here.opened("patient", ttl_ms=86_400_000)
            urgent = await here.opened("urgent", ttl_ms=1_000)
            patient.renew()
            urgent.renew()
            await until(lambda: not urgent.lease.renewing)
            await until(lambda: here.commit.renewals == 1)
            assert patient.lease.renewing

    async def test_a_renewal_that_waits_takes_the_latest_beat(self, fresh_url: str) -> None:
        async with station(fresh_url, fold_s=3_600) as here:
            agent = await here.opened("a", ttl_ms=86_400_000)
            opened_ms = (await here.read("a")).last_heartbeat_ms
            agent.renew()
            await asyncio.sleep(0.6)
            agent.renew()
            await here.settle()
            assert (await here.read("a")).last_heartbeat_ms > opened_ms + 300

    async def test_each_ttl_has_a_call_of_its_own(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            first, second, third = together(3)
            agents = [
                await here.opened(first, ttl_ms=30_000),
                await here.opened(second, ttl_ms=40_000),
                await here.opened(third, ttl_ms=40_000),
            ]
            await here.calls(anew=True)
            for agent in agents:
                agent.renew()
            await here.settle()
            assert await here.calls() == 2

    async def test_what_ends_meanwhile_is_not_renewed(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            agent.renew()
            agent.lose()
            await here.settle()
            assert here.commit.renewals == 0
            assert (await here.read("a")).state == "suspect"


class TestFloor:
    """The watermark's bound: the earliest lease for which a beat is here and not stored."""

    async def test_it_stands_at_a_lease_until_its_beat_is_stored(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            near = await here.opened("near", ttl_ms=20_000)
            far = await here.opened("far", ttl_ms=40_000)
            assert here.commit.floor_ms() == NEVER
            near_ms, far_ms = near.lease.ends_ms, far.lease.ends_ms
            far.say(task="x")
            assert here.commit.floor_ms() == far_ms
            near.renew()
            assert here.commit.floor_ms() == near_ms, "a folded one counts as well"
            server.pause()
            here.commit.unfold()
            await until(lambda: here.under_way)
            assert here.commit.floor_ms() == near_ms, "under way is not stored"
            server.resume()
            await here.settle()
            assert here.commit.floor_ms() == NEVER
            assert near.lease.ends_ms > near_ms

    async def test_what_comes_while_a_group_is_under_way_counts_too(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            near = await here.opened("near", ttl_ms=20_000)
            far = await here.opened("far", ttl_ms=40_000)
            server.pause()
            far.say(task="x")
            await until(lambda: here.under_way)
            near.say(task="y")
            assert here.commit.floor_ms() == near.lease.ends_ms
            server.resume()
            await here.settle()
            assert here.commit.floor_ms() == NEVER

    async def test_a_hello_that_waits_holds_the_moment_of_its_arrival(
        self, valkey_server: MakeServer
    ) -> None:
        """The instance may have a lease of an earlier session that ends meanwhile."""
        server = valkey_server()
        async with station(server.url) as here:
            server.pause()
            agent = here.open("a")
            assert here.commit.floor_ms() == here.clock.at_ms(agent.lease.opened_at)
            server.resume()
            await here.settle()
            assert here.commit.floor_ms() == NEVER

    async def test_nothing_is_swept_until_it_is_known_what_became_of_a_lost_group(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server(*KEPT)
        async with station(server.url) as here:
            agent = await here.opened("a")
            server.pause()
            agent.say(task="x")
            await until(lambda: here.under_way)
            server.kill()
            await until(lambda: not here.link.up)
            assert here.commit.floor_ms() == 0
            server.start()
            await here.settle()
            assert here.commit.floor_ms() == NEVER
            assert (await here.read("a")).words.task == "x"
