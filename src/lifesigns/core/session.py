"""The hub's side of one WebSocket conversation, without I/O.

Whole messages come in by ``receive``, which answers the one event that the shell must act on;
what is to be written is queued and fetched by ``messages_to_send``; ``closing`` says that the
socket is to end, and how. Time is an argument: ``deadline`` says when to call ``tick``.
Nothing here knows of frames, sockets, keys or the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lifesigns.core import field
from lifesigns.core.codec import Codec
from lifesigns.core.errors import (
    AlreadyGreeted,
    BadJson,
    BadUtf8,
    HelloFirst,
    HelloTimeout,
    LifesignsError,
    ProtocolViolation,
    RateLimited,
    TooLarge,
)
from lifesigns.core.model import Limits
from lifesigns.core.request import SIGN, Event, read

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

GREETING, OPEN, CLOSED = "greeting", "open", "closed"

NORMAL, WRONG_OPCODE, TOO_LONG = 1000, 1003, 1009

SHORTEST_SILENCE_S = 0.5
LONGEST_SILENCE_S = 60.0

# A beat without news in the spellings of common libraries, by whether the codec is binary: known
# by its bytes, so that the message that makes up nearly all traffic need not be decoded.
PLAIN_BEATS: Final = {
    False: frozenset({b'{"type":"beat"}', b'{"type": "beat"}'}),
    True: frozenset({b"\x81\xa4type\xa4beat"}),
}
NO_BEATS: Final[frozenset[bytes]] = frozenset()


class ServerSession:
    """The hub's side of a conversation."""

    __slots__ = (
        "_allowance_s",
        "_errors",
        "_flooded_since",
        "_limits",
        "_out",
        "_pinged",
        "_plain_beats",
        "closing",
        "codec",
        "greeted",
        "heard",
        "phase",
        "silence_s",
    )

    def __init__(self, codec: Codec, limits: Limits, now: float) -> None:
        self.codec = codec
        self._limits = limits
        self._out: list[bytes] | None = None  # made when there is something to say
        # The moment up to which the messages so far have used the allowed rate.
        self._allowance_s = now
        self._flooded_since: float | None = None
        self._errors: list[float] | None = None  # when the last ones came; most make none
        self.silence_s = limits.default_ttl_s / 2  # after which the peer is pinged
        self._pinged: float | None = None  # since when an answer to our ping is awaited
        self._plain_beats = NO_BEATS  # an agent's only: to an observer a beat is an error
        self.phase = GREETING
        self.greeted = now  # since when it is open; before, since when a hello is awaited
        self.heard = now  # when the last frame came
        self.closing: tuple[int, str] | None = None

    # What comes from the peer.

    def receive(self, opcode: int, payload: bytes, now: float, clock_ms: float) -> Event | None:
        """Take one whole frame; ``clock_ms`` is what to add to ``now`` for the store's time."""
        self.heard = now
        self._pinged = None
        if self.phase is CLOSED:
            return None
        if opcode >= CLOSE:
            return SIGN if self.phase is OPEN else None
        if opcode != (BINARY if self.codec.binary else TEXT):
            self.close(WRONG_OPCODE, "wrong opcode for the codec")
            return None
        if not self._within_rate(now):
            self._refuse_unread(payload, now)
            return SIGN if self.phase is OPEN else None
        if payload in self._plain_beats:
            return SIGN
        ref: str | int | None = None
        try:
            message = self._decode(payload)
            ref = field.ref_of(message)
            return self._read(message, ref, int(now * 1000 + clock_ms))
        except LifesignsError as error:
            self._refuse(error, error.ref if ref is None else ref, now)
            return SIGN if self.phase is OPEN else None

    def _decode(self, payload: bytes) -> dict[str, Any]:
        limit = self._limits.message_bytes
        try:
            message = self.codec.decode(payload)
        except BadUtf8:
            raise
        except BadJson:
            if len(payload) > limit:
                raise TooLarge(f"A message has at most {limit} bytes.") from None
            raise
        if len(payload) > limit:
            if message.get("type") == "check":
                limit = self._limits.check_message_bytes
            if len(payload) > limit:
                raise TooLarge(f"A message has at most {limit} bytes.")
        return message

    def _read(self, message: dict[str, Any], ref: str | int | None, now_ms: int) -> Event:
        name = message.get("type")
        if self.phase is GREETING:
            if name != "hello":
                raise HelloFirst("The first message is a hello.")
        elif name == "hello":
            raise AlreadyGreeted("This socket has said hello before.")
        return read(message, ref, self._limits, now_ms)

    def _within_rate(self, now: float) -> bool:
        limits = self._limits
        allowance = self._allowance_s
        if allowance <= now:
            allowance = now
            self._flooded_since = None
        ahead_s = allowance - now
        if ahead_s < limits.burst_s:
            self._allowance_s = allowance + 1 / limits.messages_per_s
            if ahead_s < limits.burst_s / 2:
                self._flooded_since = None
            return True
        if self._flooded_since is None:
            self._flooded_since = now
        return False

    def _refuse_unread(self, payload: bytes, now: float) -> None:
        """Refuse a message over the rate; it is decoded only to tell its sender which it was."""
        ref: str | int | None = None
        if b"ref" in payload and len(payload) <= self._limits.message_bytes:
            try:
                ref = field.ref_of(self.codec.decode(payload))
            except LifesignsError as unread:
                ref = unread.ref
        limits = self._limits
        error = RateLimited(
            f"At most {limits.messages_per_s:g} messages a second.", retry_after_s=1.0
        )
        self.send_error(error, ref)
        assert self._flooded_since is not None, "what is over the rate began to be at some time"
        if now - self._flooded_since >= limits.flood_s:
            self.fail(error)

    def _refuse(self, error: LifesignsError, ref: str | int | None, now: float) -> None:
        if error.close_code in (1007, TOO_LONG):
            self.close(error.close_code, error.code)
            return
        self.send_error(error, ref)
        if self.phase is GREETING and error.field is None:
            # Not a hello at all; one with a bad field may be said again.
            self.fail(ProtocolViolation("The first message is a hello."))
            return
        recent = [at for at in self._errors or () if at > now - self._limits.errors_s]
        self._errors = [*recent, now]
        if len(self._errors) >= self._limits.errors:
            self.fail(ProtocolViolation("Too many errors."))

    # What goes to the peer.

    def open(self, ttl_ms: int | None, now: float) -> None:
        """The hello is accepted; ``ttl_ms`` None for an observer."""
        self.phase = OPEN
        self.greeted = now
        self._plain_beats = NO_BEATS if ttl_ms is None else PLAIN_BEATS[self.codec.binary]
        self.set_ttl(ttl_ms or round(self._limits.default_ttl_s * 1000))

    def set_ttl(self, ttl_ms: int) -> None:
        """Alter how long the peer may be silent before it is pinged."""
        self.silence_s = min(max(ttl_ms / 2000, SHORTEST_SILENCE_S), LONGEST_SILENCE_S)

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message."""
        if self.closing is None:
            self.send_encoded(self.codec.encode(message))

    def send_encoded(self, payload: bytes) -> None:
        """Queue a message that is encoded already."""
        if self.closing is not None:
            return
        if self._out is None:
            self._out = [payload]
        else:
            self._out.append(payload)

    def send_error(self, error: LifesignsError, ref: str | int | None) -> None:
        """Queue a refusal; the conversation goes on."""
        message = {"type": "error", "ref": ref, "code": error.code, "message": error.message}
        if error.field is not None:
            message["field"] = error.field
        message |= error.more
        self.send({key: value for key, value in message.items() if value is not None})

    def fail(self, error: LifesignsError) -> None:
        """End the conversation because of an error."""
        self.close(error.close_code, error.code)

    def hush(self) -> None:
        """The peer has said its last word: whatever else comes is not read."""
        self.phase = CLOSED

    def close(self, code: int, reason: str = "") -> None:
        """End the conversation; what was queued before is still sent."""
        if self.closing is None:
            self.closing = (code, reason)
            self.phase = CLOSED

    @property
    def speaks(self) -> bool:
        """Whether there is anything to write, or the socket is to end."""
        return self._out is not None or self.closing is not None

    def messages_to_send(self) -> list[bytes]:
        """Fetch what is to be written now."""
        out, self._out = self._out, None
        return out or []

    # Time.

    @property
    def awaited_since(self) -> float | None:
        """Since when an answer to a ping is awaited; None if none is."""
        return self._pinged

    def deadline(self) -> float:
        """Say when ``tick`` must be called next.

        Frames in between only make it later; ``open`` and ``set_ttl`` may make it earlier, so
        that whoever calls them asks again. After a ping an answer may as well: then ask again
        when another ``silence_s`` has passed.
        """
        if self.phase is GREETING:
            return self.greeted + self._limits.hello_timeout_s
        if self._pinged is not None:
            return self._pinged + self._limits.pong_timeout_s
        return self.heard + self.silence_s

    def tick(self, now: float) -> str | None:
        """Look at the clock: ``"ping"`` asks for one, ``"broken"`` gives the peer up."""
        if self.phase is CLOSED or now < self.deadline():
            return None
        if self.phase is GREETING:
            self.fail(HelloTimeout("No hello came in time."))
            return None
        if self._pinged is None:
            self._pinged = now
            return "ping"
        return "broken"
