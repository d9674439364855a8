"""One project on this hub, while somebody here watches it.

It follows all lanes of the project and keeps who is there as packed bytes. What comes in one turn
of the loop is told to the views at once; while a telling takes long, more comes for the next, so
that the pace is set by what the sockets take. Watchers that need something of their own get it in
slices, in turns.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from lifesigns.core.change import FORGOTTEN, Place, head_of, tip_of
from lifesigns.core.codec import Codec
from lifesigns.core.filter import Filter
from lifesigns.core.model import Words
from lifesigns.core.roster import Difference, Outcome, Roster
from lifesigns.core.roster import Turn as RosterTurn
from lifesigns.hub.cursor import Position, Since, epoch_sum
from lifesigns.hub.packet import Sink
from lifesigns.hub.replay import Replay
from lifesigns.hub.turn import Shown, Turn
from lifesigns.hub.view import View
from lifesigns.hub.watch import Watch

SETTLE_S = 0.05  # lanes are mostly read anew together; watchers begin anew once for all of them
SLICE_S = 0.005  # for watchers that are sent something of their own, before all others go on
KNOWN = 8_192  # agents kept unpacked and spelled: a page that many ask for in the same moment
REPLAYED = 20_000  # changes; for more a snapshot is cheaper

ViewKey = tuple[str, str, str, str]


class Follower(Protocol):
    """Who follows a lane."""

    def changed(self, lane: int, place: Place, changes: list[bytes]) -> None:
        """These came next; ``place`` is where they lead to."""

    def renewed(self, lane: int, place: Place, agents: dict[str, bytes], why: str) -> None:
        """The lane was read anew: whoever is not among ``agents`` is not there."""


class Source(Protocol):
    """Where a project's changes come from; its lanes are numbered, each with its own history."""

    @property
    def lanes(self) -> list[int]: ...

    def follow(self, lane: int, follower: Follower) -> None:
        """Follow a lane; it begins with ``renewed``."""

    def leave(self, lane: int) -> None:
        """Follow it no more."""

    async def catch_up(self, lane: int) -> None:
        """Return when all is told of a lane that was written before now."""

    async def missed(self, lane: int, place: Place, until: Place) -> list[bytes] | None:
        """Read the changes between two places; None if they are not to be had any more."""

    async def before(self, lane: int, changes: list[bytes]) -> dict[str, Words]:
        """Read what agents said before the first of these changes, as far as that is kept."""


class Ear(Protocol):
    """Who needs to know of every change, and is sent nothing."""

    def heard(self, lane: int, agent: str) -> None:
        """An agent has altered, or was forgotten."""

    def renewed(self, lane: int) -> None:
        """All agents of a lane may be others than before."""


class Scene:
    """Who is there in one project, and who watches."""

    def __init__(self, project: str, source: Source, frame_bytes: int) -> None:
        self.project = project
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._frame_bytes = frame_bytes
        self._rosters: dict[int, Roster[bytes]] = {
            lane: Roster(_number_of) for lane in source.lanes
        }
        self._places: dict[int, Place] = {}
        # Ordered: to find the oldest of a plain dict takes a walk over all that were dropped.
        self._known: OrderedDict[tuple[int, str], Shown] = OrderedDict()
        self._members: list[tuple[int, str]] | None = None
        self._views: dict[ViewKey, View] = {}
        self._ears: list[Ear] = []
        self._turns: list[Turn] = []
        self._ticking = False
        self._queue: deque[Watch] = deque()
        self._serving = False
        self._settling = False
        self._names = 0
        # Done while all lanes are known, and all watchers were told so.
        self._loaded: asyncio.Future[None] = self._loop.create_future()
        for lane in self._rosters:
            source.follow(lane, self)

    def close(self) -> None:
        """Follow the project no more."""
        for lane in self._rosters:
            self._source.leave(lane)

    @property
    def idle(self) -> bool:
        """Whether nobody watches or listens."""
        return not self._views and not self._ears

    @property
    def watchers(self) -> int:
        return sum(len(view.steady) + len(view.behind) for view in self._views.values())

    # Who is there.

    def members(self) -> Sequence[tuple[int, str]]:
        """Name all agents, each with its lane; many who begin at once share one list."""
        if self._members is None:
            self._members = [
                (lane, agent) for lane, roster in self._rosters.items() for agent in roster.agents
            ]
        return self._members

    def shown(self, lane: int, agent: str) -> Shown | None:
        """Show one agent as it is now."""
        shown = self._known.get((lane, agent))
        if shown is None:
            packed = self._rosters[lane].agents.get(agent)
            if packed is None:
                return None
            shown = Shown(self.project, self._places[lane].epoch, packed)
            self._know(lane, agent, shown)
        return shown

    def place(self, lane: int) -> Place:
        """Tell how far a lane is known."""
        return self._places[lane]

    def attend(self, ear: Ear) -> None:
        """Let somebody know of every change from now on."""
        self._ears.append(ear)

    def forsake(self, ear: Ear) -> None:
        """It needs that no more."""
        self._ears.remove(ear)

    def _know(self, lane: int, agent: str, shown: Shown) -> None:
        if len(self._known) >= KNOWN:
            self._known.popitem(last=False)
        self._known[lane, agent] = shown

    def _everybody(self) -> Iterator[Shown]:
        for lane, roster in self._rosters.items():
            epoch = self._places[lane].epoch
            for packed in roster.agents.values():
                yield Shown(self.project, epoch, packed)

    # What the feed says.

    def changed(self, lane: int, place: Place, changes: list[bytes]) -> None:
        """Take the changes that came next in a lane."""
        roster = self._rosters[lane]
        for packed in changes:
            head = head_of(packed)
            value = None if head.kind == FORGOTTEN else packed
            batch = [RosterTurn(head.agent, ("", head.seq), value)]
            differences = roster.advance(head.seq - 1, head.seq, batch)
            assert not isinstance(differences, Outcome), "the feed leaves no gap"
            for difference in differences:
                self._note(lane, place.epoch, difference, packed)
        self._places[lane] = place
        for ear in self._ears:
            for packed in changes:
                ear.heard(lane, head_of(packed).agent)
        if self._turns and not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick)

    def _note(self, lane: int, epoch: str, difference: Difference[bytes], packed: bytes) -> None:
        agent, before = difference.id, difference.before
        was = self._known.pop((lane, agent), None)
        if before is None or difference.after is None:
            self._members = None
        if not self._views or not self._loaded.done():
            return
        if was is None and before is not None:
            was = Shown(self.project, epoch, before)
        turn = Turn(lane, agent, was, Shown(self.project, epoch, packed))
        if not turn.forgotten:
            self._know(lane, agent, turn.after)
        self._turns.append(turn)

    def renewed(self, lane: int, place: Place, agents: dict[str, bytes], why: str) -> None:
        """A lane was read anew."""
        roster = self._rosters[lane]
        roster.restart()
        roster.load(agents, place.seq)
        self._places[lane] = place
        self._known.clear()
        self._members = None
        for ear in self._ears:
            ear.renewed(lane)
        if len(self._places) < len(self._rosters) or self._settling:
            return
        if not self._loaded.done():
            self._loaded.set_result(None)
            return
        self._settling = True
        self._turns.clear()  # what they told, and what is not told now, is in the snapshots
        self._loaded = self._loop.create_future()
        self._loop.call_later(SETTLE_S, self._settle, why)

    def _settle(self, why: str) -> None:
        self._settling = False
        self._loaded.set_result(None)
        position = Position(self._places)
        for view in list(self._views.values()):
            view.position = position
            if view.counting:
                view.recount(self._everybody())
            for watch in [*view.steady, *view.behind]:
                watch.restart(why)

    # Who watches.

    def watch(self, wanted: Filter, detail: str, codec: Codec, sink: Sink) -> Watch:
        """Add a watcher; it keeps what comes until it begins."""
        self.tick()
        key = (repr(wanted), detail, codec.name, "")
        view = self._views.get(key)
        if view is None or sink in view.sinks:
            self._names += 1
            name = f"w{self._names}"
            if view is not None:  # a second time the same on one connection: a view of its own
                key = (*key[:3], name)
            position, now = Position(self._places), self._loop.time()
            view = View(self.project, name, wanted, detail, codec, position, self._frame_bytes, now)
            self._views[key] = view
            if view.counting:
                view.recount(self._everybody())
        watch = Watch(self, view, sink)
        view.fall_behind(watch)
        return watch

    def leave(self, watch: Watch) -> None:
        """Drop a watcher."""
        watch.ended = True
        watch.view.drop(watch)
        if watch.view.empty:
            self._views = {key: view for key, view in self._views.items() if view is not watch.view}

    async def reach(self, since: Since | None) -> None:
        """Return when all is known here, and what another hub knew when it gave the cursor."""
        await self._known_whole()
        if since is not None:
            for lane, (epoch, seq, _) in since.places.items():
                place = self._places.get(lane)
                if place is not None and (epoch != epoch_sum(place.epoch) or seq > place.seq):
                    await self._source.catch_up(lane)
            await self._known_whole()

    async def _known_whole(self) -> None:
        while not self._loaded.done():
            await asyncio.shield(self._loaded)

    async def missed(self, watch: Watch, since: Since) -> Replay | str:
        """Read what a watcher missed since its cursor, or say why that cannot be told."""
        if since.mark != watch.view.mark:
            return "filter"
        now = dict(self._places)
        if since.places.keys() != now.keys():
            return "epoch"
        begin = {}
        for lane, (epoch, seq, at_ms) in since.places.items():
            if epoch != epoch_sum(now[lane].epoch) or seq > now[lane].seq:
                return "epoch"
            begin[lane] = Place(now[lane].epoch, seq, at_ms)
        if sum(now[lane].seq - begin[lane].seq for lane in now) > REPLAYED:
            return "overflow"
        end = watch.view.position
        changes: list[tuple[int, list[bytes]]] = []
        before: dict[str, Words] = {}
        for lane, place in begin.items():
            if place.seq < now[lane].seq:
                missed = await self._source.missed(lane, place, now[lane])
                if missed is None:
                    return "history_trimmed"
                changes.append((lane, missed))
                if watch.view.wanted.worded:
                    before |= await self._source.before(lane, missed)
        return Replay(Position(begin), end, changes, before)

    # Telling.

    def tick(self) -> None:
        """Tell the views what came."""
        if not self._turns:
            return
        turns, self._turns = self._turns, []
        position, now = Position(self._places), self._loop.time()
        for view in list(self._views.values()):
            view.tell(turns, position, now)

    def _tick(self) -> None:
        self._ticking = False
        self.tick()

    def later(self, watch: Watch) -> None:
        """Pump a watch when others had their turn."""
        watch.waits = True
        self._queue.append(watch)
        self._serve_soon()

    def _serve_soon(self) -> None:
        if self._queue and not self._serving:
            self._serving = True
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        until = self._loop.time() + SLICE_S
        while self._queue and self._loop.time() < until:
            watch = self._queue.popleft()
            watch.waits = False
            watch.pump()
        self._serving = False
        self._serve_soon()


def _number_of(packed: bytes) -> tuple[str, int]:
    return "", tip_of(packed)[0]
