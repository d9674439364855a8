"""Slots of work: what they may become, and when their deadlines are near, missed or final."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifesigns.core.errors import BadValue, Conflict
from lifesigns.core.slot import (
    KEPT_MS,
    STATUSES,
    TELLS_MS,
    Move,
    Slot,
    Status,
    by_deadline,
    check_deadlines,
    grant,
    lapse,
    move,
    near_from_ms,
    over,
    pack,
    pass_time,
    spell,
    told,
    unpack,
)

T0 = 1_774_189_800_000  # 2026-03-22T14:30:00.000Z
MINUTE = 60_000
GRANTED = Slot(
    "s1", "a", "uuid-of-a", "j1", "p", "GRANTED", T0, T0 + 10 * MINUTE, T0 + 60 * MINUTE, T0
)
TOLD = told(GRANTED)


def at(status: Status, **more: Any) -> Slot:
    return replace(TOLD, status=status, **more)


@pytest.mark.parametrize(
    ("status", "act", "after"),
    [
        ("GRANTED", "acknowledge", "ACKNOWLEDGED"),
        ("GRANTED", "submit", None),
        ("GRANTED", "withdraw", "WITHDRAWN"),
        ("ACKNOWLEDGED", "acknowledge", "ACKNOWLEDGED"),
        ("ACKNOWLEDGED", "submit", "SUBMITTED"),
        ("ACKNOWLEDGED", "withdraw", "WITHDRAWN"),
        ("SUBMITTED", "acknowledge", None),
        ("SUBMITTED", "submit", "SUBMITTED"),
        ("SUBMITTED", "withdraw", "WITHDRAWN"),
        ("WITHDRAWN", "acknowledge", None),
        ("WITHDRAWN", "submit", None),
        ("WITHDRAWN", "withdraw", "WITHDRAWN"),
        ("MISSED", "acknowledge", None),
        ("MISSED", "submit", None),
        ("MISSED", "withdraw", None),
    ],
)
def test_every_move_of_every_status(status: Status, act: Move, after: Status | None) -> None:
    if after is None:
        with pytest.raises(Conflict, match=f"^A slot that is {status} cannot be "):
            move(at(status), act, T0 + 1)
    else:
        assert move(at(status), act, T0 + 1).status == after


def test_what_is_said_twice_is_the_same() -> None:
    taken = move(TOLD, "acknowledge", T0 + 1)
    assert (taken.acknowledged_ms, taken.updated_ms) == (T0 + 1, T0 + 1)
    assert move(taken, "acknowledge", T0 + 2) == taken
    given_up = move(taken, "withdraw", T0 + 3)
    assert given_up.ended_ms == T0 + 3
    assert move(given_up, "withdraw", T0 + 4) == given_up


def test_an_artifact_is_replaced_until_the_deadline_and_not_after_it() -> None:
    taken = move(TOLD, "acknowledge", T0 + 1)
    first = move(taken, "submit", T0 + 2, artifact={"draft": 1})
    last_ms = first.finish_by_ms - 1
    second = move(first, "submit", last_ms, artifact=["final"])
    assert (second.artifact, second.submitted_ms) == (["final"], last_ms)
    for act in ("submit", "withdraw"):
        with pytest.raises(Conflict, match=r"2026-03-22T15:30:00\.000Z"):
            move(second, act, second.finish_by_ms)


@pytest.mark.parametrize("act", ["acknowledge", "withdraw"])
def test_a_deadline_is_missed_at_its_very_moment(act: Move) -> None:
    assert move(TOLD, act, TOLD.acknowledge_by_ms - 1).status != "GRANTED"
    with pytest.raises(Conflict, match=r"due before 2026-03-22T14:40:00\.000Z"):
        move(TOLD, act, TOLD.acknowledge_by_ms)


def test_who_could_not_speak_is_not_late() -> None:
    late_ms = TOLD.acknowledge_by_ms + MINUTE
    held = {"held_until_ms": late_ms + 1}
    assert move(TOLD, "acknowledge", late_ms, **held).status == "ACKNOWLEDGED"
    with pytest.raises(Conflict):
        move(TOLD, "acknowledge", late_ms + 1, **held)


# Near: less than a fifth of the window is left, or less than ten minutes, whichever is shorter.
@pytest.mark.parametrize(
    ("window_ms", "left_ms"),
    [
        (10 * MINUTE, 2 * MINUTE),  # a fifth is the shorter one
        (49 * MINUTE, 49 * MINUTE // 5),
        (50 * MINUTE, 10 * MINUTE),  # they are equal
        (51 * MINUTE, 10 * MINUTE),  # ten minutes are
        (24 * 60 * MINUTE, 10 * MINUTE),
        (5, 1),
        (1, 0.2),  # the whole fifth is below what can be told apart
    ],
)
def test_near_begins_below_its_edge_and_not_on_it(window_ms: int, left_ms: float) -> None:
    slot = replace(TOLD, acknowledge_by_ms=T0 + window_ms, finish_by_ms=T0 + window_ms)
    first_ms = near_from_ms(T0, T0 + window_ms)
    assert slot.near_from_ms == first_ms
    assert T0 + window_ms - first_ms < left_ms <= T0 + window_ms - (first_ms - 1)
    assert slot.is_near(first_ms)
    assert not slot.is_near(first_ms - 1)


def test_the_deadline_that_runs_is_the_one_of_what_is_owed() -> None:
    owed = {status: (at(status).owes, at(status).deadline_ms) for status in STATUSES}
    assert owed == {
        "GRANTED": ("acknowledgement", GRANTED.acknowledge_by_ms),
        "ACKNOWLEDGED": ("fairWork", GRANTED.finish_by_ms),
        "SUBMITTED": ("", None),
        "WITHDRAWN": ("", None),
        "MISSED": ("", None),
    }
    assert at("ACKNOWLEDGED").near_from_ms == GRANTED.finish_by_ms - 10 * MINUTE + 1
    assert not at("SUBMITTED").is_near(GRANTED.finish_by_ms)


def test_near_is_told_once_for_each_deadline() -> None:
    near_ms = TOLD.near_from_ms
    assert near_ms is not None
    assert pass_time(TOLD, near_ms - 1) == (TOLD, ())
    warned, (said,) = pass_time(TOLD, near_ms)
    assert (said.type, said.agent) == ("slot.near_deadline", "a")
    assert said.data["deadline"] == "acknowledgement"
    assert said.data["remaining_ms"] == TOLD.acknowledge_by_ms - near_ms
    assert pass_time(warned, near_ms + 1) == (warned, ())
    taken = move(warned, "acknowledge", near_ms + 2)
    later_ms = taken.near_from_ms
    assert later_ms is not None
    warned, (said,) = pass_time(taken, later_ms)
    assert said.data["deadline"] == "fairWork"
    assert pass_time(warned, later_ms + 1) == (warned, ())


@pytest.mark.parametrize("status", ["GRANTED", "ACKNOWLEDGED"])
def test_a_deadline_that_passes_is_missed_and_told_once(status: Status) -> None:
    slot = at(status)
    deadline_ms = slot.deadline_ms
    assert deadline_ms is not None
    assert pass_time(slot, deadline_ms - 1).slot.status == status
    missed, (said,) = pass_time(slot, deadline_ms)
    assert (missed.status, missed.ended_ms) == ("MISSED", deadline_ms)
    assert said.type == "slot.missed"
    assert (said.data["status"], said.data["deadline"]) == ("MISSED", slot.owes)
    assert pass_time(missed, deadline_ms + 1) == (missed, ())


def test_what_was_handed_in_is_final_from_the_deadline_on() -> None:
    handed = at("SUBMITTED", submitted_ms=T0 + 5)
    assert handed.due_ms == handed.finish_by_ms
    assert pass_time(handed, handed.finish_by_ms - 1).slot.is_open
    final, said = pass_time(handed, handed.finish_by_ms)
    assert (final.status, final.is_open, said) == ("SUBMITTED", False, ())


def test_nobody_misses_anything_of_a_job_that_is_over() -> None:
    for status, after in (("GRANTED", "WITHDRAWN"), ("SUBMITTED", "SUBMITTED")):
        ended, said = lapse(at(status), T0 + 7)  # type: ignore[arg-type]
        assert (ended.status, ended.ended_ms, said) == (after, T0 + 7, ())


def test_it_is_looked_at_when_it_turns_and_at_no_other_time() -> None:
    assert GRANTED.due_ms == T0 + TELLS_MS
    assert TOLD.due_ms == TOLD.near_from_ms
    warned = pass_time(TOLD, TOLD.due_ms).slot
    assert warned.due_ms == warned.acknowledge_by_ms
    missed = pass_time(warned, warned.due_ms).slot
    assert missed.due_ms == warned.acknowledge_by_ms + KEPT_MS
    assert not over(missed, missed.due_ms - 1)
    assert over(missed, missed.due_ms)


def test_a_grant_is_told_without_what_is_handed_in_later() -> None:
    _, (said,) = grant(GRANTED)
    assert said.type == "slot.granted"
    assert said.data == {
        "id": "s1",
        "agentId": "uuid-of-a",
        "jobId": "j1",
        "applicationId": None,
        "status": "GRANTED",
        "acknowledgementDeadlineAt": "2026-03-22T14:40:00.000Z",
        "fairWorkDeadlineAt": "2026-03-22T15:30:00.000Z",
    }
    shown = spell(at("SUBMITTED", artifact={"x": 1}, submitted_ms=T0 + 1), T0 + 2)
    assert (shown["artifact"], shown["submittedAt"]) == ({"x": 1}, "2026-03-22T14:30:00.001Z")
    assert (shown["agent"], shown["missedAt"], shown["withdrawnAt"]) == ("a", None, None)


def test_it_is_kept_whole_and_read_whatever_a_newer_hub_has_added() -> None:
    slot = at("SUBMITTED", artifact={"x": [1]}, warned="fairWork")
    assert unpack(pack(slot) | {"colour": "blue"}) == slot


@pytest.mark.parametrize(
    ("acknowledge_in", "finish_in", "field"),
    [
        (0, 1, "acknowledgementDeadlineAt"),
        (-1, 1, "acknowledgementDeadlineAt"),
        (2, 1, "fairWorkDeadlineAt"),
        (1, 1, None),
        (1, 2, None),
    ],
)
def test_a_grant_that_nobody_could_take_up_is_refused(
    acknowledge_in: int, finish_in: int, field: str | None
) -> None:
    if field is None:
        check_deadlines(T0, T0 + acknowledge_in, T0 + finish_in)
        return
    with pytest.raises(BadValue) as refused:
        check_deadlines(T0, T0 + acknowledge_in, T0 + finish_in)
    assert refused.value.field == field


def test_what_is_due_first_comes_first() -> None:
    late = replace(TOLD, id="late")
    soon = replace(TOLD, id="soon", acknowledge_by_ms=T0 + 1)
    handed = at("SUBMITTED", id="handed")
    assert [slot.id for slot in by_deadline([handed, late, soon])] == ["soon", "late", "handed"]
