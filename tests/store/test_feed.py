"""The feed on a real server: whatever is lost on the way, its follower is told all, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
import redis

from lifesigns.core.change import FORGOTTEN, Place, head_of
from lifesigns.core.model import Words
from lifesigns.core.record import pack_words
from lifesigns.store import script
from lifesigns.store.address import Address
from lifesigns.store.feed import Feed, Source
from lifesigns.store.lease import Lane
from lifesigns.store.link import Link
from lifesigns.store.reader import Reader
from tests.patience import until
from tests.server import Server
from tests.store.board import hello, leaves

NAME = "test-inbox"


class Project:
    """Writes to the lanes of one project."""

    def __init__(self, server: Server, lanes: int) -> None:
        self.server = server
        self.redis = redis.Redis(unix_socket_path=str(server.socket_path), protocol=2)
        self.lanes = [Lane("feed", n, 0, 600_000, 3_600_000) for n in range(lanes)]
        self._words = 0

    def beat(self, lane: int, agent: str, times: int = 1) -> None:
        for _ in range(times):
            self._words += 1
            blob = pack_words(Words(status=f"s{self._words}"))
            self._run(lane, [hello(agent, "i", f"01{self._words:04}", blob=blob)])

    def forget(self, lane: int, agent: str) -> None:
        self._run(lane, [leaves(agent)])
        keys = self.lanes[lane].keys
        packed = msgpack.packb([agent], use_bin_type=False)
        args = ["", *self.lanes[lane].tail, packed]
        self.redis.eval(script.FORGET.source, len(keys), *keys, *args)

    def trim(self, lane: int) -> None:
        self.redis.xtrim(self.lanes[lane].keys[3], maxlen=0, approximate=False)

    def epoch(self, lane: int) -> str:
        found: bytes = self.redis.hget(self.lanes[lane].keys[0], "epoch")  # type: ignore[assignment]
        return found.decode()

    def seqs(self, lane: int) -> dict[str, int]:
        """Tell of each agent which change is its latest."""
        records: dict[bytes, bytes] = self.redis.hgetall(self.lanes[lane].keys[1])  # type: ignore[assignment]
        return {agent.decode(): msgpack.unpackb(r, raw=True)[0] for agent, r in records.items()}

    def cut(self) -> None:
        for client in self.redis.client_list():  # type: ignore[union-attr]
            if client["name"] == NAME:
                self.redis.client_kill_filter(_id=client["id"])

    def _run(self, lane: int, batch: list[Any]) -> None:
        keys = self.lanes[lane].keys
        args = ["", *self.lanes[lane].tail, msgpack.packb(batch, use_bin_type=False)]
        self.redis.eval(script.BEAT.source, len(keys), *keys, *args)


class Chronicle:
    """A follower that finds gaps and doubles, and knows who is there."""

    def __init__(self) -> None:
        self.places: dict[int, Place] = {}
        self.seqs: dict[int, dict[str, int]] = {}
        self.renewals: list[str] = []
        self.told = 0

    def changed(self, lane: int, place: Place, changes: list[bytes]) -> None:
        former = self.places[lane]
        assert former.epoch == place.epoch
        heads = [head_of(packed) for packed in changes]
        assert [head.seq for head in heads] == list(range(former.seq + 1, place.seq + 1))
        assert heads[-1].at_ms == place.at_ms
        for head in heads:
            if head.kind == FORGOTTEN:
                self.seqs[lane].pop(head.agent, None)
            elif head.seq > self.seqs[lane].get(head.agent, 0):
                self.seqs[lane][head.agent] = head.seq
        self.told += len(heads)
        self.places[lane] = place

    def renewed(self, lane: int, place: Place, agents: dict[str, bytes], why: str) -> None:
        self.places[lane] = place
        self.seqs[lane] = {agent: head_of(packed).seq for agent, packed in agents.items()}
        self.renewals.append(why)


class Followed:
    """A feed, its follower, and the project that they follow."""

    def __init__(self, feed: Feed, project: Project) -> None:
        self.feed = feed
        self.project = project
        self.chronicle = Chronicle()
        self.source = Source(feed, project.lanes)
        self.dropped = 0
        self.dropping: Callable[[], bool] = lambda: False
        self.doubling: Callable[[], bool] = lambda: False

    async def settled(self) -> None:
        """Wait until all is known that is there."""
        lanes = range(len(self.project.lanes))
        await until(lambda: all(self.chronicle.seqs.get(n) == self.project.seqs(n) for n in lanes))

    def follow(self) -> None:
        for lane in self.source.lanes:
            self.source.follow(lane, self.chronicle)

    def pushed(self, push: list[Any]) -> None:
        if push[0] == b"subscribe":
            self.feed.confirmed(push[1].decode())
        elif push[0] == b"message" and self.dropping():
            self.dropped += 1
        elif push[0] == b"message":
            for _ in range(2 if self.doubling() else 1):
                self.feed.heard(push[1].decode(), push[2])


@asynccontextmanager
async def followed(server: Server, *, lanes: int = 1) -> AsyncIterator[Followed]:
    address = Address.parse(server.url)
    those: list[Followed] = []
    link = Link(
        address,
        name="test",
        scripts=script.ALL,
        on_up=lambda: those and those[0].feed.store_is_back(),
    )
    inbox = Link(address, name=NAME, on_push=lambda push: those[0].pushed(push))
    project = Project(server, lanes)
    those.append(Followed(Feed(link, inbox, Reader(link)), project))
    await link.start()
    await inbox.start()
    try:
        yield those[0]
    finally:
        for lane in list(those[0].source.lanes):
            those[0].source.leave(lane)
        await inbox.aclose()
        await link.aclose()
        project.redis.close()


@pytest.fixture
def server(valkey_server: Callable[..., Server]) -> Server:
    return valkey_server()


async def test_a_lane_begins_with_who_is_there_and_goes_on_with_changes(server: Server) -> None:
    async with followed(server) as it:
        it.project.beat(0, "a", 3)
        it.follow()
        await it.settled()
        assert it.chronicle.places[0].seq == 3
        it.project.beat(0, "b", 2)
        await it.settled()
        assert it.chronicle.told == 2
        assert len(it.chronicle.renewals) == 1
        assert it.feed.resyncs == 0


async def test_a_lane_that_was_never_written_has_an_epoch(server: Server) -> None:
    async with followed(server, lanes=3) as it:
        it.follow()
        await until(lambda: len(it.chronicle.places) == 3)
        for lane, place in it.chronicle.places.items():
            assert place == Place(it.project.epoch(lane), 0, 0)
        it.project.beat(1, "a")
        await it.settled()
        assert it.chronicle.told == 1
        assert len(it.chronicle.renewals) == 3


async def test_a_confirmation_heals_what_was_written_before_it(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        await until(lambda: it.chronicle.places)
        it.dropping = lambda: True
        it.project.beat(0, "a", 5)
        await until(lambda: it.dropped == 5)
        it.dropping = lambda: False
        it.project.cut()
        await it.settled()
        assert it.feed.healed == 5
        assert it.feed.resyncs == 0


async def test_a_gap_is_healed_by_the_next_message(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        await until(lambda: it.chronicle.places)
        it.dropping = lambda: it.dropped < 4
        it.project.beat(0, "a", 6)
        await it.settled()
        assert it.dropped == 4
        assert it.chronicle.told == 6


async def test_what_comes_twice_is_told_once(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        await until(lambda: it.chronicle.places)
        it.doubling = lambda: True
        it.project.beat(0, "a", 10)
        await it.settled()
        assert it.chronicle.told == 10
        assert it.feed.healed == 0


async def test_a_long_gap_is_healed_in_pieces(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        await until(lambda: it.chronicle.places)
        it.dropping = lambda: True
        it.project.beat(0, "a", 1_200)
        await until(lambda: it.dropped == 1_200)
        it.dropping = lambda: False
        it.project.cut()
        await it.settled()
        assert it.chronicle.told == 1_200
        assert it.feed.resyncs == 0


async def test_a_trimmed_log_renews_the_lane(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        await until(lambda: it.chronicle.places)
        it.dropping = lambda: True
        it.project.beat(0, "a", 5)
        await until(lambda: it.dropped == 5)
        it.project.trim(0)
        it.dropping = lambda: False
        it.project.beat(0, "b")
        await it.settled()
        assert it.chronicle.renewals[1:] == ["history_trimmed"]
        assert it.feed.resyncs == 1


async def test_a_trimmed_log_harms_nobody_who_has_heard_it(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        await until(lambda: it.chronicle.places)
        it.project.beat(0, "a", 5)
        await it.settled()
        it.project.trim(0)
        it.project.cut()
        it.project.beat(0, "a")
        await it.settled()
        assert len(it.chronicle.renewals) == 1


async def test_a_flushed_store_renews_the_lane(server: Server) -> None:
    async with followed(server, lanes=2) as it:
        it.follow()
        it.project.beat(0, "a", 5)
        await it.settled()
        it.project.redis.flushall()
        it.project.beat(0, "b")
        it.project.beat(1, "c")
        await it.settled()
        assert it.chronicle.renewals[2:] == ["epoch", "epoch"]
        assert it.chronicle.seqs[0] == {"b": 1}


async def test_a_server_that_was_killed_renews_the_lane(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
    async with followed(server, lanes=2) as it:
        it.follow()
        it.project.beat(0, "a", 5)
        await it.settled()
        epoch = it.project.epoch(0)
        server.restart()
        await until(lambda: it.chronicle.renewals[2:] == ["epoch", "epoch"])
        await it.settled()
        assert it.chronicle.places[0].epoch != epoch
        assert it.chronicle.seqs[0] == {"a": 5}


async def test_a_message_of_a_former_epoch_stops_nothing(server: Server) -> None:
    """It stood at the head of the queue, did not fit, and the lane was healed for ever."""
    async with followed(server) as it:
        it.follow()
        it.project.beat(0, "a")
        await it.settled()
        channel = it.project.lanes[0].tail[1].decode()
        stray = msgpack.packb(["former", 7, []], use_bin_type=False)
        for data in (stray, b"no message at all", stray):
            it.feed.heard(channel, data)
        it.project.beat(0, "a", 3)
        await it.settled()
        await it.source.catch_up(0)
        assert it.chronicle.told == 3


async def test_missed_changes_are_read_between_two_places(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        await until(lambda: it.chronicle.places)
        begin = it.chronicle.places[0]
        it.project.beat(0, "a", 700)
        await it.settled()
        end = it.chronicle.places[0]
        it.project.beat(0, "a", 3)
        missed = await it.source.missed(0, begin, end)
        assert missed is not None
        assert [head_of(packed).seq for packed in missed] == list(range(1, 701))
        it.project.trim(0)
        assert await it.source.missed(0, begin, end) is None
        assert await it.source.missed(0, Place("another", 1, begin.at_ms), end) is None


async def test_what_agents_said_before_they_were_missed_is_read_from_their_past(
    server: Server,
) -> None:
    async with followed(server) as it:
        it.follow()
        for agent in ("once", "often", "gone"):
            it.project.beat(0, agent, 2)  # s1 to s6
        await it.settled()
        begin = it.chronicle.places[0]
        it.project.beat(0, "once")
        it.project.beat(0, "new")
        it.project.beat(0, "often", 30)
        it.project.beat(0, "gone")
        it.project.forget(0, "gone")
        await it.settled()
        missed = await it.source.missed(0, begin, it.chronicle.places[0])
        assert missed is not None
        it.project.beat(0, "once", 3)  # while it is asked for
        before = await it.source.before(0, missed)
        assert {agent: words.status for agent, words in before.items()} == {
            "once": "s2",
            "often": "s4",
        }
        it.project.beat(0, "often", 5)
        assert before.keys() - await it.source.before(0, missed) == {"often"}


async def test_a_lane_that_is_left_is_silent_and_can_be_followed_again(server: Server) -> None:
    async with followed(server) as it:
        it.follow()
        it.project.beat(0, "a")
        await it.settled()
        it.source.leave(0)
        former, it.chronicle = it.chronicle, Chronicle()
        it.project.beat(0, "a")
        it.follow()
        await it.settled()
        assert former.seqs[0] == {"a": 1}


async def test_a_lane_is_healed_when_the_store_is_back(server: Server) -> None:
    async with followed(server) as it:
        server.kill()
        await until(lambda: not it.feed._link.up)
        it.follow()
        server.start()
        it.project.beat(0, "a")
        await it.settled()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_lost_the_follower_knows_who_is_there(seed: int, server: Server) -> None:
    dice = random.Random(seed)
    async with followed(server, lanes=16) as it:
        it.dropping = lambda: dice.random() < 0.1
        it.doubling = lambda: dice.random() < 0.1
        it.follow()
        for step in range(600):
            lane = dice.randrange(16)
            agent = f"{lane}-{dice.randrange(4)}"
            act = dice.random()
            if act < 0.9:
                it.project.beat(lane, agent)
            elif act < 0.96:
                it.project.forget(lane, agent)
            elif act < 0.98:
                it.project.trim(lane)
            elif act < 0.99:
                it.project.cut()
            elif act < 0.995:
                it.project.redis.flushall()
            if step % 5 == 0:
                await asyncio.sleep(0)
        it.dropping = lambda: False
        it.project.cut()
        await it.settled()
