"""Group commit: few large writes, in order, each confirmed once, whatever the link does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import LifesignsError, Unavailable
from lifesigns.store.commit import BATCH_ENTRIES, NEVER
from lifesigns.store.entry import Answer, Entry, Receipt
from lifesigns.store.lease import Lane
from lifesigns.store.link import Link
from tests.chronicle import chronicle, kinds
from tests.patience import until
from tests.server import Server
from tests.station import Session, Station, station, together
from tests.store.peer import Valve

MakeServer = Callable[..., Server]
MakeLink = Callable[..., Awaitable[Link]]
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


class Act(Entry):
    """An act of the test's own, and what became of it."""

    __slots__ = ("_row", "became")

    def __init__(self, at: float, row: Callable[[], list[Any]]) -> None:
        super().__init__(at)
        self._row = row
        self.became: list[str] = []

    def row(self, now: float) -> list[Any]:
        return self._row()

    def landed(self, answer: Answer) -> None:
        self.became.append(f"landed {answer.code}")

    def failed(self, error: LifesignsError) -> None:
        self.became.append("failed")

    def adrift(self) -> bool:
        self.became.append("adrift")
        return True


def hello(agent: str, session: str = "zzaaaa") -> list[Any]:
    return ["w", agent, "i", session, 0, 1, 0, 30_000, 0, -1, [0, 8], 0, 0, b"\x90", 0]


def bye(agent: str, text: str) -> list[Any]:
    return ["l", agent, "i", "zzaaaa", 0, "left", text, 0]


def add(at: Station, agent: str, row: Callable[[], list[Any]]) -> Act:
    act = Act(asyncio.get_running_loop().time(), row)
    at.commit.add(at.store.lane(DEFAULT_PROJECT, agent), act, NEVER)
    return act


def in_flight(at: Station) -> bool:
    """Tell whether all that was to be said is on its way to a server that does not answer."""
    return at.commit.waiting and not any(lane.entries or lane.urgent for lane in lanes(at))


def lanes(at: Station) -> list[Lane]:
    return at.store.lanes(DEFAULT_PROJECT)


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
            agent.renew()
            await asyncio.sleep(0.2)
            agent.renew()
            latest_ms = here.clock.at_ms(agent.lease.beat_at)
            await here.settle()
            presence = await here.read("a")
            assert abs(presence.last_heartbeat_ms - latest_ms) < 150

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
            await until(lambda: in_flight(here))
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
            await until(lambda: in_flight(here))
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
            await until(lambda: in_flight(here))
            server.kill()
            await until(lambda: not here.link.up)
            assert here.commit.floor_ms() == 0
            server.start()
            await here.settle()
            assert here.commit.floor_ms() == NEVER
            assert (await here.read("a")).words.task == "x"


class TestLostLinks:
    @pytest.mark.parametrize("executed", [True, False])
    async def test_a_group_under_way_is_neither_lost_nor_doubled(
        self, valkey_server: MakeServer, linked: MakeLink, executed: bool
    ) -> None:
        server = valkey_server()
        onlooker = await linked(server.url)
        async with Valve(server) as valve, station(valve.url) as here:
            old = [await here.opened(f"old{i}") for i in range(40)]
            if executed:
                valve.keep_back()
            else:
                server.pause()
            new = [here.open(f"new{i}", task="first") for i in range(40)]
            said = [agent.say(task="second") for agent in old]
            for agent in old[:10]:
                agent.leave("done")
            await until(lambda: in_flight(here))
            if executed:
                while sum(map(len, (await chronicle(onlooker)).values())) < 40 + 40 + 40 + 10:
                    await asyncio.sleep(0.005)
            await valve.cut()
            if not executed:
                server.resume()  # whether it still does what it had been sent, nobody knows
            await until(lambda: here.losses and here.link.up)
            await here.settle()
            assert [len(each) for each in said] == [1] * 40
            assert [len(agent.outcomes) for agent in new] == [1] * 40
            history = await chronicle(onlooker)
            for i in range(40):
                told = [each.kind for each in history[f"old{i}"]]
                assert told == ["online", "updated", *(["offline"] if i < 10 else [])]
                assert [each.kind for each in history[f"new{i}"]] == ["online"]
                assert (await here.read(f"new{i}")).words.task == "first"
                assert (await here.read(f"old{i}")).words.task == "second"

    async def test_a_link_that_is_cut_again_and_again_loses_and_doubles_nothing(
        self, valkey_server: MakeServer, linked: MakeLink
    ) -> None:
        server = valkey_server()
        onlooker = await linked(server.url)
        async with Valve(server) as valve, station(valve.url) as here:
            agents = [await here.opened(f"a{i}") for i in range(20)]
            outcomes = []
            for number in range(12):
                outcomes += [agent.say(task=f"task {number}") for agent in agents]
                await asyncio.sleep(0.003 * (number % 3))
                await valve.cut()
                await until(lambda number=number: here.losses == number + 1 and here.link.up)
            await here.settle()
            assert [len(each) for each in outcomes] == [1] * 240
            for agent, told in (await chronicle(onlooker)).items():
                assert (await here.read(agent)).words.task == "task 11"
                assert len(told) <= 13, "no change twice"

    async def test_a_server_that_crashes_and_comes_back_gets_what_it_lost(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server(*KEPT)
        async with station(server.url) as here:
            old = [await here.opened(f"old{i}") for i in range(40)]
            server.pause()
            new = [here.open(f"new{i}", task="first") for i in range(40)]
            said = [agent.say(task="second") for agent in old]
            await until(lambda: in_flight(here))
            server.kill()
            server.start()
            await here.settle()
            assert [len(each) for each in said] == [1] * 40
            assert [len(agent.outcomes) for agent in new] == [1] * 40
            # A restart turns the epoch: what was told before is not in the log any more.
            history = await chronicle(here.link)
            for i in range(40):
                assert [each.kind for each in history[f"old{i}"]] == ["updated"]
                assert [each.kind for each in history[f"new{i}"]] == ["online"]

    async def test_what_comes_back_keeps_its_order(self, valkey_server: MakeServer) -> None:
        """The second call of a lost group went before its first: a broken socket's last words
        brought it back to life for a whole lease."""
        server = valkey_server(*KEPT)
        async with station(server.url) as here:
            first, *others = together(BATCH_ENTRIES + 40)
            broken = await here.opened(first)
            rest = [await here.opened(agent) for agent in others]
            server.pause()
            broken.say(task="last words")
            for agent in rest:
                agent.say(task="x")
            broken.lose()
            await until(lambda: in_flight(here))
            server.kill()
            server.start()
            await here.settle()
            presence = await here.read(first)
            assert presence.state == "suspect"
            assert presence.words.task == "last words"

    async def test_a_restart_without_its_file_is_healed_by_hello(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            agents = [await here.opened(f"a{i}", task="x") for i in range(50)]
            opened_at = here.clock.at_ms(agents[0].lease.opened_at)
            server.restart()
            await until(lambda: here.link.up)
            for agent in agents[:25]:
                agent.renew()
            for agent in agents[25:]:
                agent.say(status="idle")
            await here.settle()
            for agent in agents:
                presence = await here.read(agent.lease.agent)
                assert (presence.alive, presence.words.task) == (True, "x")
            ((oldest, _),) = (await here.read("a0")).instances
            assert abs(oldest.start_ms - opened_at) < 500, "as old as its socket is"
            assert all(agent.told == [] for agent in agents)

    async def test_while_the_link_is_down_only_the_latest_is_kept(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server(*KEPT)
        async with station(server.url) as here:
            agent = await here.opened("a")
            server.kill()
            await until(lambda: not here.link.up)
            outcomes = [agent.say(task=f"task {i}", status="busy") for i in range(100)]
            assert len(agent.lease.lane.entries) == 1
            server.start()
            await here.settle()
            assert [len(each) for each in outcomes] == [1] * 100
            assert (await here.read("a")).words.task == "task 99"
            assert await kinds(here.link, "a") == ["updated"]

    async def test_settle_returns_when_the_link_goes(self, valkey_server: MakeServer) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            server.pause()
            here.open("a")
            settling = asyncio.create_task(here.commit.settle())
            await until(lambda: in_flight(here))
            server.kill()
            async with asyncio.timeout(30):
                await settling
            assert here.commit.waiting


class TestPoison:
    """An act that the store cannot take: it goes, its neighbours stay."""

    async def test_one_act_that_makes_the_script_fail_is_dropped_alone(
        self, fresh_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with station(fresh_url) as here:
            good = [here.open(agent) for agent in together(20)]
            bad = add(here, "agent-0", lambda: ["?", "agent-0"])
            more = [here.open(agent, "j") for agent in together(20)]
            await here.settle()
            assert bad.became == ["failed"]
            for session in (*good, *more):
                assert [type(each) for each in session.outcomes] == [Receipt]
            assert here.commit.floor_ms() == NEVER
            assert len(await chronicle(here.link)) == 20
        assert "an act cannot be stored and is dropped" in caplog.text

    async def test_one_act_that_cannot_be_laid_out_is_dropped_alone(
        self, fresh_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It took the whole group along, and nobody was told."""

        def fail() -> list[Any]:
            raise RuntimeError("a bug of ours")

        async with station(fresh_url) as here:
            good = [here.open(agent) for agent in together(20)]
            bad = add(here, "agent-0", fail)
            unpackable = add(here, "agent-0", lambda: [object()])
            more = [here.open(f"elsewhere-{i}") for i in range(40)]
            await here.settle()
            assert (bad.became, unpackable.became) == (["failed"], ["failed"])
            assert [len(session.outcomes) for session in (*good, *more)] == [1] * 60
            assert here.commit.floor_ms() == NEVER
        assert "a bug of ours" in caplog.text

    async def test_one_who_cannot_take_the_answer_harms_no_other(
        self, fresh_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Deaf(Act):
            __slots__ = ()

            def landed(self, answer: Answer) -> None:
                raise RuntimeError("a bug of ours")

        async with station(fresh_url) as here:
            good = [here.open(agent) for agent in together(5)]
            deaf = Deaf(asyncio.get_running_loop().time(), lambda: hello("agent-0", "zzaaab"))
            here.commit.add(here.store.lane(DEFAULT_PROJECT, "agent-0"), deaf, NEVER)
            more = [here.open(agent, "j") for agent in together(5)]
            await here.settle()
            assert [len(session.outcomes) for session in (*good, *more)] == [1] * 10
            assert here.commit.floor_ms() == NEVER
        assert "a bug of ours" in caplog.text


class TestFullStore:
    """A server that cannot write now is not a server that refuses an act for good."""

    @pytest.fixture
    def server(self, valkey_server: MakeServer) -> Server:
        return valkey_server("--maxmemory-policy", "noeviction")

    async def test_what_it_could_not_take_is_said_again_with_the_next_beat(
        self, server: Server
    ) -> None:
        """The agent's words stayed what they had been, for as long as it had nothing new to say."""
        async with station(server.url) as here:
            agent = await here.opened("a", ttl_ms=20_000)
            await here.link.ask("CONFIG", "SET", "maxmemory", 1)
            told = agent.say(task="while it is full", status="busy")
            await until(lambda: told)
            assert isinstance(told[0], Unavailable)
            await here.settle()
            assert here.commit.floor_ms() == NEVER, "everybody else can still go"
            await here.link.ask("CONFIG", "SET", "maxmemory", 0)
            agent.renew()
            await here.settle()
            presence = await here.read("a")
            assert (presence.words.task, presence.words.status) == ("while it is full", "busy")

    async def test_an_agent_lives_on_while_its_words_cannot_be_stored(
        self, server: Server
    ) -> None:
        async with station(server.url) as here:
            agent = await here.opened("a", ttl_ms=20_000)
            ends_ms = agent.lease.ends_ms
            await here.link.ask("CONFIG", "SET", "maxmemory", 1)
            await asyncio.sleep(0.05)
            told = agent.say(task="while it is full")
            await until(lambda: told)
            await here.settle()
            assert agent.lease.ends_ms > ends_ms
            ((instance, _),) = (await here.read("a")).instances
            assert instance.lease_ms == int(agent.lease.ends_ms)

    async def test_a_hello_that_it_could_not_take_is_said_again_with_the_next_beat(
        self, server: Server
    ) -> None:
        async with station(server.url) as here:
            await here.link.ask("CONFIG", "SET", "maxmemory", 1)
            agents = [here.open(agent, task="x") for agent in together(200)]
            await here.settle()
            assert [[type(each) for each in agent.outcomes] for agent in agents] == [
                [Unavailable]
            ] * 200
            await here.link.ask("CONFIG", "SET", "maxmemory", 0)
            for agent in agents:
                agent.renew()
            await here.settle()
            for agent in agents[:5]:
                assert (await here.read(agent.lease.agent)).words.task == "x"

    async def test_it_is_not_asked_again_at_once(
        self, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with station(server.url) as here:
            agents: list[Session] = [await here.opened(agent) for agent in together(50)]
            await here.link.ask("CONFIG", "SET", "maxmemory", 1)
            caplog.clear()
            for agent in agents:
                agent.say(task="x")
            await here.settle()
            assert len(caplog.records) <= 2, "one line for a group"

    async def test_renewals_that_it_cannot_take_wait_until_it_can(
        self, valkey_server: MakeServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            agent = await here.opened("a", ttl_ms=1_200)
            ends_ms = agent.lease.ends_ms
            await here.link.ask("CONFIG", "SET", "min-replicas-to-write", 1)
            agent.renew()
            await until(lambda: "cannot take 1 renewals now" in caplog.text)
            assert here.commit.floor_ms() == ends_ms, "nobody may end it meanwhile"
            await asyncio.sleep(0.3)
            assert len(caplog.records) < 6, "it is not asked again at once"
            await here.link.ask("CONFIG", "SET", "min-replicas-to-write", 0)
            await here.settle()
            assert agent.lease.ends_ms > ends_ms
