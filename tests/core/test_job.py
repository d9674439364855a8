"""How a job moves, and who moves it, without a store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifesigns.core.access import Grant
from lifesigns.core.errors import BadRequest, Conflict, Forbidden
from lifesigns.core.job import (
    ASSIGNED,
    BY_AGENT,
    CANCELLED,
    COMPLETED,
    DISPUTED,
    IN_PROGRESS,
    IN_REVIEW,
    MOVES,
    OPEN,
    PAST,
    STATUSES,
    TRAIL,
    Act,
    Job,
    check_job_id,
    check_mover,
    create,
    edit,
    move,
    pack,
    spell,
    spell_step,
    unpack,
)

NOW = 1_774_189_800_000
LEGAL = {
    ("assign", OPEN): ASSIGNED,
    ("start", ASSIGNED): IN_PROGRESS,
    ("submit", ASSIGNED): IN_REVIEW,
    ("submit", IN_PROGRESS): IN_REVIEW,
    ("approve", IN_REVIEW): COMPLETED,
    ("reject", IN_REVIEW): IN_PROGRESS,
    ("cancel", OPEN): CANCELLED,
    ("cancel", ASSIGNED): CANCELLED,
    ("cancel", IN_PROGRESS): CANCELLED,
    ("dispute", IN_REVIEW): DISPUTED,
}
ONCE_SILENT = {
    ("dispute", ASSIGNED): DISPUTED,
    ("dispute", IN_PROGRESS): DISPUTED,
    ("reclaim", ASSIGNED): OPEN,
    ("reclaim", IN_PROGRESS): OPEN,
    ("reclaim", DISPUTED): OPEN,
}


def job(status: str = OPEN, **given: Any) -> Job:
    agent = {} if status == OPEN else {"agent": "a"}
    return Job("j", 1_800_000, NOW - 9, NOW - 9, NOW - 9, status, **{**agent, **given})


def act(name: str, **given: Any) -> Act:
    return Act(name, "boss", **({"agent": "a"} if name == "assign" else {}) | given)


@pytest.mark.parametrize("disputable", [False, True])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("name", MOVES)
def test_a_job_moves_as_the_table_says_and_in_no_other_way(
    name: str, status: str, disputable: bool
) -> None:
    silent = {"inactive_ms": 1, "disputable_ms": 2, "disputable": True} if disputable else {}
    before = job(status, **silent)
    legal = LEGAL | ONCE_SILENT if disputable else LEGAL
    if (name, status) not in legal:
        with pytest.raises(Conflict, match=status):
            move(before, act(name), NOW)
        return
    after, told = move(before, act(name), NOW)
    assert after.status == legal[name, status]
    assert (after.since_ms, after.updated_ms) == (NOW, NOW)
    assert after.trail[-1][:5] == (NOW, PAST[name], "boss", status, after.status)
    kinds = [each.type for each in told]
    back = ["job.recovered"] if disputable and name in BY_AGENT else []
    assert kinds == back + ([] if name == "start" else [PAST[name]])


def test_who_is_assigned_starts_with_nothing_of_a_former_agent() -> None:
    silent = job(
        IN_PROGRESS, disputable=True, inactive_ms=5, disputable_ms=6, beat_ms=4, report="x"
    )
    free, (told,) = move(silent, act("reclaim", reason="silent"), NOW)
    assert (free.agent, free.beat_ms, free.report, free.inactive_ms) == (None, None, "", None)
    assert not free.disputable
    assert free.reason == "silent"
    assert (told.agent, told.data["agentId"]) == ("a", "a")
    assert (told.data["job"]["agentId"], told.data["job"]["status"]) == (None, OPEN)
    assert free.trail[-1].agent == "a"
    again, (told,) = move(free, act("assign", agent="b"), NOW + 1)
    assert (again.agent, again.status, told.agent, again.reason) == ("b", ASSIGNED, "b", "")


def test_a_dispute_for_silence_leaves_the_job_to_be_reclaimed() -> None:
    silent = job(IN_PROGRESS, disputable=True, inactive_ms=5, disputable_ms=6)
    disputed = move(silent, act("dispute", reason="gone"), NOW).job
    assert (disputed.status, disputed.agent, disputed.disputable) == (DISPUTED, "a", True)
    assert move(disputed, act("reclaim"), NOW).job.agent is None


def test_what_is_submitted_stands_in_the_job_and_counts_as_a_sign_of_life() -> None:
    given = act("submit", output_data={"text": "done"}, notes="as asked", more={"proofHash": "x"})
    after = move(job(IN_PROGRESS, more={"kept": 1}), given, NOW).job
    shown = spell(after)
    assert (shown["outputData"], shown["notes"]) == ({"text": "done"}, "as asked")
    assert (shown["kept"], shown["proofHash"]) == (1, "x")
    assert after.beat_ms == NOW
    back = move(after, act("reject", reason="too short"), NOW + 5).job
    assert (back.reason, back.quiet_ms, back.output_data) == (
        "too short",
        NOW + 5,
        {"text": "done"},
    )
    assert spell(move(back, act("submit"), NOW + 6).job)["outputData"] == {"text": "done"}


def test_a_job_that_begins_with_an_agent_is_told_to_it() -> None:
    made, told = create(job(), "boss", NOW)
    assert ([step.type for step in made.trail], told) == (["job.created"], ())
    made, (only,) = create(job(ASSIGNED), "boss", NOW)
    assert [step.type for step in made.trail] == ["job.created", "job.assigned"]
    assert (only.type, only.agent, only.data["jobId"]) == ("job.assigned", "a", "j")


def test_a_job_is_altered_until_it_is_closed() -> None:
    altered = edit(job(more={"a": 1}), {"title": "t", "more": {"b": 2}}, "boss", NOW)
    assert (altered.job.title, altered.told) == ("t", ())
    assert spell(altered.job)["a"] == 1
    assert spell(altered.job)["b"] == 2
    for status in (COMPLETED, CANCELLED):
        with pytest.raises(Conflict, match=status):
            edit(job(status), {"title": "t"}, "boss", NOW)


class TestWhoMoves:
    @pytest.mark.parametrize("name", MOVES)
    def test_the_agent_does_the_work_and_the_poster_judges_it(self, name: str) -> None:
        mine = job(IN_PROGRESS, poster="p")
        agent, poster = grant("agent", agent="a"), grant("poster", poster="p")
        may, may_not = (agent, poster) if name in BY_AGENT else (poster, agent)
        check_mover(may, mine, name)
        check_mover(grant("admin"), mine, name)
        for other in (
            may_not,
            grant("watch"),
            grant("agent", agent="b"),
            grant("poster", poster="q"),
        ):
            with pytest.raises(Forbidden):
                check_mover(other, mine, name)

    def test_a_job_without_a_poster_is_judged_by_the_operator_alone(self) -> None:
        check_mover(grant("admin"), job(), "cancel")
        with pytest.raises(Forbidden):
            check_mover(grant("poster", poster="p"), job(), "cancel")

    def test_a_job_without_an_agent_is_refused_for_what_it_is_and_not_for_who_asks(self) -> None:
        for agent in ("a", "team-*", None):
            check_mover(grant("agent", agent=agent), job(), "start")
        with pytest.raises(Forbidden):
            check_mover(grant("poster", poster="p"), job(poster="p"), "start")


def grant(scope: Any, **given: Any) -> Grant:
    return Grant("k", "default", scope, **given)


def test_a_job_is_shown_without_nulls_where_its_readers_take_none() -> None:
    assert spell(job()) == {
        "id": "j",
        "title": "",
        "description": "",
        "acceptanceCriteria": "",
        "templateId": "",
        "budgetUsdc": 0,
        "deadlineAt": "",
        "inputData": {},
        "outputData": {},
        "notes": "",
        "status": "OPEN",
        "agentId": None,
        "posterId": None,
        "windowSeconds": 1800,
        "inactive": False,
        "inactiveSince": None,
        "disputable": False,
        "disputableAt": None,
        "lastHeartbeatAt": None,
        "progress": "",
        "reason": "",
        "createdAt": "2026-03-22T14:29:59.991Z",
        "updatedAt": "2026-03-22T14:29:59.991Z",
    }
    busy = job(IN_PROGRESS, deadline_ms=NOW, inactive_ms=NOW, disputable_ms=NOW + 1, beat_ms=NOW)
    shown = spell(replace(busy, window_ms=1_500, more={"id": "other", "vertical": "seo"}))
    assert (shown["id"], shown["vertical"], shown["windowSeconds"]) == ("j", "seo", 1.5)
    assert shown["inactiveSince"] == shown["deadlineAt"] == shown["lastHeartbeatAt"]
    assert shown["disputableAt"] == "2026-03-22T14:30:00.001Z"


def test_a_job_is_kept_whole_and_read_by_hubs_of_other_versions() -> None:
    moved = move(job(IN_PROGRESS, more={"x": [1]}), act("submit", output_data="o"), NOW).job
    kept = pack(moved)
    assert unpack(kept) == moved
    assert unpack(kept | {"from_the_future": 1}) == moved
    del kept["webhook"]
    assert unpack(kept) == moved


def test_a_trail_tells_the_latest_steps() -> None:
    going = job(IN_PROGRESS)
    for turn in range(TRAIL):
        going = move(going, act("submit"), NOW + turn).job
        going = move(going, act("reject", reason="no"), NOW + turn).job
    assert len(going.trail) == TRAIL
    assert spell_step(going.trail[-1]) == {
        "type": "job.rejected",
        "at": "2026-03-22T14:30:00.199Z",
        "by": "boss",
        "from": "IN_REVIEW",
        "to": "IN_PROGRESS",
        "agentId": "a",
        "reason": "no",
    }


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "x" * 129, "a\nb", "\ud800", 7, None, ["j"]])
def test_a_job_is_called_by_what_stands_in_a_path(bad: object) -> None:
    assert check_job_id("job 7: über?#%") == "job 7: über?#%"
    assert check_job_id("x" * 128)
    with pytest.raises(BadRequest) as refused:
        check_job_id(bad, "jobId")
    assert refused.value.field == "jobId"
