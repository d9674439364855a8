"""The watches of one connection."""

from __future__ import annotations

from lifesigns.core.codec import Codec
from lifesigns.core.errors import BadRequest
from lifesigns.core.request import WatchAsked
from lifesigns.hub.fanout import Fanout
from lifesigns.hub.packet import Sink
from lifesigns.hub.watch import Watch


class Spectator:
    """Begins and ends the watches of one peer, whose frames go to one sink."""

    def __init__(self, fanout: Fanout, project: str, codec: Codec, sink: Sink, most: int) -> None:
        self._fanout = fanout
        self._project = project
        self._codec = codec
        self._sink = sink
        self._most = most
        self._beginning = 0
        self._closed = False
        self._watches: dict[str, Watch] = {}  # by name

    async def begin(self, asked: WatchAsked) -> None:
        """Begin a watch; its frames follow by themselves."""
        if len(self._watches) + self._beginning >= self._most:
            raise BadRequest(f"At most {self._most} watches at once.")
        self._beginning += 1
        try:
            watch = await self._fanout.watch(
                self._project,
                asked.wanted,
                asked.detail,
                self._codec,
                self._sink,
                ref=asked.ref,
                since=asked.since,
            )
        finally:
            self._beginning -= 1
        if self._closed:
            self._fanout.unwatch(self._project, watch)
        else:
            self._watches[watch.view.name] = watch

    def end(self, name: str) -> bool:
        """End a watch; answer whether there was such a one."""
        watch = self._watches.pop(name, None)
        if watch is not None:
            self._fanout.unwatch(self._project, watch)
        return watch is not None

    def pump(self) -> None:
        """The peer reads again."""
        for watch in list(self._watches.values()):
            watch.pump()

    def close(self) -> None:
        """The peer is gone."""
        self._closed = True
        for name in list(self._watches):
            self.end(name)
