"""All watches of a hub: which projects they need, and for how long those are kept warm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lifesigns.core.codec import Codec
from lifesigns.core.filter import Filter
from lifesigns.hub.cursor import read_cursor
from lifesigns.hub.packet import message
from lifesigns.hub.scene import Scene, Source
from lifesigns.hub.watch import Sink, Watch

WARM_S = 60.0  # a dashboard that reconnects finds the roster where it was
REPLAYED = 20_000  # changes; for more a snapshot is cheaper


class Fanout:
    """The way up: every watch of this hub goes through here."""

    def __init__(self, source_of: Callable[[str], Source], *, frame_bytes: int) -> None:
        self._source_of = source_of
        self._frame_bytes = frame_bytes
        self._loop = asyncio.get_running_loop()
        self._scenes: dict[str, Scene] = {}

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
        names: frozenset[str] = frozenset(),
    ) -> Watch:
        """Begin a watch: its first frames are on their way when this returns."""
        cursor = None if since is None else read_cursor(since)
        scene = self._scenes.get(project)
        if scene is None:
            scene = Scene(project, self._source_of(project), self._frame_bytes)
            self._scenes[project] = scene
        await asyncio.shield(scene.loaded)
        watch = scene.watch(wanted, detail, codec, sink, names)
        missed = None
        if cursor is not None and since is not None and detail != "counts":
            turns = await scene.missed(cursor, REPLAYED)
            if turns is not None:
                missed = watch.view.replay(turns, since, watch.cursor)
        sink.deliver(
            message(
                codec,
                "watching",
                ref=ref,
                watch=watch.view.name,
                resumed=missed is not None,
                held_until=None,
            )
        )
        if cursor is not None and missed is None and detail != "counts":
            watch.restart("history_trimmed")
        else:
            watch.begin(since, missed)
        return watch

    def unwatch(self, project: str, watch: Watch) -> None:
        """End a watch."""
        scene = self._scenes[project]
        scene.leave(watch)
        if scene.idle:
            self._loop.call_later(WARM_S, self._cool, project)

    def _cool(self, project: str) -> None:
        scene = self._scenes.get(project)
        if scene is not None and scene.idle:
            scene.close()
            del self._scenes[project]
