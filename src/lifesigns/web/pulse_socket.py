"""A WebSocket on which one agent is listened to: the other conversation that sockets here have.

It shares the frames, the wheel and the lobby with that of ``socket``; what is told is made of a
watch on the agent's every beat, and is bounded as that is. Nothing is read before the watch
stands, so that whoever had a pong misses nothing from then on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from lifesigns.core.access import Grant, check_agent_id
from lifesigns.core.codec import JSON
from lifesigns.core.errors import Internal, LifesignsError, Revoked
from lifesigns.core.filter import Filter
from lifesigns.core.request import WatchAsked
from lifesigns.dialects import pulse
from lifesigns.hub.packet import Packet
from lifesigns.web.door import Asked, Knock, identify
from lifesigns.web.framing import PING, TEXT, Framing, frame
from lifesigns.web.http import refuse
from lifesigns.web.lobby import CLOSE_WAIT_S, GOING_AWAY, Lobby
from lifesigns.web.spectator import Spectator

if TYPE_CHECKING:
    from uvicorn.server import ServerState

log = logging.getLogger(__name__)

SILENCE_S = 30.0  # then a peer is pinged, and after as long again it is gone
MESSAGE_BYTES = 65_536  # it has nothing to say but pings
_PING = frame(PING, b"")


class PulseSocket(asyncio.Protocol):
    """One listener, from its upgrade on, of which the answer is still to come."""

    def __init__(
        self, lobby: Lobby, server_state: ServerState, transport: asyncio.Transport, asked: Asked
    ) -> None:
        assert asked.knock is not None, "others were let in already"
        self._lobby = lobby
        self._server_state = server_state
        self._transport = transport
        self._asked = asked
        self._knock: Knock = asked.knock
        self._framing: Framing | None = None
        self._spectator: Spectator | None = None
        self._story = pulse.Story()
        self._grant: Grant | None = None
        self._paused = False  # the peer does not read what was written
        self._pinged = False  # it was pinged, and nothing was heard since
        self._cut_at: float | None = None  # when it is cut, if it does not answer the close
        self.slot = 0

    def take_over(self, former: asyncio.Protocol) -> None:
        """Have the connection, as soon as uvicorn has left it to the one that it goes on with."""
        self._transport.pause_reading()
        self._server_state.connections.discard(cast(Any, former))
        self._lobby.loop.call_soon(self._attend)

    @property
    def key_id(self) -> str | None:
        return None if self._grant is None else self._grant.key_id

    # What the transport says.

    def data_received(self, data: bytes) -> None:
        framing = self._framing
        if framing is None:
            return
        self._pinged = False
        for opcode, payload in framing.receive_data(data):
            if opcode == TEXT and pulse.is_ping(payload):
                self._send(pulse.pong(self._lobby.clock.at_ms(self._lobby.loop.time())))
        self._flush()

    def eof_received(self) -> bool:
        if self._framing is not None:
            self._framing.receive_eof()
            self._flush()
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(cast(Any, self))
        self._lobby.open.discard(self)
        if self.slot:
            self._lobby.wheel.remove(self)
        if self._spectator is not None:
            self._spectator.close()
        self._framing = None

    def pause_writing(self) -> None:
        self._paused = True
        self._transport.pause_reading()  # or pongs would pile up

    def resume_writing(self) -> None:
        self._paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            if self._spectator is not None:
                self._spectator.pump()

    # What a watch wants of its peer.

    @property
    def ready(self) -> bool:
        return not self._paused and self._is_open

    def deliver(self, packet: Packet) -> None:
        if packet.type in ("snapshot", "changes", "beats"):
            for event in self._story.tell(JSON.decode(packet.payload)):
                self._send(event)

    # What uvicorn and the hub say.

    def forewarn(self, reconnect_in_ms: int) -> None:
        """Its clients know no such word."""

    def send_away(self) -> None:
        self._end(GOING_AWAY, "goaway")

    def shutdown(self) -> None:
        self._transport.abort()

    def revoked(self) -> None:
        error = Revoked("The key of this socket was revoked.")
        self._end(error.close_code, error.code)

    def tick(self, now: float) -> float | None:
        """Cut who is gone, and ping who was silent."""
        if self._framing is None:
            return None
        if self._pinged or (self._cut_at is not None and now >= self._cut_at):
            self._transport.abort()
            return None
        if self._cut_at is not None:
            return self._cut_at
        self._pinged = True
        self._transport.write(_PING)
        return now + SILENCE_S

    # Inside.

    def _attend(self) -> None:
        if not self._transport.is_closing():
            self._transport.set_protocol(self)
            self._server_state.connections.add(cast(Any, self))
            self._lobby.open.add(self)
            self._lobby.spawn(self._admit())

    @property
    def _is_open(self) -> bool:
        framing = self._framing
        return framing is not None and framing.code is None and not self._transport.is_closing()

    async def _admit(self) -> None:
        lobby = self._lobby
        try:
            grant = await identify(lobby.gate, self._asked)
            grant.allow_watch()
            check_agent_id(self._knock.agent)
            await lobby.store.know(grant.project)
        except LifesignsError as error:
            self._refuse(error)
        except Exception:
            log.exception("a listener could not be identified")
            self._refuse(Internal())
        else:
            await self._begin(grant)

    def _refuse(self, error: LifesignsError) -> None:
        answer = refuse(error)
        body = bytes(answer.body)
        self._transport.write(self._knock.refuse(answer.status_code, answer.headers, body))
        self._transport.close()

    async def _begin(self, grant: Grant) -> None:
        if self._transport.is_closing():
            return
        lobby = self._lobby
        self._transport.write(self._knock.accept())
        self._grant = grant
        self._framing = Framing(MESSAGE_BYTES)
        lobby.wheel.place(self, lobby.loop.time() + SILENCE_S)
        if lobby.gate.ended(grant):
            self.revoked()
        elif lobby.draining:  # since a moment ago: it is none of those that are sent away
            self.send_away()
        else:
            await self._listen(grant)
        if not self._transport.is_closing() and not self._paused:
            self._transport.resume_reading()

    async def _listen(self, grant: Grant) -> None:
        spectator = Spectator(self._lobby.fanout, grant.project, JSON, self, most=1)
        self._spectator = spectator
        try:
            await spectator.begin(WatchAsked(0, Filter(ids=(self._knock.agent,)), None, "beats"))
        except LifesignsError as error:
            self._end(error.close_code, error.code)
        except Exception:
            log.exception("an agent could not be listened to")
            self._end(Internal.close_code, Internal.code)

    def _send(self, event: pulse.Shown) -> None:
        if self._is_open:
            self._transport.write(frame(TEXT, JSON.encode(event)))

    def _end(self, code: int, reason: str) -> None:
        """Close, and cut who does not answer that."""
        if self._framing is None:  # not let in yet
            self._transport.abort()
            return
        self._framing.send_close(code, reason)
        self._flush()

    def _flush(self) -> None:
        """Write what the frames themselves bring about: pongs, and closes."""
        framing = self._framing
        if framing is None:
            return
        writes = framing.data_to_send()
        if writes:
            self._transport.write(b"".join(writes))
        if framing.code is not None and self._cut_at is None:
            lobby = self._lobby
            self._cut_at = lobby.loop.time() + CLOSE_WAIT_S
            lobby.wheel.remove(self)
            lobby.wheel.place(self, self._cut_at)
        if writes and writes[-1] == b"":  # both closes are there
            self._transport.close()
