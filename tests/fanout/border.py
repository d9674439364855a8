"""The borders of the fan-out: a source that the test drives, a sink that keeps what it got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from lifesigns.core.beat import Beat
from lifesigns.core.change import FORGOTTEN, Head, Place, head_of
from lifesigns.core.codec import JSON, Codec
from lifesigns.core.mirror import Mirror
from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, KINDS, NONE, OFFLINE, SLEEPING
from lifesigns.core.record import pack_words
from lifesigns.core.roster import Outcome
from lifesigns.hub.packet import Packet
from lifesigns.hub.scene import Follower
from lifesigns.hub.turn import Shown, Turn

BEGAN_MS = 1_790_000_000_000
EPOCH = "e1"


def packed(
    agent: str,
    seq: int,
    *,
    rank: int = AVAILABLE,
    was: int = NONE,
    lasted_ms: int = 0,
    forgotten: bool = False,
    **words: Any,
) -> bytes:
    """Pack a change as the scripts do; its time is its number in seconds."""
    at_ms = BEGAN_MS + seq * 1000
    blob = pack_words(Words(**words))
    instance = ["i", "01s", BEGAN_MS, 1, 0, 60_000, "", [0, rank], False, 0, 0, 0, blob, 1]
    alive = rank > SLEEPING
    last, instances = (False, [instance]) if alive else (instance, [])
    up, down = (at_ms, 0) if alive else (BEGAN_MS, at_ms)
    record = [seq, at_ms, rank, at_ms, up, down, "", "", str(rank), last, [], instances]
    record += [[], False, 0]
    kind = FORGOTTEN if forgotten else KINDS[was * 10 + rank]
    head = Head(seq, at_ms, "u" if kind == "=" else kind, was, agent, lasted_ms, 0)
    return msgpack.packb(head) + msgpack.packb(record)


def shown(agent: str, seq: int, **how: Any) -> Shown:
    return Shown("default", EPOCH, packed(agent, seq, **how))


def turned(before: Shown | None, after: Shown, lane: int = 0) -> Turn:
    return Turn(lane, after.head.agent, before, after)


class Lanes:
    """A source whose history the test writes."""

    def __init__(self, count: int = 2) -> None:
        self.lanes = list(range(count))
        self.followers: dict[int, Follower] = {}
        self.places = {lane: Place(EPOCH, 0, 0) for lane in self.lanes}
        self.logs: dict[int, list[bytes]] = {lane: [] for lane in self.lanes}
        self.latest: dict[int, dict[str, bytes]] = {lane: {} for lane in self.lanes}
        self.ranks: dict[str, int] = {}
        self.caught_up: list[int] = []
        self.past_is_gone = False

    def follow(self, lane: int, follower: Follower) -> None:
        self.followers[lane] = follower

    def leave(self, lane: int) -> None:
        del self.followers[lane]

    async def catch_up(self, lane: int) -> None:
        self.caught_up.append(lane)

    async def missed(self, lane: int, place: Place, until: Place) -> list[bytes] | None:
        return self.logs[lane][place.seq : until.seq] or None

    async def before(self, lane: int, changes: list[bytes]) -> dict[str, Words]:
        words: dict[str, Words] = {}
        first = head_of(changes[0]).seq if changes else 0
        for packed in self.logs[lane][: first - 1]:
            shown = Shown("default", EPOCH, packed)
            words[shown.head.agent] = shown.presence.words
        return {} if self.past_is_gone else words

    # What the test does.

    def load(self, why: str = "store_lost", *lanes: int) -> None:
        """Let lanes be read anew, all unless told."""
        for lane in lanes or self.lanes:
            self.followers[lane].renewed(lane, self.places[lane], dict(self.latest[lane]), why)

    def happen(
        self, agent: str, rank: int = AVAILABLE, *, lane: int = 0, heard: bool = True, **how: Any
    ) -> None:
        """Let an agent change."""
        place = self.places[lane]
        was = self.ranks.get(agent, NONE)
        change = packed(agent, place.seq + 1, rank=rank, was=was, **how)
        self.ranks[agent], self.latest[lane][agent] = rank, change
        if how.get("forgotten"):
            del self.ranks[agent], self.latest[lane][agent]
        self.logs[lane].append(change)
        at_ms = BEGAN_MS + (place.seq + 1) * 1000
        self.places[lane] = Place(place.epoch, place.seq + 1, at_ms)
        if heard:
            self.followers[lane].changed(lane, self.places[lane], [change])

    def turn_epoch(self, epoch: str, lane: int = 0) -> None:
        self.places[lane] = self.places[lane]._replace(epoch=epoch)

    def forget(self, agent: str, *, lane: int = 0) -> None:
        self.happen(agent, OFFLINE, lane=lane, forgotten=True)


class Heart:
    """A source of beats, which the test lets happen."""

    def __init__(self) -> None:
        self.listeners: dict[object, tuple[frozenset[str], Callable[[Sequence[Beat]], None]]] = {}

    def follow(
        self, project: str, agents: frozenset[str], hear: Callable[[Sequence[Beat]], None]
    ) -> Callable[[], None]:
        token = object()
        self.listeners[token] = agents, hear
        return lambda: self.listeners.pop(token) and None

    async def listening(self, project: str) -> None:
        await asyncio.sleep(0)

    def beat(self, *agents: str, task: str = "") -> None:
        beats = [Beat(agent, "i", None, task, None, BEGAN_MS, BEGAN_MS) for agent in agents]
        for named, hear in list(self.listeners.values()):
            hear([beat for beat in beats if beat.id in named])


class Reader:
    """A sink: a peer that reads while it is ready, and mirrors what it reads."""

    def __init__(self, codec: Codec = JSON) -> None:
        self.codec = codec
        self.ready = True
        self.room: int | None = None  # packets that it takes before it is not ready any more
        self.frames: list[dict[str, Any]] = []
        self.mirror = Mirror()
        self.gaps = 0

    def deliver(self, packet: Packet) -> None:
        if self.room is not None:
            self.room -= 1
            self.ready = self.room > 0
        frame = self.codec.decode(packet.payload)
        assert frame.get("cursor") == packet.cursor
        self.frames.append(frame)
        if self.mirror.receive(frame) is Outcome.GAP:
            self.gaps += 1

    @property
    def changes(self) -> list[dict[str, Any]]:
        return [change for frame in self.frames for change in frame.get("changes", ())]

    @property
    def told(self) -> list[tuple[str, str, bool]]:
        """Tell the changes: who, what, and whether they went."""
        return [(c["id"], c["kind"], c.get("gone", False)) for c in self.changes]

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.frames]
