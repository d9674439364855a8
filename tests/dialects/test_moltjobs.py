"""The MoltJobs API's words and ours, without a hub."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.errors import BadRequest, BadValue, NotFound
from lifesigns.core.job import ASSIGNED, COMPLETED, IN_PROGRESS, OPEN, Act, Job, Terms
from lifesigns.core.letter import Letter
from lifesigns.core.model import Limits
from lifesigns.core.past import Life
from lifesigns.dialects.moltjobs.agent import DAY_MS, Pulse, analytics, mail
from lifesigns.dialects.moltjobs.answer import refusal
from lifesigns.dialects.moltjobs.heartbeat import (
    Noted,
    at_work,
    beat_shown,
    heartbeat,
    hint,
    lease_ms,
    noted,
    place,
    received,
    report,
    words,
)
from lifesigns.dialects.moltjobs.job import act, editing, posting, statuses
from tests.core.fleet import NOW

LIMITS, TERMS = Limits(), Terms()


def job(id_: str = "j", status: str = IN_PROGRESS, **given: Any) -> Job:
    return Job(id_, given.pop("window_ms", 1_800_000), NOW, NOW, NOW, status, "a", **given)


def post(**body: Any) -> Job:
    return posting(body, "p", LIMITS, TERMS, "made", NOW)


class TestHeartbeats:
    def test_null_is_as_good_as_absent(self) -> None:
        names = ("jobId", "progress", "statusReport", "runtimeMetadata", "status")
        assert heartbeat(dict.fromkeys(names), LIMITS) == heartbeat({}, LIMITS)
        assert heartbeat({"progress": None, "statusReport": "r"}, LIMITS).report == "r"
        assert heartbeat({"progress": "", "statusReport": "r"}, LIMITS).report is None
        assert heartbeat({"progress": "p", "statusReport": "r"}, LIMITS).report == "p"

    def test_what_nobody_here_knows_is_metadata_unless_its_own_says_otherwise(self) -> None:
        beat = heartbeat({"region": "eu", "n": 1, "runtimeMetadata": {"n": 2}}, LIMITS)
        assert words(beat, None)["metadata"] == {"region": "eu", "n": 2}
        assert noted(beat) == {"region": "eu", "n": 1, "runtimeMetadata": {"n": 2}}
        assert "metadata" not in words(heartbeat({"progress": "p"}, LIMITS), None)
        assert words(heartbeat({"runtimeMetadata": {}}, LIMITS), None)["metadata"] == {}

    @pytest.mark.parametrize("jobbed", [True, False])
    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (None, None),
            ("error", "error"),
            ("FAILED", "error"),
            ("degraded", "degraded"),
            ("stopping", "draining"),
            ("online", None),
            ("idle", None),
            ("what", None),
        ],
    )
    def test_a_job_makes_busy_unless_it_says_something_worse(
        self, status: str | None, said: str | None, jobbed: bool
    ) -> None:
        mine = job() if jobbed else None
        assert hint(status, mine) == (said or ("busy" if jobbed else "available"))

    def test_the_task_is_the_jobs_title_and_its_note_what_was_reported(self) -> None:
        beat = heartbeat({"progress": "half"}, LIMITS)
        told = words(beat, job(title="Write", report="half"))
        assert (told["task"], told["progress"]) == ("Write", {"note": "half"})
        assert words(beat, job())["task"] == "j"
        assert words(beat, None)["task"] is None
        silent = heartbeat({}, LIMITS)
        assert "progress" not in words(silent, job(report="half"))
        assert words(silent, job())["progress"] is None
        assert words(silent, None)["progress"] is None

    def test_it_works_on_the_job_that_it_named_or_on_the_latest(self) -> None:
        older, newer = job("1"), Job("2", 1, NOW, NOW, NOW + 1, ASSIGNED, "a")
        done = Job("3", 1, NOW, NOW, NOW + 2, COMPLETED, "a")
        assert at_work([older, newer, done]) == newer
        assert at_work([older, newer, done], "1") == older
        assert at_work([older, newer], "3") == newer
        assert at_work([done], "3") is None

    def test_its_lease_is_the_longest_window_of_what_it_works_on(self) -> None:
        assert lease_ms([], TERMS) == 1_800_000
        assert lease_ms([job(window_ms=5_000), job(window_ms=9_000)], TERMS) == 9_000
        assert lease_ms([job("j", COMPLETED, window_ms=5_000)], TERMS) == 1_800_000

    def test_it_is_told_when_the_next_is_due(self) -> None:
        assert received(NOW, 1_800_000) == {
            "ok": True,
            "receivedAt": "2026-03-22T14:30:00.000Z",
            "nextExpectedBefore": "2026-03-22T15:00:00.000Z",
        }

    def test_a_poster_sees_its_report_and_nothing_of_its_runtime(self) -> None:
        said = {"jobId": "j", "progress": "p", "runtimeMetadata": {"secret": 1}, "region": "eu"}
        beat = Noted("a", "1774189800000-3", NOW, said)
        assert place(beat.number) == (NOW, 3)
        assert beat_shown(beat, owner=True)["runtimeMetadata"] == {"secret": 1}
        for shown in (beat_shown(beat, owner=False), report(beat)):
            assert shown["progress"] == "p"
            assert shown["id"] == "1774189800000-3-a"
            assert "secret" not in str(shown)
            assert "region" not in str(shown)


class TestJobs:
    def test_a_posted_job_has_what_its_poster_said_and_keeps_the_rest(self) -> None:
        made = post(title="t", vertical="seo", createdAt="long ago", deadlineAt="", notes=None)
        assert (made.id, made.poster, made.status, made.title) == ("made", "p", OPEN, "t")
        assert (made.more, made.deadline_ms, made.window_ms) == (
            {"vertical": "seo"},
            None,
            1_800_000,
        )
        assert post(agentId="a").status == ASSIGNED
        assert post(agentId="a", status="IN_PROGRESS").status == IN_PROGRESS
        assert post(windowSeconds=1.5).window_ms == 1_500
        assert post(posterId="q").poster == "q"

    def test_an_edit_may_be_the_whole_job_and_moves_nothing(self) -> None:
        mine = job(poster="p", title="t")
        same = {"id": "j", "status": "IN_PROGRESS", "agentId": "a", "posterId": "p", "title": "x"}
        assert editing(same, mine, LIMITS) == {"title": "x", "poster": "p"}
        assert editing({"title": None, "inputData": None, "vertical": 1}, mine, LIMITS) == {
            "title": "",
            "input_data": {},
            "more": {"vertical": 1},
        }
        for name, value in (("status", OPEN), ("agentId", "b"), ("id", "k"), ("posterId", "q")):
            with pytest.raises(BadValue) as refused:
                editing({name: value}, mine, LIMITS)
            assert refused.value.field == name

    def test_a_submission_is_taken_in_both_forms(self) -> None:
        assert act("submit", {"outputData": {"x": 1}, "proofHash": None}, LIMITS, "a") == Act(
            "submit", "a", output_data={"x": 1}
        )
        said = {"output": "text", "notes": "n", "proofHash": "h", "runtimeMetadata": {"k": 1}}
        assert act("submit", said, LIMITS, "a") == Act(
            "submit", "a", output_data="text", notes="n", more={"proofHash": "h"}
        )
        assert act("submit", {"title": "mine", "posterId": "q"}, LIMITS, "a") == Act("submit", "a")
        assert act("reject", {"reason": None}, LIMITS, "p") == Act("reject", "p")
        assert act("assign", {"agentId": "b"}, LIMITS, "p").agent == "b"

    def test_statuses_are_separated_by_commas(self) -> None:
        assert statuses("open,IN_PROGRESS,OPEN,") == (OPEN, IN_PROGRESS)
        assert statuses(None) == statuses("") == ()
        with pytest.raises(BadRequest):
            statuses("OPEN,GONE")


def test_mail_is_named_by_what_happened() -> None:
    body = {"event": "job.assigned", "jobId": "j"}
    assert mail(Letter("a", "1774189800000-0", "job", body)) == body | {
        "type": "job.assigned",
        "kind": "job",
        "id": "1774189800000-0-a",
        "at": "2026-03-22T14:30:00.000Z",
        "createdAt": "2026-03-22T14:30:00.000Z",
    }
    assert mail(Letter("a", "1-0", "tell", {"message": "m"}))["type"] == "tell"


class TestAnalytics:
    def reckoned(self, lives: list[Life], since_ms: int | None, **beats: int) -> dict[str, Any]:
        by_date = {name.replace("_", "-")[1:]: count for name, count in beats.items()}
        return analytics("a", Pulse(by_date, lives, since_ms), 2, NOW)

    def test_who_was_always_there_has_no_gap(self) -> None:
        shown = self.reckoned([], NOW - 10 * DAY_MS, _2026_03_22=5, _2026_03_01=7)
        assert (shown["uptime"], shown["gaps"], shown["total"]) == (1.0, [], 5)
        assert shown["daily"][-1] == {"date": "2026-03-22", "beats": 5, "uptime": 1.0}
        assert [day["date"] for day in shown["daily"]] == ["2026-03-20", "2026-03-21", "2026-03-22"]

    def test_gaps_lie_between_lives_and_up_to_now(self) -> None:
        first = Life(NOW - 9 * DAY_MS, NOW - 8 * DAY_MS)  # known, but not in these days
        second = Life(NOW - DAY_MS, NOW - DAY_MS // 2)
        shown = self.reckoned([first, second], None)
        assert [gap["seconds"] for gap in shown["gaps"]] == [86_400, 43_200]
        assert shown["uptime"] == 0.25
        back = self.reckoned([first, second], NOW - DAY_MS // 4)
        assert [gap["seconds"] for gap in back["gaps"]] == [86_400, 21_600]

    def test_who_came_lately_is_not_missed_before(self) -> None:
        shown = self.reckoned([], NOW - 60_000)
        assert (shown["uptime"], shown["gaps"]) == (1.0, [])
        assert self.reckoned([], None)["uptime"] == 0.0


def test_a_refusal_has_all_that_published_clients_read() -> None:
    error = NotFound("There is none.", field="jobId")
    assert refusal(error, "/jobs/x", "r1", NOW) == {
        "code": "NOT_FOUND",
        "status": 404,
        "message": "There is none.",
        "title": "Not Found",
        "detail": "There is none.",
        "type": "urn:lifesigns:problem:not_found",
        "timestamp": "2026-03-22T14:30:00.000Z",
        "path": "/jobs/x",
        "requestId": "r1",
        "error": {"code": "not_found", "message": "There is none.", "field": "jobId"},
    }
