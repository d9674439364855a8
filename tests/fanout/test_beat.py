"""Every beat of a few agents, on its way to those who want to see them all."""

from __future__ import annotations

from typing import Any

from lifesigns.core.filter import Filter
from tests.fanout.border import Reader
from tests.fanout.test_scene import House

BOTH = Filter(ids=("a", "b"))


def told(reader: Reader) -> list[tuple[str, str]]:
    frames = [frame for frame in reader.frames if frame["type"] == "beats"]
    return [(beat["id"], beat["task"]) for frame in frames for beat in frame["beats"]]


async def watched(house: House, *readers: Reader, **how: Any) -> None:
    for reader in readers:
        await house.watch(reader, BOTH, detail="beats", **how)


async def test_beats_follow_the_answer_that_names_their_watch() -> None:
    house, reader, other = House(), Reader(), Reader()
    await house.watch(other, BOTH)
    listening = house.heart.listening

    async def beat_meanwhile(project: str) -> None:
        house.heart.beat("a", task="meanwhile")
        await listening(project)

    house.heart.listening = beat_meanwhile  # type: ignore[method-assign]
    await watched(house, reader)
    assert reader.types() == ["watching", "snapshot", "beats"]
    assert reader.frames[2]["watch"] == reader.frames[0]["watch"]
    house.heart.beat("a", "c", "b", task="then")
    assert told(reader) == [("a", "meanwhile"), ("a", "then"), ("b", "then")]
    assert other.types() == ["watching", "snapshot"]  # the same view, but not every beat


async def test_who_reads_slowly_is_told_the_latest_beat_of_each_agent() -> None:
    house, slow, fast = House(), Reader(), Reader()
    await watched(house, slow, fast)
    slow.ready = False
    for i in range(1_000):
        house.heart.beat("a", "b", task=str(i))
    house.heart.beat("a", task="last")
    assert len(told(fast)) == 2_001
    assert told(slow) == []
    slow.ready = True
    house.heart.beat("b", task="behind the others")
    assert told(slow) == []
    for watch in house.watches:
        watch.pump()
    assert told(slow) == [("a", "last"), ("b", "behind the others")]
    house.heart.beat("a", task="in step")
    assert told(slow)[-1] == ("a", "in step")


async def test_many_beats_at_once_come_in_frames_that_can_be_sent() -> None:
    house, reader = House(frame_bytes=10_000), Reader()
    await watched(house, reader)
    reader.room = 2
    house.heart.beat(*["a", "b"] * 3, task="x" * 3_000)
    assert reader.types()[2:] == ["beats", "beats"]
    assert len(told(reader)) == 4
    reader.ready, reader.room = True, None
    house.watches[0].pump()
    assert [agent for agent, _ in told(reader)] == ["a", "b", "a", "b", "a", "b"]


async def test_the_last_one_who_leaves_ends_it() -> None:
    house = House()
    await watched(house, Reader(), Reader())
    assert len(house.heart.listeners) == 1
    for watch in house.watches:
        house.fanout.unwatch("default", watch)
    assert not house.heart.listeners
