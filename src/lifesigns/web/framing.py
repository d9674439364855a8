"""The frames of one accepted WebSocket connection, seen from the server: bytes in, messages out.

It decides where frames begin and end, joins fragments, answers pings and closings, and holds the
peer to RFC 6455. Frames that are whole, final and masked, as nearly all are, it unmasks itself;
every other is judged by the parser of ``websockets``, and a test holds the one to the other.
The parser is given a frame only when it is whole, or when its header alone condemns it. So it
rests between two frames and can be thrown away there: it takes some KB, and of a million idle
connections none keeps one.

It must not know the handshake, the codec (so it does not judge the UTF-8 of a text message),
sockets or time: how long to wait for the peer's close is decided by the shell.
"""

from __future__ import annotations

import logging
import sys
from struct import Struct

from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side, State

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

CONT = int(Opcode.CONT)
TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
CLOSE = int(Opcode.CLOSE)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)

_OPCODES = frozenset((CONT, TEXT, BINARY, CLOSE, PING, PONG))
_FIN = 0x80
_MASKED = 0x80

# The most that the 7 bits of a header can say themselves, and, by RFC 6455, 5.5, the most that a
# control frame may carry. The two values above it announce a length of 16 or 64 bits.
_SHORT = 125
_LENGTH_16 = 126
_LENGTH_64 = 127

# Two bytes and the mask: what a short frame of a client has besides its payload.
_OVERHEAD = 6

# The first byte of a frame that needs no parser, and how long it may be (data: as the connection's
# limit allows).
_PLAIN = {
    _FIN | TEXT: sys.maxsize,
    _FIN | BINARY: sys.maxsize,
    _FIN | PING: _SHORT,
    _FIN | PONG: _SHORT,
}

# RFC 6455, 5.5.1: the code comes before the reason, in two bytes.
_REASON_BYTES = _SHORT - 2

_HEADER_7 = Struct("!BB")
_HEADER_16 = Struct("!BBH")
_HEADER_64 = Struct("!BBQ")

# The parser writes a line at INFO for every connection that ends, at DEBUG for every frame.
_log = logging.getLogger("lifesigns.web.framing")
_log.setLevel(logging.WARNING)


def frame(opcode: int, payload: bytes) -> bytes:
    """Build one whole, unmasked frame, as a server sends it.

    It belongs to no connection: build it once, write it to all.
    """
    length = len(payload)
    if length <= _SHORT:
        return _HEADER_7.pack(_FIN | opcode, length) + payload
    if length <= 0xFFFF:
        return _HEADER_16.pack(_FIN | opcode, _LENGTH_16, length) + payload
    return _HEADER_64.pack(_FIN | opcode, _LENGTH_64, length) + payload


def _extent(data: bytes | bytearray, at: int, limit: int) -> tuple[int | None, int]:
    """Return where the payload of the frame at ``at`` begins, and where it ends.

    An end beyond the data: the frame is not whole. No beginning: its header condemns it (unknown
    opcode, no mask, over the limit), whatever follows; then it ends with the data.
    """
    size = len(data)
    if size - at < 2:
        return None, size + 1
    length = data[at + 1] - _MASKED
    if length < 0 or data[at] & 0x0F not in _OPCODES:
        return None, size
    body = at + _OVERHEAD
    if length > _SHORT:
        extended = 2 if length == _LENGTH_16 else 8
        if size - at < 2 + extended:
            return None, size + 1
        length = int.from_bytes(data[at + 2 : at + 2 + extended], "big")
        body += extended
    if length > limit:
        return None, size
    return body, body + length


class _Unfinished:
    """What a connection keeps only while a frame, a message or the closing is unfinished."""

    __slots__ = ("message", "opcode", "protocol", "tail")

    def __init__(self) -> None:
        # The beginning of a frame; of no use once the closing has begun: from then on the parser
        # gets everything as it comes, because it will not be dropped any more.
        self.tail = bytearray()
        self.protocol: Protocol | None = None
        # The fragmented message in progress, if there is an opcode. Its fragments are joined as
        # they come: a list of them would grow with empty ones without ever reaching the limit.
        self.opcode: int | None = None
        self.message = bytearray()

    @property
    def is_closing(self) -> bool:
        return self.protocol is not None and self.protocol.state is not State.OPEN


class Framing:
    """Frames of one open connection: ``receive_*`` and ``send_close`` in, ``data_to_send`` out.

    Drain ``data_to_send`` after each of the others. Frames of the caller's own (see ``frame``)
    may be written as long as ``code`` is None.
    """

    __slots__ = ("_max_size", "_unfinished", "_writes")

    def __init__(self, max_size: int) -> None:
        """Open; ``max_size`` is the most bytes that one incoming message may have."""
        self._max_size = max_size
        self._unfinished: _Unfinished | None = None
        self._writes: list[bytes] | None = None

    def receive_data(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what was read; return (opcode, payload) of all that it completed, in order.

        A ping's pong and a close's echo are queued already. After ``send_close`` only the peer's
        close is returned.
        """
        # Nearly every read is one short message. Then its second byte, mask bit and length, says
        # the size of the read.
        size = len(data)
        if (
            self._unfinished is None
            and _OVERHEAD <= size <= _OVERHEAD + _SHORT
            and data[1] - size == _MASKED - _OVERHEAD
            and size - _OVERHEAD <= self._max_size
        ):
            head = data[0]
            if head == _FIN | BINARY or head == _FIN | TEXT:
                return [(head - _FIN, apply_mask(data[6:], data[2:6]))]
        return self._receive(data)

    def receive_eof(self) -> None:
        """Take the end of the stream; no data may be received after it."""
        protocol = self._parser()
        protocol.receive_eof()
        self._queue(protocol.data_to_send())

    def send_close(self, code: int, reason: str = "") -> None:
        """Begin to close, unless that has begun already; the reason is cut to what fits.

        ``code`` must be one that may stand in a close frame.
        """
        unfinished = self._unfinished
        if unfinished is not None and unfinished.is_closing:
            return
        text = reason.encode(errors="replace")[:_REASON_BYTES].decode(errors="ignore")
        Close(code, text).check()  # raises, if at all, before anything has changed
        protocol = self._parser()
        if unfinished is not None:
            protocol.receive_data(unfinished.tail)
        protocol.send_close(code, text)
        self._queue(protocol.data_to_send())

    def data_to_send(self) -> list[bytes]:
        """Drain what is to be written; ``b""``, always the last, says to half-close."""
        writes = self._writes
        if writes is None:
            return []
        self._writes = None
        return writes

    @property
    def code(self) -> int | None:
        """The code with which the connection ends or has ended; None while it is open.

        The first close frame decides, whoever sent it (1005: the peer, without a code); 1006 if
        the stream ended before any.
        """
        if self._unfinished is None or self._unfinished.protocol is None:
            return None
        protocol = self._unfinished.protocol
        code = protocol.close_code if protocol.close_sent is None else protocol.close_sent.code
        return None if code is None else int(code)

    def _receive(self, data: bytes) -> list[tuple[int, bytes]]:
        events: list[tuple[int, bytes]] = []
        unfinished = self._unfinished
        if unfinished is None:
            at = self._receive_frames(data, events)
            if at < len(data):
                unfinished = self._unfinished = self._unfinished or _Unfinished()
                unfinished.tail += data[at:]
        elif unfinished.is_closing:
            self._parse(data, events)
        else:
            unfinished.tail += data
            del unfinished.tail[: self._receive_frames(unfinished.tail, events)]
        self._rest()
        return events

    def _receive_frames(self, data: bytes | bytearray, events: list[tuple[int, bytes]]) -> int:
        """Receive the whole frames with which ``data`` begins; return where they end."""
        size = len(data)
        at = 0
        while True:
            unfinished = self._unfinished
            limit = self._max_size
            if unfinished is not None:
                if unfinished.is_closing:
                    return size
                limit -= len(unfinished.message)
            body, end = _extent(data, at, limit)
            if end > size:
                return at
            head = data[at]
            if (
                body is not None
                and end - body <= _PLAIN.get(head, -1)
                and (unfinished is None or unfinished.opcode is None)
            ):
                payload = apply_mask(data[body:end], data[body - 4 : body])
                if head == _FIN | PING:
                    self._queue([frame(PONG, payload)])
                events.append((head - _FIN, payload))
            else:
                self._parse(data[at:end], events)
            at = end

    def _parse(self, data: bytes | bytearray, events: list[tuple[int, bytes]]) -> None:
        """Let the parser judge one frame, or whatever comes once the closing has begun."""
        protocol = self._parser()
        was_open = protocol.state is State.OPEN
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, Frame)  # requests and responses end with the handshake
            if was_open or event.opcode is Opcode.CLOSE:
                self._join(event, events)
        self._queue(protocol.data_to_send())

    def _join(self, parsed: Frame, events: list[tuple[int, bytes]]) -> None:
        opcode, payload = int(parsed.opcode), bytes(parsed.data)
        if opcode != CONT and parsed.fin:
            events.append((opcode, payload))
            return
        unfinished = self._unfinished
        assert unfinished is not None  # it holds the parser that parsed the fragment
        if opcode != CONT:
            unfinished.opcode = opcode
        unfinished.message += payload
        if parsed.fin:
            assert unfinished.opcode is not None  # else the parser had refused the fragment
            events.append((unfinished.opcode, bytes(unfinished.message)))
            unfinished.opcode = None
            unfinished.message = bytearray()

    def _parser(self) -> Protocol:
        """The parser, made if there is none."""
        unfinished = self._unfinished = self._unfinished or _Unfinished()
        if unfinished.protocol is None:
            unfinished.protocol = Protocol(Side.SERVER, max_size=self._max_size, logger=_log)
        return unfinished.protocol

    def _rest(self) -> None:
        """Drop what is not needed between two frames of an open connection."""
        unfinished = self._unfinished
        if unfinished is None or unfinished.is_closing or unfinished.opcode is not None:
            return
        unfinished.protocol = None
        if not unfinished.tail:
            self._unfinished = None

    def _queue(self, writes: list[bytes]) -> None:
        if self._writes is None:
            self._writes = writes or None
        else:
            self._writes += writes
