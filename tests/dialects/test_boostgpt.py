"""Heartbeats and runs in the words of the BoostGPT API."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.errors import BadRequest, BadValue, Conflict, LifesignsError, RateLimited
from lifesigns.core.run import Run
from lifesigns.dialects import boostgpt

PLACE = {"project_id": "p", "bot_id": 42}


def test_ids_come_back_as_they_were_sent_and_name_an_agent() -> None:
    bot = boostgpt.read_bot({"project_id": 7, "bot_id": 42})
    assert (bot.project_id, bot.bot_id) == (7, 42)
    assert (bot.label, bot.agent) == ("7", "42")


@pytest.mark.parametrize("value", [None, "", True, 1.5, [], {}, "a\nb", "x" * 129])
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises((BadRequest, BadValue)) as refused:
        boostgpt.read_bot({"project_id": value, "bot_id": "b"})
    assert refused.value.field == "project_id"


def test_what_is_not_said_of_a_heartbeat_is_not_there_and_null_is() -> None:
    said = boostgpt.read_configuration({**PLACE, "prompt": None, "credit_budget": None}).said
    assert said == {"credit_budget": None}
    said = boostgpt.read_configuration({**PLACE, "timezone": None, "interval_minutes": None}).said
    assert said == {"timezone": "UTC", "interval_minutes": 30}


@pytest.mark.parametrize(("sent", "kept"), [(30.0, "30"), (30, "30"), (0.5, "0.5")])
def test_whole_minutes_are_shown_as_such(sent: float, kept: str) -> None:
    said = boostgpt.read_configuration({**PLACE, "interval_minutes": sent}).said
    assert repr(said["interval_minutes"]) == kept


def test_days_may_come_as_a_list_and_flags_as_they_are_told() -> None:
    said = boostgpt.read_configuration({**PLACE, "active_days": [1, 3], "enabled": 1}).said
    assert said == {"active_days": "1,3", "enabled": True}


def test_a_run_that_is_open_is_running() -> None:
    run = Run("t@b", "s", "b", "Look", created_ms=0, deadline_ms=600_000)
    assert boostgpt.result(run) == {"status": "running", "run": "t@b"}
    assert boostgpt.entry(run)["status"] == "running"


def test_runs_are_summed_up_by_day() -> None:
    tallies: list[dict[str, float]] = [
        {},
        {"success": 2, "error": 1, "skipped": 1, "tokens": 30, "credits": 1.5},
        {"success": 1, "duration_ms": 4_000, "type:heartbeat": 4, "type:manual": 1},
    ]
    days = ["2026-03-20", "2026-03-21", "2026-03-22"]
    stats = boostgpt.stats(days, tallies, active=2)
    assert stats["total_executions"] == 5
    assert (stats["success_count"], stats["error_count"], stats["skipped_count"]) == (3, 1, 1)
    assert (stats["success_rate"], stats["avg_duration_ms"]) == (75.0, 1_000)
    assert (stats["total_tokens"], stats["total_credits"]) == (30, 1.5)
    assert (stats["active_heartbeats"], stats["by_type"]) == (2, {"heartbeat": 4, "manual": 1})
    assert stats["time_series"][1] == {"date": "2026-03-21", "total": 4, "success": 2, "error": 1}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequest("no"), 400),
        (BadValue("no", field="prompt"), 400),
        (Conflict("no"), 409),
        (RateLimited("no"), 429),
    ],
)
def test_a_refusal_tells_its_status_twice(error: LifesignsError, status: int) -> None:
    code, body = boostgpt.refusal(error)
    assert code == body["error"]["status"] == status
    assert body["error"]["message"] == body["message"] == "no"
