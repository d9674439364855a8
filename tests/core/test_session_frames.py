"""Which frames the hub's session takes: their sizes, their opcodes, their text."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.codec import MSGPACK, Codec
from lifesigns.core.model import Limits
from lifesigns.core.request import SIGN, Beat, CheckAsked
from lifesigns.core.session import BINARY, CLOSE, PING, PONG, TEXT
from tests.core.talk import BOTH, T0, Talk, talk


class TestSizes:
    def sized(self, codec: Codec, size: int, **message: Any) -> bytes:
        """Write a message of exactly this size."""
        bare = len(codec.encode(message | {"pad": "x" * 0x10000})) - 0x10000
        payload = codec.encode(message | {"pad": "x" * (size - bare)})
        if len(payload) < size:  # a shorter text has a shorter header
            payload = codec.encode(message | {"pad": "x" * (2 * size - bare - len(payload))})
        assert len(payload) == size
        return payload

    @BOTH
    def test_a_message_may_have_64_kib(self, codec: Codec) -> None:
        assert talk(codec).send(self.sized(codec, 65_536, type="beat")) == Beat(None, None, {})

    @BOTH
    @pytest.mark.parametrize("name", ["beat", "ping", "hello", "nonsense", None])
    def test_a_longer_one_ends_it_with_1009(self, codec: Codec, name: str | None) -> None:
        long = talk(codec)
        assert long.send(self.sized(codec, 65_537, type=name)) is None
        assert long.session.closing == (1009, "too_large")
        assert long.heard() == []

    @BOTH
    def test_a_check_may_have_256_kib(self, codec: Codec) -> None:
        for size in (65_537, 262_144):
            said = talk(codec).send(self.sized(codec, size, type="check", agents=["a"]))
            assert said == CheckAsked(None, ["a"], None, "full")

    @BOTH
    def test_a_longer_check_ends_it_with_1009(self, codec: Codec) -> None:
        long = talk(codec)
        assert long.send(self.sized(codec, 262_145, type="check", agents=["a"])) is None
        assert long.session.closing == (1009, "too_large")

    @BOTH
    def test_the_longest_ids_of_a_whole_check_fit(self, codec: Codec) -> None:
        ids = [f"{n:x>128}" for n in range(1_000)]
        said = talk(codec).say({"type": "check", "agents": ids})
        assert isinstance(said, CheckAsked)
        assert said.agents == ids

    @BOTH
    def test_what_is_too_long_and_no_message_ends_it_with_1009(self, codec: Codec) -> None:
        long = talk(codec)
        assert long.send(b"\x21" * 65_536) is SIGN
        assert long.refusal() == {"code": "bad_json"}
        assert long.send(b"\x21" * 65_537) is None
        assert long.session.closing == (1009, "too_large")

    @BOTH
    def test_the_limits_are_settings(self, codec: Codec) -> None:
        limits = Limits(message_bytes=100, check_message_bytes=200)
        for name, size, ends in (
            ("beat", 100, False),
            ("beat", 101, True),
            ("check", 200, False),
            ("check", 201, True),
        ):
            asked = talk(codec, limits)
            asked.send(self.sized(codec, size, type=name, agents=["a"]))
            assert (asked.session.closing is not None) is ends


class TestOpcodes:
    def test_they_are_those_of_rfc_6455(self) -> None:
        assert (TEXT, BINARY, CLOSE, PING, PONG) == (1, 2, 8, 9, 10)

    @BOTH
    def test_the_wrong_opcode_for_the_codec_ends_it_with_1003(self, codec: Codec) -> None:
        for begun in (Talk(codec), talk(codec)):
            wrong = TEXT if codec.binary else BINARY
            assert begun.send(codec.encode({"type": "ping"}), opcode=wrong) is None
            assert begun.session.closing is not None
            assert begun.session.closing[0] == 1003
            assert begun.heard() == []

    def test_text_that_is_not_utf_8_ends_it_with_1007(self) -> None:
        for begun in (Talk(), talk()):
            assert begun.send(b'{"type":"beat","task":"\xff"}') is None
            assert begun.session.closing == (1007, "bad_json")
            assert begun.heard() == []

    def test_bytes_that_are_not_utf_8_in_msgpack_are_a_bad_value(self) -> None:
        begun = talk(MSGPACK)
        assert begun.send(b"\x82\xa4type\xa4beat\xa4task\xa1\xff") is SIGN
        assert begun.refusal() == {"code": "bad_value", "field": "task"}

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_control_frames_are_signs_of_life_once_it_is_open(self, opcode: int) -> None:
        begun = Talk()
        assert begun.send(b"anything", T0 + 1, opcode) is None
        begun.greet(T0 + 1)
        assert begun.send(b"anything", T0 + 2, opcode) is SIGN
        assert begun.session.heard == T0 + 2
        assert begun.heard() == []
