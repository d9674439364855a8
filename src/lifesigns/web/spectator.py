"""The watches of one connection."""

from __future__ import annotations

from lifesigns.core.codec import Codec
from lifesigns.core.errors import BadRequest
from lifesigns.core.request import WatchAsked
from lifesigns.hub.fanout import Fanout
from lifesigns.hub.packet import Packet, Sink
from lifesigns.hub.watch import Watch


class Spectator:
    """Begins and ends the watches of one peer, whose frames go to one sink."""

    def __init__(self, fanout: Fanout, project: str, codec: Codec, sink: Sink, most: int) -> None:
        self._fanout = fanout
        self._project = project
        self.codec = codec
        self._sink = sink
        self._most = most
        self._beginning = 0
        self._closed = False
        self._watches: dict[str, Watch] = {}  # by name
        self._notices: dict[str, Packet] = {}  # by code: those it has not read yet

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
                self.codec,
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
            self._fanout.seat(self)

    def end(self, name: str) -> bool:
        """End a watch; answer whether there was such a one."""
        watch = self._watches.pop(name, None)
        if watch is not None:
            self._fanout.unwatch(self._project, watch)
            if not self._watches:
                self._fanout.dismiss(self)
        return watch is not None

    def notice(self, code: str, packet: Packet) -> None:
        """Tell the peer what concerns all its watches; of each code the latest, when it reads."""
        self._notices.pop(code, None)
        self._notices[code] = packet
        self._flush()

    def _flush(self) -> None:
        while self._notices and self._sink.ready:
            self._sink.deliver(self._notices.pop(next(iter(self._notices))))

    def pump(self) -> None:
        """The peer reads again."""
        self._flush()
        for watch in list(self._watches.values()):
            watch.pump()

    def close(self) -> None:
        """The peer is gone."""
        self._closed = True
        for name in list(self._watches):
            self.end(name)
