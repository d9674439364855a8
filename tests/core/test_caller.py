"""The caller's side of a conversation, alone and with the hub's."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.caller import MOST_TOLD, Caller, Received
from lifesigns.core.codec import JSON, Codec
from lifesigns.core.errors import BadJson, BadValue
from lifesigns.core.model import Limits
from lifesigns.core.portrait import Portrait
from lifesigns.core.request import SIGN, Beat, Bye, CheckAsked, Event, Hello, PingAsked
from lifesigns.core.session import BINARY, NORMAL, PONG, TEXT, ServerSession
from tests.core.talk import BOTH, CLOCK_MS, T0

HELLO = {"type": "hello", "agent": "a1", "instance": "i1"}


def portrait(**said: Any) -> Portrait:
    made = Portrait("a1", "i1")
    made.say(said, T0)
    return made


def said(caller: Caller, now: float = T0, codec: Codec = JSON) -> list[dict[str, Any]]:
    return [codec.decode(payload) for payload in caller.messages_to_send(now)]


def answer(caller: Caller, now: float = T0, codec: Codec = JSON, **body: Any) -> Received:
    return caller.receive(codec.encode(body), now)


def welcomed(
    of: Portrait | None = None, codec: Codec = JSON, now: float = T0, **welcome: Any
) -> Caller:
    """Begin with a caller whose hello was answered."""
    caller = Caller(codec, of or portrait(), T0)
    caller.messages_to_send(T0)
    fields = {"agent": "a1", "ttl": 30, "beat_every": 10, **welcome}
    answer(caller, now, codec, type="welcome", **fields)
    return caller


def observing() -> Caller:
    caller = Caller(JSON, None, T0)
    caller.messages_to_send(T0)
    answer(caller, type="welcome", agent=None, ttl=None, beat_every=None)
    return caller


class TestGreeting:
    @BOTH
    def test_it_says_hello_first_and_once(self, codec: Codec) -> None:
        caller = Caller(codec, portrait(ttl=5, status="idle"), T0, claims=["c1@a2"])
        whole = {**HELLO, "ttl": 5, "status": "idle", "claims": ["c1@a2"]}
        assert said(caller, codec=codec) == [whole]
        assert said(caller, codec=codec) == []

    def test_an_observer_says_nothing_of_itself(self) -> None:
        assert said(Caller(JSON, None, T0)) == [{"type": "hello"}]

    def test_a_field_that_the_hub_does_not_take_is_left_out_of_a_second_hello(self) -> None:
        caller = Caller(JSON, portrait(status="x" * 100, task="dig"), T0)
        caller.messages_to_send(T0)
        refusal = {"code": "bad_value", "message": "At most 64 characters.", "field": "status"}
        answer(caller, type="error", **refusal)
        assert said(caller) == [{**HELLO, "task": "dig"}]
        assert caller.refusal is None

    def test_a_hello_that_cannot_be_bettered_is_refused_for_good(self) -> None:
        caller = Caller(JSON, portrait(), T0)
        answer(caller, type="error", code="bad_value", message="No.", field="agent")
        assert isinstance(caller.refusal, BadValue)

    def test_a_hub_that_does_not_greet_is_left(self) -> None:
        caller = Caller(JSON, portrait(), T0)
        assert caller.tick(caller.deadline() - 0.1) is None
        assert caller.tick(caller.deadline()) == "leave"

    def test_what_is_no_message_is_refused(self) -> None:
        with pytest.raises(BadJson):
            welcomed().receive(b"{", T0)


class TestBeating:
    def test_it_beats_as_often_as_the_welcome_says(self) -> None:
        caller = welcomed(now=T0 + 1)
        for n in range(1, 4):
            due = T0 + 1 + n * 10
            caller.heard(due - 0.02)
            caller.tick(due - 0.01)
            assert said(caller, due - 0.01) == []
            assert caller.deadline() == due
            caller.tick(due)
            assert said(caller, due) == [{"type": "beat"}]

    def test_an_observer_never_beats(self) -> None:
        caller = observing()
        caller.tick(T0 + 1_000)
        assert said(caller, T0 + 1_000) == []

    def test_whatever_it_says_is_a_beat_too(self) -> None:
        caller = welcomed()
        assert caller.ask("ping", T0 + 9) == 1
        caller.heard(T0 + 18)
        assert caller.deadline() == T0 + 19

    @pytest.mark.parametrize(
        ("ttl", "every_s"), [(3, 1), (30, 10), (300, 10), (None, 10), (1, 1 / 3)]
    )
    def test_a_shorter_ttl_makes_it_beat_sooner_and_a_longer_one_not_later(
        self, ttl: float | None, every_s: float
    ) -> None:
        me = portrait()
        caller = welcomed(me)
        me.say({"ttl": ttl}, T0)
        assert said(caller) == [{"type": "beat", "ttl": ttl, "ref": 1}]
        caller.heard(T0 + every_s - 0.1)
        assert caller.deadline() == pytest.approx(T0 + every_s)

    @BOTH
    def test_its_beat_is_the_one_that_the_hub_knows_by_its_bytes(self, codec: Codec) -> None:
        caller = welcomed(codec=codec)
        caller.tick(T0 + 10)
        hub = ServerSession(codec, Limits(), T0)
        hub.open(30_000, T0)
        (payload,) = caller.messages_to_send(T0 + 10)
        assert hub.receive(BINARY if codec.binary else TEXT, payload, T0, CLOCK_MS) is SIGN


class TestNews:
    def test_news_are_told_at_once_and_the_next_ones_together(self) -> None:
        me = portrait()
        caller = welcomed(me)
        me.say({"status": "one"}, T0)
        assert caller.deadline() == T0
        assert said(caller) == [{"type": "beat", "ref": 1, "state": None, "status": "one"}]
        for n in range(1000):
            me.say({"task": f"{n}"}, T0 + 0.01)
        assert said(caller, T0 + 0.01) == []
        assert caller.deadline() == T0 + 0.05
        assert said(caller, T0 + 0.05) == [{"type": "beat", "ref": 2, "task": "999"}]

    def test_before_the_welcome_they_wait(self) -> None:
        me = portrait()
        caller = Caller(JSON, me, T0)
        said(caller)
        me.say({"task": "dig"}, T0)
        assert said(caller) == []
        answer(caller, type="welcome", agent="a1", ttl=30, beat_every=10, seq=4)
        assert caller.confirmed == 1, "what the hello did not say yet is not confirmed"
        assert said(caller) == [{"type": "beat", "ref": 1, "task": "dig"}]

    def test_an_ok_confirms_all_that_was_said_up_to_it(self) -> None:
        me = portrait()
        caller = welcomed(me)
        assert caller.confirmed == 0, "a welcome without a number is not stored yet"
        number = me.say({"task": "dig"}, T0)
        said(caller)
        answer(caller, type="ok", ref=1)
        assert caller.confirmed == number

    def test_a_hub_that_cannot_take_them_now_is_told_again_later(self) -> None:
        me = portrait()
        caller = welcomed(me)
        me.say({"task": "dig", "status": "busy"}, T0)
        said(caller)
        me.say({"task": "fill"}, T0)
        answer(caller, type="error", ref=1, code="rate_limited", message="Too many.")
        assert said(caller, T0 + 0.5) == []
        news = {"state": None, "status": "busy", "task": "fill"}
        assert said(caller, T0 + 1) == [{"type": "beat", "ref": 2, **news}]

    def test_of_a_beat_that_is_refused_all_but_the_wrong_field_is_told_again(self) -> None:
        me = portrait()
        caller = welcomed(me)
        me.say({"task": "dig", "metadata": {"a": 1}}, T0)
        said(caller)
        wrong = {"code": "bad_value", "message": "Too large.", "field": "metadata.a"}
        answer(caller, type="error", ref=1, **wrong)
        assert said(caller) == [{"type": "beat", "ref": 2, "task": "dig"}]
        assert "metadata" not in me.hello(T0)

    def test_a_hub_that_confirms_nothing_is_told_no_more_until_it_does(self) -> None:
        me = portrait()
        caller = welcomed(me)
        for n in range(MOST_TOLD + 10):
            me.say({"task": f"{n}"}, T0)
            now = T0 + n / 10
            said(caller, now)
        assert caller.deadline() > now, "it does not wake for what it must not say"
        answer(caller, now, type="ok", ref=1)
        (told,) = said(caller, now)
        assert told["task"] == f"{n}"


class TestSilence:
    @pytest.mark.parametrize(("ttl", "quiet_s"), [(2, 1), (30, 15), (86_400, 15)])
    def test_a_hub_that_says_nothing_for_half_the_ttl_is_left(
        self, ttl: float, quiet_s: float
    ) -> None:
        caller = welcomed(ttl=ttl, beat_every=ttl / 3)
        verdicts = []
        for _ in range(10):
            now = caller.deadline()
            verdicts.append(caller.tick(now))
            if verdicts[-1] == "leave":
                break
        assert now == T0 + quiet_s
        assert [each for each in verdicts if each] == ["ping", "leave"]

    def test_an_observer_leaves_a_silent_hub_too(self) -> None:
        caller = observing()
        assert caller.tick(caller.deadline()) == "ping"
        assert caller.deadline() == T0 + 15
        assert caller.tick(T0 + 15) == "leave"

    def test_any_sign_of_the_hub_will_do(self) -> None:
        caller = welcomed(beat_every=100)
        for n in range(1, 10):
            assert caller.tick(caller.deadline()) == "ping"
            caller.heard(T0 + n * 8)
            assert caller.tick(T0 + n * 8 + 7) is None

    def test_who_was_late_asks_once_more(self) -> None:
        """A program that blocked its loop left a hub whose answer it had not read yet."""
        caller = welcomed(beat_every=100)
        assert caller.tick(T0 + 7.5) == "ping"
        assert caller.tick(T0 + 60) == "ping"
        assert caller.tick(T0 + 67) is None
        assert caller.tick(T0 + 67.5) == "leave"


class TestPortrait:
    def test_it_keeps_the_latest_value_of_each_field(self) -> None:
        me = portrait(status="a", capabilities=("x", "y"))
        me.hello(T0)
        for n in range(1000):
            me.say({"task": str(n), "status": None}, T0)
        assert me.news(T0) == {"state": None, "status": None, "task": "999"}
        assert me.hello(T0) == {
            "agent": "a1",
            "instance": "i1",
            "capabilities": ["x", "y"],
            "task": "999",
        }

    def test_it_keeps_what_was_said_and_not_what_became_of_it(self) -> None:
        metadata = {"queue": [1]}
        me = portrait(metadata=metadata)
        metadata["queue"].append(2)
        assert me.hello(T0)["metadata"] == {"queue": [1]}

    def test_a_status_drops_an_older_hint(self) -> None:
        me = portrait(state="busy")
        me.say({"status": "idle"}, T0)
        assert "state" not in me.hello(T0)
        me.say({"status": "idle", "state": "draining"}, T0)
        assert me.hello(T0)["state"] == "draining"

    def test_a_quiet_phase_gets_shorter_while_nobody_listens(self) -> None:
        me = portrait(busy_until="2026-03-22T14:30:00.000Z")
        me.say({"busy_for": 60}, T0)
        assert me.hello(T0 + 20) == {"agent": "a1", "instance": "i1", "busy_for": 40}
        assert me.hello(T0 + 90)["busy_for"] == 0

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"status": 5}, "status"),
            ({"tusk": "x"}, "tusk"),
            ({"ttl": 0.1}, "ttl"),
            ({"metadata": {"a": {1: 2}}}, "metadata.a"),
            ({"context": object}, "context"),
        ],
    )
    def test_what_no_hub_takes_is_refused_and_changes_nothing(
        self, wrong: dict[str, Any], field: str
    ) -> None:
        me = portrait(task="dig")
        me.hello(T0)
        with pytest.raises(BadValue) as refused:
            me.say({"task": "fill", **wrong}, T0)
        assert refused.value.field == field
        assert not me.has_news
        assert me.hello(T0)["task"] == "dig"


class Line:
    """A caller and a hub with a shell that does the least: what one says, the other hears."""

    def __init__(self, codec: Codec, of: Portrait | None) -> None:
        self.now = T0
        self.opcode = BINARY if codec.binary else TEXT
        self.caller = Caller(codec, of, T0)
        self.hub = ServerSession(codec, Limits(), T0)

    def up(self) -> list[Event | None]:
        """Carry what the caller said to the hub."""
        payloads = self.caller.messages_to_send(self.now)
        return [self.hub.receive(self.opcode, each, self.now, CLOCK_MS) for each in payloads]

    def down(self) -> list[Received]:
        """Carry what the hub said to the caller."""
        return [self.caller.receive(each, self.now) for each in self.hub.messages_to_send()]

    def greet(self) -> Hello:
        (hello,) = self.up()
        assert isinstance(hello, Hello)
        agent = hello.agent
        self.hub.open(None if agent is None else hello.ttl_ms, self.now)
        ttl_s = None if agent is None else hello.ttl_ms / 1000
        every_s = None if ttl_s is None else ttl_s / 3
        self.hub.send({"type": "welcome", "agent": agent, "ttl": ttl_s, "beat_every": every_s})
        assert [each.type for each in self.down()] == ["welcome"]
        return hello


@BOTH
def test_a_whole_conversation(codec: Codec) -> None:
    me = portrait(ttl=6, status="idle", metadata={"ü": [1, None, 0.5]})
    line = Line(codec, me)
    hello = line.greet()
    assert (hello.agent, hello.ttl_ms) == ("a1", 6_000)
    assert hello.said == {"status": "idle", "metadata": {"ü": [1, None, 0.5]}}

    # It beats in time, so that the hub never has to ask.
    for _ in range(100):
        line.now += 2
        assert line.now < line.hub.deadline()
        line.caller.heard(line.now)
        assert line.caller.tick(line.now) is None
        assert line.up() == [SIGN]
        assert line.hub.tick(line.now) is None

    me.say({"status": "thinking", "task": "x"}, line.now)
    assert line.up() == [Beat(1, None, {"state": None, "status": "thinking", "task": "x"})]
    line.hub.send({"type": "ok", "ref": 1, "seq": 1})
    assert [(each.type, each.ref) for each in line.down()] == [("ok", 1)]

    ref = line.caller.ask("check", line.now, agents=["b", "c"], within=500)
    other = line.caller.ask("ping", line.now)
    assert line.up() == [CheckAsked(ref, ["b", "c"], 500, "full"), PingAsked(other)]
    line.hub.send({"type": "pong", "ref": other})
    line.hub.send({"type": "checked", "ref": ref, "agents": {}})
    assert [(each.type, each.ref) for each in line.down()] == [("pong", other), ("checked", ref)]

    line.caller.say("bye", line.now, reason="done")
    assert line.up() == [Bye(None, "done")]
    line.hub.close(NORMAL, "bye")
    assert line.down() == []


@BOTH
def test_an_observer_is_silent_and_answers_the_hubs_pings(codec: Codec) -> None:
    line = Line(codec, None)
    assert line.greet().agent is None
    for _ in range(10):
        line.now = line.hub.deadline()
        line.caller.heard(line.now)
        assert line.up() == []
        assert line.hub.tick(line.now) == "ping"
        assert line.hub.receive(PONG, b"", line.now, CLOCK_MS) is SIGN
    line.now = line.hub.deadline()
    assert line.hub.tick(line.now) == "ping"
    assert line.hub.tick(line.hub.deadline()) == "broken"
