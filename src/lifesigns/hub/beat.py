"""Every beat of a few agents, for those watchers who want to see them all.

What a link loses is lost; a watcher who reads slowly is told of each agent the latest beat alone,
so that what waits for it is bounded by the agents that it named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from lifesigns.core.beat import Beat, spell
from lifesigns.hub.packet import Packet, Sink, listing, portions
from lifesigns.hub.view import View


class BeatSource(Protocol):
    """Where every beat of an agent comes from, whichever hub it beats on."""

    def follow(
        self, project: str, agents: frozenset[str], hear: Callable[[Sequence[Beat]], None]
    ) -> Callable[[], None]:
        """Hear the beats of some agents; call what is answered to end that."""

    async def listening(self, project: str) -> None:
        """Return when no beat on this hub is missed any more."""


class Listener:
    """One watcher who wants every beat, and those that it is owed."""

    __slots__ = ("_beats", "_begun", "_owed", "_sink")

    def __init__(self, beats: Beats, sink: Sink) -> None:
        self._beats = beats
        self._sink = sink
        self._owed: dict[str, Beat] = {}  # by agent
        self._begun = False

    def begin(self) -> None:
        """Its watch is known by name: send what came so far, and what comes."""
        self._begun = True
        self.pump()

    def pump(self) -> None:
        """Send what it is owed, if it reads."""
        if self._owed and self._begun and self._sink.ready:
            beats, self._owed = list(self._owed.values()), {}
            self.take(beats, self._beats.framed(beats))

    def take(self, beats: Sequence[Beat], packets: Sequence[Packet]) -> None:
        """Take beats, and the packets in which they are; what it does not read it is owed."""
        sent = 0
        if self._begun and not self._owed:
            for packet in packets:
                if not self._sink.ready:
                    break
                self._sink.deliver(packet)
                sent += packet.entries
        for beat in beats[sent:]:
            self._owed.pop(beat.id, None)
            self._owed[beat.id] = beat

    def close(self) -> None:
        """It wants no more."""
        self._beats.leave(self)


class Beats:
    """The beats that the watchers of one view want; framed once for all of them."""

    def __init__(self, source: BeatSource, view: View, frame_bytes: int) -> None:
        self._view = view
        self._frame_bytes = frame_bytes
        self._listeners: dict[Listener, None] = {}
        self._leave = source.follow(view.project, frozenset(view.wanted.ids), self._hear)

    @property
    def empty(self) -> bool:
        return not self._listeners

    def join(self, sink: Sink) -> Listener:
        """Add a watcher; until it begins, it is owed what comes."""
        listener = Listener(self, sink)
        self._listeners[listener] = None
        return listener

    def leave(self, listener: Listener) -> None:
        """Drop a watcher; with the last one this ends."""
        del self._listeners[listener]
        if self.empty:
            self._leave()

    def framed(self, beats: Sequence[Beat]) -> list[Packet]:
        """Frame beats for the watchers of the view."""
        codec = self._view.codec
        entries = [codec.encode(spell(beat)) for beat in beats]
        head = {"watch": self._view.name}
        return [
            listing(codec, "beats", head, "beats", entries[begin:end])
            for begin, end in portions(entries, self._frame_bytes)
        ]

    def _hear(self, beats: Sequence[Beat]) -> None:
        packets = self.framed(beats)
        for listener in list(self._listeners):
            listener.take(beats, packets)
