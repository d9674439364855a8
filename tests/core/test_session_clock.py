"""What the hub's session does by the clock: rates, too many errors, silence, a hello too late."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.errors import Unavailable
from lifesigns.core.field import DESCRIBING
from lifesigns.core.model import Limits
from lifesigns.core.request import SIGN, Bye, Hello
from lifesigns.core.session import BINARY, CLOSE, NORMAL, OPEN, PING, PLAIN_BEATS, PONG, TEXT
from tests.core.talk import BOTH, T0, Talk, talk

PROTOCOL_ERROR = (4000, "protocol_error")
RATE_LIMITED = (4029, "rate_limited")
PLAIN = b'{"type":"beat"}'


def flood(peer: Talk, per_s: int, begin_s: float, end_s: float) -> list[Any]:
    """Beat this often between two moments, and hear the answers."""
    for n in range(round((end_s - begin_s) * per_s)):
        peer.send(PLAIN, T0 + begin_s + n / per_s)
    return peer.heard()


class TestRate:
    @BOTH
    def test_a_burst_of_twice_the_rate_is_allowed_and_no_more(self, codec: Codec) -> None:
        (plain, *_) = PLAIN_BEATS[codec.binary]
        peer = talk(codec, Limits(messages_per_s=4))  # its steps are exact in binary
        for _ in range(7):  # and the hello
            assert peer.send(plain) is SIGN
        assert peer.heard() == []
        assert peer.send(plain) is SIGN
        assert peer.refusal() == {"code": "rate_limited"}

    def test_a_hundred_messages_at_once_are_allowed(self) -> None:
        peer = talk()
        for _ in range(99):
            peer.send(PLAIN)
        assert peer.heard() == []

    def test_what_is_over_the_rate_is_not_done_but_is_a_sign_of_life(self) -> None:
        peer = talk(limits=Limits(messages_per_s=1, burst_s=1))
        for message in ({"type": "bye"}, {"type": "beat", "status": "x"}, {"type": "ping"}):
            assert peer.say(message) is SIGN
        assert peer.session.heard == T0
        assert peer.session.closing is None

    @BOTH
    def test_what_is_over_the_rate_is_refused_under_its_ref(self, codec: Codec) -> None:
        peer = talk(codec, Limits(messages_per_s=1, burst_s=1))
        for ref in (7, "seven", 0, ""):
            peer.say({"type": "ping", "ref": ref})
            assert peer.refusal() == {"code": "rate_limited", "ref": ref}

    def test_what_is_over_the_rate_and_no_message_is_refused_without_a_ref(self) -> None:
        for payload, ref in (
            (b'{"type":"beat","ref":1.5}', {}),
            (b'{"ref":1', {}),
            (b'{"ref":"\xff"}', {}),
            (b'{"ref":5,"x":NaN}', {"ref": 5}),
            (b'{"ref":5,"x":"' + b"x" * 65_536 + b'"}', {}),
        ):
            peer = talk(limits=Limits(messages_per_s=1, burst_s=1))
            assert peer.send(payload) is SIGN
            assert peer.refusal() == {"code": "rate_limited"} | ref

    def test_the_rate_comes_back_with_time(self) -> None:
        peer = talk()
        flood(peer, 1_000, 0, 0.2)
        assert flood(peer, 40, 3, 60) == []

    def test_the_rate_itself_is_allowed_for_ever(self) -> None:
        assert flood(talk(), 50, 0, 60) == []

    def test_control_frames_are_beyond_the_rate(self) -> None:
        peer = talk()
        for _ in range(1_000):
            assert peer.send(b"", opcode=PONG) is SIGN
        assert peer.heard() == []

    @pytest.mark.parametrize("per_s", [55, 100, 1_000])
    def test_who_stays_over_it_for_ten_seconds_is_sent_away(self, per_s: int) -> None:
        peer = talk()
        over_s = 100 / (per_s - 50)  # when the burst is used up
        flood(peer, per_s, 0, over_s + 9.5)
        assert peer.session.closing is None
        flood(peer, per_s, over_s + 9.5, over_s + 11)
        assert peer.session.closing == RATE_LIMITED

    def test_the_last_refusal_is_still_said(self) -> None:
        peer = talk(limits=Limits(messages_per_s=1, burst_s=1, flood_s=0))
        assert peer.send(PLAIN) is None
        assert peer.refusal() == {"code": "rate_limited"}
        assert peer.session.closing == RATE_LIMITED

    def test_who_pauses_in_between_is_not_sent_away(self) -> None:
        peer = talk()
        for begin_s in range(0, 60, 5):
            flood(peer, 200, begin_s, begin_s + 3)
            assert peer.session.closing is None

    def test_refusals_over_the_rate_are_not_the_errors_that_end_it(self) -> None:
        peer = talk()
        assert len(flood(peer, 1_000, 0, 1)) > 500
        assert peer.session.closing is None

    def test_the_rate_counts_before_the_hello_too(self) -> None:
        peer = Talk(limits=Limits(messages_per_s=1, burst_s=2, flood_s=1))
        for _ in range(2):
            assert peer.say({"type": "hello", "ttl": 0}) is None
        peer.heard()
        assert peer.say({"type": "hello"}) is None
        assert peer.refusal() == {"code": "rate_limited"}
        assert peer.session.closing is None


class TestErrors:
    def err(self, peer: Talk, now: float) -> None:
        peer.say({"type": "nonsense"}, now)

    def test_twenty_errors_in_ten_seconds_end_it(self) -> None:
        peer = talk()
        for n in range(20):
            assert peer.session.closing is None
            self.err(peer, T0 + n / 2)
        assert peer.session.closing == PROTOCOL_ERROR
        assert len(peer.heard()) == 20

    def test_the_last_error_is_no_sign_of_life(self) -> None:
        peer = talk(limits=Limits(errors=2))
        assert peer.say({"type": "nonsense"}) is SIGN
        assert peer.say({"type": "nonsense"}) is None

    def test_errors_further_apart_do_not(self) -> None:
        peer = talk()
        for n in range(200):
            self.err(peer, T0 + n * 0.53)
        assert peer.session.closing is None

    def test_good_messages_in_between_do_not_make_up_for_errors(self) -> None:
        peer = talk()
        for n in range(20):
            self.err(peer, T0 + n / 3)
            peer.send(PLAIN, T0 + n / 3)
        assert peer.session.closing == PROTOCOL_ERROR

    def test_refusals_of_the_shell_do_not_count(self) -> None:
        peer = talk()
        for _ in range(100):
            peer.session.send_error(Unavailable("The store is away."), 1)
        assert peer.session.closing is None


class TestHelloTimeout:
    def test_a_hello_is_awaited_for_five_seconds(self) -> None:
        peer = Talk()
        assert peer.session.deadline() == T0 + 5
        assert peer.session.tick(T0 + 4.9) is None
        assert peer.session.closing is None
        assert peer.session.tick(T0 + 5) is None
        assert peer.session.closing == (4008, "hello_timeout")

    def test_no_frame_but_a_good_hello_puts_it_off(self) -> None:
        peer = Talk()
        peer.send(b"", T0 + 3, PING)
        peer.say({"type": "hello", "ttl": 0}, T0 + 4)
        assert peer.session.deadline() == T0 + 5
        peer.greet(T0 + 4.9)
        assert peer.session.tick(T0 + 5) is None
        assert peer.session.closing is None

    def test_how_long_is_a_setting(self) -> None:
        assert Talk(limits=Limits(hello_timeout_s=1)).session.deadline() == T0 + 1


class TestSilence:
    @pytest.mark.parametrize(
        ("ttl", "silence_s"),
        [(1, 0.5), (2, 1), (30, 15), (119, 59.5), (120, 60), (121, 60), (86_400, 60)],
    )
    def test_a_peer_is_pinged_when_silent_for_half_its_ttl(
        self, ttl: float, silence_s: float
    ) -> None:
        peer = talk(ttl=ttl)
        assert peer.session.deadline() == T0 + silence_s
        assert peer.session.tick(T0 + silence_s - 0.01) is None
        assert peer.session.tick(T0 + silence_s) == "ping"

    def test_a_ttl_below_a_second_is_pinged_after_half_a_second(self) -> None:
        peer = talk(limits=Limits(min_ttl_s=0.1), ttl=0.1)
        assert peer.session.deadline() == T0 + 0.5

    def test_an_observer_is_pinged_by_the_default_ttl(self) -> None:
        assert talk(agent=None, ttl=2).session.deadline() == T0 + 15

    def test_another_ttl_alters_it(self) -> None:
        peer = talk()
        peer.session.set_ttl(4_000)
        assert peer.session.deadline() == T0 + 2

    def test_no_frame_within_twenty_seconds_after_a_ping_is_a_broken_socket(self) -> None:
        peer = talk(ttl=4)
        assert peer.session.tick(T0 + 2.2) == "ping"
        assert peer.session.deadline() == T0 + 22.2
        assert peer.session.tick(T0 + 22.1) is None
        assert peer.session.tick(T0 + 22.2) == "broken"
        assert peer.session.closing is None

    def test_how_long_is_a_setting(self) -> None:
        peer = talk(limits=Limits(pong_timeout_s=3), ttl=4)
        assert peer.session.tick(T0 + 2) == "ping"
        assert peer.session.tick(T0 + 5) == "broken"

    @pytest.mark.parametrize(
        ("opcode", "payload"),
        [(TEXT, PLAIN), (TEXT, b"garbage"), (PING, b""), (PONG, b"x"), (CLOSE, b"")],
    )
    def test_any_frame_postpones_the_ping_and_answers_it(self, opcode: int, payload: bytes) -> None:
        peer = talk(ttl=4)
        peer.send(payload, T0 + 1.5, opcode)
        assert peer.session.deadline() == T0 + 3.5
        assert peer.session.tick(T0 + 3.5) == "ping"
        peer.send(payload, T0 + 20, opcode)
        assert peer.session.deadline() == T0 + 22
        assert peer.session.tick(T0 + 22) == "ping"

    def test_after_the_end_nothing_is_due(self) -> None:
        for peer in (Talk(), talk()):
            peer.session.close(NORMAL)
            assert peer.session.tick(T0 + 1_000) is None
            assert peer.session.closing == (NORMAL, "")


# Whatever may come, in any order.

TYPES = ("hello", "beat", "bye", "ping", "check", "watch", "unwatch", "welcome")
OTHERS = ("agent", "agents", "instance", "ttl", "reason", "within", "detail", "filter", "since")
names = st.sampled_from([*TYPES, "", None, 5, ["beat"]])
fields = st.sampled_from([*DESCRIBING, *OTHERS])
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["a1", "busy", "idle", "2026-03-22T14:30:00.000Z", "lite", "x" * 1_100]),
)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=3),
    max_leaves=6,
)
refs = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5))
messages = st.builds(
    lambda name, ref, said: {**said, "type": name, "ref": ref},
    names,
    refs | st.sampled_from([1.5, True, [], {}]),
    st.dictionaries(fields, values, max_size=4),
)
hellos = st.builds(lambda ref: {"type": "hello", "agent": "a1", "ref": ref}, refs)
steps = st.one_of(
    st.tuples(st.just("say"), hellos | messages),
    st.tuples(st.just("send"), st.binary(max_size=40) | st.sampled_from([PLAIN, b"\xff", b"{}"])),
    st.tuples(st.just("frame"), st.sampled_from([TEXT, BINARY, CLOSE, PING, PONG])),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.5, 3.0, 25.0])),
    st.tuples(st.just("flood"), st.integers(1, 150)),
    st.tuples(st.just("tell"), st.none()),
)
CODES = {
    "bad_json",
    "bad_request",
    "bad_value",
    "unknown_type",
    "hello_first",
    "already_greeted",
    "rate_limited",
}
CLOSINGS = {1003, 1007, 4000, 4008, 4029}


def encode(codec: Codec, message: dict[str, Any]) -> bytes:
    """Write what may lie outside the domain, as a peer might; what no msgpack can is text."""
    if codec is JSON:
        return json.dumps(message).encode()
    return MSGPACK.encode(json.loads(json.dumps(message), parse_int=fitting))


def fitting(digits: str) -> int | str:
    return int(digits) if -(2**63) <= int(digits) < 2**64 else digits


class Walk:
    """A session, whatever comes, and what must hold all the time."""

    def __init__(self, codec: Codec) -> None:
        self.peer = Talk(codec, Limits(errors=6, messages_per_s=20))
        self.now = T0

    def step(self, what: str, with_: Any) -> None:
        peer, session = self.peer, self.peer.session
        ended = session.closing
        if what == "say":
            event = peer.send(encode(peer.codec, with_), self.now)
            self.judge(event, ended, with_.get("ref"))
        elif what == "send":
            self.judge(peer.send(with_, self.now), ended, None)
        elif what == "frame":
            self.judge(peer.send(b"{}", self.now, with_), ended, None)
        elif what == "flood":
            (beat, *_) = PLAIN_BEATS[peer.codec.binary]
            for _ in range(with_):
                ended = session.closing
                self.judge(peer.send(beat, self.now), ended, None)
        elif what == "tell":
            session.send({"type": "ok"})
            assert peer.heard() == ([] if ended else [{"type": "ok"}])
        else:
            self.now += with_
            due = session.deadline()
            verdict = session.tick(self.now)
            assert verdict in (None, "ping", "broken")
            assert verdict is None or (due <= self.now and ended is None)
        if ended is not None:
            assert session.closing == ended

    def judge(self, event: object, ended: tuple[int, str] | None, ref: Any) -> None:
        session = self.peer.session
        answers = self.peer.heard()
        if ended is not None:
            assert event is None
            assert answers == []
            return
        assert len(answers) <= 1  # the shell answers what is right, the session what is wrong
        for answer in answers:
            assert answer["type"] == "error"
            assert answer["code"] in CODES
            assert answer["message"]
            if type(ref) in (int, str):
                assert answer["ref"] == ref
        if event is not None and event is not SIGN:
            assert answers == []
            assert getattr(event, "ref", None) == ref
        if session.closing is None:
            assert event is not None or session.phase is not OPEN  # any frame renews
            assert session.heard == self.now
        else:
            assert event is None
            assert session.closing[0] in CLOSINGS
        if isinstance(event, Hello):
            session.open(None if event.agent is None else event.ttl_ms, self.now)
        if isinstance(event, Bye):
            session.close(NORMAL, "bye")


@BOTH
@given(walk=st.lists(steps, max_size=30))
def test_whatever_comes_a_session_answers_or_ends_and_never_raises(
    codec: Codec, walk: list[tuple[str, Any]]
) -> None:
    begun = Walk(codec)
    for what, with_ in walk:
        begun.step(what, with_)


@BOTH
@given(walk=st.lists(steps, max_size=30))
def test_so_does_one_that_is_past_its_greeting(codec: Codec, walk: list[tuple[str, Any]]) -> None:
    begun = Walk(codec)
    begun.step("say", {"type": "hello", "agent": "a1", "ref": 1})
    assert begun.peer.session.phase is OPEN
    for what, with_ in walk:
        begun.step(what, with_)
