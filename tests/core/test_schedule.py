"""The life of a schedule and of its runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lifesigns.core import schedule as schedules
from lifesigns.core.errors import BadValue, Conflict
from lifesigns.core.run import ERROR, SKIPPED, SUCCESS, Report, Run
from lifesigns.core.schedule import NO_ANSWER, Schedule, Terms, Turn

TERMS = Terms()
MINUTE = 60_000
NOON = int(datetime(2026, 3, 22, 12, tzinfo=UTC).timestamp()) * 1000
DONE = Report(SUCCESS, response="all quiet", tokens_used=12, credits=3)
BAD = Report(ERROR, error_message="no network")


def make(**said: Any) -> Schedule:
    blank = Schedule("s1", "bot", "bot", "p", "Look around", NOON, NOON)
    return schedules.configure(blank, {"enabled": True, **said}, NOON, TERMS, new=True)


def fall_due(schedule: Schedule, token: str = "t1", late_ms: int = 0) -> Turn:
    assert schedule.due_ms is not None
    return schedules.fall_due(schedule, schedule.due_ms + late_ms, token, TERMS)


def only(turn: Turn) -> tuple[Schedule, Run]:
    assert turn.schedule is not None
    (run,) = turn.runs
    return turn.schedule, run


def types(turn: Turn) -> list[str]:
    return [told.type for told in turn.told]


# When.


def test_the_first_run_is_one_interval_after_it_was_enabled() -> None:
    assert make().due_ms == NOON + 30 * MINUTE
    assert make(interval_minutes=5).due_ms == NOON + 5 * MINUTE


def test_a_schedule_that_is_not_enabled_is_never_due() -> None:
    off = make(enabled=False)
    assert off.due_ms is None
    on = schedules.enable(off, NOON + 7 * MINUTE)
    assert on.due_ms == NOON + 37 * MINUTE
    assert schedules.disable(on, NOON).due_ms is None


def test_enabling_what_is_enabled_puts_nothing_off() -> None:
    schedule = make()
    assert schedules.enable(schedule, NOON + MINUTE) is schedule


def test_another_prompt_puts_nothing_off_and_another_interval_begins_anew() -> None:
    schedule, later = make(), NOON + 10 * MINUTE
    prompt = schedules.configure(schedule, {"prompt": "Look again"}, later, TERMS)
    assert prompt.due_ms == schedule.due_ms
    faster = schedules.configure(schedule, {"interval_minutes": 5}, later, TERMS)
    assert faster.due_ms == later + 5 * MINUTE


def test_a_bot_that_is_switched_off_stops_its_schedules_until_it_is_on_again() -> None:
    stopped = schedules.switch(make(), False, NOON)
    assert stopped.enabled
    assert stopped.due_ms is None
    assert schedules.switch(stopped, True, NOON + MINUTE).due_ms == NOON + 31 * MINUTE
    assert schedules.switch(make(enabled=False), False, NOON).due_ms is None


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"interval_minutes": 0.5}, "interval_minutes"),
        ({"interval_minutes": 0}, "interval_minutes"),
        ({"interval_minutes": 1e9}, "interval_minutes"),
        ({"timezone": "Nowhere/Land"}, "timezone"),
        ({"active_hours_start": "25:00"}, "active_hours_start"),
        ({"active_hours_end": "9"}, "active_hours_end"),
        ({"active_days": "0,8"}, "active_days"),
        ({"cron_pattern": "every day"}, "cron_pattern"),
        (
            {"cron_pattern": "0 3 * * *", "active_hours_start": "9:00", "active_hours_end": "9:30"},
            "cron_pattern",
        ),
    ],
)
def test_what_can_never_run_is_refused_enabled_or_not(said: dict[str, Any], field: str) -> None:
    with pytest.raises(BadValue) as refused:
        make(**said, enabled=False)
    assert refused.value.field == field


# Runs.


def test_a_run_that_is_due_begins_and_the_next_one_keeps_its_time() -> None:
    schedule = make()
    turn = fall_due(schedule, late_ms=400)
    after, run = only(turn)
    assert (run.status, run.type, run.prompt) == ("open", "heartbeat", "Look around")
    assert run.id == "t1@bot"
    assert run.due_ms == schedule.due_ms
    assert run.deadline_ms == run.created_ms + TERMS.timeout_ms
    assert after.open_run == run.id
    assert after.due_ms == NOON + 60 * MINUTE
    assert types(turn) == ["run.started"]


def test_a_report_closes_a_run_and_counts() -> None:
    schedule, run = only(fall_due(make()))
    turn = schedules.finish(schedule, run, DONE, run.created_ms + 1_500)
    after, closed = only(turn)
    assert (closed.status, closed.response, closed.duration_ms) == (SUCCESS, "all quiet", 1_500)
    assert (after.execution_count, after.error_count, after.last_status) == (1, 0, SUCCESS)
    assert (after.credits_used, after.open_run) == (3, None)
    assert types(turn) == ["run.succeeded"]


def test_a_notice_is_told_with_where_it_is_wanted() -> None:
    schedule, run = only(fall_due(make(notify_url="https://example.com/n")))
    turn = schedules.finish(schedule, run, replace(DONE, notify="3 tickets"), run.created_ms)
    assert types(turn) == ["run.succeeded", "run.notify"]
    assert turn.told[1].data["notify"] == "3 tickets"
    assert turn.told[1].data["notify_url"] == "https://example.com/n"


def test_a_run_while_the_last_one_is_open_is_skipped() -> None:
    schedule, first = only(fall_due(make()))
    turn = fall_due(schedule, "t2")
    after, skipped = only(turn)
    assert (skipped.status, skipped.error_message) == (SKIPPED, "the previous run is open")
    assert after.open_run == first.id
    assert (after.execution_count, after.last_status) == (0, SKIPPED)
    assert types(turn) == ["run.skipped"]


def test_times_that_were_missed_run_once_and_are_one_entry() -> None:
    turn = fall_due(make(), late_ms=7 * 30 * MINUTE)
    assert [(run.status, run.error_message) for run in turn.runs] == [
        (SKIPPED, "missed 7"),
        ("open", None),
    ]
    assert turn.schedule is not None
    assert turn.schedule.due_ms == NOON + 9 * 30 * MINUTE
    assert len({run.id for run in turn.runs}) == 2


def test_a_budget_is_checked_before_a_run_and_ends_with_the_month_there() -> None:
    schedule = make(credit_budget=5, timezone="Europe/Berlin")
    for token, credits in (("a", 4.5), ("b", 2)):  # one may overshoot
        begun, run = only(fall_due(schedule, token))
        report = replace(DONE, credits=credits)
        schedule, _ = only(schedules.finish(begun, run, report, run.created_ms))
    turn = fall_due(schedule, "c")
    after, skipped = only(turn)
    assert skipped.error_message == "the budget of 2026-03 is used up: 6.5 of 5 credits"
    april = int(datetime(2026, 3, 31, 22, tzinfo=UTC).timestamp()) * 1000
    late = replace(after, due_ms=april - 1)
    assert schedules.fall_due(late, april - 1, "d", TERMS).runs[-1].status == SKIPPED
    again = schedules.fall_due(replace(late, due_ms=april), april, "e", TERMS)
    assert again.runs[-1].status == "open"
    assert schedules.credits_used(late, april) == 0


def test_a_schedule_pauses_after_failures_in_a_row_and_says_why() -> None:
    schedule, told = make(max_consecutive_errors=2), []
    for token in "ab":
        begun, run = only(fall_due(schedule, token))
        turn = schedules.finish(begun, run, BAD, run.created_ms)
        schedule, _ = only(turn)
        told += types(turn)
    assert (schedule.enabled, schedule.due_ms) == (False, None)
    assert schedule.paused_reason == "2 failed in a row, the last: no network"
    assert told == ["run.failed", "run.failed", "schedule.paused"]
    resumed = schedules.enable(schedule, NOON)
    assert (resumed.paused_reason, resumed.consecutive_errors) == (None, 0)


def test_a_success_resets_the_count_of_failures() -> None:
    schedule = make(max_consecutive_errors=2)
    for token, report in (("a", BAD), ("b", DONE), ("c", BAD)):
        begun, run = only(fall_due(schedule, token))
        schedule, _ = only(schedules.finish(begun, run, report, run.created_ms))
    assert schedule.enabled
    assert (schedule.consecutive_errors, schedule.error_count) == (1, 2)
    assert schedule.execution_count == 3


def test_a_run_that_nobody_reports_fails_and_counts_as_one() -> None:
    schedule, run = only(fall_due(make()))
    turn = schedules.fail(schedule, run, NO_ANSWER, run.deadline_ms)
    after, closed = only(turn)
    assert (closed.status, closed.error_message) == (ERROR, NO_ANSWER)
    assert closed.report is None
    assert after.consecutive_errors == 1
    assert types(turn) == ["run.failed"]


def test_a_run_of_a_schedule_that_is_gone_ends_all_the_same() -> None:
    _, run = only(fall_due(make()))
    turn = schedules.finish(None, run, DONE, run.created_ms)
    assert turn.schedule is None
    assert turn.runs[0].status == SUCCESS


def test_trigger_runs_what_is_disabled_and_puts_nothing_off() -> None:
    off = make(enabled=False)
    after, run = only(schedules.trigger(off, NOON, "m", TERMS))
    assert (run.type, run.status, run.due_ms) == ("manual", "open", None)
    assert after.due_ms is None
    on = make()
    assert only(schedules.trigger(on, NOON + MINUTE, "m", TERMS))[0].due_ms == on.due_ms


def test_trigger_waits_for_no_run_that_is_open_and_spends_no_more_than_the_budget() -> None:
    begun, _ = only(fall_due(make()))
    with pytest.raises(Conflict):
        schedules.trigger(begun, NOON, "m", TERMS)
    _, skipped = only(schedules.trigger(make(credit_budget=0), NOON, "m", TERMS))
    assert (skipped.status, skipped.type) == (SKIPPED, "manual")


def test_what_is_kept_of_a_schedule_is_read_again_with_fields_of_a_newer_hub() -> None:
    schedule, _ = only(fall_due(make(credit_budget=5)))
    assert schedules.unpack({**schedules.pack(schedule), "mood": "good"}) == schedule
