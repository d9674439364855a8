"""The WebSocket side of the hub: one ``asyncio.Protocol`` a connection, under uvicorn.

No task, no queue, no timer a connection. Frames come from ``framing``, messages from the session
of the core; beats go to the ingest, questions to the store. What all connections share is in the
lobby.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from lifesigns.core.access import Grant
from lifesigns.core.claim import Claim, assigned
from lifesigns.core.errors import (
    BadRequest,
    Internal,
    LifesignsError,
    RateLimited,
    Revoked,
    Unavailable,
)
from lifesigns.core.instant import to_text
from lifesigns.core.model import Words
from lifesigns.core.presence import merge
from lifesigns.core.request import (
    SIGN,
    Beat,
    Bye,
    Event,
    Hello,
    PingAsked,
)
from lifesigns.core.session import NORMAL, PONG, ServerSession
from lifesigns.hub.packet import Packet
from lifesigns.store.entry import Receipt
from lifesigns.store.lease import Lease
from lifesigns.web.answer import reply_to, welcome
from lifesigns.web.door import Asked, identify, open_door
from lifesigns.web.framing import BINARY, PING, TEXT, Framing, frame
from lifesigns.web.guest import Guest, Question
from lifesigns.web.lobby import CLOSE_WAIT_S, GOING_AWAY, Lobby
from lifesigns.web.pulse_socket import PulseSocket

if TYPE_CHECKING:
    from uvicorn.config import Config as UvicornConfig
    from uvicorn.server import ServerState

log = logging.getLogger(__name__)

BACKLOG_BYTES = 1_048_576  # of answers to a peer that does not read; then nothing is read of it


class HubProtocol(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_framing",
        "_guest",
        "_lease",
        "_lobby",
        "_paused",
        "_sent_close",
        "_server_state",
        "_session",
        "_transport",
        "grant",
        "slot",
    )

    def __init__(
        self,
        lobby: Lobby,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: Mapping[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._lobby = lobby
        self._server_state = server_state
        self._framing: Framing | None = None
        self._session: ServerSession | None = None
        self._lease: Lease | None = None
        self._sent_close: float | None = None
        self._paused = False  # the peer does not read what was written
        self._guest: Guest | None = None  # most ask nothing
        self.grant: Grant | None = None
        self.slot = 0

    @property
    def key_id(self) -> str | None:
        return None if self.grant is None else self.grant.key_id

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server_state.connections.add(cast(Any, self))

    def data_received(self, data: bytes) -> None:
        framing, session = self._framing, self._session
        if framing is None or session is None:
            if not self._transport.is_closing():
                self._upgrade(data)
            return
        lobby = self._lobby
        now = lobby.loop.time()
        for opcode, payload in framing.receive_data(data):
            event = session.receive(opcode, payload, now, lobby.clock.offset_ms)
            if event is SIGN:
                if self._lease is not None:
                    lobby.ingest.renew(self._lease, now)
                if opcode == PONG and payload and self._guest is not None:
                    self._guest.ponged(bytes(payload))
            elif event is not None:
                self._act(event, session, now)
        self._write()

    def eof_received(self) -> bool:
        if self._framing is not None:
            self._framing.receive_eof()
            self._write()
        return False  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        lobby = self._lobby
        self._server_state.connections.discard(cast(Any, self))
        lobby.open.discard(self)
        if self.slot:
            lobby.wheel.remove(self)
        lease = self._lease
        if lease is not None:
            self._lease = None
            if lobby.draining:
                lobby.ingest.carry(lease)
            else:
                lobby.ingest.lose(lease, lobby.loop.time())
        if self._guest is not None:
            self._guest.close()
        self._session = self._framing = self._guest = None

    def pause_writing(self) -> None:
        """The peer does not read: watches wait, answers pile up to a bound (see ``_write``)."""
        self._paused = True
        if self._guest is not None:
            self._guest.pause()

    def resume_writing(self) -> None:
        self._paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            if self._guest is not None:
                self._guest.resume()

    # What a watch wants of its peer.

    @property
    def ready(self) -> bool:
        return (
            not self._paused
            and self._framing is not None
            and self._framing.code is None
            and not self._transport.is_closing()
        )

    def deliver(self, packet: Packet) -> None:
        if self._session is None:
            return  # it went away while its watch began
        if packet.framed is None:
            opcode = BINARY if self._session.codec.binary else TEXT
            packet.framed = frame(opcode, packet.payload)
        self._transport.write(packet.framed)

    # What uvicorn and the hub say.

    def forewarn(self, reconnect_in_ms: int) -> None:
        if self._session is not None:
            if self._lease is not None:  # its lease has to last until then
                reconnect_in_ms = min(reconnect_in_ms, self._lease.ttl_ms // 3)
            self._session.send(
                {"type": "goaway", "reconnect_in_ms": reconnect_in_ms, "why": "drain"}
            )
            self._write()

    def send_away(self) -> None:
        if self._session is not None:
            self._session.close(GOING_AWAY, "goaway")
            self._write()

    def shutdown(self) -> None:
        self._transport.abort()

    def refused(self, why: LifesignsError) -> None:
        """A newer session has the instance, or the agent has too many."""
        self._lease = None
        self._end(why)

    def removed(self) -> None:
        """Somebody ended the instance from outside."""
        self._lease = None
        if self._session is not None:
            self._session.close(NORMAL, "removed")
            self._write()

    def ping(self) -> None:
        if self.ready:
            self._transport.write(_PING)

    def tell(self, frame: Mapping[str, Any]) -> None:
        if self.ready and self._session is not None:
            self._session.send(frame)
            self._write()

    def hand(self, message: Mapping[str, Any], received: Callable[[], None]) -> bool:
        session = self._session
        if not self.ready or session is None:
            return False
        mark = self._guest_of(session).hand(received)
        session.send(message)
        self._write()
        self._transport.write(frame(PING, mark))
        return True

    def revoked(self) -> None:
        """The key is not good any more."""
        lease, self._lease = self._lease, None
        if lease is not None:
            self._lobby.ingest.leave(lease, "revoked", "", self._lobby.loop.time())
        self._end(Revoked("The key of this socket was revoked."))

    def tick(self, now: float) -> float | None:
        """The deadline has come, or was put off meanwhile; answer the next one."""
        session = self._session
        if session is None:
            return None
        if self._sent_close is not None:
            if now >= self._sent_close + CLOSE_WAIT_S:
                self._transport.abort()
                return None
            return self._sent_close + CLOSE_WAIT_S
        verdict = session.tick(now)
        if verdict == "broken":
            self._transport.abort()
            return None
        if verdict == "ping":
            self._transport.write(_PING)
            if self._lease is not None:
                self._lobby.breaker.pinged(self._lease, session, self._transport)
        self._write()
        if self._sent_close is not None:
            return self._sent_close + CLOSE_WAIT_S
        return min(session.deadline(), now + session.silence_s)

    # Inside.

    def _upgrade(self, data: bytes) -> None:
        lobby = self._lobby
        scheme = "wss" if self._transport.get_extra_info("sslcontext") else "ws"
        written, asked = open_door(data, lobby.rules, scheme=scheme, full=lobby.full)
        self._transport.write(written)
        if asked is None:
            self._transport.close()
            return
        if asked.knock is not None:  # another conversation
            PulseSocket(lobby, self._server_state, self._transport, asked).take_over(self)
            return
        now = lobby.loop.time()
        self._framing = Framing(lobby.limits.check_message_bytes)
        self._session = ServerSession(asked.codec, lobby.limits, now)
        lobby.open.add(self)
        lobby.wheel.place(self, self._session.deadline())
        grant = lobby.gate.known(asked.token)
        if grant is not None and asked.project is None and lobby.store.knows(grant.project):
            self.grant = grant
            return
        self._transport.pause_reading()
        lobby.spawn(self._identify(asked))

    async def _identify(self, asked: Asked) -> None:
        lobby = self._lobby
        try:
            grant = await identify(lobby.gate, asked)
            await lobby.store.know(grant.project)
        except LifesignsError as error:
            self._end(error)
        except Exception:
            log.exception("a socket could not be identified")
            self._end(Internal())
        else:
            self.grant = grant
            if lobby.gate.ended(grant):
                self.revoked()
        finally:
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _act(self, event: Event, session: ServerSession, now: float) -> None:
        try:
            if isinstance(event, Beat):
                self._beat(event, session, now)
            elif isinstance(event, Hello):
                self._hello(event, session, now)
            elif isinstance(event, Bye):
                self._bye(event, session, now)
            elif isinstance(event, Question):
                self._renew(now)
                self._guest_of(session).ask(event)
            elif isinstance(event, PingAsked):
                self._renew(now)
                time = to_text(self._lobby.clock.at_ms(now))
                session.send(reply_to("pong", event.ref, time=time))
        except LifesignsError as error:
            if event.__class__ is Hello:
                session.fail(error)
            else:
                session.send_error(error, getattr(event, "ref", None))

    def _bring_forward(self, session: ServerSession) -> None:
        """Stand on the wheel where the deadline is now: it may be earlier than before."""
        wheel = self._lobby.wheel
        wheel.remove(self)
        wheel.place(self, session.deadline())

    def _renew(self, now: float) -> None:
        if self._lease is not None:
            self._lobby.ingest.renew(self._lease, now)

    def _hello(self, hello: Hello, session: ServerSession, now: float) -> None:
        grant = self.grant
        assert grant is not None, "nothing is read before the key is known"
        if hello.agent is None:
            grant.allow_watch()
            session.open(None, now)
            self._bring_forward(session)
            self._welcome(session, hello, None, None, None)
            self._take_along(session, hello)
            return
        grant.allow_beat(hello.agent)
        instance = hello.instance or secrets.token_hex(4)
        lobby = self._lobby
        session.open(hello.ttl_ms, now)
        self._bring_forward(session)
        # The first to confirm it is the store; if that is away, the agent is let in all the same.
        self._lease = lobby.ingest.open(
            lobby.store.lane(grant.project, hello.agent),
            hello.agent,
            instance,
            hello.ttl_ms,
            merge(Words(), hello.said),
            self,
            now,
            partial(self._greeted, session, hello, instance),
        )

    def _greeted(
        self,
        session: ServerSession,
        hello: Hello,
        instance: str,
        outcome: Receipt | LifesignsError,
    ) -> None:
        if isinstance(outcome, RateLimited):  # the agent has too many instances
            session.send_error(outcome, hello.ref)
        if isinstance(outcome, Receipt | Unavailable):
            receipt = outcome if isinstance(outcome, Receipt) else None
            if receipt is not None and receipt.claimed:
                self._lobby.spawn(self._remind(session, hello, instance, receipt))
                return
            self._welcome(session, hello, instance, hello.ttl_ms, receipt)
            self._take_along(session, hello)
            self._write()

    async def _remind(
        self, session: ServerSession, hello: Hello, instance: str, receipt: Receipt
    ) -> None:
        """Welcome an agent that is claimed: it may not have heard of that, or have forgotten."""
        assert self.grant is not None, "nothing is read before the key is known"
        assert hello.agent is not None, "no observer is claimed"
        claims: list[Claim] = []
        try:
            claims = await self._lobby.claims.of_agent(self.grant.project, hello.agent)
        except Unavailable as away:
            log.info("an agent is not told who holds it: %s", away)
        mine = [claim for claim in claims if claim.instance == instance]
        self._welcome(session, hello, instance, hello.ttl_ms, receipt, mine)
        self._take_along(session, hello)
        self._write()

    def _take_along(self, session: ServerSession, hello: Hello) -> None:
        if hello.claims and self._session is session:
            self._guest_of(session).take_along(hello.claims)

    def _welcome(
        self,
        session: ServerSession,
        hello: Hello,
        instance: str | None,
        ttl_ms: int | None,
        receipt: Receipt | None,
        claims: Sequence[Claim] = (),
    ) -> None:
        session_id = None if self._lease is None else self._lease.session
        message = welcome(self._lobby, session_id, hello.agent, instance, ttl_ms)
        if receipt is not None:
            message |= {"seq": receipt.seq, "epoch": receipt.epoch}
            message["assigned"] = [assigned(claim) for claim in claims]
        session.send(reply_to("welcome", hello.ref, **message))

    def _beat(self, beat: Beat, session: ServerSession, now: float) -> None:
        lease = self._lease
        if lease is None:
            raise BadRequest("An observer has no agent to beat for.")
        if beat.ttl_ms is not None:
            session.set_ttl(beat.ttl_ms)
            self._bring_forward(session)
        done = None if beat.ref is None else partial(self._confirm, session, beat.ref)
        self._lobby.ingest.say(lease, beat.said, beat.ttl_ms, now, done)

    def _confirm(
        self, session: ServerSession, ref: str | int, outcome: Receipt | LifesignsError
    ) -> None:
        if isinstance(outcome, LifesignsError):
            session.send_error(outcome, ref)
        else:
            expires_at = to_text(outcome.expires_at_ms)
            session.send(
                reply_to("ok", ref, seq=outcome.seq, epoch=outcome.epoch, expires_at=expires_at)
            )
        self._write()

    def _bye(self, bye: Bye, session: ServerSession, now: float) -> None:
        lease, self._lease = self._lease, None
        if self._guest is not None:
            self._guest.release()
        if lease is None:
            session.close(NORMAL, "bye")
            return
        session.hush()  # the close says that everybody can see it
        done = partial(self._parted, session)
        self._lobby.ingest.leave(lease, "left", bye.reason, now, done)

    def _parted(self, session: ServerSession) -> None:
        session.close(NORMAL, "bye")
        self._write()

    def _guest_of(self, session: ServerSession) -> Guest:
        if self._guest is None:
            assert self.grant is not None, "nothing is read before the key is known"
            self._guest = Guest(self._lobby, self.grant, self._lease, session, self, self._write)
        return self._guest

    def _end(self, error: LifesignsError) -> None:
        if self._session is not None:
            self._session.fail(error)
            self._write()

    def _write(self) -> None:
        """Write what the session and the protocol have to say."""
        framing, session = self._framing, self._session
        if framing is None or session is None:
            return
        writes = framing.data_to_send()
        if session.speaks:
            if framing.code is None:
                opcode = BINARY if session.codec.binary else TEXT
                writes += [frame(opcode, payload) for payload in session.messages_to_send()]
            if session.closing is not None and self._sent_close is None:
                self._await_close()
                framing.send_close(*session.closing)
                writes += framing.data_to_send()
        if not writes:
            return
        transport = self._transport
        ends = writes[-1] == b""
        transport.write(b"".join(writes))
        if ends:  # both closes are there, or the peer broke the protocol: nothing more is read
            self._await_close()
            transport.close()
        elif transport.get_write_buffer_size() > BACKLOG_BYTES:
            transport.pause_reading()

    def _await_close(self) -> None:
        """From here the peer has a moment to end the connection, then it is cut."""
        if self._sent_close is None:
            wheel = self._lobby.wheel
            self._sent_close = self._lobby.loop.time()
            wheel.remove(self)
            wheel.place(self, self._sent_close + CLOSE_WAIT_S)


_PING = frame(PING, b"")
