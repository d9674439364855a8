"""A project and its watchers, from what the feed says to what a peer reads."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from lifesigns.core.change import head_of
from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.errors import BadValue, Unavailable
from lifesigns.core.filter import Filter
from lifesigns.core.presence import AVAILABLE, BUSY, OFFLINE
from lifesigns.hub import fanout
from lifesigns.hub.fanout import Fanout
from lifesigns.hub.watch import PAGE, Watch
from tests.fanout.border import Heart, Lanes, Reader
from tests.patience import until

EVERYTHING = Filter()


class House:
    """A fan-out over lanes that the test writes."""

    def __init__(self, *, loaded: bool = True, frame_bytes: int = 100_000) -> None:
        self.lanes = Lanes()
        self.heart = Heart()
        self.until_ms: int | None = None  # leases are held so long
        self.fanout = Fanout(lambda project: self.lanes, self.heart, self, frame_bytes=frame_bytes)
        self._loaded = loaded
        self.watches: list[Watch] = []

    async def watch(
        self,
        reader: Reader,
        wanted: Filter = EVERYTHING,
        *,
        detail: str = "full",
        since: str | None = None,
    ) -> Watch:
        if self._loaded:
            asyncio.get_running_loop().call_soon(self._load)
        watch = await self.fanout.watch(
            "default", wanted, detail, reader.codec, reader, ref=1, since=since
        )
        self.watches.append(watch)
        return watch

    def _load(self) -> None:
        if self._loaded:
            self._loaded = False
            self.lanes.load()

    async def agrees(self, *readers: Reader) -> None:
        there = {agent for lane in self.lanes.latest.values() for agent in lane}
        seqs = {agent: seq for agent, seq in self.seqs().items() if agent in there}
        for reader in readers:
            await until(
                lambda reader=reader: {a: s["seq"] for a, s in reader.mirror.agents.items()} == seqs
            )
            assert reader.gaps == 0

    def seqs(self) -> dict[str, int]:
        return {
            agent: head_of(packed).seq
            for lane in self.lanes.latest.values()
            for agent, packed in lane.items()
        }


async def test_a_watch_waits_until_all_lanes_are_known() -> None:
    house, reader = House(loaded=False), Reader()
    watching = asyncio.create_task(house.watch(reader))
    await asyncio.sleep(0)
    house.lanes.load("", 0)
    await asyncio.sleep(0)
    assert not reader.frames
    house.lanes.happen("a")
    house.lanes.load("", 1)
    await watching
    assert reader.types() == ["watching", "snapshot"]
    assert list(reader.mirror.agents) == ["a"]


async def test_a_watch_that_cannot_begin_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "LOADING_S", 0.01)
    house, reader = House(loaded=False), Reader()
    with pytest.raises(Unavailable):
        await house.watch(reader)
    assert house.fanout.watchers == 0
    house.lanes.load()
    await house.watch(reader)
    assert house.fanout.watchers == 1


async def test_a_resume_that_cannot_be_read_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The watch stayed behind, and its outbox grew for ever."""
    house, reader = House(), Reader()
    await house.watch(reader)
    house.lanes.happen("a")

    async def away(*_: Any) -> None:
        raise Unavailable("The store is away.")

    monkeypatch.setattr(house.lanes, "missed", away)
    with pytest.raises(Unavailable):
        await house.watch(Reader(), since=reader.mirror.cursor)
    assert house.fanout.watchers == 1


async def test_what_comes_in_one_turn_is_told_in_one_frame() -> None:
    house, reader = House(), Reader()
    await house.watch(reader)
    for i in range(10):
        house.lanes.happen(f"a{i}", lane=i % 2)
    assert len(reader.frames) == 2
    await house.agrees(reader)
    assert reader.types() == ["watching", "snapshot", "changes"]


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_a_snapshot_comes_in_pages_and_changes_meanwhile_are_not_lost(codec: Codec) -> None:
    house, reader = House(), Reader(codec)
    for i in range(5 * PAGE):
        house.lanes.followers.clear()
        house.lanes.happen(f"a{i}", lane=i % 2, heard=False)
    other = Reader()
    await house.watch(other)
    await house.watch(reader)
    assert reader.mirror.loading
    dice = random.Random(1)
    while reader.mirror.loading:
        house.lanes.happen(f"a{dice.randrange(5 * PAGE - 1) // 2 * 2}", BUSY)
        house.lanes.happen(f"new{dice.random()}", lane=1)
        for agent in (f"a{2 * dice.randrange(PAGE)}",):
            if agent in house.lanes.latest[0]:
                house.lanes.forget(agent)
        await asyncio.sleep(0)
    await house.agrees(reader, other)
    numbers = [(c["id"], c["epoch"], c["seq"]) for c in reader.changes]
    assert len(numbers) == len(set(numbers))


async def test_a_page_shows_what_was_not_told_yet_and_it_is_not_told_again() -> None:
    """A page was newer than what its watcher was owed, and was told the same once more."""
    house, reader = House(), Reader()
    for i in range(3 * PAGE):
        house.lanes.happen(f"a{i}", heard=False)
    await house.watch(reader)
    await until(lambda: not reader.mirror.loading)
    second = Reader()
    await house.watch(second)
    house.lanes.happen(f"a{2 * PAGE + 1}", BUSY)  # in a page that is still to come
    await until(lambda: not second.mirror.loading)
    await house.agrees(second)
    assert second.told == []
    house.lanes.happen("a0", BUSY)
    await house.agrees(second)
    assert second.told == [("a0", "updated", False)]


async def test_a_slow_reader_is_told_the_latest_and_how_much_it_did_not_see() -> None:
    house, slow, fast = House(), Reader(), Reader()
    watch = await house.watch(slow)
    await house.watch(fast)
    slow.ready = False
    for _ in range(3):
        for rank in (BUSY, AVAILABLE, OFFLINE):
            house.lanes.happen("a", rank)
            house.lanes.happen("b", BUSY, task=str(rank), lane=1)
            await asyncio.sleep(0)
    house.lanes.happen("c")
    await house.agrees(fast)
    assert len(fast.changes) == 19
    assert len(slow.frames) == 2
    slow.ready = True
    watch.pump()
    await house.agrees(slow)
    assert len(slow.changes) == 3
    assert sum(frame.get("coalesced", 0) for frame in slow.frames) == 16
    house.lanes.happen("c", BUSY)
    await house.agrees(slow, fast)


async def test_a_trickling_reader_holds_no_more_than_the_fleet_and_hears_nothing_twice() -> None:
    house, idle, trickling = House(), Reader(), Reader(MSGPACK)
    watches = [await house.watch(reader, detail="lite") for reader in (idle, trickling)]
    idle.ready = trickling.ready = False
    for i in range(3_000):
        house.lanes.happen(f"a{i % 40}", BUSY, lane=i % 2, status=str(i))
        if i % 7 == 0:
            await asyncio.sleep(0)
        if i % 300 == 299:
            trickling.ready, trickling.room = True, 1
            watches[1].pump()
        for watch in watches:
            assert watch.outbox is not None
            assert len(watch.outbox) <= 40
    for reader, watch in zip((idle, trickling), watches, strict=True):
        reader.ready, reader.room = True, None
        watch.pump()
    await house.agrees(idle, trickling)
    for reader in (idle, trickling):
        numbers = [(c["id"], c["seq"]) for c in reader.changes]
        assert len(numbers) == len(set(numbers)) < 1_000
        assert len(reader.changes) + sum(f.get("coalesced", 0) for f in reader.frames) == 3_000


async def test_changes_that_undo_each_other_leave_the_chain_whole() -> None:
    """Nothing was sent, and yet the next frame began somewhere else."""
    house, slow = House(), Reader()
    watch = await house.watch(slow)
    slow.ready = False
    house.lanes.happen("a")
    await asyncio.sleep(0)
    house.lanes.forget("a")
    await asyncio.sleep(0)
    slow.ready = True
    watch.pump()
    house.lanes.happen("b")
    await house.agrees(slow)


async def test_many_owed_agents_are_told_in_frames_of_exact_cursors() -> None:
    """A reader that is cut off anywhere and comes back is told nothing twice, and all."""
    house, slow = House(), Reader()
    watch = await house.watch(slow)
    slow.ready = False
    for i in range(230):
        house.lanes.happen(f"a{i % 150}", BUSY if i % 3 else AVAILABLE, lane=i % 2)
        await asyncio.sleep(0)
    slow.ready, slow.room = True, 2
    watch.pump()
    await until(lambda: not slow.ready)
    house.fanout.unwatch("default", watch)
    slow.ready, slow.room = True, None
    await house.watch(slow, since=slow.mirror.cursor)
    house.lanes.happen("last")
    await house.agrees(slow)
    numbers = [(c["id"], c["seq"]) for c in slow.changes]
    assert len(numbers) == len(set(numbers))
    assert slow.types().count("snapshot") == 1


async def test_a_resumed_watch_is_told_each_change_that_it_missed() -> None:
    house, reader = House(), Reader()
    watch = await house.watch(reader)
    house.lanes.happen("a")
    await house.agrees(reader)
    house.fanout.unwatch("default", watch)
    for i in range(2 * PAGE + 5):
        house.lanes.happen("a", BUSY, task=str(i))
    house.lanes.happen("b", lane=1)
    await house.watch(reader, since=reader.mirror.cursor)
    await house.agrees(reader)
    assert len(reader.changes) == 1 + 2 * PAGE + 5 + 1
    assert reader.frames[2]["type"] == "changes"
    assert reader.types().count("watching") == 2


@pytest.mark.parametrize("past_is_gone", [False, True])
async def test_a_resumed_watch_is_told_of_nobody_it_cannot_have_seen(past_is_gone: bool) -> None:
    """Whoever was missed once, and had never been in the filter, was told to be gone."""
    house, reader = House(), Reader()
    red = Filter(group=("red",))
    for agent, group in (("left", "red"), ("never", "blue"), ("came", "blue")):
        house.lanes.happen(agent, group=group, heard=False)
    watch = await house.watch(reader, red)
    house.fanout.unwatch("default", watch)
    for agent, group in (("left", "blue"), ("never", "green"), ("came", "red"), ("new", "blue")):
        house.lanes.happen(agent, group=group)
    house.lanes.past_is_gone = past_is_gone
    await house.watch(reader, red, since=reader.mirror.cursor)
    told = [("left", "updated", True), ("came", "updated", False)]
    if past_is_gone:  # it may have been there
        told.insert(1, ("never", "updated", True))
    assert reader.told == told
    assert list(reader.mirror.agents) == ["came"]


async def test_a_resumed_watch_that_missed_nothing_is_told_nothing() -> None:
    house, reader = House(), Reader()
    watch = await house.watch(reader)
    house.fanout.unwatch("default", watch)
    await house.watch(reader, since=reader.mirror.cursor)
    await asyncio.sleep(0)
    assert reader.types() == ["watching", "snapshot", "watching"]
    house.lanes.happen("a")
    await house.agrees(reader)


async def test_a_cursor_ahead_of_this_hub_is_waited_for() -> None:
    """The hub answered with its older roster, and then told again what the client had seen."""
    house, reader = House(), Reader()
    await house.watch(reader)
    house.lanes.happen("a")
    await house.agrees(reader)
    other = House()
    other.lanes.logs, other.lanes.places = house.lanes.logs, house.lanes.places
    behind = Reader()
    places, other.lanes.places = other.lanes.places, Lanes().places
    await other.watch(behind)

    async def catch_up(lane: int) -> None:
        other.lanes.latest[lane] = house.lanes.latest[lane]
        other.lanes.followers[lane].changed(lane, places[lane], house.lanes.logs[lane])

    other.lanes.catch_up = catch_up  # type: ignore[method-assign]
    await other.watch(reader, since=reader.mirror.cursor)
    assert reader.frames[-1]["resumed"]
    await other.agrees(reader, behind)
    assert len(reader.changes) == 1


@pytest.mark.parametrize("why", ["filter", "epoch", "history_trimmed", "overflow"])
async def test_a_cursor_that_is_good_for_nothing_begins_anew(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, reader = House(), Reader()
    watch = await house.watch(reader)
    house.lanes.happen("a")
    await house.agrees(reader)
    house.fanout.unwatch("default", watch)
    house.lanes.happen("b")
    wanted = EVERYTHING
    if why == "filter":
        wanted = Filter(alive=True)
    elif why == "epoch":
        house.lanes.turn_epoch("e2")
        house.lanes.load("epoch", 0)
    elif why == "history_trimmed":
        house.lanes.logs[0].clear()
    else:
        monkeypatch.setattr("lifesigns.hub.scene.REPLAYED", 0)
    await house.watch(reader, wanted, since=reader.mirror.cursor)
    assert reader.frames[3]["type"] == "watching"
    assert not reader.frames[3]["resumed"]
    assert reader.frames[4] == {"type": "resync", "watch": reader.frames[4]["watch"], "why": why}
    await house.agrees(reader)


async def test_a_spoiled_cursor_is_refused() -> None:
    house = House()
    with pytest.raises(BadValue):
        await house.watch(Reader(), since="nonsense")
    assert house.fanout.watchers == 0


async def test_lanes_that_are_read_anew_together_are_one_resync() -> None:
    house, reader, counting = House(), Reader(), Reader()
    await house.watch(reader)
    await house.watch(counting, detail="counts")
    house.lanes.happen("a")
    await house.agrees(reader)
    for lane in house.lanes.lanes:
        house.lanes.turn_epoch("e2", lane)
    house.lanes.happen("b", heard=False)
    house.lanes.load("epoch")
    house.lanes.happen("c", lane=1)
    await house.agrees(reader)
    assert [frame["why"] for frame in reader.frames if frame["type"] == "resync"] == ["epoch"]
    await until(lambda: counting.mirror.counts == {"available": 3})
    assert counting.gaps == 0
    house.lanes.happen("a", BUSY)
    await house.agrees(reader)
    await until(lambda: counting.mirror.counts == {"available": 2, "busy": 1})


async def test_a_lane_read_anew_while_a_watch_resumes_begins_it_anew() -> None:
    """It was told of the resync before it was told that it watches, and then of what it missed."""
    house, reader = House(), Reader()
    watch = await house.watch(reader)
    house.fanout.unwatch("default", watch)
    await house.watch(Reader())
    house.lanes.happen("a")
    missed = house.lanes.missed

    async def slowly(*arguments: Any) -> Any:
        house.lanes.load("history_trimmed", 0)
        await asyncio.sleep(0.2)
        return await missed(*arguments)

    house.lanes.missed = slowly  # type: ignore[method-assign]
    await house.watch(reader, since=reader.mirror.cursor)
    assert reader.types()[2:] == ["watching", "resync", "snapshot"]
    await house.agrees(reader)


async def test_equal_watches_share_a_view_but_not_on_one_connection() -> None:
    house, one, other = House(), Reader(), Reader()
    names = [(await house.watch(reader)).view.name for reader in (one, other, one, one)]
    assert names[0] == names[1]
    assert len({names[0], names[2], names[3]}) == 3


async def test_an_ended_watch_is_told_nothing_more() -> None:
    house, reader = House(), Reader()
    for i in range(3 * PAGE):
        house.lanes.happen(f"a{i}", heard=False)
    watch = await house.watch(reader)
    house.fanout.unwatch("default", watch)
    count = len(reader.frames)
    house.lanes.happen("a0")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(reader.frames) == count
    assert house.fanout.watchers == 0


async def test_an_idle_project_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "WARM_S", 0.05)
    house, reader = House(), Reader()
    watch = await house.watch(reader)
    await asyncio.sleep(0.1)
    assert house.lanes.followers
    house.fanout.unwatch("default", watch)
    assert house.lanes.followers
    await until(lambda: not house.lanes.followers)


async def test_counts_begin_with_all_and_follow() -> None:
    house, reader = House(), Reader()
    for i in range(7):
        house.lanes.happen(f"a{i}", BUSY if i % 2 else AVAILABLE, heard=False)
    watch = await house.watch(reader, detail="counts")
    assert reader.mirror.counts == {"available": 4, "busy": 3}
    reader.ready = False
    house.lanes.happen("a0", OFFLINE)
    await asyncio.sleep(0)
    house.lanes.forget("a0")
    await asyncio.sleep(0)
    reader.ready = True
    watch.pump()
    house.lanes.happen("b", BUSY)
    await until(lambda: reader.mirror.counts == {"available": 3, "busy": 4})
    assert reader.gaps == 0
    assert len(reader.frames) <= 4


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_a_reader_does_it_knows_the_truth_in_the_end(seed: int) -> None:
    dice = random.Random(seed)
    house = House(frame_bytes=4_000)
    readers = [(Reader(), EVERYTHING) for _ in range(3)]
    readers += [(Reader(MSGPACK), Filter(state=("busy",))), (Reader(), Filter(group=("red",)))]
    watches = [await house.watch(reader, wanted) for reader, wanted in readers]
    for _ in range(800):
        lane = dice.randrange(2)
        agent = f"{lane}-{dice.randrange(80)}"
        if agent in house.lanes.latest[lane] and dice.random() < 0.1:
            house.lanes.forget(agent, lane=lane)
        else:
            rank, group = dice.choice([AVAILABLE, BUSY, OFFLINE]), dice.choice(["red", "blue"])
            house.lanes.happen(agent, rank, lane=lane, group=group)
        i = dice.randrange(len(readers))
        reader, wanted = readers[i]
        act = dice.random()
        if act < 0.1:
            reader.ready = not reader.ready
        elif act < 0.2:
            reader.ready, reader.room = True, dice.randrange(1, 4)
        elif act < 0.25:
            house.fanout.unwatch("default", watches[i])
            reader.ready, reader.room = True, None
            watches[i] = await house.watch(reader, wanted, since=reader.mirror.cursor)
        elif act < 0.26:
            house.lanes.load("history_trimmed", lane)
        watches[i].pump()
        if dice.random() < 0.5:
            await asyncio.sleep(0)
    for (reader, _), watch in zip(readers, watches, strict=True):
        reader.ready, reader.room = True, None
        watch.pump()
    await house.agrees(*(reader for reader, _ in readers[:3]))
    for reader, _ in readers:
        assert reader.gaps == 0
        numbers = [(c["id"], c["seq"]) for c in reader.changes]
        assert len(numbers) == len(set(numbers))
    busy = {a for a, rank in house.lanes.ranks.items() if rank == BUSY}
    await until(lambda: set(readers[3][0].mirror.agents) == busy)
    there = readers[0][0].mirror.agents
    red = {agent for agent, shown in there.items() if shown["group"] == "red"}
    await until(lambda: set(readers[4][0].mirror.agents) == red)
