"""`lifesigns schedules`: how times are typed, and how schedules and their runs are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lifesigns.cli.api import Api
from lifesigns.cli.main import main, parser
from lifesigns.cli.schedule import days_of, times_of
from lifesigns.core.errors import (
    BadRequest,
    BadValue,
    Conflict,
    Forbidden,
    LifesignsError,
    NotFound,
)
from tests.cli.conftest import Peer

MADE = {
    **{"agent": "a", "project_id": "shop"},
    **{"uuid": "0f1e2d3c-4b5a", "bot_id": "a", "prompt": "look\x1b[2J", "interval_minutes": 30},
    **{"cron_pattern": None, "enabled": 1, "active_hours_start": None, "active_hours_end": None},
    **{"active_days": None, "timezone": "UTC", "next_run_at": "2026-03-22T14:30:00.000Z"},
    **{"last_status": None, "execution_count": 3, "error_count": 1, "paused_reason": None},
}


def typed(*words: str) -> dict[str, Any]:
    return times_of(parser().parse_args(["schedules", "add", "a", "look", *words]))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", "1,2,3,4,5"),
        ("sat-mon", "1,6,7"),
        ("1,3,5", "1,3,5"),
        ("Monday, wed", "1,3"),
        ("7", "7"),
        ("sun-sun,1", "1,7"),
    ],
)
def test_days_are_named_or_numbered(text: str, days: str) -> None:
    assert days_of(text) == days


@pytest.mark.parametrize("text", ["", "8", "mo", "mon-", "mon-fri-sun", "1,,2", "noday"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="--days"):
        days_of(text)


def test_times_are_sent_as_the_api_has_them() -> None:
    assert typed() == {}
    assert typed("--every", "6h", "--between", "9:00-17:30", "--days", "mon-tue") == {
        **{"interval_minutes": 360, "active_hours_start": "09:00", "active_hours_end": "17:30"},
        **{"active_days": "1,2"},
    }
    assert typed("--cron", "0 9 * * 1-5", "--zone", "Europe/Berlin", "--budget", "2.5") == {
        **{"cron_pattern": "0 9 * * 1-5", "timezone": "Europe/Berlin", "credit_budget": 2.5},
    }
    with pytest.raises(BadValue, match="--between"):
        typed("--between", "nine to five")
    with pytest.raises(SystemExit):
        typed("--every", "1h", "--cron", "* * * * *")


def told(peer: Peer, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["schedules", *words, "--url", peer.url]) == 0
    return capsys.readouterr().out


def test_schedules_are_listed_with_what_is_now(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [
        MADE,
        {
            **{**MADE, "cron_pattern": "0 9 * * *", "timezone": "Europe/Berlin", "enabled": 0},
            **{"active_hours_start": "09:00", "active_hours_end": "17:00", "active_days": "1,7"},
        },
        {**MADE, "enabled": 0, "paused_reason": "5 errors in a row", "last_status": "error"},
    ]
    peer.answer = json.dumps({"schedules": some, "total": 5}).encode()
    lines = told(peer, capsys, "list", "a").splitlines()
    assert peer.asked[0].path == "/v1/schedules?agent=a"
    assert [line.split("  ")[0] for line in lines[1:4]] == ["0f1e2d3c"] * 3
    assert lines[4:] == ["and 2 more: name an agent"]
    assert "every 30m" in lines[1]
    assert "next at 2026-03-22T14:30:00.000Z" in lines[1]
    assert r"look\x1b[2J" in lines[1]
    assert "0 9 * * * 09:00-17:00 on mon,sun Europe/Berlin" in lines[2]
    assert "paused: 5 errors in a row" in lines[3]


def test_which_schedule_is_meant_is_told_by_its_beginning(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    some = [MADE, {**MADE, "uuid": "0faaaaaa-0000"}]
    peer.answer = json.dumps({"schedules": some, "heartbeat": {**MADE, "enabled": 0}}).encode()
    assert "is paused" in told(peer, capsys, "pause", "a", "0f1")
    assert json.loads(peer.asked[-1].body) == {
        **{"project_id": "shop", "bot_id": "a", "heartbeat_id": "0f1e2d3c-4b5a"},
    }, "as it was made"
    for words, code, says in (
        (["pause", "a", "0f"], 2, "which of them? 0f1e2d3c, 0faaaaaa"),
        (["resume", "a"], 2, "which of them?"),
        (["trigger", "a", "x"], 1, "no schedule of a begins with x"),
    ):
        assert main(["schedules", *words, "--url", peer.url]) == code
        assert says in capsys.readouterr().err
    peer.answer = b'{"schedules": []}'
    assert main(["schedules", "logs", "a", "x", "--url", peer.url]) == 1
    assert "a has no schedules" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("result", "code", "out", "err"),
    [
        ({"status": "success", "response": "all\nfine\x1b"}, 0, "all\nfine\\x1b\n", ""),
        ({"status": "success", "response": None}, 0, "\n", ""),
        ({"status": "running", "run": "r@a"}, 0, "it is running: r@a\n", ""),
        ({"status": "error", "error_message": "no"}, 1, "", "lifesigns: error: no\n"),
        ({"status": "skipped"}, 1, "", "lifesigns: skipped: no reason was given\n"),
    ],
)
def test_what_came_of_a_run_is_told_and_decides_the_exit_code(
    peer: Peer,
    capsys: pytest.CaptureFixture[str],
    result: dict[str, Any],
    code: int,
    out: str,
    err: str,
) -> None:
    peer.answer = json.dumps({"schedules": [MADE], "result": result}).encode()
    assert main(["schedules", "trigger", "a", "--url", peer.url, "--wait", "2s"]) == code
    assert capsys.readouterr() == (out, err)
    assert json.loads(peer.asked[-1].body)["wait"] == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (403, Forbidden), (404, NotFound), (409, Conflict)]
)
def test_a_refusal_of_a_published_api_is_an_error_of_ours(
    peer: Peer, status: int, kind: type[LifesignsError]
) -> None:
    peer.status = status
    refusal = {"error": {"status": status, "message": "Because."}, "message": "Because."}
    peer.answer = json.dumps(refusal).encode()
    with pytest.raises(kind, match="Because") as caught:
        Api(peer.url).call("GET", "/v1/bot/heartbeat/read")
    assert type(caught.value) is kind
