"""Group commit while the link breaks, the server is full, or an act is a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import Unavailable
from lifesigns.store import commit as commit_module
from lifesigns.store.commit import BATCH_ENTRIES, NEVER
from lifesigns.store.entry import Answer, Receipt
from lifesigns.store.link import Link
from tests.chronicle import chronicle, kinds
from tests.patience import until
from tests.server import Server
from tests.station import Session, station, together
from tests.store.act import Act, add, hello
from tests.store.peer import Valve

MakeServer = Callable[..., Server]
MakeLink = Callable[..., Awaitable[Link]]
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


async def executed_all(onlooker: Link, changes: int) -> None:
    """Await that the server has told so many changes."""
    while sum(map(len, (await chronicle(onlooker)).values())) < changes:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


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
                valve.hold_answers()
            else:
                server.pause()
            new = [here.open(f"new{i}", task="first") for i in range(40)]
            said = [agent.say(task="second") for agent in old]
            for agent in old[:10]:
                agent.leave("done")
            await until(lambda: here.under_way)
            if executed:
                await executed_all(onlooker, 40 + 40 + 40 + 10)
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

    async def test_news_that_come_back_tell_of_the_last_sign_of_life(
        self, valkey_server: MakeServer
    ) -> None:
        """They were as old as the words, if a renewal had come back with them: said once more, for
        others might have altered the words, they ended the lease of who had beaten all the time."""
        server = valkey_server()
        async with Valve(server) as valve, station(valve.url) as here:
            agent = await here.opened("a", ttl_ms=2_000)
            valve.hold_questions()
            now = asyncio.get_running_loop().time()
            here.ingest.say(agent.lease, {"task": "t"}, None, now - 5.0, None)
            await until(lambda: here.under_way)
            agent.renew()
            await valve.cut()
            here.ingest.doubt()
            agent.renew()
            heard_ms = here.clock.at_ms(agent.lease.beat_at)
            await until(lambda: here.losses)
            await here.settle()
            reading = await here.store.read(DEFAULT_PROJECT, "a")
            assert reading.presence is not None
            assert reading.presence.words.task == "t"
            assert reading.presence.last_heartbeat_ms > heard_ms - 1_000

    async def test_a_server_that_crashes_and_comes_back_gets_what_it_lost(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server(*KEPT)
        async with station(server.url) as here:
            old = [await here.opened(f"old{i}") for i in range(40)]
            server.pause()
            new = [here.open(f"new{i}", task="first") for i in range(40)]
            said = [agent.say(task="second") for agent in old]
            await until(lambda: here.under_way)
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
            await until(lambda: here.under_way)
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
            await until(lambda: here.under_way)
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


class TestWhatNeverLands:
    """It must not hold up the end of every lease in the store."""

    async def test_an_act_that_always_comes_back_is_dropped(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(commit_module, "TRYING_S", 0.2)

        class Refused(Act):
            def landed(self, answer: Answer) -> None:
                here.commit.add(lane, self, 1.0, first=True)

        async with station(fresh_url) as here:
            lane = here.store.lane(DEFAULT_PROJECT, "a")
            act = Refused(asyncio.get_running_loop().time(), lambda: hello("a"))
            here.commit.add(lane, act, 1.0)
            await until(lambda: act.became)
            assert act.became == ["failed"]
            assert act.tries > commit_module.TRIES
            await here.settle()
            assert here.commit.floor_ms() == NEVER
        assert "times and is dropped" in caplog.text

    async def test_renewals_on_what_is_damaged_are_dropped(
        self, fresh_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", ttl_ms=1_000)
            live = agent.lease.lane.keys[2]
            await here.link.ask("SET", live, "no sorted set")
            agent.renew()
            await here.settle()
            assert "1 renewals cannot be stored and are dropped" in caplog.text
            assert here.commit.floor_ms() == NEVER
            await here.link.ask("DEL", live)
            agent.renew()
            await here.settle()
            assert await here.link.ask("ZCARD", live) == 1

    async def test_a_renewal_that_is_older_than_its_lease_shortens_nothing(
        self, fresh_url: str
    ) -> None:
        """A hub that was stopped for long cut what others had lengthened when it came back."""
        async with station(fresh_url, fold_s=3_600, flush_s=3_600) as here:
            agent = await here.opened("a", ttl_ms=200)
            lane = agent.lease.lane
            agent.renew()
            await asyncio.sleep(0.3)
            await here.link.ask("ZADD", lane.keys[2], 10**13, agent.lease.member)
            here.commit._flush()
            await here.settle()
            assert here.commit.renewals == 0
            assert float(await here.link.ask("ZSCORE", lane.keys[2], agent.lease.member)) == 10**13


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

    async def test_an_agent_lives_on_while_its_words_cannot_be_stored(self, server: Server) -> None:
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
