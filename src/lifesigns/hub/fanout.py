"""All watches of a hub: which projects they need, and for how long those are kept warm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from lifesigns.core.codec import Codec
from lifesigns.core.errors import Unavailable
from lifesigns.core.filter import Filter
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.hub.beat import Beats, BeatSource
from lifesigns.hub.cursor import Since, read_cursor
from lifesigns.hub.packet import Packet, Sink, message
from lifesigns.hub.replay import Replay
from lifesigns.hub.scene import Scene, Source
from lifesigns.hub.view import View
from lifesigns.hub.watch import Watch

WARM_S = 60.0  # a dashboard that reconnects finds the roster where it was
LOADING_S = 10.0  # a hundred thousand agents take less; whoever waits longer is told why


class Hold(Protocol):
    """What is known of the ends of leases."""

    @property
    def until_ms(self) -> int | None:
        """Until when none is ended; None if they are ended in time."""


class Audience(Protocol):
    """A peer that watches anything, to be told what concerns all its watches."""

    @property
    def codec(self) -> Codec: ...

    def notice(self, code: str, packet: Packet) -> None:
        """Send it a notice, as soon as it reads."""


class Fanout:
    """The way up: every watch of this hub goes through here."""

    def __init__(
        self,
        source_of: Callable[[str], Source],
        beat_source: BeatSource,
        hold: Hold,
        *,
        frame_bytes: int,
    ) -> None:
        self._hold = hold
        self._audiences: dict[Audience, None] = {}
        self._away = False  # the store
        self._source_of = source_of
        self._beat_source = beat_source
        self._beats: dict[View, Beats] = {}  # of views with watchers who want every beat
        self._frame_bytes = frame_bytes
        self._loop = asyncio.get_running_loop()
        self._scenes: dict[str, Scene] = {}
        self._cooling: dict[str, asyncio.TimerHandle] = {}

    @property
    def watchers(self) -> int:
        return sum(scene.watchers for scene in self._scenes.values())

    def watching(self, project: str) -> int:
        """Count the watches of a project on this hub."""
        scene = self._scenes.get(project)
        return 0 if scene is None else scene.watchers

    async def watch(
        self,
        project: str,
        wanted: Filter,
        detail: str,
        codec: Codec,
        sink: Sink,
        *,
        ref: str | int | None,
        since: str | None,
    ) -> Watch:
        """Begin a watch: its first frames are on their way when this returns."""
        cursor = None if since is None or detail == "counts" else read_cursor(since)
        scene = await self._warm(project, cursor)
        watch = scene.watch(wanted, "full" if detail == "beats" else detail, codec, sink)
        missed: Replay | str | None = None
        try:
            if detail == "beats":
                self._listen(watch)
                await self._beat_source.listening(project)
            if cursor is not None:
                missed = await scene.missed(watch, cursor)
                missed = watch.stale or missed
        except BaseException:
            self.unwatch(project, watch)
            raise
        resumed = isinstance(missed, Replay)
        name, until_ms = watch.view.name, self._hold.until_ms
        held_until = to_text_or_none(until_ms)
        sink.deliver(
            message(codec, "watching", ref=ref, watch=name, resumed=resumed, held_until=held_until)
        )
        if isinstance(missed, str):
            sink.deliver(message(codec, "resync", watch=name, why=missed))
        watch.begin(missed if isinstance(missed, Replay) else None)
        if watch.listener is not None:
            watch.listener.begin()
        return watch

    def unwatch(self, project: str, watch: Watch) -> None:
        """End a watch."""
        self._scenes[project].leave(watch)
        self._cool_later(project)
        if watch.listener is not None:
            watch.listener.close()
            if self._beats[watch.view].empty:
                del self._beats[watch.view]

    def _listen(self, watch: Watch) -> None:
        """Have a watcher shown every beat of the agents that it names."""
        view = watch.view
        if view not in self._beats:
            self._beats[view] = Beats(self._beat_source, view, self._frame_bytes)
        watch.listener = self._beats[view].join(watch.sink)

    # What concerns all who watch.

    def seat(self, audience: Audience) -> None:
        """Count a peer among those who watch; one that comes while the store is away is told so."""
        if audience not in self._audiences:
            self._audiences[audience] = None
            if self._away:
                self._tell([audience], "store_away")

    def dismiss(self, audience: Audience) -> None:
        """It watches nothing any more."""
        self._audiences.pop(audience, None)

    def store_is_away(self) -> None:
        """What is shown from now on may be old."""
        if not self._away:
            self._away = True
            self._tell(self._audiences, "store_away")

    def store_is_back(self) -> None:
        """What happened meanwhile is told from now on."""
        if self._away:
            self._away = False
            self._tell(self._audiences, "store_back")

    def held(self, until_ms: int) -> None:
        """No lease is ended for a while."""
        self._tell(self._audiences, "held", held_until=to_text(until_ms))

    def _tell(self, audiences: Iterable[Audience], code: str, **more: Any) -> None:
        packets: dict[str, Packet] = {}
        for audience in list(audiences):
            codec = audience.codec
            if codec.name not in packets:
                packets[codec.name] = message(codec, "notice", code=code, **more)
            audience.notice(code, packets[codec.name])

    # Projects.

    async def scene(self, project: str) -> Scene:
        """Follow a project for somebody who attends it, and is to do so at once."""
        return await self._warm(project, None)

    def rest(self, project: str) -> None:
        """Somebody attends a project no more."""
        self._cool_later(project)

    async def _warm(self, project: str, cursor: Since | None) -> Scene:
        """Follow a project, and return when all of it is known, up to a cursor at least."""
        scene = self._scenes.get(project)
        if scene is None:
            scene = self._scenes[project] = Scene(
                project, self._source_of(project), self._frame_bytes
            )
        self._cool_later(project)
        try:
            async with asyncio.timeout(LOADING_S):
                await scene.reach(cursor)
        except TimeoutError:
            raise Unavailable("Who is there cannot be read now.") from None
        return scene

    def _cool_later(self, project: str) -> None:
        former = self._cooling.pop(project, None)
        if former is not None:
            former.cancel()
        self._cooling[project] = self._loop.call_later(WARM_S, self._cool, project)

    def _cool(self, project: str) -> None:
        del self._cooling[project]
        if self._scenes[project].idle:
            self._scenes.pop(project).close()
