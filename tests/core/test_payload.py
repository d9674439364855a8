"""What is said, in each of the formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lifesigns.core.event import Event, noted
from lifesigns.core.payload import LONGEST_SENTENCE, payload_of, sentence

NOW = 1_774_189_800_000


def told(type_: str, **data: Any) -> Event:
    return noted(type_, "search-agent", NOW, data)


def test_the_standard_one_carries_everything() -> None:
    type_, text = payload_of("standard", "msg_1", "default", told("agent.offline", seq=7))
    assert type_ == "application/json"
    assert json.loads(text) == {
        "id": "msg_1",
        "type": "agent.offline",
        "timestamp": "2026-03-22T14:30:00.000Z",
        "createdAt": "2026-03-22T14:30:00.000Z",
        "project": "default",
        "data": {"seq": 7},
    }


@pytest.mark.parametrize(
    ("type_", "data", "said"),
    [
        ("agent.online", {}, "is online"),
        ("agent.online", {"downtime_ms": 12_300}, "is online again after 12 s"),
        ("agent.offline", {"reason": "expired"}, "is offline: expired"),
        ("agent.offline", {"reason": "left", "reason_text": "exit 3"}, "is offline: left, exit 3"),
        ("agent.offline", {}, "is offline"),
        ("agent.suspect", {}, "may be gone: its connection broke"),
        ("agent.recovered", {"for_ms": 180_000}, "has recovered after 3 min"),
        ("agent.recovered", {"for_ms": 8_000_000}, "has recovered after 2 h"),
        ("agent.recovered", {"for_ms": 200_000_000}, "has recovered after 2 d"),
        ("agent.stalled", {"task": "report"}, "is stalled: report"),
        ("agent.error", {"status": "failed"}, "needs attention: failed"),
        ("agent.flapping", {"turns": 6}, "comes and goes: 6 times in ten minutes"),
        ("agent.forgotten", {}, "is forgotten"),
        ("job.heartbeat_missed", {"jobId": "j1"}, "job.heartbeat_missed j1"),
        ("schedule.paused", {}, "schedule.paused"),
    ],
)
def test_people_read_a_sentence(type_: str, data: dict[str, Any], said: str) -> None:
    assert sentence("default", told(type_, **data)) == f"search-agent {said}"


def test_the_project_is_named_where_it_is_not_the_usual_one() -> None:
    assert sentence("blue", told("agent.online")) == "[blue] search-agent is online"


def test_what_agents_say_cannot_break_out_of_a_line_or_mention_anybody() -> None:
    event = told("agent.stalled", task="a\n\n<!channel> @everyone & <https://x|y>")
    slack = json.loads(payload_of("slack", "m", "default", event).text)
    assert slack == {
        "text": "search-agent is stalled: a &lt;!channel&gt; @everyone &amp; &lt;https://x|y&gt;"
    }
    discord = json.loads(payload_of("discord", "m", "default", event).text)
    assert discord["allowed_mentions"] == {"parse": []}
    assert "\n" not in discord["content"]


def test_a_sentence_is_cut() -> None:
    type_, text = payload_of("text", "m", "default", told("agent.stalled", task="x" * 5_000))
    assert type_ == "text/plain; charset=utf-8"
    assert len(text) == LONGEST_SENTENCE
    assert text.endswith("…")
