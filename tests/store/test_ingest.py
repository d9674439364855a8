"""What sockets say on its way down: one session's words, its fences, and how it is healed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import Conflict, Unavailable
from lifesigns.core.model import Override
from lifesigns.core.presence import DRAINING
from lifesigns.store import keys
from lifesigns.store.entry import Receipt
from tests.chronicle import chronicle, kinds
from tests.patience import SOON_S, until
from tests.server import Server
from tests.station import Outcome, Station, station, together
from tests.store.peer import Valve

MakeServer = Callable[..., Server]


async def taken(outcomes: list[Outcome]) -> Receipt:
    """Await the one confirmation of a beat."""
    await until(lambda: outcomes)
    (outcome,) = outcomes
    assert isinstance(outcome, Receipt), outcome
    return outcome


async def sweep_away(at: Station, agent: str) -> None:
    """Let the store lose an agent's leases, as when they had ended."""
    live = at.store.lane(DEFAULT_PROJECT, agent).keys[2]
    await at.link.ask("DEL", live)


class TestSessions:
    async def test_a_session_is_named_after_its_hub(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            first, second = await here.opened("a"), await here.opened("b")
            assert first.id != second.id
            assert {each.id[:2] for each in (first, second)} == {here.ticker.node}
            assert len(first.id) == 6

    async def test_a_hello_is_confirmed_with_its_place_and_its_lease(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", ttl_ms=20_000)
            receipt = agent.outcomes[0]
            assert isinstance(receipt, Receipt)
            presence = await here.read("a")
            assert (receipt.seq, receipt.epoch) == (presence.seq, presence.epoch)
            assert receipt.expires_at_ms == presence.expires_at_ms

    async def test_what_a_beat_confirms_is_read_at_once(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a")
            for number in range(20):
                receipt = await taken(agent.say(task=f"task {number}"))
                presence = await there.read("a")
                assert presence.words.task == f"task {number}"
                assert (presence.seq, presence.epoch) == (receipt.seq, receipt.epoch)
                assert presence.expires_at_ms == receipt.expires_at_ms

    async def test_a_beat_without_news_is_confirmed_and_no_change(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", status="idle")
            seq = agent.lease.seq
            for outcomes in (agent.say(), agent.say(status="idle"), agent.say(ttl_ms=30_000)):
                assert (await taken(outcomes)).seq == seq
            await here.settle()
            assert await kinds(here.link, "a") == ["online"]

    async def test_a_beat_after_which_nothing_that_is_shown_differs_is_no_change(
        self, fresh_url: str
    ) -> None:
        """A hint that says what the status says, none any more, a deadline alone: they were told as
        changes in which nobody could find what had changed."""
        async with station(fresh_url) as here:
            agent = await here.opened("a", status="thinking")
            seq = agent.lease.seq
            quiet = ({"progress_ttl_ms": 600_000}, {"state": None}, {"progress_ttl_ms": 1})
            for said in quiet[:2]:
                assert (await taken(agent.say(**said))).seq == seq
            assert (await here.read("a")).words.progress_ttl_ms == 600_000
            await taken(agent.say(**quiet[2]))
            async with asyncio.timeout(SOON_S):
                while (await here.read("a")).state != "stalled":
                    await here.ticker.tick()
                    await here.sweeper.sweep()
            assert await kinds(here.link, "a") == ["online", "stalled"], "it counts all the same"
            await taken(agent.say(state="degraded", progress_ttl_ms=None))
            await taken(agent.say(state="degraded", task="t"))
            told = await kinds(here.link, "a")
            assert told == ["online", "stalled", "recovered", "updated"]

    async def test_under_an_operator_s_word_a_hint_is_no_change(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", status="idle")
            await here.store.rule(DEFAULT_PROJECT, "a", Override(DRAINING, "", None))
            before = await kinds(here.link, "a")
            await taken(agent.say(state="degraded"))
            assert await kinds(here.link, "a") == before
            await here.store.rule(DEFAULT_PROJECT, "a", None)
            assert (await here.read("a")).state == "degraded"

    async def test_what_was_quiet_when_it_was_said_may_be_told_with_what_was_not_stored(
        self, valkey_server: MakeServer
    ) -> None:
        """Whether the words before it came to the store nobody knew."""
        server = valkey_server()
        async with Valve(server) as valve, station(valve.url) as here:
            agent = await here.opened("a", status="idle")
            await taken(agent.say(task="first"))
            valve.hold_questions()
            agent.say(task="second")
            await until(lambda: here.under_way)
            await valve.cut()
            outcomes = agent.say(progress_ttl_ms=600_000)
            await taken(outcomes)
            assert await kinds(here.link, "a") == ["online", "updated", "updated"]
            assert (await here.read("a")).words.task == "second"

    async def test_another_ttl_is_stored_though_it_is_no_news(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", ttl_ms=20_000)
            receipt = await taken(agent.say(ttl_ms=60_000))
            ((instance, _),) = (await here.read("a")).instances
            assert (instance.ttl_ms, instance.lease_ms) == (60_000, receipt.expires_at_ms)
            assert await kinds(here.link, "a") == ["online"]

    async def test_progress_is_stored_though_it_says_what_it_said_before(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", status="busy", progress={"done": 1})
            before = (await here.read("a")).last_progress_ms
            await asyncio.sleep(0.02)
            await taken(agent.say(progress={"done": 1}))
            assert (await here.read("a")).last_progress_ms > before
            assert await kinds(here.link, "a") == ["online"]

    async def test_what_is_absent_stays_and_what_is_null_is_cleared(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", status="busy", task="t", metadata={"a": 1})
            await taken(agent.say(task=None, metadata={"b": 2}))
            words = (await here.read("a")).words
            assert (words.status, words.task, words.metadata) == ("busy", None, {"b": 2})

    async def test_the_latest_of_one_moment_is_stored_whole_and_once(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            outcomes = [agent.say(task="1"), agent.say(status="busy"), agent.say(task="2")]
            for each in outcomes:
                await taken(each)
            words = (await here.read("a")).words
            assert (words.task, words.status) == ("2", "busy")
            assert await kinds(here.link, "a") == ["online", "updated"]

    async def test_what_is_said_before_the_hello_is_stored_joins_it(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = here.open("a")
            outcomes = agent.say(task="t"), agent.say()
            for each in outcomes:
                await taken(each)
            assert len(agent.outcomes) == 1
            assert await kinds(here.link, "a") == ["online"]
            assert (await here.read("a")).words.task == "t"

    async def test_a_session_that_leaves_says_why(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            agent.say(task="last")
            agent.leave("done for today")
            await here.settle()
            presence = await here.read("a")
            assert (presence.reason, presence.reason_text) == ("left", "done for today")
            assert presence.words.task == "last"
            assert here.ingest.leases == {}

    async def test_a_broken_socket_is_suspect_for_the_grace(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            long, short = await here.opened("long"), await here.opened("short", ttl_ms=2_000)
            long.lose()
            short.lose()
            await here.settle()
            for agent, grace_ms in (("long", 5_000), ("short", 2_000)):
                reading = await here.store.read(DEFAULT_PROJECT, agent)
                assert reading.presence is not None
                assert reading.presence.state == "suspect"
                assert reading.presence.expires_at_ms <= reading.now_ms + grace_ms

    async def test_a_socket_that_breaks_while_the_store_is_away_was_not_heard_since(
        self, valkey_server: MakeServer
    ) -> None:
        """It seemed to have beaten for as long as its hub could not say that it was gone."""
        server = valkey_server()
        async with Valve(server) as valve, station(valve.url) as here:
            agent, other = await here.opened("a"), await here.opened("other")
            valve.hold_questions()
            other.say(task="t")
            await until(lambda: here.under_way)
            agent.lose()
            await asyncio.sleep(1.0)
            valve.release()
            await here.settle()
            presence = await here.read("a")
            assert presence.state == "suspect"
            heard_ms = here.clock.at_ms(agent.lease.beat_at)
            assert abs(presence.last_heartbeat_ms - heard_ms) < 600

    async def test_a_session_that_is_carried_leaves_its_lease_whole(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a")
            lease_ms = agent.lease.ends_ms
            here.ingest.carry(agent.lease)
            await here.settle()
            presence = await there.read("a")
            assert (presence.state, presence.expires_at_ms) == ("available", int(lease_ms))
            await there.opened("a")
            assert await kinds(there.link, "a") == ["online"]

    async def test_a_short_lease_lasts_until_the_agent_can_be_at_another_hub(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", ttl_ms=1_000)
            agent.renew()
            here.ingest.carry(agent.lease)
            await here.settle()
            reading = await there.store.read(DEFAULT_PROJECT, "a")
            assert reading.presence is not None
            assert reading.presence.state == "available"
            assert reading.presence.expires_at_ms > reading.now_ms + 5_000
            assert reading.presence.last_heartbeat_ms <= reading.now_ms
            again = await there.opened("a", ttl_ms=1_000)
            await there.settle()
            presence = await here.read("a")
            assert presence.expires_at_ms == int(again.lease.ends_ms), "it has its own lease again"
            assert await kinds(there.link, "a") == ["online"]


class TestFences:
    async def test_a_session_that_was_taken_over_on_another_hub_is_told(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            old = await here.opened("a")
            await there.opened("a")
            await until(lambda: old.told)
            assert old.told == ["fenced"]
            assert old.lease.ended
            assert await kinds(here.link, "a") == ["online"]

    async def test_a_session_that_missed_the_message_finds_out_with_its_next_beat(
        self, valkey_server: MakeServer
    ) -> None:
        url = valkey_server().url
        async with station(url) as here, station(url) as there:
            renewing, saying = await here.opened("a"), await here.opened("b")
            await here.inbox.aclose()
            new = [await there.opened("a"), await there.opened("b")]
            renewing.renew()
            outcomes = saying.say(task="late")
            await here.settle()
            await until(lambda: outcomes)
            assert (renewing.told, saying.told) == (["fenced"], ["fenced"])
            assert isinstance(outcomes[0], Conflict)
            assert [each.told for each in new] == [[], []]
            assert (await there.read("b")).words.task is None

    async def test_a_session_that_missed_that_its_agent_was_forgotten_does_not_make_it_again(
        self, valkey_server: MakeServer
    ) -> None:
        url = valkey_server().url
        async with station(url) as here, station(url) as there:
            renewing, saying = await here.opened("a"), await here.opened("b")
            await here.inbox.aclose()
            for agent in "ab":
                assert await there.store.forget(DEFAULT_PROJECT, agent)
            renewing.renew()
            saying.say(task="late")
            await here.settle()
            await until(lambda: renewing.told and saying.told)
            assert (renewing.told, saying.told) == (["fenced"], ["fenced"])
            assert [p.id async for p in there.store.scan(DEFAULT_PROJECT)] == []
            await here.opened("a")

    async def test_an_older_hello_that_comes_late_loses(self, valkey_server: MakeServer) -> None:
        """It waited on its hub for the store: the newer session stays, wherever it is."""
        server = valkey_server()
        async with (
            Valve(server) as valve,
            station(valve.url) as here,
            station(server.url) as there,
        ):
            first = await here.opened("first")
            valve.hold_answers()
            first.say(task="t")
            await until(lambda: here.under_way)
            old = here.open("a")
            await asyncio.sleep(0.02)
            new = await there.opened("a")
            valve.release()
            await here.settle()
            assert isinstance(old.outcomes[0], Conflict)
            assert (old.told, new.told) == (["fenced"], [])
            ((instance, _),) = (await here.read("a")).instances
            assert instance.session == new.id

    async def test_a_session_that_was_removed_from_outside_is_told_and_stays_away(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a")
            now = asyncio.get_running_loop().time()
            presence = await there.store.remove(DEFAULT_PROJECT, "a", None, now)
            assert presence is not None
            assert (presence.alive, presence.reason) == (False, "left")
            await until(lambda: agent.told)
            assert agent.told == ["removed"]
            agent.renew()
            assert not here.commit.waiting

    async def test_a_removed_session_that_missed_the_message_cannot_come_back(
        self, valkey_server: MakeServer
    ) -> None:
        url = valkey_server().url
        async with station(url) as here, station(url) as there:
            agent = await here.opened("a")
            await here.inbox.aclose()
            await asyncio.sleep(0.01)
            await there.store.remove(DEFAULT_PROJECT, "a", None, asyncio.get_running_loop().time())
            agent.renew()
            await here.settle()
            assert agent.told == ["fenced"]
            assert not (await there.read("a")).alive


class TestHealing:
    @pytest.mark.parametrize("news", [True, False])
    async def test_a_lease_that_the_store_lost_is_said_hello_for_again(
        self, fresh_url: str, news: bool
    ) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", task="t")
            opened_ms = here.clock.at_ms(agent.lease.opened_at)
            lane = agent.lease.lane
            await here.link.ask("DEL", *lane.keys[:7])
            outcomes: list[Outcome] = []
            if news:
                outcomes = agent.say(status="busy")
            else:
                agent.renew()
            await here.settle()
            presence = await here.read("a")
            ((instance, _),) = presence.instances
            assert (instance.session, presence.words.task) == (agent.id, "t")
            assert abs(instance.start_ms - opened_ms) < 1_000
            assert agent.told == []
            assert [type(each) for each in outcomes] == ([Receipt] if news else [])
            # And on it goes.
            await taken(agent.say(task="u"))
            assert (await here.read("a")).words.task == "u"

    async def test_an_instance_whose_lease_alone_was_lost_gets_it_back(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            await sweep_away(here, "a")
            agent.renew()
            await here.settle()
            assert (await here.read("a")).expires_at_ms == int(agent.lease.ends_ms)
            assert await kinds(here.link, "a") == ["online"]

    async def test_many_are_healed_at_once(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agents = [here.open(agent) for agent in together(700)]
            await here.settle()
            await here.link.ask("DEL", *agents[0].lease.lane.keys[:7])
            for agent in agents:
                agent.renew()
            await here.settle()
            assert len(await chronicle(here.link)) == 700
            assert await here.store.count(DEFAULT_PROJECT) == {8: 700}

    async def test_an_emptied_store_has_all_back_after_one_beat_of_each(
        self, valkey_server: MakeServer
    ) -> None:
        url = valkey_server().url
        async with station(url) as here:
            agents = [await here.opened(f"a{i}", status="busy") for i in range(60)]
            await here.link.ask("FLUSHALL")
            for agent in agents:
                agent.renew()
            await here.settle()
            assert await here.store.count(DEFAULT_PROJECT) == {7: 60}
            assert all(agent.told == [] for agent in agents)


class TestAway:
    async def test_a_hello_while_the_store_is_away_is_answered_once_and_stored_later(
        self, valkey_server: MakeServer
    ) -> None:
        """It was answered again when the store was back: the agent was welcomed twice."""
        server = valkey_server()
        async with station(server.url) as here:
            server.kill()
            await until(lambda: not here.link.up)
            agent = here.open("a", task="t")
            assert agent.outcomes == [], "always later"
            await until(lambda: agent.outcomes)
            assert isinstance(agent.outcomes[0], Unavailable)
            server.start()
            await here.settle()
            assert len(agent.outcomes) == 1
            assert (await here.read("a")).words.task == "t"

    async def test_beats_while_the_store_is_away_are_stored_as_old_as_they_are(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
        async with station(server.url) as here:
            agent = await here.opened("a")
            server.kill()
            await until(lambda: not here.link.up)
            outcomes = agent.say(task="t")
            heard_ms = here.clock.at_ms(agent.lease.beat_at)
            await asyncio.sleep(0.6)
            assert outcomes == []
            server.start()
            await here.settle()
            presence = await here.read("a")
            assert presence.words.task == "t"
            assert abs(presence.last_heartbeat_ms - heard_ms) < 400
            await taken(outcomes)

    async def test_one_that_came_and_went_meanwhile_was_never_there(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            server.kill()
            await until(lambda: not here.link.up)
            brief = here.open("brief", ttl_ms=50)
            brief.lose()
            await asyncio.sleep(0.1)
            server.start()
            await here.settle()
            assert (await here.store.read(DEFAULT_PROJECT, "brief")).presence is None
            assert len(brief.outcomes) == 1


class TestOutsiders:
    """HTTP beats onto an instance that a socket holds."""

    async def test_both_words_stay_if_they_say_different_things(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", status="busy", task="mine")
            await there.put("a", metadata={"by": "http"})
            await until(lambda: agent.lease.rev < 0)
            await taken(agent.say(task="mine still"))
            words = (await there.read("a")).words
            assert (words.status, words.task, words.metadata) == (
                "busy",
                "mine still",
                {"by": "http"},
            )
            assert len((await there.read("a")).instances) == 1

    async def test_they_stay_too_if_they_cross_on_their_way(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", status="busy")
            for number in range(30):
                outcomes = agent.say(task=f"task {number}")
                await there.put("a", metadata={"n": number})
                await taken(outcomes)
                words = (await there.read("a")).words
                assert (words.task, words.metadata) == (f"task {number}", {"n": number})

    async def test_what_was_missed_is_not_undone_by_the_next_word(
        self, valkey_server: MakeServer
    ) -> None:
        url = valkey_server().url
        async with station(url) as here, station(url) as there:
            agent = await here.opened("a", status="busy")
            await here.inbox.aclose()
            await there.put("a", task="from outside")
            await taken(agent.say(metadata={"mine": 1}))
            words = (await there.read("a")).words
            assert (words.task, words.metadata) == ("from outside", {"mine": 1})

    async def test_a_word_that_differs_only_from_what_an_outsider_wrote_is_news(
        self, fresh_url: str
    ) -> None:
        """The socket says what it had said; others had changed it meanwhile."""
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", status="busy", task="mine")
            await there.put("a", task="theirs")
            await until(lambda: agent.lease.rev < 0)
            await taken(agent.say(task="mine"))
            assert (await there.read("a")).words.task == "mine"

    async def test_a_plain_renewal_leaves_an_outsider_s_words(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", task="mine")
            await there.put("a", task="theirs")
            agent.renew()
            await taken(agent.say())
            await here.settle()
            assert (await there.read("a")).words.task == "theirs"
            assert await kinds(here.link, "a") == ["online", "updated"]


async def test_messages_for_sessions_that_are_gone_are_passed_over(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        agent = await here.opened("a")
        for what in ("altered", "superseded", "left"):
            here.ingest.told(what, "zz9999")
        assert (agent.told, agent.lease.ended) == ([], False)
        agent.leave()
        await here.settle()
        here.ingest.told("superseded", agent.id)
        assert agent.told == []


async def test_session_names_stay_apart_for_a_long_time(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        names = set()
        for _ in range(5_000):
            session = here.open("a")
            names.add(session.id)
            here.ingest.carry(session.lease)
        assert len(names) == 5_000
        assert all(keys.SEPARATOR not in name for name in names)
        await here.settle()
