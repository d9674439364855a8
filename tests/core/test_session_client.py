"""The agent's side of a conversation, alone and with the hub's."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.codec import JSON, Codec
from lifesigns.core.errors import BadJson
from lifesigns.core.model import Limits
from lifesigns.core.request import SIGN, Beat, Bye, CheckAsked, Event, Hello, PingAsked
from lifesigns.core.session import (
    BINARY,
    NORMAL,
    PONG,
    TEXT,
    ClientSession,
    Received,
    ServerSession,
)
from tests.core.talk import BOTH, CLOCK_MS, T0


def said(client: ClientSession, codec: Codec) -> list[dict[str, Any]]:
    return [codec.decode(payload) for payload in client.messages_to_send()]


def welcomed(codec: Codec = JSON, now: float = T0, **welcome: Any) -> ClientSession:
    """Begin with a client whose hello was answered."""
    client = ClientSession(codec, {"agent": "a1"}, T0)
    client.messages_to_send()
    welcome = {"type": "welcome", "agent": "a1", "ttl": 30, "beat_every": 10, **welcome}
    client.receive(codec.encode(welcome), now)
    return client


class TestClient:
    @BOTH
    def test_it_says_hello_first(self, codec: Codec) -> None:
        client = ClientSession(codec, {"agent": "a1", "ttl": 5}, T0)
        assert said(client, codec) == [{"type": "hello", "agent": "a1", "ttl": 5}]
        assert said(client, codec) == []

    @BOTH
    def test_a_message_is_its_type_its_ref_and_the_whole(self, codec: Codec) -> None:
        body = {"type": "ok", "ref": 3, "seq": 9}
        assert welcomed(codec).receive(codec.encode(body), T0) == Received("ok", 3, body)
        assert welcomed(codec).receive(codec.encode({"type": "goaway"}), T0).ref is None

    def test_it_keeps_the_welcome(self) -> None:
        assert ClientSession(JSON, {}, T0).welcome is None
        client = welcomed(session="00aaaa")
        assert client.welcome is not None
        assert client.welcome["session"] == "00aaaa"

    def test_what_is_no_message_is_refused(self) -> None:
        with pytest.raises(BadJson):
            welcomed().receive(b"{", T0)

    def test_a_ref_is_a_number_of_its_own(self) -> None:
        client = welcomed()
        assert client.send("check", T0, ref=True, agents=["b"]) == 1
        assert client.send("beat", T0, status="idle") is None
        assert client.send("ping", T0, ref=True) == 2
        assert said(client, JSON) == [
            {"type": "check", "agents": ["b"], "ref": 1},
            {"type": "beat", "status": "idle"},
            {"type": "ping", "ref": 2},
        ]


class TestBeating:
    def test_before_the_welcome_nothing_is_due(self) -> None:
        client = ClientSession(JSON, {"agent": "a1"}, T0)
        client.messages_to_send()
        assert client.deadline() is None
        client.tick(T0 + 1_000)
        assert said(client, JSON) == []

    def test_an_observer_never_beats(self) -> None:
        client = welcomed(agent=None, ttl=None, beat_every=None)
        assert client.deadline() is None
        client.tick(T0 + 1_000)
        assert said(client, JSON) == []

    def test_it_beats_as_often_as_the_welcome_says(self) -> None:
        client = welcomed(now=T0 + 1)
        for n in range(1, 4):
            due = T0 + 1 + n * 10
            assert client.deadline() == due
            client.tick(due - 0.01)
            assert said(client, JSON) == []
            client.tick(due)
            assert said(client, JSON) == [{"type": "beat"}]

    def test_whatever_it_says_is_a_beat_too(self) -> None:
        client = welcomed()
        client.send("ping", T0 + 9)
        assert client.deadline() == T0 + 19

    @pytest.mark.parametrize(
        ("ttl", "every_s"), [(3, 1), (30, 10), (300, 10), (None, 10), (0.3, 0.1), (0, 0.1)]
    )
    def test_a_shorter_ttl_makes_it_beat_sooner_and_a_longer_one_not_later(
        self, ttl: float | None, every_s: float
    ) -> None:
        client = welcomed()
        client.send("beat", T0, ttl=ttl)
        assert client.deadline() == pytest.approx(T0 + every_s)

    def test_a_ttl_that_is_said_before_the_welcome_waits_for_it(self) -> None:
        client = ClientSession(JSON, {"agent": "a1"}, T0)
        client.send("beat", T0, ttl=3)
        assert client.deadline() is None

    @BOTH
    def test_its_beat_is_the_one_that_the_hub_knows_by_its_bytes(self, codec: Codec) -> None:
        client = welcomed(codec)
        client.tick(T0 + 10)
        hub = ServerSession(codec, Limits(), T0)
        hub.open(30_000, T0)
        (payload,) = client.messages_to_send()
        assert hub.receive(BINARY if codec.binary else TEXT, payload, T0, CLOCK_MS) is SIGN


class Line:
    """A client and a hub with a shell that does the least: what one says, the other hears."""

    def __init__(self, codec: Codec, **hello: Any) -> None:
        self.now = T0
        self.opcode = BINARY if codec.binary else TEXT
        self.client = ClientSession(codec, hello, T0)
        self.hub = ServerSession(codec, Limits(), T0)

    def up(self) -> list[Event | None]:
        """Carry what the client said to the hub."""
        payloads = self.client.messages_to_send()
        return [self.hub.receive(self.opcode, each, self.now, CLOCK_MS) for each in payloads]

    def down(self) -> list[Received]:
        """Carry what the hub said to the client."""
        return [self.client.receive(each, self.now) for each in self.hub.messages_to_send()]

    def greet(self) -> Hello:
        (hello,) = self.up()
        assert isinstance(hello, Hello)
        agent = hello.agent
        self.hub.open(None if agent is None else hello.ttl_ms, self.now)
        ttl_s = None if agent is None else hello.ttl_ms / 1000
        every_s = None if ttl_s is None else ttl_s / 3
        self.hub.send({"type": "welcome", "agent": agent, "ttl": ttl_s, "beat_every": every_s})
        assert [answer.type for answer in self.down()] == ["welcome"]
        return hello


@BOTH
def test_a_whole_conversation(codec: Codec) -> None:
    line = Line(codec, agent="a1", ttl=6, status="idle", metadata={"ü": [1, None, 0.5]})
    hello = line.greet()
    assert (hello.agent, hello.ttl_ms) == ("a1", 6_000)
    assert hello.said == {"status": "idle", "metadata": {"ü": [1, None, 0.5]}}

    # It beats in time, so that the hub never has to ask.
    for _ in range(100):
        due = line.client.deadline()
        assert due is not None
        assert due < line.hub.deadline()
        line.now = due
        line.client.tick(line.now)
        assert line.up() == [SIGN]
        assert line.hub.tick(line.now) is None

    ref = line.client.send("beat", line.now, ref=True, status="thinking", task="x")
    assert line.up() == [Beat(ref, None, {"status": "thinking", "task": "x"})]
    line.hub.send({"type": "ok", "ref": ref, "seq": 1})
    assert [(answer.type, answer.ref) for answer in line.down()] == [("ok", ref)]

    ref = line.client.send("check", line.now, ref=True, agents=["b", "c"], within=500)
    other = line.client.send("ping", line.now, ref=True)
    assert line.up() == [CheckAsked(ref, ["b", "c"], 500, "full"), PingAsked(other)]
    line.hub.send({"type": "pong", "ref": other})
    line.hub.send({"type": "checked", "ref": ref, "agents": {}})
    assert [(answer.type, answer.ref) for answer in line.down()] == [
        ("pong", other),
        ("checked", ref),
    ]

    ref = line.client.send("beat", line.now, ref=True, slots=-1)
    assert line.up() == [SIGN]
    (refused,) = line.down()
    assert (refused.type, refused.ref, refused.body["field"]) == ("error", ref, "slots")

    line.client.send("bye", line.now, reason="done")
    assert line.up() == [Bye(None, "done")]
    line.hub.close(NORMAL, "bye")
    line.client.tick(line.now + 60)
    assert line.up() == [None]
    assert line.down() == []


@BOTH
def test_an_observer_is_silent_and_answers_the_hubs_pings(codec: Codec) -> None:
    line = Line(codec)
    assert line.greet().agent is None
    for _ in range(10):
        line.now = line.hub.deadline()
        line.client.tick(line.now)
        assert line.up() == []
        assert line.hub.tick(line.now) == "ping"
        line.now += 0.05
        assert line.hub.receive(PONG, b"", line.now, CLOCK_MS) is SIGN
    line.now = line.hub.deadline()
    assert line.hub.tick(line.now) == "ping"
    assert line.hub.tick(line.hub.deadline()) == "broken"
