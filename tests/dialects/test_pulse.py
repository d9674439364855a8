"""The words of the pulse API, without a hub."""

from __future__ import annotations

import pytest

from lifesigns.dialects.pulse import Story, is_ping, pong

ALIVE = {"id": "a", "alive": True, "last_heartbeat": "t1", "offline_since": None}
GONE = {"id": "a", "alive": False, "last_heartbeat": "t1", "offline_since": "t2"}
BEAT = {"id": "a", "instance": "-", "status": "idle", "task": None, "context": 1, "at": "t3"}
CONNECTED = {"event": "connected", **ALIVE, "last_seen": "t1", "last_pulse": "t1"}
PULSE = {"event": "pulse", "status": "idle", "context": 1, "task": None, "ts": "t3"}


def snapshot(*agents: object) -> dict[str, object]:
    return {"type": "snapshot", "agents": agents}


def test_an_agent_is_introduced_once_and_its_end_is_told_even_if_it_was_missed() -> None:
    story = Story()
    assert story.tell(snapshot()) == []
    assert story.tell(snapshot(ALIVE)) == [CONNECTED]
    assert story.tell({"type": "resync", "why": "epoch"}) == []
    assert story.tell(snapshot(ALIVE)) == []
    assert story.tell(snapshot(GONE)) == [{"event": "offline", "ts": "t2"}]
    assert story.tell(snapshot(GONE)) == []


def test_every_beat_is_told_and_of_the_changes_the_end_alone() -> None:
    story = Story()
    assert story.tell({"type": "beats", "beats": [BEAT, BEAT]}) == [PULSE, PULSE]
    changes = [{"kind": kind, "at": "t4"} for kind in ("online", "state", "offline", "forgotten")]
    assert story.tell({"type": "changes", "changes": changes}) == [{"event": "offline", "ts": "t4"}]
    assert story.tell(snapshot(GONE)) == []


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "null", '"ping"', '{"action": ["ping"]}', '{"event": "ping"}', "\x00"]
)
def test_nothing_but_a_ping_is_a_ping(said: str) -> None:
    assert is_ping(b'{"action": "ping", "more": 1}')
    assert not is_ping(said.encode())
    assert not is_ping(b"\xff" + said.encode())


def test_a_pong_tells_the_time() -> None:
    assert pong(0) == {"event": "pong", "ts": "1970-01-01T00:00:00.000Z"}
