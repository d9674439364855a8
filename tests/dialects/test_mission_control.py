"""The words of the agents API of Mission Control, without a hub."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.enrolment import Enrolment
from lifesigns.core.errors import Forbidden, Internal, LifesignsError, Unavailable
from lifesigns.core.model import Limits
from lifesigns.dialects import mission_control as dialect
from lifesigns.dialects.mission_control import Heartbeat, Invalid, Sign

LIMITS = Limits()
AGENT = Enrolment("a", "Worker", None, "S", "/w", "k", 10, 20, heard_ms=10)
UNHEARD = Enrolment("a", "Worker", None, "S", "/w", "k", 10, 20)


def sign(status: str | None = "healthy", *, alive: bool = True, left: bool = False) -> Sign:
    return Sign("a", "Worker", status, alive, left, 30, 25)


@pytest.mark.parametrize(
    ("enrolment", "seen", "status"),
    [
        (UNHEARD, None, "provisioning"),
        (AGENT, None, "offline"),  # forgotten since
        (None, sign(), "healthy"),
        (AGENT, sign(), "healthy"),
        (AGENT, sign("Any Word"), "Any Word"),
        (AGENT, sign(None), "online"),
        (AGENT, sign(alive=False), "offline"),
        (AGENT, sign(alive=False, left=True), "offline"),
    ],
)
def test_the_status_that_is_read(
    enrolment: Enrolment | None, seen: Sign | None, status: str
) -> None:
    assert dialect.status_of(enrolment, seen) == status


@pytest.mark.parametrize(
    ("given", "seen", "after"),
    [
        ("degraded", sign(), "degraded"),
        ("Any Word", None, "Any Word"),
        (None, sign(), None),  # it stays
        (None, sign("degraded", alive=False), None),  # it was silent, and said nothing else
        (None, None, "online"),
        (None, sign(None), "online"),
        (None, sign("provisioning"), "online"),
        (None, sign("offline"), "online"),
        (None, sign("healthy", alive=False, left=True), "online"),
    ],
)
def test_the_status_after_a_heartbeat(
    given: str | None, seen: Sign | None, after: str | None
) -> None:
    assert dialect.next_status(given, seen) == after


def test_what_a_heartbeat_does_not_mean_is_kept_and_the_senders_own_metadata_wins() -> None:
    body = {"name": "n", "board_id": None, "status": "healthy", "load": 1, "metadata": {"load": 2}}
    assert dialect.heartbeat(body, LIMITS, named=True) == Heartbeat("healthy", {"load": 2})
    assert dialect.heartbeat({"name": "n", "metadata": 7}, LIMITS) == Heartbeat(
        None, {"name": "n", "metadata": 7}
    )
    assert dialect.heartbeat({"status": None}, LIMITS) == Heartbeat(None, None)


@pytest.mark.parametrize("status", ["offline", "Offline", "OFFLINE"])
def test_who_says_offline_leaves(status: str) -> None:
    assert dialect.heartbeat({"status": status}, LIMITS).leaves
    assert not dialect.heartbeat({"status": "online"}, LIMITS).leaves


def test_words_tell_of_the_record_and_leave_a_stranger_what_it_is() -> None:
    said = Heartbeat(None, None)
    assert dialect.words(said, AGENT, sign()) == {"name": "Worker", "dialect": "mission_control"}
    on_board = Enrolment("a", "Worker", "b", "S", "/w", "k", 10, 20)
    assert dialect.words(said, on_board, sign())["group"] == "b"
    assert dialect.words(said, None, sign()) == {}
    assert dialect.words(said, None, None) == {"status": "online", "dialect": "mission_control"}


def test_an_agent_was_heard_of_when_it_beat_or_when_it_said_that_it_goes() -> None:
    later = Enrolment("a", "Worker", None, "S", "/w", "k", 10, 20, heard_ms=99)
    assert dialect.seen_ms(later, sign()) == 99
    assert dialect.seen_ms(AGENT, sign()) == 30
    assert dialect.seen_ms(UNHEARD, None) is None


def test_a_record_is_as_new_as_the_latest_that_is_known_of_it() -> None:
    shown = dialect.agent_read("default", AGENT, sign())
    assert shown["created_at"].endswith("00.010Z")
    assert shown["updated_at"] == shown["last_seen_at"]
    stranger = dialect.agent_read("default", None, Sign("x", None, None, True, False, 30, 25))
    assert (stranger["name"], stranger["status"]) == ("x", "online")
    assert stranger["created_at"].endswith("00.025Z")
    assert stranger.keys() == shown.keys()
    assert dialect.agent_read("default", None, sign())["gateway_agent_id"].startswith("agent-")


def test_what_was_said_beside_a_record_hides_nothing_of_it() -> None:
    odd = Enrolment("a", "Worker", None, "S", "/w", "k", 10, 20, more={"id": "x", "team": "blue"})
    shown = dialect.agent_read("default", odd, None)
    assert shown["team"] == "blue"
    assert shown["id"] != "x"


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"name": "a", "heartbeat_config": {"interval_seconds": "1"}}, "interval_seconds"),
        ({"name": "a", "heartbeat_config": {"interval_seconds": True}}, "interval_seconds"),
        ({"name": "a", "heartbeat_config": {"missing_tolerance": 86_401}}, "missing_tolerance"),
        ({"name": "a", "identity_template": 7}, "identity_template"),
        ({"name": "a", "soul_template": "x" * 16_385}, "soul_template"),
        ({"board_id": None}, "name"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused_by_name(body: dict[str, Any], loc: str) -> None:
    with pytest.raises(Invalid) as refused:
        dialect.wanted(body, LIMITS, new=True)
    status, detail = dialect.refusal(refused.value)
    assert status == 422
    assert isinstance(detail, list)
    assert detail[0]["loc"][0] == "body"
    assert detail[0]["loc"][-1] == loc
    assert detail[0].keys() == {"type", "loc", "msg", "input"}


def test_of_the_fields_that_are_the_hubs_own_nothing_is_taken() -> None:
    body = {"name": "a", "id": "x", "created_at": "y", "workspace_path": "/etc", "status": "z"}
    assert dialect.wanted(body, LIMITS, new=True) == {"name": "a", "board": None}
    with pytest.raises(Forbidden):
        dialect.wanted(body, LIMITS, new=False)


def test_null_terms_are_the_usual_ones() -> None:
    terms = {"interval_seconds": None, "missing_tolerance": 5, "note": "x"}
    said = dialect.wanted({"name": "a", "heartbeat_config": terms}, LIMITS, new=True)
    assert said["terms"] == {"missing_tolerance": 5, "note": "x"}


@pytest.mark.parametrize(
    ("error", "status"), [(Internal(), 500), (Unavailable("The store is away."), 503)]
)
def test_other_refusals_are_a_sentence(error: LifesignsError, status: int) -> None:
    assert dialect.refusal(error) == (status, error.message)


@pytest.mark.parametrize("given", ["", "a b", "ä", "x" * 129, "a\n", "a\x00"])
def test_a_request_id_that_cannot_be_echoed_is_none(given: str) -> None:
    assert not dialect.is_request_id(given)
    assert dialect.is_request_id("01J-abc/def+=_")


def test_uuids_are_read_in_any_of_their_forms() -> None:
    plain = "550e8400-e29b-41d4-a716-446655440000"
    assert dialect.as_uuid(plain.upper()) == plain
    assert dialect.as_uuid(plain.replace("-", "")) == plain
    assert dialect.as_uuid("native") is None
