"""Framing against the parser of websockets alone: the same streams, cut everywhere, must show the
same messages, the same answers and the same closing code after every read.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side
from websockets.utils import apply_mask

from lifesigns.web import framing as framing_module
from lifesigns.web.framing import BINARY, CLOSE, CONT, PING, PONG, TEXT, Framing, frame

FIN = 0x80
MASK = b"\x37\xfa\x21\x3d"
LIMIT = 10


class Reference:
    """The contract of Framing, with nothing but the parser of websockets behind it."""

    def __init__(self, max_size: int) -> None:
        self.protocol = Protocol(Side.SERVER, max_size=max_size)
        self.events: list[tuple[int, bytes]] = []
        self.writes: list[bytes] = []
        self.fragments: list[Frame] = []
        self.close_only = False

    def receive_data(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            if self.close_only and event.opcode is not Opcode.CLOSE:
                continue
            if event.opcode >= CLOSE:
                self.events.append((event.opcode, bytes(event.data)))
                continue
            self.fragments.append(event)
            if event.fin:
                message = b"".join(fragment.data for fragment in self.fragments)
                self.events.append((self.fragments[0].opcode, message))
                self.fragments = []
        self.writes += self.protocol.data_to_send()

    def receive_eof(self) -> None:
        self.protocol.receive_eof()
        self.writes += self.protocol.data_to_send()

    def send_close(self, code: int, reason: str) -> None:
        if self.code is None:
            self.protocol.send_close(code, reason)
            self.close_only = True
            self.writes += self.protocol.data_to_send()

    @property
    def code(self) -> int | None:
        sent = self.protocol.close_sent
        return self.protocol.close_code if sent is None else sent.code

    @property
    def seen(self) -> Seen:
        return len(self.events), len(self.writes), self.code, not self.fragments


Seen = tuple[int, int, int | None, bool]
Act = tuple[Any, ...]


class Candidate:
    """A Framing, with all that came out of it so far."""

    def __init__(self, max_size: int) -> None:
        self.framing = Framing(max_size)
        self.events: list[tuple[int, bytes]] = []
        self.writes: list[bytes] = []

    def receive_data(self, data: bytes) -> None:
        self.events += self.framing.receive_data(data)
        self.writes += self.framing.data_to_send()

    def receive_eof(self) -> None:
        self.framing.receive_eof()
        self.writes += self.framing.data_to_send()

    def send_close(self, code: int, reason: str) -> None:
        self.framing.send_close(code, reason)
        self.writes += self.framing.data_to_send()

    def assert_as(self, reference: Reference, seen: Seen) -> None:
        events, writes, code, _ = seen
        assert self.framing.code == code
        assert self.events == reference.events[:events]
        assert self.writes == reference.writes[:writes]


def keeps_only_its_limit(framing: Framing) -> bool:
    return {type(kept) for kept in gc.get_referents(framing)} <= {type, int, type(None)}


def client_frame(
    head: int, payload: bytes = b"", *, bits: int = 0, mask: bytes | None = MASK
) -> bytes:
    """One frame as a client sends it; ``bits`` of the length 7, 16, 64, or the fewest (0)."""
    length = len(payload)
    bits = bits or (7 if length < 126 else 16 if length < 65536 else 64)
    second = {7: length, 16: 126, 64: 127}[bits]
    extended = b"" if bits == 7 else length.to_bytes(bits // 8, "big")
    if mask is None:
        return bytes((head, second)) + extended + payload
    return bytes((head, 0x80 | second)) + extended + mask + apply_mask(payload, mask)


def payload_of(length: int) -> bytes:
    return (bytes(range(256)) * (length // 256 + 1))[:length]


def assert_same(frames: Sequence[bytes], max_size: int, cuts: Iterable[int] | None = None) -> None:
    """Feed both with ``frames``: cut in two at each of ``cuts``, and cut at all of them."""
    stream = b"".join(frames)
    borders = set(itertools.accumulate(map(len, frames)))
    cuts = sorted({*(range(1, len(stream)) if cuts is None else cuts), len(stream)})
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cuts])]
    reference = Reference(max_size)
    seen = {}
    for cut, piece in zip(cuts, pieces, strict=True):
        reference.receive_data(piece)
        seen[cut] = reference.seen

    def receive(candidate: Candidate, piece: bytes, cut: int) -> None:
        candidate.receive_data(piece)
        candidate.assert_as(reference, seen[cut])
        if cut in borders and seen[cut][2:] == (None, True):
            assert keeps_only_its_limit(candidate.framing)

    candidate = Candidate(max_size)
    for cut, piece in zip(cuts, pieces, strict=True):
        receive(candidate, piece, cut)
    for cut in cuts:
        candidate = Candidate(max_size)
        receive(candidate, stream[:cut], cut)
        if cut < len(stream):
            receive(candidate, stream[cut:], len(stream))


def around_header_and_end(length: int, *, every: int) -> set[int]:
    """Cuts in a frame too long to be cut everywhere."""
    return {*range(1, 16), *range(16, length, every), *range(length - 12, length)}


AFTER = client_frame(FIN | BINARY, b"z")
BEGUN = client_frame(TEXT, b"ab")
CLOSE_1001 = client_frame(FIN | CLOSE, b"\x03\xe9")
HALF = client_frame(TEXT, b"12345")
PLAIN = (FIN | TEXT, FIN | BINARY, FIN | PING, FIN | PONG)

CODES = (0, 999, *range(1000, 1017), 1100, 2999, 3000, 3999, 4000, 4999, 5000, 65535)
CLOSES = [
    *(b"", b"\x03"),
    *(code.to_bytes(2, "big") for code in CODES),
    *(b"\x03\xe8bye", b"\x03\xe8" + "tschüß".encode()),
    *(b"\x03\xe8\xff", b"\x03\xe7\xff", b"\x0f\xa0" + "ü".encode()[:1]),
    *(b"\x03\xe8" + b"r" * 123, b"\x03\xe8" + b"r" * 124),
]

CONVERSATIONS = {
    "one message": [client_frame(FIN | TEXT, b"hello")],
    "many messages": [client_frame(head, b"%d" % head) for head in PLAIN] * 2,
    "empty ones": [client_frame(head) for head in PLAIN],
    "fragments": [BEGUN, client_frame(CONT, b"cd"), client_frame(FIN, b"ef"), AFTER],
    "two fragmented messages": [BEGUN, client_frame(FIN, b"c")] * 2,
    "empty fragments": [client_frame(BINARY), client_frame(CONT), client_frame(FIN), AFTER],
    "control between fragments": [
        *(BEGUN, client_frame(FIN | PING, b"p"), client_frame(CONT, b"c")),
        *(client_frame(FIN | PONG, b"q"), client_frame(FIN, b"d"), client_frame(FIN | PING)),
    ],
    "fragments up to the limit": [HALF, client_frame(FIN, b"67890"), AFTER],
    "fragments over the limit": [HALF, client_frame(FIN, b"678901")],
    "empty fragments at the limit": [
        *(HALF, client_frame(CONT, b"67890"), client_frame(CONT), client_frame(FIN, b"1")),
    ],
    "ping over what the fragments left": [HALF, client_frame(FIN | PING, b"abcdef")],
    "message over the limit": [AFTER, client_frame(FIN | TEXT, b"12345678901"), AFTER],
    "continuation of nothing": [AFTER, client_frame(FIN, b"a"), AFTER],
    "continuation of what has ended": [BEGUN, client_frame(FIN), client_frame(FIN), AFTER],
    "message within fragments": [BEGUN, AFTER, client_frame(FIN, b"c")],
    "message begun within fragments": [BEGUN, BEGUN, client_frame(FIN, b"c")],
    "close within fragments": [BEGUN, client_frame(FIN | CLOSE, b"\x03\xe8"), AFTER],
    "bad close within fragments": [BEGUN, client_frame(FIN | CLOSE, b"\x03\xe8\xff"), AFTER],
    "close": [AFTER, client_frame(FIN | CLOSE, b"\x03\xe9bye"), AFTER, client_frame(FIN | PING)],
    "close without a code": [client_frame(FIN | CLOSE), AFTER],
    "two closes": [client_frame(FIN | CLOSE, b"\x03\xe8"), client_frame(FIN | CLOSE, b"\x03\xe9")],
    "bad close": [client_frame(FIN | CLOSE, b"\x03"), AFTER],
    "nothing masked": [client_frame(FIN | TEXT, b"a", mask=None), AFTER],
    "reserved bit": [client_frame(FIN | TEXT), client_frame(0xC0 | TEXT, b"a"), AFTER],
    "unknown opcode": [AFTER, client_frame(FIN | 3, b"a"), AFTER],
    "longer lengths than needed": [
        client_frame(head, b"ab", bits=bits) for bits in (7, 16, 64) for head in (*PLAIN, TEXT, FIN)
    ],
}


@pytest.fixture(params=CONVERSATIONS)
def conversation(request: pytest.FixtureRequest) -> list[bytes]:
    return CONVERSATIONS[request.param]


def test_conversation_cut_anywhere_is_read_as_by_the_parser(conversation: list[bytes]) -> None:
    assert_same(conversation, LIMIT)


@pytest.mark.parametrize("before", [[], [AFTER], [BEGUN]], ids=["first", "later", "in fragments"])
@pytest.mark.parametrize("opcode", range(16))
def test_frame_of_any_shape_is_read_as_by_the_parser(opcode: int, before: list[bytes]) -> None:
    rest = LIMIT - (len(b"ab") if before == [BEGUN] else 0)
    lengths = (0, 1, rest - 1, rest, rest + 1)
    shapes = itertools.product(range(opcode, 256, 16), lengths, (7, 16, 64), (MASK, None))
    for head, length, bits, mask in shapes:
        is_refused_at_once = mask is None or opcode not in list(Opcode)
        if is_refused_at_once and length != 1:
            continue
        odd = client_frame(head, payload_of(length), bits=bits, mask=mask)
        start = sum(map(len, before))
        cuts = range(max(1, start), start + len(odd) + 2)
        assert_same([*before, odd, AFTER], LIMIT, cuts)


@pytest.mark.parametrize("opcode", Opcode)
@pytest.mark.parametrize("length", [124, 125, 126, 127, 128])
def test_frame_at_the_edge_of_the_short_length_is_read_as_by_the_parser(
    length: int, opcode: int
) -> None:
    all_bits = (7, 16, 64) if length < 126 else (16, 64)
    for head, bits in itertools.product(range(opcode, 256, 16), all_bits):
        odd = client_frame(head, payload_of(length), bits=bits)
        cuts = None if head in PLAIN else around_header_and_end(len(odd), every=50)
        for max_size in (126, 1000):
            assert_same([odd, AFTER], max_size, cuts)


@pytest.mark.parametrize("head", [*PLAIN, TEXT, FIN | CONT, FIN | CLOSE, 0xC0 | TEXT])
@pytest.mark.parametrize("length", [65535, 65536, 65537])
def test_frame_at_the_edge_of_the_long_length_is_read_as_by_the_parser(
    length: int, head: int
) -> None:
    for bits in (16, 64) if length < 65536 else (64,):
        odd = client_frame(head, payload_of(length), bits=bits)
        cuts = around_header_and_end(len(odd), every=10_000)
        for max_size in (65536, 1 << 20):
            assert_same([odd, AFTER], max_size, cuts)


def test_long_message_is_read_byte_by_byte() -> None:
    message = client_frame(FIN | TEXT, payload_of(65536))
    framing = Framing(65536)
    for byte in message[:-1]:
        assert framing.receive_data(bytes((byte,))) == []
    assert framing.receive_data(message[-1:]) == [(TEXT, payload_of(65536))]
    assert keeps_only_its_limit(framing)


@pytest.mark.parametrize("length", [11, 1 << 15, (1 << 16) - 1, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_length_over_the_limit_is_refused_by_the_header_alone(length: int) -> None:
    assert_same([b"\x81\xff" + length.to_bytes(8, "big")], LIMIT)
    if length < 1 << 16:
        assert_same([b"\x81\xfe" + length.to_bytes(2, "big")], LIMIT)


@pytest.mark.parametrize("payload", CLOSES, ids=lambda payload: payload[:5].hex() or "empty")
def test_close_is_answered_as_by_the_parser(payload: bytes) -> None:
    for bits in (7, 16, 64):
        if bits > 7 or len(payload) <= 125:
            close = client_frame(FIN | CLOSE, payload, bits=bits)
            assert_same([AFTER, close, AFTER], 200)
            assert_same([BEGUN, close, AFTER], 200)


def test_end_of_the_stream_is_taken_as_by_the_parser(conversation: list[bytes]) -> None:
    stream = b"".join(conversation)
    for cut in range(len(stream) + 1):
        reference, candidate = Reference(LIMIT), Candidate(LIMIT)
        for side in (reference, candidate):
            side.receive_data(stream[:cut])
            side.receive_eof()
            side.receive_eof()
            side.send_close(1000, "late")
        candidate.assert_as(reference, reference.seen)


def test_close_sent_anywhere_is_ended_as_by_the_parser(conversation: list[bytes]) -> None:
    stream = b"".join([*conversation, client_frame(FIN | CLOSE, b"\x03\xe8"), AFTER])
    for cut in range(len(stream)):
        for step in (1, len(stream)):
            reference, candidate = Reference(LIMIT), Candidate(LIMIT)
            for side in (reference, candidate):
                side.receive_data(stream[:cut])
                side.send_close(4009, "superseded")
                side.send_close(1001, "again")
            candidate.assert_as(reference, reference.seen)
            for at in range(cut, len(stream), step):
                for side in (reference, candidate):
                    side.receive_data(stream[at : at + step])
                candidate.assert_as(reference, reference.seen)


payloads = st.binary(max_size=24) | st.just(payload_of(126))
whole = st.builds(
    lambda head, payload, bits, mask: [client_frame(head, payload, bits=bits, mask=mask)],
    st.sampled_from(PLAIN),
    payloads,
    st.sampled_from([0, 0, 16, 64]),
    st.binary(min_size=4, max_size=4),
)
fragmented = st.builds(
    lambda opcode, first, parts, between, last: [
        client_frame(opcode, first),
        *(client_frame(CONT, part) for part in parts),
        *between,
        client_frame(FIN | CONT, last),
    ],
    st.sampled_from([TEXT, BINARY]),
    payloads,
    st.lists(payloads, max_size=2),
    st.lists(st.sampled_from([client_frame(FIN | PING, b"p"), client_frame(FIN | PONG)])),
    payloads,
)
odd = st.builds(
    lambda head, payload, mask: [client_frame(head, payload, mask=mask)],
    st.sampled_from([FIN | CLOSE, *range(256)]),
    payloads | st.just(b"\x03\xe8"),
    st.sampled_from([MASK, MASK, MASK, None]),
)


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.lists(whole | fragmented, min_size=1, max_size=8),
    st.just([]) | odd,
    st.integers(24, 500),
    st.lists(st.integers(1, 400), max_size=12),
    st.none() | st.integers(0, 8),
)
def test_any_stream_in_any_pieces_is_read_as_by_the_parser(
    messages: list[list[bytes]],
    last: list[bytes],
    max_size: int,
    cuts: list[int],
    close_before: int | None,
) -> None:
    frames = [*itertools.chain(*messages), *last, AFTER]
    stream = b"".join(frames)
    cuts = sorted({cut for cut in cuts if cut < len(stream)})
    assert_same(frames, max_size, cuts)
    reference, candidate = Reference(max_size), Candidate(max_size)
    for number, (start, end) in enumerate(itertools.pairwise([0, *cuts, len(stream)])):
        for side in (reference, candidate):
            if number == close_before:
                side.send_close(1001, "going away")
            side.receive_data(stream[start:end])
        candidate.assert_as(reference, reference.seen)


def test_whole_frames_need_no_parser_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing_module, "Protocol", None)
    frames = [
        client_frame(head, payload_of(length), bits=bits)
        for head in PLAIN
        for length in (0, 1, 125, 126, 65536)
        for bits in (0, 64)
        if length <= 125 or head in (FIN | TEXT, FIN | BINARY)
    ]
    stream = b"".join(frames)
    for step in (len(stream), 1000, 13):
        framing = Framing(65536)
        pieces = (stream[at : at + step] for at in range(0, len(stream), step))
        assert sum(len(framing.receive_data(piece)) for piece in pieces) == len(frames)


def test_idle_connection_keeps_only_its_limit() -> None:
    framing = Framing(LIMIT)
    framing.receive_data(b"".join(CONVERSATIONS["control between fragments"]))
    framing.receive_data(BEGUN[:3])
    framing.receive_data(BEGUN[3:])
    assert not keeps_only_its_limit(framing)
    framing.receive_data(client_frame(FIN))
    assert framing.data_to_send() == [frame(PONG, b"p"), frame(PONG, b"")]
    assert keeps_only_its_limit(framing)


def test_endless_empty_fragments_take_no_memory() -> None:
    framing = Framing(LIMIT)
    framing.receive_data(BEGUN)
    fragments = client_frame(CONT) * 100
    tracemalloc.start()
    try:
        for _ in range(100):
            assert framing.receive_data(fragments) == []
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown_bytes < 10_000
    assert framing.receive_data(client_frame(FIN)) == [(TEXT, b"ab")]


def test_close_reason_is_cut_between_characters() -> None:
    for reason, sent in {
        "": b"",
        "r" * 123: b"r" * 123,
        "r" * 124: b"r" * 123,
        "ü" * 61: "ü".encode() * 61,
        "ü" * 62: "ü".encode() * 61,
        "\N{PILE OF POO}" * 31: "\N{PILE OF POO}".encode() * 30,
        "\ud800": b"?",
    }.items():
        framing = Framing(LIMIT)
        framing.send_close(4008, reason)
        assert framing.data_to_send() == [frame(CLOSE, b"\x0f\xa8" + sent)]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_code_that_may_not_be_sent_is_refused_and_changes_nothing(code: int) -> None:
    framing = Framing(LIMIT)
    end = client_frame(FIN, b"c")
    framing.receive_data(BEGUN + end[:3])
    with pytest.raises(ProtocolError):
        framing.send_close(code)
    assert framing.code is None
    assert framing.data_to_send() == []
    assert framing.receive_data(end[3:]) == [(TEXT, b"abc")]
    assert keeps_only_its_limit(framing)


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        (("send_close", 4010), ("receive_data", CLOSE_1001), 4010),
        (("send_close", 4010), ("receive_data", b"\x01\x00"), 4010),
        (("send_close", 4010), ("receive_eof",), 4010),
        (("receive_data", CLOSE_1001), ("send_close", 4010), 1001),
        (("receive_data", b"\x01\x00"), ("receive_data", CLOSE_1001), 1002),
        (("receive_eof",), ("send_close", 4010), 1006),
    ],
)
def test_first_close_decides_the_code(first: Act, then: Act, code: int) -> None:
    framing = Framing(LIMIT)
    for act, *arguments in (first, then):
        getattr(framing, act)(*arguments)
        assert framing.code == code
    assert framing.data_to_send()[-1] == b""


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_frame_is_built_as_by_websockets(opcode: int) -> None:
    for length in (0, 1, 125, 126, 127, 65535, 65536, 100_000):
        if length <= 125 or opcode in (TEXT, BINARY):
            payload = payload_of(length)
            assert frame(opcode, payload) == Frame(Opcode(opcode), payload).serialize(mask=False)


def test_connection_that_ends_writes_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        framing = Framing(LIMIT)
        framing.receive_data(BEGUN)
        framing.send_close(1001)
        framing.receive_eof()
    assert caplog.records == []


def test_messages_are_unmasked_without_the_c_extension() -> None:
    reads = [client_frame(FIN | TEXT, b"short"), client_frame(FIN | TEXT, b"longer", bits=16)]
    program = f"""
import sys
sys.modules["websockets.speedups"] = None
from lifesigns.web.framing import Framing
framing = Framing(10)
print([framing.receive_data(data) for data in {reads!r}])
"""
    source = Path(framing_module.__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == (b"[[(1, b'short')], [(1, b'longer')]]\n", b"")
