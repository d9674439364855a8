"""`lifesigns keys`: what is asked of the hub, and how its answers are shown."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from lifesigns.cli.keys import instant
from lifesigns.cli.main import main
from lifesigns.core.errors import BadValue
from tests.cli.conftest import Peer

MADE = {"id": "k1", "scope": "agent", "agent": "bot-*", "expires_at": None, "key": "ls_k1_secret"}
LISTED = {"keys": [{"id": "k1", "scope": "watch", "agent": None, "name": "wall\x1b[2J"}]}


def test_create_sends_what_was_given_and_shows_the_key(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.answer = json.dumps(MADE).encode()
    wanted = ("--scope", "agent", "--agent", "bot-*", "--expires", "2030-01-31T00:00:00+01:00")
    assert main(["keys", "create", *wanted, "--url", peer.url, "--project", "blue"]) == 0
    (asked,) = peer.asked
    assert (asked.method, asked.path) == ("POST", "/v1/keys")
    assert asked.headers["x-lifesigns-project"] == "blue"
    assert json.loads(asked.body) == {
        "scope": "agent",
        "agent": "bot-*",
        "expires_at": "2030-01-30T23:00:00.000Z",
    }
    out, err = capsys.readouterr()
    assert "key        ls_k1_secret\n" in out
    assert "not shown again" in err


def test_create_prints_the_answer_as_json(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    peer.answer = json.dumps(MADE).encode()
    assert main(["keys", "create", "--scope", "agent", "--url", peer.url, "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (MADE, "")


def test_existing_token_is_taken_over_from_a_file_or_from_stdin(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("a-token-of-the-old-fleet\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("another-one-of-the-fleet\n"))
    for source in (str(tmp_path / "token"), "-"):
        args = ["keys", "create", "--scope", "agent", "--take-over", source, "--url", peer.url]
        assert main(args) == 0
    assert [json.loads(asked.body)["key"] for asked in peer.asked] == [
        "a-token-of-the-old-fleet",
        "another-one-of-the-fleet",
    ]


def test_list_is_a_table_that_no_name_can_break(
    peer: Peer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.answer = json.dumps(LISTED).encode()
    monkeypatch.setenv("LIFESIGNS_URL", peer.url)
    monkeypatch.setenv("LIFESIGNS_KEY", "ls_root_secret")
    assert main(["keys", "list"]) == 0
    titles, row = capsys.readouterr().out.splitlines()
    assert titles.split() == [
        *("id", "scope", "agent", "poster"),
        *("name", "created_at", "expires_at"),
    ]
    assert row.split() == ["k1", "watch", "-", "-", "wall\\x1b[2J", "-", "-"]
    assert peer.asked[0].headers["authorization"] == "Bearer ls_root_secret"


def test_list_prints_the_answer_as_json(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    peer.answer = json.dumps(LISTED).encode()
    assert main(["keys", "list", "--json", "--url", peer.url]) == 0
    assert json.loads(capsys.readouterr().out) == LISTED


def test_revoke_names_the_key_whatever_its_id(
    peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "revoke", "a/../b", "--url", peer.url]) == 0
    assert (peer.asked[0].method, peer.asked[0].path) == ("DELETE", "/v1/keys/a%2F..%2Fb")
    assert capsys.readouterr().out == "a/../b is revoked\n"


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [(404, "not_found", 1), (403, "forbidden", 1), (503, "unavailable", 1), (422, "bad_value", 2)],
)
def test_refusal_of_the_hub_is_one_line_and_an_exit_code(
    peer: Peer, capsys: pytest.CaptureFixture[str], status: int, code: str, exit_code: int
) -> None:
    peer.status, peer.answer = status, json.dumps({"error": "No.", "code": code}).encode()
    assert main(["keys", "revoke", "k1", "--url", peer.url]) == exit_code
    assert capsys.readouterr() == ("", "lifesigns: No.\n")


@pytest.mark.parametrize(
    "args",
    [
        ("--url", "hub"),
        ("--key", "two\nlines"),
        ("--key-file", "/no/such/file"),
        ("--project", "Ä"),
        ("--expires", "tomorrow"),
        ("--expires", "90"),
        ("--take-over", "/no/such/file"),
    ],
)
def test_bad_value_ends_with_2_before_anything_is_asked(
    peer: Peer, capsys: pytest.CaptureFixture[str], args: tuple[str, str]
) -> None:
    at = () if args[0] == "--url" else ("--url", peer.url)
    assert main(["keys", "create", "--scope", "watch", *at, *args]) == 2
    assert peer.asked == []
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "two" not in err


def test_key_ends_so_long_from_now_or_at_an_instant() -> None:
    assert instant("90m", 0.0) == "1970-01-01T01:30:00.000Z"
    assert instant("12h", 0.5) == "1970-01-01T12:00:00.500Z"
    assert instant("2d", 0.0) == "1970-01-03T00:00:00.000Z"
    assert instant("2027-01-31T00:00:00Z", 0.0) == "2027-01-31T00:00:00.000Z"


@pytest.mark.parametrize(
    "text", ["", "d", "1w", "2027-01-31", "2027-02-30T00:00:00Z", "999999999d"]
)
def test_time_that_is_none_is_told_with_an_example(text: str) -> None:
    with pytest.raises(BadValue, match="it must be like 90d or 2027-01-31T00:00:00Z"):
        instant(text, 0.0)
