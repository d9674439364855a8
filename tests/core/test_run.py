"""What may be reported of a run, and who is given it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from lifesigns.core import run as runs
from lifesigns.core.errors import BadRequest, BadValue, Conflict, Forbidden, LifesignsError
from lifesigns.core.model import Instance, Limits, Presence, Words
from lifesigns.core.run import Report, Run

LIMITS = Limits()
OPEN = Run("t1@bot", "s1", "bot", "Look around", created_ms=1_000, deadline_ms=601_000)
DONE = Report("success", response="all quiet")
CLOSED = replace(OPEN, status="success", report=asdict(DONE), ended_ms=2_000)
LATE = replace(OPEN, status="error", error_message="no answer in time", ended_ms=601_000)


def test_a_report_is_read_with_all_that_may_be_in_it() -> None:
    said = {
        "type": "done",
        "run": OPEN.id,
        "status": "error",
        "response": "half of it",
        "tokens_used": 0,
        "credits": 0.5,
        "error_message": "no network",
        "notify": {"text": "look"},
    }
    report = runs.read_report(said, LIMITS)
    assert report == Report("error", "half of it", 0, 0.5, "no network", {"text": "look"})
    assert runs.read_report({"status": "success"}, LIMITS) == Report("success")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "status"),
        ({"status": "done"}, "status"),
        ({"status": 5}, "status"),
        ({"status": ["success"]}, "status"),
        ({"status": "success", "response": 5}, "response"),
        ({"status": "success", "tokens_used": -1}, "tokens_used"),
        ({"status": "success", "tokens_used": "many"}, "tokens_used"),
        ({"status": "success", "credits": True}, "credits"),
        ({"status": "success", "credits": -0.5}, "credits"),
        ({"status": "success", "error_message": []}, "error_message"),
    ],
)
def test_a_report_of_a_wrong_type_is_refused_by_its_field(said: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as refused:
        runs.read_report(said, LIMITS)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("run", "agent", "report", "error"),
    [
        (OPEN, "other", DONE, Forbidden),
        (CLOSED, "other", DONE, Forbidden),
        (CLOSED, "bot", replace(DONE, response="another"), Conflict),
        (LATE, "bot", DONE, Conflict),
    ],
)
def test_a_report_that_comes_late_or_from_elsewhere_is_refused(
    run: Run, agent: str, report: Report, error: type[LifesignsError]
) -> None:
    with pytest.raises(error):
        runs.check_report(run, agent, report)


def test_a_report_is_news_once() -> None:
    assert runs.check_report(OPEN, "bot", DONE)
    assert not runs.check_report(CLOSED, "bot", DONE)


def test_a_run_is_found_by_its_id() -> None:
    assert runs.agent_of_run(runs.run_id("t1", "a@b")) == "a@b"
    for bad in ("", "t1", "@bot", "t1@", "t1@a b", "t1@me"):
        with pytest.raises(BadRequest):
            runs.agent_of_run(bad)


def presence(*instances: tuple[str, str, int], claims: tuple[str, ...] = ()) -> Presence:
    """Make one of instances: a name, a state, since when."""
    standing = tuple(
        (
            Instance(
                *(name, f"n1-{name}" if name != "-" else "", 0, 0, 0, 30_000, "", (), None),
                *(0, 0, since, Words(), 1),
            ),
            state,
        )
        for name, state, since in instances
    )
    words = Words()
    return Presence(
        *("bot", "p", 8, "available", words, (), 1, 1, 0, None, False, 0, None, None, None),
        *(None, None, standing, "e", 1, tuple(("t", held) for held in claims)),
    )


@pytest.mark.parametrize(
    ("instances", "claims", "chosen"),
    [
        ([("a", "available", 5), ("b", "available", 3)], (), "b"),
        ([("a", "busy", 1), ("b", "available", 3)], (), "b"),
        ([("a", "available", 5), ("b", "available", 3)], ("b",), "a"),
        ([("a", "degraded", 1), ("b", "busy", 3)], (), "b"),
        ([("a", "busy", 5), ("b", "available", 3)], ("b",), "a"),
        ([("a", "draining", 1), ("b", "suspect", 1), ("c", "stalled", 1)], (), None),
        ([("a", "error", 1)], (), None),
        ([("-", "available", 1)], (), None),
        ([], (), None),
    ],
)
def test_the_claimable_instance_that_was_idle_longest_is_given_the_run(
    instances: list[tuple[str, str, int]], claims: tuple[str, ...], chosen: str | None
) -> None:
    found = runs.choose(presence(*instances, claims=claims))
    assert (found and found[1]) == chosen


def test_who_has_a_run_before_it_comes_after_who_has_none() -> None:
    two = presence(("a", "available", 3), ("b", "available", 5))
    assert runs.choose(two, laden={"n1-a"}) == ("n1-b", "b")
    assert runs.choose(two, missed="n1-a") == ("n1-b", "b")
    assert runs.choose(presence(("a", "available", 3)), laden={"n1-a"}) == ("n1-a", "a")


def test_a_run_is_spelled_as_sockets_and_pollers_read_it() -> None:
    frame = runs.frame(OPEN)
    assert frame == {
        "type": "run",
        "run": "t1@bot",
        "schedule": "s1",
        "agent": "bot",
        "prompt": "Look around",
        "member_id": None,
        "deadline": "1970-01-01T00:10:01.000Z",
    }
    shown = runs.spell(CLOSED)
    assert (shown["type"], shown["status"], shown["duration_ms"]) == ("heartbeat", "success", 1_000)
    assert runs.unpack(runs.pack(CLOSED)) == CLOSED
