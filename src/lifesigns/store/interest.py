"""Whose every beat somebody watches, on whichever hub, and how these beats get there.

A hub where somebody wants every beat of some agents says so on a channel that all hubs hear, and
says it again while that lasts; a hub that begins to hear asks what the others want. Whoever takes
a beat of such an agent publishes it on a channel of the project. Nothing of this is stored, and
all of it is best effort: complete and in order for each agent while the links hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgpack

from lifesigns.core.beat import Beat, pack_beats, unpack_beats
from lifesigns.core.errors import Unavailable
from lifesigns.store import keys
from lifesigns.store.link import Link

REPEAT_S = 5.0
LAPSE_S = 3 * REPEAT_S  # a want that was not repeated for so long is not wanted any more
LISTENING_S = 3.0  # a store that is there confirms a subscription at once
NAMED_AT_ONCE = 1_000  # agents in a message, of a hundred kB at most

Hear = Callable[[Sequence[Beat]], None]
Leave = Callable[[], None]


class Interest:
    """What the hubs want to hear of, and the beats on their way."""

    def __init__(self, link: Link, inbox: Link) -> None:
        self._link = link
        self._inbox = inbox  # the link that subscribes
        self._loop = asyncio.get_running_loop()
        self._database = link.address.db
        self._channel = keys.interest(self._database)
        self._rooms: dict[str, _Room] = {}  # by channel: where somebody here listens
        self._out: dict[str, list[Beat]] = {}  # by project: to be published in this turn
        self._repeating: asyncio.TimerHandle | None = None
        # Agents whose every beat somebody wants, on any hub, and until when that is good. Nobody
        # looks anything up while it is empty.
        self.wanted: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        """Hear what the other hubs want."""
        self._inbox.subscribe(self._channel)

    def stop(self) -> None:
        """Say nothing any more."""
        if self._repeating is not None:
            self._repeating.cancel()

    # Who listens here.

    def follow(self, project: str, agents: frozenset[str], hear: Hear) -> Leave:
        """Hear every beat of some agents from now on; call what is answered to end that.

        ``listening`` says when none of this hub can be missed any more; beats of other hubs come
        as soon as these have been told.
        """
        channel = keys.beats(project, self._database)
        room = self._rooms.get(channel)
        if room is None:
            room = self._rooms[channel] = _Room(project)
            self._inbox.subscribe(channel)
        token = object()
        room.listeners[token] = agents, hear
        self._want(project, agents)
        self._say(["want", project, list(agents)])

        def leave() -> None:
            room.listeners.pop(token, None)
            if not room.listeners and self._rooms.get(channel) is room:
                del self._rooms[channel]
                self._inbox.unsubscribe(channel)

        return leave

    async def listening(self, project: str) -> None:
        """Return when what is published for a project is heard here; it must be followed."""
        room = self._rooms[keys.beats(project, self._database)]
        try:
            async with asyncio.timeout(LISTENING_S):
                await room.open.wait()
        except TimeoutError:
            raise Unavailable("Beats cannot be heard now.") from None

    # What comes from the store.

    def confirmed(self, channel: str) -> None:
        """A subscription was confirmed: what was said before was not heard."""
        if channel == self._channel:
            self._say(["who"])
        elif channel in self._rooms:
            self._rooms[channel].open.set()

    def heard(self, channel: str, data: bytes) -> None:
        """A message came on a channel."""
        if channel == self._channel:
            what, *about = msgpack.unpackb(data)
            if what == "who":
                self._say_all()
            elif what == "want":
                project, agents = about
                self._want(project, agents)
        elif channel in self._rooms:
            self._rooms[channel].hear(unpack_beats(data))

    def store_is_back(self) -> None:
        """What was said meanwhile got lost."""
        self._say_all()
        self._say(["who"])

    # What is said here.

    def show(self, project: str, beat: Beat) -> None:
        """Publish a beat of an agent that is wanted, with the others of this turn of the loop."""
        beats = self._out.get(project)
        if beats is not None:
            beats.append(beat)
            return
        self._out[project] = [beat]
        self._loop.call_soon(self._publish, project)

    def _publish(self, project: str) -> None:
        self._tell(keys.beats(project, self._database), pack_beats(self._out.pop(project)))

    def _want(self, project: str, agents: Iterable[str]) -> None:
        until = self._loop.time() + LAPSE_S
        for agent in agents:
            self.wanted[project, agent] = until
        if self._repeating is None and self.wanted:
            self._repeating = self._loop.call_later(REPEAT_S, self._repeat)

    def _repeat(self) -> None:
        """Say again what is wanted here, and drop what nobody said again."""
        self._repeating = None
        self._say_all()
        now = self._loop.time()
        self.wanted = {agent: until for agent, until in self.wanted.items() if until > now}
        if self.wanted and self._repeating is None:
            self._repeating = self._loop.call_later(REPEAT_S, self._repeat)

    def _say_all(self) -> None:
        for room in self._rooms.values():
            agents = sorted(set().union(*[named for named, _ in room.listeners.values()]))
            self._want(room.project, agents)
            for i in range(0, len(agents), NAMED_AT_ONCE):
                self._say(["want", room.project, agents[i : i + NAMED_AT_ONCE]])

    def _say(self, message: list[Any]) -> None:
        self._tell(self._channel, bytes(msgpack.packb(message)))

    def _tell(self, channel: str, data: bytes) -> None:
        self._link.call(("PUBLISH", channel, data), lambda _: None)


class _Room:
    """Those on this hub who listen to beats of one project."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.open = asyncio.Event()  # once it was confirmed that this hub hears them
        self.listeners: dict[object, tuple[frozenset[str], Hear]] = {}

    def hear(self, beats: Sequence[Beat]) -> None:
        for agents, hear in list(self.listeners.values()):
            theirs = [beat for beat in beats if beat.id in agents]
            if theirs:
                hear(theirs)
