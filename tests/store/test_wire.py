"""One connection's bytes, with no network: whatever way they are cut, the replies are the same."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.store.wire import LinkLost, ReplyError, Wire

STREAM = (
    b"+OK\r\n"
    b":42\r\n"
    b"$5\r\na\r\nb\r\r\n"
    b"$-1\r\n"
    b"*3\r\n:1\r\n*2\r\n$0\r\n\r\n*0\r\n-WRONGTYPE no list\r\n"
    b"-ERR no \xc3\xa9\xff\r\n"
    b"*-1\r\n"
)
REPLIES = "[b'OK', 42, b'a\\r\\nb\\r', None, [1, [b'', []], WRONGTYPE], ERR, None]"


def shown(reply: Any) -> str:
    if isinstance(reply, list):
        return f"[{', '.join(map(shown, reply))}]"
    return reply.code if isinstance(reply, ReplyError) else repr(reply)


async def replies_to(*pieces: bytes) -> str:
    wire = Wire(lambda wire, why: None)
    replies: list[Any] = []
    for _ in range(7):
        wire.send(("ANYTHING",), replies.append)
    for piece in pieces:
        wire.data_received(piece)
    wire.connection_lost(None)
    return shown(replies)


async def test_replies_are_read_whole():
    assert await replies_to(STREAM) == REPLIES


async def test_replies_may_be_split_at_any_byte():
    for place in range(len(STREAM)):
        assert await replies_to(STREAM[:place], STREAM[place:]) == REPLIES


async def test_replies_may_come_byte_by_byte():
    assert await replies_to(*(bytes([byte]) for byte in STREAM)) == REPLIES


async def test_a_callback_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture):
    def fail(reply: Any) -> None:
        raise RuntimeError("a bug of the caller")

    wire = Wire(lambda wire, why: None)
    replies: list[Any] = []
    for callback in (replies.append, fail, replies.append, fail, replies.append):
        wire.send(("PING",), callback)
    wire.data_received(b":1\r\n:2\r\n:3\r\n")
    wire.lose(LinkLost("gone"))
    assert replies[:2] == [1, 3]
    assert isinstance(replies[2], LinkLost)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "a bug of the caller" in caplog.text


async def test_what_no_command_can_carry_is_refused_and_nothing_is_queued():
    wire = Wire(lambda wire, why: None)
    replies: list[Any] = []
    with pytest.raises(TypeError):
        wire.send(("SET", "key", None), replies.append)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        wire.send(("SET", "key", "\ud800"), replies.append)
    wire.send(("PING",), replies.append)
    wire.data_received(b"+PONG\r\n")
    wire.lose(LinkLost("gone"))
    assert replies == [b"PONG"]


async def test_the_end_is_told_once_with_its_reason():
    told: list[str] = []
    wire = Wire(lambda wire, why: told.append(why))
    wire.cut("enough")
    wire.cut("too late")
    wire.connection_lost(OSError("aborted"))
    assert told == ["enough"]
    assert wire.ended.done()


async def test_a_peer_that_answers_what_nobody_asked_is_cut_off():
    told: list[str] = []
    wire = Wire(lambda wire, why: told.append(why))
    wire.data_received(b"+OK\r\n")
    wire.connection_lost(None)
    assert told == ["it answers what nobody asked"]
