"""The small REST client: what goes over the wire, and what becomes of every answer."""

from __future__ import annotations

import json
import socket

import pytest

from lifesigns.cli.api import ASK_FOR_KEY, Api, Stranger, Unreachable
from lifesigns.core.errors import (
    BadValue,
    Conflict,
    Internal,
    LifesignsError,
    NotFound,
    Unauthorized,
    Unavailable,
)
from tests.cli.conftest import Peer


def test_call_says_the_key_the_project_and_the_body(peer: Peer) -> None:
    peer.answer = b'{"ok": true}'
    answer = Api(peer.url + "/hub/", "ls_a_b", project="blue").call("POST", "/v1/keys", {"a": "é"})
    assert answer == {"ok": True}
    (asked,) = peer.asked
    assert (asked.method, asked.path) == ("POST", "/hub/v1/keys")
    assert asked.headers["authorization"] == "Bearer ls_a_b"
    assert asked.headers["x-lifesigns-project"] == "blue"
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {"a": "é"}


def test_key_beyond_ascii_is_sent_as_utf_8(peer: Peer) -> None:
    Api(peer.url, "schlüssel-日本").call("GET", "/v1/stats")
    sent = peer.asked[0].headers["authorization"].encode("latin-1").decode()
    assert sent == "Bearer schlüssel-日本"


def test_nothing_is_said_that_was_not_given(peer: Peer) -> None:
    Api(peer.url).call("GET", "/v1/keys")
    assert not {"authorization", "x-lifesigns-project", "content-type"} & set(peer.asked[0].headers)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthorized", Unauthorized),
        (404, "not_found", NotFound),
        (409, "conflict", Conflict),
        (422, "bad_value", BadValue),
        (500, "internal", Internal),
        (503, "unavailable", Unavailable),
    ],
)
def test_refusal_becomes_the_error_of_its_code(
    peer: Peer, status: int, code: str, kind: type[LifesignsError]
) -> None:
    peer.status = status
    peer.answer = json.dumps({"error": "Because.", "code": code, "detail": []}).encode()
    with pytest.raises(kind) as caught:
        Api(peer.url, "ls_a_b").call("GET", "/v1/keys")
    assert caught.value.message == "Because."


def test_refusal_of_an_unknown_code_keeps_its_words(peer: Peer) -> None:
    peer.status, peer.answer = 418, b'{"error": "I am a teapot.", "code": "teapot"}'
    with pytest.raises(LifesignsError, match="I am a teapot"):
        Api(peer.url).call("GET", "/v1/keys")


def test_refusal_tells_its_details(peer: Peer) -> None:
    detail = [{"field": "agent", "message": "too long"}, {"field": "name", "message": "Bad."}]
    peer.status = 422
    peer.answer = json.dumps({"error": "Bad.", "code": "bad_value", "detail": detail}).encode()
    with pytest.raises(BadValue) as caught:
        Api(peer.url).call("POST", "/v1/keys", {})
    assert caught.value.message == "Bad.; agent: too long"


def test_without_a_key_a_refusal_says_where_keys_come_from(peer: Peer) -> None:
    peer.status, peer.answer = 401, b'{"error": "A key is needed.", "code": "unauthorized"}'
    with pytest.raises(Unauthorized) as caught:
        Api(peer.url).call("GET", "/v1/keys")
    assert caught.value.message == f"A key is needed. {ASK_FOR_KEY}"


@pytest.mark.parametrize(
    ("status", "answer"), [(200, b"<html>"), (404, b"{}"), (200, b"[]"), (502, b""), (200, b"\xff")]
)
def test_answer_that_is_no_hubs_is_told(peer: Peer, status: int, answer: bytes) -> None:
    peer.status, peer.answer = status, answer
    with pytest.raises(Stranger, match=rf"not as a Lifesigns hub does \(HTTP {status}\)"):
        Api(peer.url).call("GET", "/v1/keys")


def test_nobody_there_is_told() -> None:
    with pytest.raises(Unreachable, match=r"reached at http://127\.0\.0\.1:1: "):
        Api("http://127.0.0.1:1").call("GET", "/v1/keys")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://."])
def test_place_that_cannot_be_is_told(url: str) -> None:
    with pytest.raises(Unreachable, match="no hub can be reached"):
        Api(url).call("GET", "/v1/keys")


def test_silence_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match="timed out"):
            Api(url, timeout_s=0.2).call("GET", "/v1/keys")
