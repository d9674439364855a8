"""The tick: a hub's lease among the hubs, and how far the watermark lets anybody sweep."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from lifesigns.store import keys
from lifesigns.store.registry import KEY_REVISION
from lifesigns.workers import ticker as ticker_module
from lifesigns.workers.ticker import Node
from tests.hub import running_hub
from tests.patience import until
from tests.server import Server
from tests.station import Station, station
from tests.store.peer import Valve
from tests.workers.wire import wired

MakeServer = Callable[..., Server]


def node(at: Station) -> Node:
    """Find a station's own entry, as it knows it."""
    (own,) = [each for each in at.ticker.nodes if each.id == at.ticker.node]
    return own


async def store_ms(at: Station) -> int:
    seconds, micros = await at.link.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


class TestNodes:
    async def test_each_hub_takes_a_name_of_its_own(self, fresh_url: str) -> None:
        async with station(fresh_url) as one, station(fresh_url) as two:
            assert one.ticker.node != two.ticker.node
            assert {len(one.ticker.node), len(two.ticker.node)} == {2}

    async def test_a_name_that_is_still_shown_is_passed_over(self, fresh_url: str) -> None:
        """The counter was lost, and an older hub still has the name."""
        async with station(fresh_url) as one:
            await one.link.ask("DEL", keys.NODE_COUNTER)
            async with station(fresh_url) as two:
                assert one.ticker.node != two.ticker.node

    async def test_hubs_know_each_other(self, fresh_url: str) -> None:
        async with station(fresh_url) as one, station(fresh_url) as two:
            for number in range(3):
                await two.opened(f"a{number}")
            await two.ticker.tick()
            await one.ticker.tick()
            assert [each.id for each in one.ticker.nodes] == sorted(
                (one.ticker.node, two.ticker.node)
            )
            other = next(each for each in one.ticker.nodes if each.id == two.ticker.node)
            now_ms = await store_ms(one)
            assert other.agents == 3
            assert other.alive(now_ms)
            assert 0 <= now_ms - other.since_ms < 60_000
            assert other.lag_ms >= 0

    async def test_a_hub_shows_how_many_beats_come(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a")
            await here.ticker.tick()
            for _ in range(50):
                agent.renew()
            await asyncio.sleep(0.05)
            await here.ticker.tick()
            assert node(here).beats_per_s > 0

    async def test_a_hub_that_leaves_is_gone_at_once(self, fresh_url: str) -> None:
        async with station(fresh_url) as one, station(fresh_url) as two:
            await one.ticker.tick()
            assert len(one.ticker.nodes) == 2
            await two.ticker.leave()
            await one.ticker.tick()
            assert [each.id for each in one.ticker.nodes] == [one.ticker.node]

    async def test_one_that_died_long_ago_is_cleared_away(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with station(fresh_url) as one, station(fresh_url, lease_ms=20) as two:
            dead = two.ticker.node
            await asyncio.sleep(0.05)
            await one.ticker.tick()
            assert dead in {each.id for each in one.ticker.nodes}, "it is shown for a while"
            monkeypatch.setattr(ticker_module, "LONG_GONE_MS", 10)
            await one.ticker.tick()
            assert dead not in {each.id for each in one.ticker.nodes}
            assert await one.link.ask("HKEYS", keys.NODES) == [one.ticker.node.encode()]

    async def test_the_revision_of_the_keys_is_learned_with_each_tick(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            assert here.ticker.revision == 0
            await here.link.ask("SET", KEY_REVISION, 77)
            await here.ticker.tick()
            assert here.ticker.revision == 77

    async def test_ticking_goes_on_over_an_outage(self, valkey_server: MakeServer) -> None:
        server = valkey_server()
        async with station(server.url) as here, here.working():
            server.kill()
            await until(lambda: not here.link.up)
            await asyncio.sleep(0.3)
            before = here.ticker.safe_ms
            server.start()
            await until(lambda: here.ticker.safe_ms > before)

    async def test_each_tick_is_told(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            told: list[int] = []
            here.ticker.on_tick = lambda: told.append(here.ticker.safe_ms)
            await here.ticker.tick()
            await here.ticker.tick()
            assert len(told) == 2


class TestWatermark:
    async def test_it_is_now_while_nothing_waits(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            before = await store_ms(here)
            # The hub's reckoning of the store's clock lags by a message's way.
            await until_safe(here, before)
            assert here.ticker.safe_ms <= await store_ms(here)

    async def test_it_is_never_ahead_of_the_store_s_clock(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            here.clock.offset_ms += 3_600_000
            await here.ticker.tick()
            assert here.ticker.safe_ms <= await store_ms(here)

    @pytest.mark.parametrize("news", [True, False])
    async def test_a_beat_that_is_not_stored_holds_it_below_its_lease(
        self, fresh_url: str, news: bool
    ) -> None:
        async with station(fresh_url, flush_s=3_600) as here:
            agent = await here.opened("a", ttl_ms=300)
            ends_ms = int(agent.lease.ends_ms)
            if news:
                agent.say(task="t")
            else:
                agent.renew()
            while await store_ms(here) < ends_ms + 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            for _ in range(3):
                await here.ticker.tick()
                assert here.ticker.safe_ms == ends_ms - 1

    async def test_it_rises_when_the_beat_is_stored(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", ttl_ms=1_000)
            agent.say(task="t")
            await here.settle()
            await until_safe(here, int(agent.lease.beat_at * 1000 + here.clock.offset_ms))

    async def test_the_least_of_all_living_hubs_counts(self, fresh_url: str) -> None:
        async with (
            station(fresh_url, flush_s=3_600) as one,
            station(fresh_url) as two,
            station(fresh_url) as three,
        ):
            agent = await one.opened("a", ttl_ms=200)
            agent.say(task="t")
            ends_ms = int(agent.lease.ends_ms)
            while await store_ms(one) < ends_ms + 100:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            for each in (one, two, three, one, two):
                await each.ticker.tick()
            assert two.ticker.safe_ms == three.ticker.safe_ms == ends_ms - 1

    async def test_a_hub_whose_ticks_stop_counts_until_its_agents_are_marked(
        self, fresh_url: str
    ) -> None:
        """Agents with a short ttl were ended in the moment between."""
        async with (
            station(fresh_url, lease_ms=600) as here,
            station(fresh_url, lease_ms=700) as there,
        ):
            await there.ticker.tick()
            last = node(there)
            async with asyncio.timeout(30):
                while await store_ms(here) < last.lease_ms + 300:
                    await here.ticker.tick()
                    assert here.ticker.safe_ms <= last.watermark_ms
                    await asyncio.sleep(0.02)
            assert [lost.id for lost in here.ticker.lost] == [last.id]
            await here.warden.look()
            async with asyncio.timeout(30):
                while here.ticker.safe_ms <= last.watermark_ms:
                    await here.ticker.tick()
            assert here.ticker.lost == []

    async def test_what_nobody_can_mark_holds_nobody_back_for_ever(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ticker_module, "FORSAKEN_MS", 100)
        async with station(fresh_url) as here, station(fresh_url, lease_ms=300) as there:
            await there.ticker.tick()
            last = node(there)
            while True:
                await here.ticker.tick()
                if here.ticker.safe_ms > last.watermark_ms:
                    break
                assert here.ticker.safe_ms <= last.watermark_ms
                await asyncio.sleep(0.02)
            assert await store_ms(here) >= last.lease_ms + 100

    async def test_a_hub_that_comes_back_counts_again(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url, lease_ms=50) as there:
            await asyncio.sleep(0.1)
            await here.ticker.tick()
            agent = await there.opened("a", ttl_ms=100)
            ends_ms = int(agent.lease.ends_ms)
            there.commit.guard(ends_ms)  # as a beat that came and is not stored does
            await until_later(there, ends_ms + 50)
            await there.ticker.tick()
            await here.ticker.tick()
            assert here.ticker.safe_ms <= ends_ms - 1

    async def test_a_hub_whose_link_is_back_counts_before_it_says_anything(
        self, valkey_server: MakeServer
    ) -> None:
        """Its agents' leases were lengthened and end by their last beats again: nobody else may
        sweep past what it has not written yet."""
        server = valkey_server()
        async with Valve(server) as valve, station(valve.url) as here:
            agent = await here.opened("a")
            valve.hold_questions()
            outcomes = agent.say(task="t")
            await until(lambda: here.under_way)
            async with station(server.url) as there:
                await there.link.ask("HDEL", keys.NODES, here.ticker.node)  # it was found lost
                await valve.cut()
                await until(lambda: outcomes)
                before = here.ticker.safe_ms
                assert await there.link.ask("HEXISTS", keys.NODES, here.ticker.node)
                await there.ticker.tick()
                assert there.ticker.safe_ms <= before, "it has not read its sockets since"

    @pytest.mark.parametrize("stood_still", [False, True])
    async def test_a_stall_that_is_due_before_words_are_stored_waits_for_them(
        self, fresh_url: str, stood_still: bool
    ) -> None:
        """An agent that got on was told to have stalled while its words stood in line; later still
        if its stall was due a millisecond before the moment that its hub had reckoned."""
        async with station(fresh_url, flush_s=3_600) as here:
            agent = await here.opened("a", status="busy", progress_ttl_ms=1_000)
            stalls_ms = here.clock.at_ms(agent.lease.stalls_at or 0)
            if stood_still:  # the words came in time, and lay there unread
                await until_later(here, stalls_ms + 100)
            agent.say(progress={"done": 1})
            await until_later(here, stalls_ms + 100)
            for _ in range(2):
                await here.ticker.tick()
                assert here.ticker.safe_ms < stalls_ms
            await here.sweeper.sweep()
            assert (await here.read("a")).state == "busy"

    async def test_one_that_had_stalled_before_it_spoke_holds_nobody_up(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url, flush_s=3_600) as here:
            agent = await here.opened("a", status="busy", progress_ttl_ms=100)
            stalls_ms = here.clock.at_ms(agent.lease.stalls_at or 0)
            await until_safe(here, stalls_ms + 50)
            agent.say(progress={"done": 1})
            await here.ticker.tick()
            assert here.ticker.safe_ms >= stalls_ms + 50

    async def test_what_can_never_be_written_holds_it_for_some_seconds_only(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(ticker_module, "STUCK_S", 0.3)
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", ttl_ms=200)
            here.commit.guard(agent.lease.ends_ms)
            async with here.working():
                await until(lambda: here.ticker.node not in {n.id for n in here.ticker.nodes})
                await until_safe(there, int(agent.lease.ends_ms) + 200)
                assert "they hold up expiry no longer" in caplog.text
                agent.say(task="t")  # with this the group goes, and the floor with it
                await until(lambda: here.ticker.node in {n.id for n in here.ticker.nodes})

    async def test_an_http_beat_that_comes_in_holds_it(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            token = object()
            here.ticker.arriving(token)
            arrived_ms = here.clock.at_ms(asyncio.get_running_loop().time())
            await asyncio.sleep(0.8)
            await here.ticker.tick()
            # The clock is reckoned anew with each tick, and lags by a message's way at most.
            assert here.ticker.safe_ms < arrived_ms + 400
            here.ticker.arrived(token)
            await until_safe(here, arrived_ms + 800)

    async def test_an_http_beat_that_never_comes_whole_holds_it_no_longer_than_it_may(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ticker_module, "ARRIVING_S", 0.05)
        async with station(fresh_url) as here:
            token = object()
            here.ticker.arriving(token)
            await asyncio.sleep(0.1)
            await until_safe(here, await store_ms(here))
            here.ticker.arrived(token)


@pytest.mark.every_loop
class TestUnread:
    """What lies in a socket unread when the clock is read was there before."""

    async def test_a_beat_on_an_open_socket_holds_it(self, fresh_url: str) -> None:
        async with station(fresh_url, fold_s=3_600, flush_s=3_600) as here:
            agent = await here.opened("a", ttl_ms=300)
            ends_ms = int(agent.lease.ends_ms)
            async with wired(agent) as far:
                await until_later(here, ends_ms - 100)
                far.send(b".")
                time.sleep(0.4)  # noqa: ASYNC251 (the stall is what is tested)
                await here.ticker.tick()
                assert here.ticker.safe_ms == ends_ms - 1

    @pytest.mark.parametrize("kept", [True, False])
    async def test_an_http_beat_holds_it_over_a_new_connection_too(
        self, fresh_url: str, kept: bool
    ) -> None:
        """Its connection had not even been accepted when the watermark passed it; and one that
        had was taken for one that came after the stall in which it had lain there."""
        async with running_hub(fresh_url) as hub:
            host, _, port = hub.url.removeprefix("http://").rpartition(":")
            ticker = hub.hub.ticker
            request = (
                f"PUT /v1/pulse/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n"
                f"Authorization: Bearer {hub.key}\r\n\r\n"
            )
            with socket.create_connection((host, int(port))) as far:
                if kept:
                    await asyncio.sleep(0.05)
                await ticker.tick()
                far.send(request.encode())  # the body is still to come
                sent_ms = hub.hub.clock.at_ms(asyncio.get_running_loop().time())
                time.sleep(0.5)  # noqa: ASYNC251 (the stall is what is tested)
                await ticker.tick()
                (own,) = [each for each in ticker.nodes if each.id == ticker.node]
                assert own.watermark_ms < sent_ms + 300
                far.send(b"{}")
                await until(lambda: ticker.safe_ms > sent_ms + 600)


async def until_safe(at: Station, when_ms: int) -> None:
    """Tick until all up to a moment may be swept."""
    async with asyncio.timeout(30):
        while True:
            await at.ticker.tick()
            if at.ticker.safe_ms >= when_ms:
                return
            await asyncio.sleep(0.01)


async def until_later(at: Station, when_ms: int) -> None:
    while await store_ms(at) < when_ms:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
