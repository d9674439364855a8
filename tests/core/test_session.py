"""The hub's side of a conversation: what it takes, what it answers, and when it ends it."""

from __future__ import annotations

import itertools
from typing import Any

import msgpack
import pytest

from lifesigns.core.caller import reconnects
from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.errors import Forbidden, Revoked, Superseded
from lifesigns.core.filter import Filter
from lifesigns.core.instant import to_text
from lifesigns.core.model import Limits
from lifesigns.core.request import (
    SIGN,
    Beat,
    Bye,
    CheckAsked,
    Hello,
    PingAsked,
    UnwatchAsked,
    WatchAsked,
)
from lifesigns.core.session import (
    BINARY,
    CLOSED,
    GREETING,
    NORMAL,
    OPEN,
    PING,
    PLAIN_BEATS,
    TEXT,
)
from tests.core.fleet import NOW
from tests.core.talk import BOTH, CLOCK_MS, T0, Talk, talk

PROTOCOL_ERROR = (4000, "protocol_error")
STORE_MS = int(T0 * 1000 + CLOCK_MS)


class TestGreeting:
    @BOTH
    def test_the_least_hello_is_an_observers(self, codec: Codec) -> None:
        said = Talk(codec).say({"type": "hello"})
        assert said == Hello(ref=None, agent=None, instance=None, ttl_ms=30_000, said={})

    @BOTH
    def test_a_hello_says_who_comes_and_what_it_is(self, codec: Codec) -> None:
        said = Talk(codec).say(
            {
                "type": "hello",
                "ref": "h",
                "agent": "a1",
                "instance": "w1",
                "ttl": 2.5,
                "status": "thinking",
                "busy_for": 60,
                "capabilities": ["x"],
                "mood": "ignored",
            }
        )
        assert said == Hello(
            ref="h",
            agent="a1",
            instance="w1",
            ttl_ms=2_500,
            said={
                "status": "thinking",
                "capabilities": ("x",),
                "busy_until_ms": STORE_MS + 60_000,
            },
        )

    @BOTH
    def test_the_session_opens_when_the_shell_lets_the_peer_in(self, codec: Codec) -> None:
        asked = Talk(codec)
        assert isinstance(asked.say({"type": "hello", "agent": "a1"}), Hello)
        assert asked.session.phase is GREETING
        asked.session.open(30_000, T0)
        assert asked.session.phase is OPEN
        assert asked.heard() == []

    def test_the_default_ttl_is_a_setting(self) -> None:
        said = Talk(limits=Limits(default_ttl_s=7)).say({"type": "hello"})
        assert isinstance(said, Hello)
        assert said.ttl_ms == 7_000

    @BOTH
    @pytest.mark.parametrize(
        "message",
        [{}, {"type": "beat"}, {"type": "Hello"}, {"type": 5}, {"type": None}, {"type": "watch"}],
    )
    def test_a_first_message_that_is_no_hello_ends_it(
        self, codec: Codec, message: dict[str, Any]
    ) -> None:
        first = Talk(codec)
        assert first.say(message | {"ref": 9}) is None
        assert first.refusal() == {"code": "hello_first", "ref": 9}
        assert first.session.closing == PROTOCOL_ERROR

    @pytest.mark.parametrize("payload", sorted(PLAIN_BEATS[False]))
    def test_even_a_plain_beat_is_no_hello(self, payload: bytes) -> None:
        first = Talk()
        assert first.send(payload) is None
        assert first.refusal() == {"code": "hello_first"}
        assert first.session.closing == PROTOCOL_ERROR

    @BOTH
    @pytest.mark.parametrize("payload", [b"", b"\x93abc", b"GET / HTTP/1.1"])
    def test_a_first_message_that_is_none_at_all_ends_it(
        self, codec: Codec, payload: bytes
    ) -> None:
        first = Talk(codec)
        assert first.send(payload) is None
        assert first.session.closing is not None
        assert first.session.closing[0] in (4000, 1007)

    @BOTH
    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("agent", "a b", "bad_request"),
            ("agent", "me", "bad_request"),
            ("agent", 5, "bad_value"),
            ("instance", "", "bad_value"),
            ("ttl", 0, "bad_value"),
            ("ttl", 86_401, "bad_value"),
            ("state", "offline", "bad_value"),
            ("slots", 1_001, "bad_value"),
            ("busy_for", 86_401, "bad_value"),
        ],
    )
    def test_a_hello_with_a_bad_value_may_be_said_again(
        self, codec: Codec, field: str, value: Any, code: str
    ) -> None:
        again = Talk(codec)
        assert again.say({"type": "hello", "ref": 1, "agent": "a1", field: value}) is None
        assert again.refusal() == {"code": code, "ref": 1, "field": field}
        assert again.session.closing is None
        assert isinstance(again.say({"type": "hello", "agent": "a1"}), Hello)

    def test_a_hello_with_a_value_outside_the_domain_may_be_said_again(self) -> None:
        again = Talk()
        assert again.send(b'{"type":"hello","ref":"r","metadata":{"a":[NaN]}}') is None
        assert again.refusal() == {"code": "bad_value", "ref": "r", "field": "metadata.a[0]"}
        assert again.session.closing is None
        again.greet()

    def test_bad_hellos_are_errors_and_twenty_of_them_end_it(self) -> None:
        stubborn = Talk()
        for n in range(20):
            assert stubborn.session.closing is None
            stubborn.say({"type": "hello", "ttl": 0}, T0 + n / 10)
        assert stubborn.session.closing == PROTOCOL_ERROR

    @BOTH
    def test_a_second_hello_is_refused_and_changes_nothing(self, codec: Codec) -> None:
        twice = talk(codec)
        assert twice.say({"type": "hello", "agent": "other", "ref": "r"}) is SIGN
        assert twice.refusal() == {"code": "already_greeted", "ref": "r"}
        assert twice.session.phase is OPEN


class TestMessages:
    @BOTH
    def test_a_beat_says_what_is_new(self, codec: Codec) -> None:
        said = talk(codec).say(
            {"type": "beat", "ref": 7, "ttl": 60, "status": "idle", "task": None, "x": 1}
        )
        assert said == Beat(ref=7, ttl_ms=60_000, said={"status": "idle", "task": None})

    @BOTH
    def test_a_beat_with_a_ref_is_not_plain(self, codec: Codec) -> None:
        assert talk(codec).say({"type": "beat", "ref": 7}) == Beat(7, None, {})

    @BOTH
    def test_a_bye_may_give_a_reason(self, codec: Codec) -> None:
        assert talk(codec).say({"type": "bye"}) == Bye(None, "")
        assert talk(codec).say({"type": "bye", "ref": 1, "reason": "done"}) == Bye(1, "done")

    @BOTH
    def test_a_ping_asks_for_a_pong(self, codec: Codec) -> None:
        assert talk(codec).say({"type": "ping", "ref": "p"}) == PingAsked("p")

    @BOTH
    def test_a_check_names_agents(self, codec: Codec) -> None:
        asked = talk(codec)
        least = asked.say({"type": "check", "agents": ["a"]})
        assert least == CheckAsked(None, ["a"], None, "full")
        most = asked.say(
            {"type": "check", "ref": 1, "agents": ["b", "a", "b"], "within": 0, "detail": "lite"}
        )
        assert most == CheckAsked(1, ["b", "a"], 0, "lite")

    @BOTH
    def test_a_watch_has_a_ref_and_may_have_all_else(self, codec: Codec) -> None:
        asked = talk(codec)
        least = asked.say({"type": "watch", "ref": 0})
        assert least == WatchAsked(0, Filter(), None, "full")
        wanted = {"state": ["busy"], "alive": True}
        most = {"type": "watch", "ref": "w", "filter": wanted, "since": "c1", "detail": "counts"}
        assert asked.say(most) == WatchAsked(
            "w", Filter(state=("busy",), alive=True), "c1", "counts"
        )

    @BOTH
    def test_an_unwatch_names_its_watch(self, codec: Codec) -> None:
        asked = talk(codec)
        assert asked.say({"type": "unwatch", "watch": "w1"}) == UnwatchAsked(None, "w1")
        assert asked.say({"type": "unwatch", "ref": 1, "watch": "w1"}) == UnwatchAsked(1, "w1")

    @BOTH
    def test_a_watch_without_a_ref_is_refused(self, codec: Codec) -> None:
        asked = talk(codec)
        assert asked.say({"type": "watch"}) is SIGN
        assert asked.refusal() == {"code": "bad_value", "field": "ref"}

    @BOTH
    @pytest.mark.parametrize(
        ("message", "field"),
        [
            ({"type": "check"}, "agents"),
            ({"type": "watch", "filter": {"ids": 1}}, "filter.ids"),
            ({"type": "watch", "since": 5}, "since"),
            ({"type": "watch", "detail": "whole"}, "detail"),
            ({"type": "unwatch"}, "watch"),
            ({"type": "check", "agents": ["a", 1]}, "agents[1]"),
            ({"type": "check", "agents": ["a"], "within": -1}, "within"),
            ({"type": "check", "agents": ["a"], "detail": "counts"}, "detail"),
            ({"type": "bye", "reason": "x" * 1_025}, "reason"),
            ({"type": "beat", "ttl": 0.5}, "ttl"),
            ({"type": "beat", "progress": {"note": "x" * 1_025}}, "progress.note"),
            ({"type": "beat", "capabilities": ["a", "b", ""]}, "capabilities[2]"),
            ({"type": "beat", "busy_until": to_text(NOW + 10**9)}, "busy_until"),
        ],
    )
    def test_a_bad_value_is_refused_by_its_path_and_is_a_sign_of_life(
        self, codec: Codec, message: dict[str, Any], field: str
    ) -> None:
        asked = talk(codec)
        assert asked.say(message | {"ref": 3}) is SIGN
        assert asked.refusal() == {"code": "bad_value", "ref": 3, "field": field}
        assert asked.session.closing is None

    @BOTH
    def test_a_bad_id_in_a_check_is_a_bad_request_as_everywhere(self, codec: Codec) -> None:
        asked = talk(codec)
        assert asked.say({"type": "check", "agents": ["a", "a b"], "ref": 3}) is SIGN
        assert asked.refusal() == {"code": "bad_request", "ref": 3, "field": "agents[1]"}

    @BOTH
    @pytest.mark.parametrize("name", ["", "Beat", "HELLO", "no such thing", "welcome", "x" * 9_999])
    def test_an_unknown_type_is_refused_and_the_conversation_goes_on(
        self, codec: Codec, name: str
    ) -> None:
        asked = talk(codec)
        assert asked.say({"type": name, "ref": 4}) is SIGN
        payload = b"".join(asked.session.messages_to_send())
        answer = codec.decode(payload)
        assert (answer["code"], answer["ref"], answer["field"]) == ("unknown_type", 4, "type")
        assert len(payload) < 500
        assert asked.say({"type": "ping"}) == PingAsked(None)

    @BOTH
    @pytest.mark.parametrize("message", [{}, {"type": None}, {"type": 1}, {"type": ["beat"]}])
    def test_a_message_without_a_type_is_a_bad_value(
        self, codec: Codec, message: dict[str, Any]
    ) -> None:
        asked = talk(codec)
        assert asked.say(message) is SIGN
        assert asked.refusal() == {"code": "bad_value", "field": "type"}

    def test_what_cannot_be_decoded_is_refused_and_the_conversation_goes_on(self) -> None:
        for codec, payload in ((JSON, b"{"), (JSON, b"[]"), (MSGPACK, b"\x81"), (MSGPACK, b"\x01")):
            asked = talk(codec)
            assert asked.send(payload) is SIGN
            assert asked.refusal() == {"code": "bad_json"}
            assert asked.say({"type": "ping"}) == PingAsked(None)


class TestRefs:
    @BOTH
    @pytest.mark.parametrize("ref", ["", "a", "x" * 2_000, 0, -5, 2**63 - 1])
    def test_an_answer_carries_the_ref_back(self, codec: Codec, ref: Any) -> None:
        asked = talk(codec)
        assert asked.say({"type": "ping", "ref": ref}) == PingAsked(ref)
        asked.say({"type": "nonsense", "ref": ref})
        assert asked.refusal()["ref"] == ref

    @BOTH
    @pytest.mark.parametrize("ref", [1.5, True, ["r"], {"r": 1}])
    def test_a_ref_is_a_text_or_an_integer(self, codec: Codec, ref: Any) -> None:
        asked = talk(codec)
        assert asked.say({"type": "ping", "ref": ref}) is SIGN
        assert asked.refusal() == {"code": "bad_value", "field": "ref"}

    @BOTH
    def test_without_a_ref_an_error_has_none(self, codec: Codec) -> None:
        asked = talk(codec)
        asked.say({"type": "nonsense", "ref": None})
        assert "ref" not in asked.refusal()

    def test_a_message_that_the_codec_refuses_is_answered_under_its_ref(self) -> None:
        asked = talk()
        assert asked.send(b'{"type":"beat","ref":8,"context":1e999}') is SIGN
        assert asked.refusal() == {"code": "bad_value", "ref": 8, "field": "context"}
        asked = talk(MSGPACK)
        message = {"type": "beat", "ref": "r", "metadata": {"a": b"bytes"}}
        assert asked.send(msgpack.packb(message)) is SIGN
        assert asked.refusal() == {"code": "bad_value", "ref": "r", "field": "metadata.a"}


class TestPlainBeats:
    @BOTH
    def test_they_are_what_their_codec_reads_as_a_beat_that_says_nothing(
        self, codec: Codec
    ) -> None:
        assert codec.encode({"type": "beat"}) in PLAIN_BEATS[codec.binary]
        for payload in PLAIN_BEATS[codec.binary]:
            assert codec.decode(payload) == {"type": "beat"}

    @pytest.mark.parametrize(
        ("codec", "spelled_otherwise"),
        [
            (JSON, b'{ "type":"beat"}'),
            (JSON, b'{"type":"b\\u0065at"}'),
            (MSGPACK, b"\x81\xd9\x04type\xa4beat"),
            (MSGPACK, b"\xde\x00\x01\xa4type\xa4beat"),
        ],
        ids=["space", "escape", "str 8", "map 16"],
    )
    def test_they_leave_the_session_as_any_other_spelling_does(
        self, codec: Codec, spelled_otherwise: bytes
    ) -> None:
        for plain in PLAIN_BEATS[codec.binary]:
            one, other = talk(codec), talk(codec)
            assert one.send(plain, T0 + 1) is SIGN
            assert other.send(spelled_otherwise, T0 + 1) == Beat(None, None, {})
            for said in (one, other):
                assert (said.session.heard, said.session.deadline()) == (T0 + 1, T0 + 16)
                assert said.heard() == []

    @BOTH
    def test_those_of_the_other_codec_are_none(self, codec: Codec) -> None:
        for payload in PLAIN_BEATS[not codec.binary]:
            lost = talk(codec)
            event = lost.send(payload)
            if codec is JSON:
                assert (event, lost.session.closing) == (None, (1007, "bad_json"))
            else:
                assert (event, lost.refusal()) == (SIGN, {"code": "bad_json"})

    @BOTH
    def test_an_observers_are_read_so_that_the_shell_can_refuse_them(self, codec: Codec) -> None:
        for payload in PLAIN_BEATS[codec.binary]:
            assert talk(codec, agent=None).send(payload) == Beat(None, None, {})


class TestClosing:
    def test_what_was_queued_before_is_still_said_and_nothing_after(self) -> None:
        ending = talk()
        ending.session.send({"type": "ok"})
        ending.session.close(NORMAL, "bye")
        ending.session.send({"type": "ok"})
        assert ending.heard() == [{"type": "ok"}]
        assert ending.heard() == []
        assert ending.session.phase is CLOSED

    def test_the_first_reason_stands(self) -> None:
        ending = talk()
        ending.session.fail(Superseded("A newer session has this instance."))
        ending.session.close(NORMAL)
        assert ending.session.closing == (4009, "superseded")

    @pytest.mark.parametrize(
        ("error", "closing"),
        [(Revoked, (4010, "revoked")), (Forbidden, (4003, "forbidden"))],
    )
    def test_an_error_ends_it_with_its_own_code(
        self, error: type[Revoked] | type[Forbidden], closing: tuple[int, str]
    ) -> None:
        ending = Talk()
        ending.session.fail(error("A sentence."))
        assert ending.session.closing == closing

    @BOTH
    def test_nothing_is_read_any_more(self, codec: Codec) -> None:
        ending = talk(codec)
        ending.session.close(NORMAL, "bye")
        for payload in (*PLAIN_BEATS[codec.binary], b"garbage", codec.encode({"type": "ping"})):
            for opcode in (TEXT, BINARY, PING):
                assert ending.send(payload, opcode=opcode) is None
        assert ending.heard() == []
        assert ending.session.closing == (NORMAL, "bye")

    def test_it_speaks_when_it_has_words_or_an_end(self) -> None:
        quiet = talk()
        assert not quiet.session.speaks
        quiet.session.send({"type": "ok"})
        assert quiet.session.speaks
        assert quiet.heard() == [{"type": "ok"}]
        assert not quiet.session.speaks
        quiet.session.close(NORMAL)
        assert quiet.session.speaks

    def test_messages_come_in_the_order_in_which_they_were_queued(self) -> None:
        told = talk()
        for n in range(3):
            told.session.send({"n": n})
        assert [message["n"] for message in told.heard()] == [0, 1, 2]

    def test_clients_come_back_after_some_codes_and_not_after_the_others(self) -> None:
        assert NORMAL == 1000
        known = itertools.chain(range(1000, 1016), range(4000, 4100))
        back = {1001, 1006, 1011, 1012, 1013, 4008, 4029}
        assert {code for code in known if reconnects(code)} == back
