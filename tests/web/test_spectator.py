"""The watches of one connection, and what its peer is told beside them."""

from __future__ import annotations

import asyncio

from lifesigns.core.filter import Filter
from lifesigns.core.request import WatchAsked
from lifesigns.hub.fanout import Fanout
from lifesigns.web.spectator import Spectator
from tests.fanout.border import Heart, Lanes, Reader


class Unheld:
    until_ms = None


async def test_a_peer_that_does_not_read_is_told_the_latest_of_each_notice_when_it_does() -> None:
    lanes, reader = Lanes(), Reader()
    fanout = Fanout(lambda project: lanes, Heart(), Unheld(), frame_bytes=10_000)
    spectator = Spectator(fanout, "default", reader.codec, reader, most=2)
    fanout.store_is_away()
    asyncio.get_running_loop().call_soon(lanes.load)
    for wanted in (Filter(), Filter(state=("busy",))):
        await spectator.begin(WatchAsked(1, wanted, None, "full"))
    assert reader.types() == ["watching", "snapshot", "notice", "watching", "snapshot"]
    reader.ready = False
    for until_ms in (1_000, 2_000):
        fanout.store_is_back()
        fanout.store_is_away()
        fanout.held(until_ms)
    assert len(reader.frames) == 5
    reader.ready = True
    spectator.pump()
    told = [(frame["code"], frame.get("held_until")) for frame in reader.frames[5:]]
    assert told == [
        ("store_back", None),
        ("store_away", None),
        ("held", "1970-01-01T00:00:02.000Z"),
    ]
    spectator.close()
    fanout.store_is_back()
    assert len(reader.frames) == 8
