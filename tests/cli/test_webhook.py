"""`lifesigns webhooks`: what is asked of the hub, and how its answers are shown."""

from __future__ import annotations

import json

import pytest

from lifesigns.cli.main import main
from tests.cli.conftest import Peer

HEALTHY = {"failures": 0, "failing_since": None, "last_error": None, "circuit": "closed"}
HOOK = {
    "id": "wh_1",
    "url": "https://h/\x1b[2J",
    "events": ["agent.offline", "agent.online"],
    "filter": {"group": ["search"]},
    "name": None,
    "hold_s": 30.0,
    "enabled": True,
    "disabled_reason": None,
    "health": HEALTHY,
}
SENT = {
    "id": "msg_00a",
    "event": "agent.offline",
    "agent": "a1",
    "state": "delivered",
    "created_at": "2026-03-22T14:30:00.000Z",
    "next_attempt_at": None,
    "attempts": [{"status": 204, "error": None}],
}


def test_add_sends_what_was_given_and_shows_the_secret(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.answer = json.dumps({"id": "wh_1", "url": "https://h/", "secret": "whsec_x"}).encode()
    wanted = ("--on", "agent.offline", "--on", "claim.*", "--hold", "2m", "--group", "search")
    args = ["webhooks", "add", "https://h/", "a-*", *wanted, "--url", peer.url]
    assert main([*args, "--name", "ops", "--format", "slack"]) == 0
    (asked,) = peer.asked
    assert (asked.method, asked.path) == ("POST", "/v1/webhooks")
    assert json.loads(asked.body) == {
        "url": "https://h/",
        "events": ["agent.offline", "claim.*"],
        "filter": {"ids": ["a-*"], "group": ["search"]},
        "name": "ops",
        "hold_s": 120.0,
        "format": "slack",
    }
    out, err = capsys.readouterr()
    assert "secret  whsec_x\n" in out
    assert "not shown again" in err


def test_list_shows_how_each_does_and_nothing_that_moves_the_cursor(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = HEALTHY | {"failures": 3, "last_error": "timeout: no answer within 15 s"}
    hooks = [
        HOOK,
        HOOK | {"id": "wh_2", "filter": None, "hold_s": 0.0, "health": failing},
        HOOK | {"id": "wh_3", "enabled": False, "disabled_reason": "its receiver answered 410"},
    ]
    peer.answer = json.dumps({"webhooks": hooks}).encode()
    assert main(["webhooks", "list", "--url", peer.url]) == 0
    titles, *rows = capsys.readouterr().out.splitlines()
    assert titles.split() == ["id", "name", "events", "agents", "hold", "does", "url"]
    assert all(word in rows[0] for word in ("wh_1", '{"group": ["search"]}', "30s", "well"))
    assert "3 failures: timeout: no answer within 15 s" in rows[1]
    assert "disabled: its receiver answered 410" in rows[2]
    assert "\x1b" not in "".join(rows)


@pytest.mark.parametrize(("state", "code"), [("delivered", 0), ("failed", 1)])
def test_test_tells_by_its_exit_code_whether_it_arrived(
    state: str, code: int, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt = {"status": 204, "error": None if code == 0 else "timeout"}
    peer.answer = json.dumps(SENT | {"state": state, "attempts": [attempt]}).encode()
    assert main(["webhooks", "test", "wh/1", "--url", peer.url]) == code
    (asked,) = peer.asked
    assert (asked.method, asked.path) == ("POST", "/v1/webhooks/wh%2F1/test")
    assert capsys.readouterr().out == f"{state}: {'HTTP 204' if code == 0 else 'timeout'}\n"


def test_deliveries_shows_what_became_of_each_and_how_many_more_there_are(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    held = SENT | {"state": "held", "attempts": []}
    peer.answer = json.dumps({"deliveries": [SENT, held], "total": 7}).encode()
    args = ["webhooks", "deliveries", "wh_1", "--state", "held", "--limit", "2"]
    assert main([*args, "--url", peer.url]) == 0
    (asked,) = peer.asked
    assert asked.path == "/v1/webhooks/wh_1/deliveries?limit=2&state=held"
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[:6] == [
        *("msg_00a", "agent.offline", "a1", "delivered", "1", "HTTP")
    ]
    assert err == "5 more: --limit\n"


def test_resend_sends_those_that_are_named(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    peer.answer = json.dumps(SENT).encode()
    assert main(["webhooks", "resend", "wh_1", "msg_a", "msg_b", "--url", peer.url]) == 0
    assert [(each.method, each.path) for each in peer.asked] == [
        ("POST", "/v1/webhooks/wh_1/deliveries/msg_a/resend"),
        ("POST", "/v1/webhooks/wh_1/deliveries/msg_b/resend"),
    ]
    assert capsys.readouterr().out == "2 on their way\n"


def test_remove_says_so(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    peer.answer = b'{"ok": true}'
    assert main(["webhooks", "remove", "wh_1", "--url", peer.url]) == 0
    assert (peer.asked[0].method, peer.asked[0].path) == ("DELETE", "/v1/webhooks/wh_1")
    assert capsys.readouterr().out == "wh_1 is removed\n"


def test_json_is_the_hubs_answer_as_it_is(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    for answer, args in (
        ({"webhooks": [HOOK]}, ("list",)),
        (SENT, ("test", "wh_1")),
        ({"deliveries": [SENT], "total": 1}, ("deliveries", "wh_1")),
        ({"ok": True}, ("remove", "wh_1")),
        (HOOK | {"secret": "whsec_x"}, ("add", "https://h/")),
    ):
        peer.answer = json.dumps(answer).encode()
        assert main(["webhooks", *args, "--json", "--url", peer.url]) == 0
        assert json.loads(capsys.readouterr().out) == answer


def test_a_span_that_is_none_is_not_sent(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhooks", "add", "https://h/", "--hold", "soon", "--url", peer.url]) == 2
    assert peer.asked == []
    assert "--hold" in capsys.readouterr().err
