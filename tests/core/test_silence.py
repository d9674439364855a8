"""What it means for a job that its agent is silent, without a clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifesigns.core.errors import Conflict
from lifesigns.core.job import (
    ASSIGNED,
    CANCELLED,
    COMPLETED,
    DISPUTED,
    IN_PROGRESS,
    IN_REVIEW,
    OPEN,
    STATUSES,
    Act,
    Job,
    Terms,
    move,
)
from lifesigns.core.silence import beat, due_ms, elapse, found, held_due_ms, over

NOW = 1_774_189_800_000
WINDOW, DISPUTE = 1_000, 500
TERMS = Terms(window_ms=WINDOW, dispute_ms=DISPUTE, kept_ms=90_000)


def job(status: str = IN_PROGRESS, **given: Any) -> Job:
    agent = {} if status == OPEN else {"agent": "a"}
    return Job("j", WINDOW, NOW, NOW, NOW, status, **{**agent, **given})


@pytest.mark.parametrize("status", [ASSIGNED, IN_PROGRESS])
def test_silence_flags_a_job_after_its_window_and_once(status: str) -> None:
    quiet = job(status)
    assert due_ms(quiet, TERMS) == NOW + WINDOW
    assert elapse(quiet, TERMS, NOW + WINDOW - 1) == (quiet, ())
    flagged, (told,) = elapse(quiet, TERMS, NOW + WINDOW)
    assert (flagged.inactive_ms, flagged.disputable_ms) == (NOW + 1_000, NOW + 1_500)
    assert (told.type, told.agent) == ("job.heartbeat_missed", "a")
    assert told.data["job"]["inactive"] is True
    assert due_ms(flagged, TERMS) == NOW + 1_500
    assert elapse(flagged, TERMS, NOW + 1_499) == (flagged, ())


def test_longer_silence_makes_it_disputable_once() -> None:
    flagged = elapse(job(), TERMS, NOW + WINDOW).job
    flagged = replace(flagged, poster="p")
    open_to_all, (told,) = elapse(flagged, TERMS, NOW + 1_500)
    assert open_to_all.disputable
    assert told.type == "job.disputable"
    assert due_ms(open_to_all, TERMS) is None
    assert elapse(open_to_all, TERMS, NOW + 10**9) == (open_to_all, ())


def test_a_beat_takes_the_flag_and_begins_the_window_anew() -> None:
    flagged = elapse(job(), TERMS, NOW + WINDOW).job
    back, (told,) = beat(flagged, "a", "on it", NOW + 1_200)
    assert (back.inactive_ms, back.disputable_ms, back.disputable) == (None, None, False)
    assert (told.type, told.data["silentForMs"]) == ("job.recovered", 1_200)
    assert (back.report, due_ms(back, TERMS)) == ("on it", NOW + 2_200)
    again, told_nothing = beat(back, "a", None, NOW + 1_300)
    assert (again.report, again.beat_ms, told_nothing) == ("on it", NOW + 1_300, ())


def test_work_that_is_handed_in_after_a_silence_is_a_return() -> None:
    flagged = elapse(job(), TERMS, NOW + WINDOW).job
    after, told = move(flagged, Act("submit", "a"), NOW + 1_200)
    assert [each.type for each in told] == ["job.recovered", "job.submitted"]
    assert (after.inactive_ms, due_ms(after, TERMS)) == (None, None)


def test_the_first_beat_begins_a_job() -> None:
    begun, told = beat(job(ASSIGNED), "a", None, NOW + 5)
    assert (begun.status, begun.since_ms, told) == (IN_PROGRESS, NOW + 5, ())
    assert begun.trail[-1].type == "job.started"


@pytest.mark.parametrize("status", [IN_REVIEW, DISPUTED])
def test_who_waits_for_a_judgement_is_heard_and_never_silent(status: str) -> None:
    waiting = beat(job(status), "a", "waiting", NOW + 5).job
    assert (waiting.status, waiting.beat_ms) == (status, NOW + 5)
    assert due_ms(waiting, TERMS) is None
    assert elapse(waiting, TERMS, NOW + 10**9) == (waiting, ())


def test_who_returns_to_a_job_that_is_another_ones_learns_whose_it_is() -> None:
    with pytest.raises(Conflict, match="is with 'b', not with 'a'"):
        beat(job(agent="b"), "a", None, NOW)
    with pytest.raises(Conflict, match="is with nobody now, not with 'a'"):
        beat(job(OPEN), "a", None, NOW)
    for status in (COMPLETED, CANCELLED):
        with pytest.raises(Conflict, match=f"is {status}"):
            beat(job(status), "a", None, NOW)


def test_a_job_that_nobody_posted_begins_with_its_first_beat() -> None:
    made, told = beat(found("j", "a", TERMS, NOW), "a", "first", NOW)
    assert (made.status, made.agent, made.poster, made.title) == (IN_PROGRESS, "a", None, "")
    assert (made.report, made.beat_ms, told) == ("first", NOW, ())
    assert [step.type for step in made.trail] == ["job.created"]


def test_a_window_begins_where_agents_can_be_heard_again() -> None:
    assert held_due_ms(job(), TERMS, NOW - 5_000) == NOW + WINDOW
    assert held_due_ms(job(), TERMS, NOW + 700) == NOW + 1_700
    flagged = elapse(job(), TERMS, NOW + WINDOW).job
    assert held_due_ms(flagged, TERMS, NOW + 1_400) == NOW + 2_400
    assert held_due_ms(job(OPEN), TERMS, NOW) is None


def test_a_job_that_nobody_posted_is_forgotten_when_it_was_left_alone_for_long() -> None:
    left = elapse(elapse(job(), TERMS, NOW + WINDOW).job, TERMS, NOW + 1_500).job
    assert due_ms(left, TERMS) == held_due_ms(left, TERMS, NOW + 10**9) == NOW + 91_500
    assert elapse(left, TERMS, NOW + 91_500) == (left, ())
    assert not over(left, TERMS, NOW + 91_499)
    assert over(left, TERMS, NOW + 91_500)
    assert not over(replace(left, poster="p"), TERMS, NOW + 10**9)
    assert not over(beat(left, "a", None, NOW).job, TERMS, NOW + 10**9)


@pytest.mark.parametrize("status", STATUSES)
def test_what_is_closed_is_kept_for_a_while_and_all_else_for_ever(status: str) -> None:
    closed = status in (COMPLETED, CANCELLED)
    assert over(job(status), TERMS, NOW + 90_000) is closed
    assert not over(job(status), TERMS, NOW + 89_999)
    if closed:
        assert due_ms(job(status), TERMS) == NOW + 90_000
        assert held_due_ms(job(status), TERMS, NOW + 10**9) == NOW + 90_000
