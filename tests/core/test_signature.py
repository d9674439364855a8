"""Signatures, held to the package that receivers verify them with."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from lifesigns.core.errors import BadValue
from lifesigns.core.signature import check_secret, make_secret, signed, signed_as_moltjobs

SECRET, OTHER = make_secret(bytes(range(32))), make_secret(bytes(range(1, 33)))
BODY = b'{"type":"agent.offline"}'
UNHURRIED = settings(deadline=None, database=None, max_examples=50)


def now_s() -> int:
    return int(datetime.now(tz=UTC).timestamp())


@UNHURRIED
@given(
    st.binary(min_size=24, max_size=64),
    st.dictionaries(st.text(), st.text() | st.integers() | st.none()),
)
def test_a_receiver_with_the_secret_verifies_whatever_is_said(
    chance: bytes, said: dict[str, object]
) -> None:
    secret, body = make_secret(chance), json.dumps(said).encode()
    headers = signed([secret], "msg_1", now_s(), body)
    assert Webhook(secret).verify(body, headers) == said


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_while_two_secrets_count_a_receiver_with_either_verifies(secret: str) -> None:
    headers = signed([SECRET, OTHER], "msg_1", now_s(), BODY)
    assert len(headers["webhook-signature"].split(" ")) == 2
    Webhook(secret).verify(BODY, headers)


def test_the_package_signs_the_same() -> None:
    at = datetime.fromtimestamp(1_774_189_800, UTC)
    theirs = Webhook(SECRET).sign("msg_1", at, BODY.decode())
    assert signed([SECRET], "msg_1", 1_774_189_800, BODY) == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1774189800",
        "webhook-signature": theirs,
    }


@pytest.mark.parametrize(
    "changed", [{"body": b"{}"}, {"secret": OTHER}, {"webhook-id": "msg_2"}], ids=str
)
def test_nobody_verifies_what_was_altered(changed: dict[str, str]) -> None:
    headers = signed([SECRET], "msg_1", now_s(), BODY) | {
        name: value for name, value in changed.items() if name == "webhook-id"
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(changed.get("secret", SECRET)).verify(changed.get("body", BODY), headers)


def test_the_jobs_dialect_signs_time_and_body_with_the_secrets_whole_text() -> None:
    headers = signed_as_moltjobs([SECRET], "msg_1", "job.recovered", 1_774_189_800, BODY)
    parts = dict(part.split("=", 1) for part in headers["MoltJobs-Signature"].split(","))
    assert parts["t"] == "1774189800"
    theirs = hmac.new(SECRET.encode(), b"1774189800." + BODY, hashlib.sha256)
    assert parts["v1"] == theirs.hexdigest()
    assert headers["MoltJobs-Event"] == "job.recovered"
    assert headers["MoltJobs-Delivery"] == "msg_1"


def test_the_jobs_dialect_signs_with_each_of_two_secrets_the_newest_last() -> None:
    both = signed_as_moltjobs([SECRET, OTHER], "msg_1", "job.recovered", 7, BODY)
    alone = [
        signed_as_moltjobs([each], "msg_1", "job.recovered", 7, BODY)["MoltJobs-Signature"]
        for each in (OTHER, SECRET)
    ]
    expected = ",".join(["t=7", *(each.removeprefix("t=7,") for each in alone)])
    assert both["MoltJobs-Signature"] == expected


@pytest.mark.parametrize("secret", [SECRET, make_secret(bytes(24)), make_secret(bytes(64))])
def test_a_secret_may_be_brought_along(secret: str) -> None:
    assert check_secret(secret) == secret


@pytest.mark.parametrize(
    "secret",
    [
        *(None, 7, "", "whsec_", "hunter2", SECRET.removeprefix("whsec_"), SECRET + "\n"),
        *(make_secret(bytes(23)), make_secret(bytes(65)), "whsec_" + "?" * 44, "whsec_" + "A" * 43),
    ],
)
def test_what_is_no_secret_is_refused_with_its_field_and_not_shown(secret: object) -> None:
    with pytest.raises(BadValue) as refused:
        check_secret(secret)
    assert refused.value.field == "secret"
    assert not secret or len(str(secret)) < 8 or str(secret) not in refused.value.message
