"""HTTP beats: merged onto what is there, by compare-and-set, so that none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import NotFound, Unavailable
from lifesigns.core.presence import SUSPECT
from lifesigns.core.record import unpack_record
from lifesigns.store import put as put_module
from lifesigns.store.put import HttpBeat, Memory, aim
from tests.chronicle import chronicle, kinds
from tests.patience import until
from tests.server import Server
from tests.station import station
from tests.store.board import Board, breaks, hello, says

MakeServer = Callable[..., Server]


class TestMerge:
    async def test_a_first_beat_that_says_nothing_makes_an_idle_agent(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            presence = await here.put("a")
            assert (presence.state, presence.words.status) == ("available", "idle")
            ((instance, _),) = presence.instances
            assert (instance.name, instance.session, instance.ttl_ms) == ("-", "", 60_000)

    async def test_what_is_absent_stays_and_what_is_null_is_cleared(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.put("a", status="busy", task="t", metadata={"a": 1}, group="g")
            presence = await here.put("a", task=None, metadata={"b": 2})
            words = presence.words
            assert (words.status, words.task, words.group) == ("busy", None, "g")
            assert words.metadata == {"b": 2}
            assert await kinds(here.link, "a") == ["online", "updated"]

    async def test_it_is_the_same_on_a_hub_that_has_not_seen_the_agent(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            await here.put("a", status="busy", task="t")
            presence = await there.put("a", metadata={"b": 2})
            assert (presence.words.status, presence.words.task) == ("busy", "t")
            presence = await here.put("a", group="g")
            assert (presence.words.task, presence.words.metadata) == ("t", {"b": 2})

    async def test_a_status_drops_the_hint_unless_it_comes_with_one(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            presence = await here.put("a", status="idle", state="error")
            assert presence.state == "error"
            assert (await here.put("a", task="t")).state == "error"
            assert (await here.put("a", status="idle")).state == "available"

    async def test_the_answer_is_what_is_read(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            for number in range(3):
                presence = await here.put("a", status="busy", task=f"task {number}")
                assert presence == await here.read("a")
            await here.put("a", "second", status="idle")
            assert await here.put("a", task="x") == await here.read("a")

    async def test_a_ttl_once_given_stays_until_another_is(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            for given, expected in ((None, 60_000), (5_000, 5_000), (None, 5_000), (7_000, 7_000)):
                presence = await here.put("a", ttl_ms=given)
                ((instance, _),) = presence.instances
                assert instance.ttl_ms == expected
                assert presence.expires_at_ms == presence.last_heartbeat_ms + expected

    async def test_what_others_made_of_an_agent_is_shown_and_is_no_sign_of_life(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            before = await here.put("a", ttl_ms=5_000, status=None)
            said = {"task": "t", "state": "busy"}
            at = asyncio.get_running_loop().time()
            word = HttpBeat("a", "-", None, said, living=False)
            after = await there.store.put(DEFAULT_PROJECT, word, at)
            assert (after.state, after.words.task, after.seq) == ("busy", "t", before.seq + 1)
            assert after.expires_at_ms == before.expires_at_ms
            assert after.last_heartbeat_ms == before.last_heartbeat_ms
            presence = await here.put("a", group="g")
            assert (presence.words.task, presence.words.group) == ("t", "g")

    async def test_of_who_is_not_there_nothing_is_made(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.opened("a")
            await here.settle()
            for instance in ("-", "i"):
                at = asyncio.get_running_loop().time()
                word = HttpBeat("a", instance, None, {"task": "t"}, living=False)
                presence = await here.store.put(DEFAULT_PROJECT, word, at)
                assert (presence.words.task, len(presence.instances)) == (None, 1)
            word = HttpBeat("nobody", "-", None, {"task": "t"}, living=False)
            with pytest.raises(NotFound):
                await here.store.put(DEFAULT_PROJECT, word, at)

    async def test_an_agent_that_was_gone_goes_on_where_it_was(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            await here.put("a", status="busy", task="t")
            now = asyncio.get_running_loop().time()
            await here.store.remove(DEFAULT_PROJECT, "a", None, now)
            presence = await here.put("a", metadata={"b": 2})
            assert presence.alive
            assert (presence.words.task, presence.words.metadata) == ("t", {"b": 2})
            assert await kinds(here.link, "a") == ["online", "offline", "online"]

    async def test_a_beat_after_which_nothing_that_is_shown_differs_is_no_change(
        self, fresh_url: str
    ) -> None:
        async with station(fresh_url) as here:
            seq = (await here.put("a", status="thinking")).seq
            presence = await here.put("a", progress_ttl_ms=600_000)
            assert (presence.seq, presence.words.progress_ttl_ms) == (seq, 600_000)
            assert (await here.put("a", state=None)).seq == seq
            assert (await here.put("a", state="degraded")).seq == seq + 1
            assert await kinds(here.link, "a") == ["online", "updated"]

    async def test_a_forgotten_agent_begins_anew(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            await here.put("a", status="busy", task="t")
            assert await there.store.forget(DEFAULT_PROJECT, "a")
            presence = await here.put("a", metadata={"b": 2})
            assert (presence.words.status, presence.words.task) == ("idle", None)


class TestAim:
    """Which instance a beat without one speaks for."""

    def aim(self, board: Board, instance: str | None = None) -> tuple[str, str | None]:
        packed = board.redis.hget(board.lane.keys[1], "a")
        name, target = aim(unpack_record(packed) if packed else None, instance)
        return name, None if target is None else target.name

    def test_nobody_is_there(self, board: Board) -> None:
        assert self.aim(board) == ("-", None)
        assert self.aim(board, "x") == ("x", None)

    def test_exactly_one_socket_is_there(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"))
        assert self.aim(board) == ("i", "i")
        board.beat(says("a", "-", "", n=0, expect=1, blob=b"\x90"))
        assert self.aim(board) == ("i", "i"), "other HTTP beats do not count"
        assert self.aim(board, "-") == ("-", "-")
        assert self.aim(board, "new") == ("new", None)

    def test_two_sockets_are_there(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"), hello("a", "j", "01aaab"))
        assert self.aim(board) == ("-", None)

    def test_a_broken_socket_is_not_a_live_one(self, board: Board) -> None:
        board.beat(hello("a", "i", "01aaaa"), breaks("a", "i", "01aaaa"))
        assert board.record("a").rank == SUSPECT
        assert self.aim(board) == ("-", None)
        board.beat(hello("a", "j", "01aaab"))
        assert self.aim(board) == ("j", "j")

    async def test_a_beat_onto_a_socket_does_not_shorten_its_lease(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            agent = await here.opened("a", ttl_ms=3_600_000)
            presence = await here.put("a", ttl_ms=1_000, task="t")
            ((instance, _),) = presence.instances
            assert (instance.name, instance.ttl_ms) == ("i", 3_600_000)
            assert presence.expires_at_ms >= int(agent.lease.ends_ms)
            assert presence.words.task == "t"


class TestCrowd:
    async def test_fifty_at_once_on_one_agent_all_land(self, fresh_url: str) -> None:
        async with station(fresh_url) as here:
            puts = [here.put("a", metadata={"n": n}, task=f"task {n}") for n in range(50)]
            answers = await asyncio.gather(*puts)
            assert [each.words.task for each in answers] == [f"task {n}" for n in range(50)]
            told = (await chronicle(here.link))["a"]
            assert len(told) == 50
            assert (await here.read("a")).seq == max(each.seq for each in answers)

    async def test_each_part_survives_when_many_hubs_write_a_part_each(
        self, fresh_url: str
    ) -> None:
        async with (
            station(fresh_url) as one,
            station(fresh_url) as two,
            station(fresh_url) as three,
        ):
            fields = ("task", "group", "host", "version", "name", "did", "status", "context")
            puts = []
            for number in range(10):
                for index, field in enumerate(fields):
                    hub = (one, two, three)[(number + index) % 3]
                    puts.append(hub.put("a", **{field: f"{field} {number}"}))
            answers = await asyncio.gather(*puts)
            assert len({each.seq for each in answers}) == 80
            last = (await one.read("a")).words
            # In some order: each part is one of those that were said of it, and none is missing.
            for field in fields:
                assert getattr(last, field).startswith(f"{field} ")

    async def test_nothing_is_lost_between_a_socket_and_a_crowd(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            agent = await here.opened("a", status="busy")
            outcomes = []
            puts = []
            for number in range(25):
                puts.append(asyncio.ensure_future(there.put("a", metadata={"n": number})))
                outcomes.append(agent.say(task=f"task {number}"))
                await asyncio.sleep(0.001)
            await asyncio.gather(*puts)
            await here.settle()
            await until(lambda: all(outcomes))
            words = (await here.read("a")).words
            assert (words.task, words.metadata) == ("task 24", {"n": 24})

    async def test_a_beat_without_news_between_others_takes_nothing_back(
        self, fresh_url: str
    ) -> None:
        """It left the record's number as it was, and the next one wrote the old ttl again."""
        async with station(fresh_url) as here, station(fresh_url) as there:
            await here.put("a", status="busy", progress={"n": 1})
            await there.put("a")  # it knows the agent now
            await here.put("a", ttl_ms=300_000, progress={"n": 1})
            progressed_ms = (await here.read("a")).last_progress_ms
            presence = await there.put("a")
            ((instance, _),) = presence.instances
            assert instance.ttl_ms == 300_000
            assert presence.last_progress_ms == progressed_ms
            assert await kinds(here.link, "a") == ["online"]

    async def test_who_never_wins_is_told_in_the_end(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(put_module, "TRIES", 0)
        async with station(fresh_url) as here, station(fresh_url) as there:
            await here.put("a")
            with pytest.raises(Unavailable, match="Too many write to this agent at once"):
                await there.put("a", task="t")


class TestAway:
    async def test_a_beat_while_the_store_is_away_fails_at_once(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            await here.put("a")
            server.kill()
            await until(lambda: not here.link.up)
            with pytest.raises(Unavailable, match="away"):
                await here.put("a", task="t")
            now = asyncio.get_running_loop().time()
            with pytest.raises(Unavailable, match="away"):
                await here.store.remove(DEFAULT_PROJECT, "a", None, now)
            assert not here.commit.waiting

    async def test_a_beat_under_way_when_the_link_breaks_fails_and_is_not_repeated(
        self, valkey_server: MakeServer
    ) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            server.pause()
            put = asyncio.create_task(here.put("a"))
            await until(lambda: here.under_way)
            server.kill()
            with pytest.raises(Unavailable, match="went away before it answered"):
                await put
            server.start()
            await here.settle()
            assert (await here.store.read(DEFAULT_PROJECT, "a")).presence is None

    async def test_a_beat_that_nobody_waits_for_any_more_is_not_stored(
        self, valkey_server: MakeServer
    ) -> None:
        """Its sender was told that it failed, and has said something else since."""
        server = valkey_server()
        async with station(server.url, patience_s=0.2) as here, station(server.url) as there:
            socket = await here.opened("b")
            server.pause()
            socket.say(task="x")
            await until(lambda: here.under_way)
            with pytest.raises(Unavailable, match="does not answer"):
                await here.put("a", task="old")
            now = asyncio.get_running_loop().time()
            with pytest.raises(Unavailable, match="does not answer"):
                await here.store.remove(DEFAULT_PROJECT, "a", None, now)
            server.resume()
            await there.put("a", task="new")
            await here.settle()
            assert (await there.read("a")).words.task == "new"
            assert await kinds(there.link, "a") == ["online"]

    async def test_a_full_store_refuses_a_beat_whole(self, valkey_server: MakeServer) -> None:
        server = valkey_server()
        async with station(server.url) as here:
            await here.link.ask("CONFIG", "SET", "maxmemory", 1)
            with pytest.raises(Unavailable):
                await here.put("a", task="t")
            await here.link.ask("CONFIG", "SET", "maxmemory", 0)
            assert (await here.store.read(DEFAULT_PROJECT, "a")).presence is None


class TestMemory:
    def test_the_latest_are_remembered_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(put_module, "REMEMBERED", 3)
        memory = Memory()
        for name in ("a", "b", "c"):
            memory.set("p", name, name.encode())
        memory.set("p", "a", b"again")
        memory.set("p", "d", b"d")
        assert [memory.get("p", name) for name in "abcd"] == [b"again", None, b"c", b"d"]

    def test_projects_are_kept_apart(self) -> None:
        memory = Memory()
        memory.set("p", "a", b"1")
        memory.set("q", "a", b"2")
        memory.set("p", "a", None)
        assert (memory.get("p", "a"), memory.get("q", "a")) == (None, b"2")

    async def test_a_wrong_memory_costs_a_second_try_and_nothing_else(self, fresh_url: str) -> None:
        async with station(fresh_url) as here, station(fresh_url) as there:
            await here.put("a", task="1")
            await there.put("a", group="g")
            await here.calls(anew=True)
            presence = await here.put("a", host="h")
            assert await here.calls() == 2
            assert (presence.words.task, presence.words.group) == ("1", "g")
            await here.put("a", host="i")
            assert await here.calls() == 3


async def test_an_http_beat_is_as_old_as_its_arrival(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        arrived = asyncio.get_running_loop().time()
        arrived_ms = here.clock.at_ms(arrived)
        await asyncio.sleep(0.6)
        beat = HttpBeat("a", None, 5_000, {})
        presence = await here.store.put(DEFAULT_PROJECT, beat, arrived)
        assert abs(presence.last_heartbeat_ms - arrived_ms) < 400
        assert presence.expires_at_ms == presence.last_heartbeat_ms + 5_000
