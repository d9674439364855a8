"""All watches of a hub: which projects they need, and for how long those are kept warm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lifesigns.core.codec import Codec
from lifesigns.core.errors import Unavailable
from lifesigns.core.filter import Filter
from lifesigns.hub.cursor import Since, read_cursor
from lifesigns.hub.packet import message
from lifesigns.hub.replay import Replay
from lifesigns.hub.scene import Scene, Source
from lifesigns.hub.watch import Sink, Watch

WARM_S = 60.0  # a dashboard that reconnects finds the roster where it was
LOADING_S = 10.0  # a hundred thousand agents take less; whoever waits longer is told why


class Fanout:
    """The way up: every watch of this hub goes through here."""

    def __init__(self, source_of: Callable[[str], Source], *, frame_bytes: int) -> None:
        self._source_of = source_of
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
        watch = scene.watch(wanted, detail, codec, sink)
        missed: Replay | str | None = None
        if cursor is not None:
            try:
                missed = await scene.missed(watch, cursor)
            except BaseException:
                self.unwatch(project, watch)
                raise
            missed = watch.stale or missed
        resumed = isinstance(missed, Replay)
        name = watch.view.name
        sink.deliver(
            message(codec, "watching", ref=ref, watch=name, resumed=resumed, held_until=None)
        )
        if isinstance(missed, str):
            sink.deliver(message(codec, "resync", watch=name, why=missed))
        watch.begin(missed if isinstance(missed, Replay) else None)
        return watch

    def unwatch(self, project: str, watch: Watch) -> None:
        """End a watch."""
        self._scenes[project].leave(watch)
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
