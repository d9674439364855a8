"""One project on this hub, while somebody here watches it.

It follows all lanes of the project and keeps who is there as packed bytes. What comes in one turn
of the loop is told to the views at once; while a telling takes long, more comes for the next, so
that the pace is set by what the sockets take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from lifesigns.core.change import FORGOTTEN, Place, head_of, tip_of
from lifesigns.core.codec import Codec
from lifesigns.core.filter import Filter
from lifesigns.core.roster import Difference, Outcome, Roster
from lifesigns.core.roster import Turn as RosterTurn
from lifesigns.hub.cursor import epoch_sum, write_cursor
from lifesigns.hub.turn import Shown, Turn
from lifesigns.hub.view import View
from lifesigns.hub.watch import Sink, Watch

ViewKey = tuple[str, str, str]


class Follower(Protocol):
    """Who follows a lane."""

    def changed(self, lane: int, place: Place, changes: list[bytes]) -> None: ...

    def renewed(self, lane: int, place: Place, agents: dict[str, bytes], why: str) -> None: ...


class Source(Protocol):
    """Where a project's changes come from; its lanes are numbered, each with its own history."""

    @property
    def lanes(self) -> list[int]: ...

    def follow(self, lane: int, follower: Follower) -> None:
        """Follow a lane; it begins with ``renewed``."""

    def leave(self, lane: int) -> None:
        """Follow it no more."""

    async def missed(self, lane: int, place: Place, until: Place) -> list[bytes] | None:
        """Read the changes between two places; None if they are not to be had any more."""


class Scene:
    """Who is there in one project, and who watches."""

    def __init__(self, project: str, source: Source, frame_bytes: int) -> None:
        self.project = project
        self.loop = asyncio.get_running_loop()
        self._source = source
        self._frame_bytes = frame_bytes
        self._rosters: dict[int, Roster[bytes]] = {
            lane: Roster(_number_of) for lane in source.lanes
        }
        self._places: dict[int, Place] = {}
        self._views: dict[ViewKey, View] = {}
        self._turns: list[Turn] = []
        self._ticking = False
        self._names = 0
        self.loaded: asyncio.Future[None] = self.loop.create_future()
        for lane in self._rosters:
            source.follow(lane, self)

    def close(self) -> None:
        """Follow the project no more."""
        for lane in self._rosters:
            self._source.leave(lane)

    @property
    def idle(self) -> bool:
        """Whether nobody watches."""
        return not self._views

    @property
    def watchers(self) -> int:
        return sum(len(view.steady) + len(view.behind) for view in self._views.values())

    # Who is there.

    def members(self) -> list[tuple[int, str]]:
        """Name all agents, by lane."""
        return [
            (number, agent) for number, roster in self._rosters.items() for agent in roster.agents
        ]

    def shown(self, lane: int, agent: str) -> Shown | None:
        """Find an agent as it is now."""
        packed = self._rosters[lane].agents.get(agent)
        return None if packed is None else Shown(self.project, self._places[lane].epoch, packed)

    def everybody(self) -> Iterator[Shown]:
        for number, roster in self._rosters.items():
            epoch = self._places[number].epoch
            for packed in roster.agents.values():
                yield Shown(self.project, epoch, packed)

    def cursor(self) -> str:
        """Write down the place up to which all is known here."""
        return write_cursor(
            {n: (place.epoch, place.seq, place.at_ms) for n, place in self._places.items()}
        )

    # What the feed says.

    def changed(self, lane: int, place: Place, changes: list[bytes]) -> None:
        """Take the changes that came next in a lane."""
        epoch = place.epoch
        roster, watched = self._rosters[lane], bool(self._views)
        for packed in changes:
            head = head_of(packed)
            value = None if head.kind == FORGOTTEN else packed
            batch = [RosterTurn(head.agent, ("", head.seq), value)]
            differences = roster.advance(head.seq - 1, head.seq, batch)
            assert not isinstance(differences, Outcome), "the feed leaves no gap"
            if watched:
                for each in differences:
                    self._note(lane, epoch, each, packed)
        self._places[lane] = place
        self._soon()

    def renewed(self, lane: int, place: Place, agents: dict[str, bytes], why: str) -> None:
        """A lane was read anew."""
        roster = self._rosters[lane]
        roster.restart()
        roster.load(agents, place.seq)
        self._places[lane] = place
        if not self.loaded.done():
            if len(self._places) == len(self._rosters):
                self.loaded.set_result(None)
            return
        self._turns.clear()  # what they told is in the snapshots that follow
        cursor = self.cursor()
        for view in list(self._views.values()):
            view.cursor = cursor
            for watch in [*view.steady, *view.behind]:
                watch.restart(why or "epoch")

    # Who watches.

    def watch(
        self, wanted: Filter, detail: str, codec: Codec, sink: Sink, names: frozenset[str]
    ) -> Watch:
        """Add a watcher; ``names`` are of the watches that its connection has already."""
        key = (repr(wanted), detail, codec.name)
        view = self._views.get(key)
        if view is None or view.name in names:
            self._names += 1
            view = View(f"w{self._names}", wanted, detail, codec, self.cursor(), self._frame_bytes)
            if key in self._views:  # a second time the same on one connection: a view of its own
                key = (f"{key[0]} {view.name}", detail, codec.name)
            self._views[key] = view
            if view.counting:
                self.tick()
                view.recount(self.everybody())
        watch = Watch(self, view, sink)
        self.tick()
        view.fall_behind(watch)
        return watch

    def leave(self, watch: Watch) -> None:
        """Drop a watcher."""
        watch.ended = True
        watch.view.drop(watch)
        if watch.view.empty:
            self._views = {key: view for key, view in self._views.items() if view is not watch.view}

    async def missed(self, since: dict[int, tuple[int, int, int]], most: int) -> list[Turn] | None:
        """Read what happened since a cursor; None if that cannot be told any more."""
        if since.keys() != self._places.keys():
            return None
        now = dict(self._places)
        if sum(now[n].seq - since[n][1] for n in now) > most:
            return None
        turns: list[Turn] = []
        for number, place in now.items():
            epoch, seq, at_ms = since[number]
            if epoch != epoch_sum(place.epoch) or seq > place.seq:
                return None
            if seq == place.seq:
                continue
            missed = await self._source.missed(number, Place(place.epoch, seq, at_ms), place)
            if missed is None:
                return None
            turns += [
                Turn(number, head_of(packed).agent, None, Shown(self.project, place.epoch, packed))
                for packed in missed
            ]
        return turns

    # Telling.

    def tick(self) -> None:
        """Tell the views what came."""
        self._ticking = False
        if not self._turns:
            return
        turns, self._turns = self._turns, []
        cursor = self.cursor()
        for view in list(self._views.values()):
            view.tell(turns, cursor)

    def _soon(self) -> None:
        if self._turns and not self._ticking:
            self._ticking = True
            self.loop.call_soon(self.tick)

    def _note(self, number: int, epoch: str, difference: Difference[bytes], packed: bytes) -> None:
        before = difference.before
        shown = None if before is None else Shown(self.project, epoch, before)
        after = Shown(self.project, epoch, packed)
        self._turns.append(Turn(number, difference.id, shown, after))


def _number_of(packed: bytes) -> tuple[str, int]:
    return "", tip_of(packed)[0]
