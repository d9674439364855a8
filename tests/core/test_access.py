"""Grants, scopes and names: every act against every scope."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from lifesigns.core.access import (
    RESERVED_IDS,
    SCOPES,
    Act,
    Grant,
    Scope,
    check_agent_id,
    check_agent_pattern,
    check_grant,
    check_instance,
    check_name,
    check_project,
    check_root_token,
    check_scope,
    check_token,
    covers,
    digest,
    is_agent_id,
)
from lifesigns.core.errors import BadRequest, BadValue, Forbidden


def grant(scope: Scope = "agent", **given: object) -> Grant:
    return dataclasses.replace(Grant("k1", "default", scope), **given)  # type: ignore[arg-type]


ACTS: dict[Act, Callable[[Grant], None]] = {
    "watch": Grant.allow_watch,
    "beat": lambda grant: grant.allow_beat("a1"),
    "post": lambda grant: grant.allow_post(grant.poster),
    "admin": Grant.allow_admin,
    "root": Grant.allow_root,
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("act", ACTS)
def test_a_scope_allows_what_its_table_says_and_nothing_else(scope: Scope, act: Act) -> None:
    if act in SCOPES[scope]:
        ACTS[act](grant(scope))
    else:
        with pytest.raises(Forbidden):
            ACTS[act](grant(scope))


def test_each_scope_from_watch_to_root_allows_more_than_the_one_before() -> None:
    assert SCOPES["watch"] < SCOPES["agent"] < SCOPES["admin"] < SCOPES["root"]


def test_a_poster_may_neither_watch_nor_beat() -> None:
    assert SCOPES["poster"] == {"post"}


def test_a_key_tied_to_an_agent_speaks_for_that_one_only() -> None:
    tied = grant(agent="a1")
    tied.allow_beat("a1")
    with pytest.raises(Forbidden, match="'a1', not to 'a10'"):
        tied.allow_beat("a10")


def test_a_key_tied_to_a_prefix_speaks_for_all_that_begin_with_it() -> None:
    tied = grant(agent="team-*")
    tied.allow_beat("team-7")
    tied.allow_beat("team-")
    with pytest.raises(Forbidden):
        tied.allow_beat("other-7")


def test_an_untied_key_speaks_for_any_agent() -> None:
    grant().allow_beat("whoever")


def test_an_admin_with_an_agent_of_its_own_still_speaks_for_any() -> None:
    grant("root", agent="a1").allow_beat("a2")


def test_me_is_the_one_agent_that_a_key_is_tied_to() -> None:
    assert grant(agent="a1").me() == "a1"


@pytest.mark.parametrize("agent", [None, "team-*", "*"])
def test_a_key_without_one_agent_has_no_me(agent: str | None) -> None:
    with pytest.raises(Forbidden, match="not tied to one agent"):
        grant(agent=agent).me()


def test_a_poster_acts_on_its_own_jobs_only() -> None:
    mine = grant("poster", poster="p1")
    mine.allow_post("p1")
    for other in ("p2", None):
        with pytest.raises(Forbidden, match="another poster"):
            mine.allow_post(other)


def test_an_admin_acts_for_every_poster() -> None:
    grant("admin").allow_post("p1")
    grant("admin").allow_post(None)


def test_only_a_poster_is_not_shown_metadata() -> None:
    assert [scope for scope in SCOPES if not grant(scope).sees_metadata] == ["poster"]


@pytest.mark.parametrize("scope", ["watch", "agent", "poster", "admin"])
def test_an_admin_makes_keys_of_every_scope_but_root(scope: Scope) -> None:
    grant("admin").allow_scope(scope)


def test_nobody_makes_a_key_that_may_do_more_than_their_own() -> None:
    with pytest.raises(Forbidden, match="'admin' may not make one of 'root'"):
        grant("admin").allow_scope("root")
    with pytest.raises(Forbidden):
        grant("agent").allow_scope("watch")
    grant("root").allow_scope("root")


def test_a_key_expires_at_its_moment() -> None:
    ends = grant(expires_ms=1_000)
    assert not ends.expired(999)
    assert ends.expired(1_000)
    assert not grant().expired(10**15)


def test_a_grant_cannot_be_altered() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        grant().scope = "root"  # type: ignore[misc]


def test_a_pattern_covers_one_id_or_a_prefix() -> None:
    assert covers("a", "a")
    assert not covers("a", "ab")
    assert covers("a*", "ab")
    assert covers("*", "anything")


def test_a_digest_is_the_same_for_the_same_token_and_hides_it() -> None:
    assert digest("secret-token") == digest("secret-token") != digest("secret-tokem")
    assert len(digest("x")) == 64
    assert "secret" not in digest("secret-token")


def test_a_digest_is_made_of_whatever_a_header_held() -> None:
    assert digest("\ud800") != digest("ü")


@pytest.mark.parametrize("good", ["a", "A-Z.a_z:0@9~-", "..", "x" * 128, "Me", "streams"])
def test_an_agent_id_is_taken(good: str) -> None:
    assert check_agent_id(good) == good
    assert is_agent_id(good)


BAD_IDS = ["", "x" * 129, "a b", "a/b", "a\n", "ä", "a*", "a\x00", "\u0661", *sorted(RESERVED_IDS)]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_a_bad_agent_id_is_a_bad_request_that_names_the_field(bad: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_agent_id(bad, "agents[3]")
    assert caught.value.field == "agents[3]"
    assert not is_agent_id(bad)


def test_an_agent_id_is_a_text() -> None:
    with pytest.raises(BadRequest):
        check_agent_id(7)


@pytest.mark.parametrize("good", ["a1", "team-*", "*", "x" * 128 + "*"])
def test_a_key_may_be_tied_to_an_id_or_a_prefix(good: str) -> None:
    assert check_agent_pattern(good) == good


@pytest.mark.parametrize("bad", ["", "me", "a*b", "**", "a b*", None, 3])
def test_a_key_is_tied_to_nothing_else(bad: object) -> None:
    with pytest.raises(BadValue) as caught:
        check_agent_pattern(bad)
    assert caught.value.field == "agent"


@pytest.mark.parametrize("good", ["-", "host 1/4711 (späti) 🙂", "x" * 128])
def test_an_instance_is_any_text_without_control_characters(good: str) -> None:
    assert check_instance(good) == good


@pytest.mark.parametrize("bad", ["", "x" * 129, "a\x1fb", "a\n", "\x7f", "\x85", "\ud800", None, 1])
def test_a_bad_instance_is_a_bad_value(bad: object) -> None:
    with pytest.raises(BadValue) as caught:
        check_instance(bad)
    assert caught.value.field == "instance"


def test_a_name_is_checked_under_its_own_field() -> None:
    with pytest.raises(BadValue, match=r"^poster is a text") as caught:
        check_name("\t", "poster")
    assert caught.value.field == "poster"


@pytest.mark.parametrize("good", ["default", "a", "0-9._x", "x" * 64])
def test_a_project_name_is_taken(good: str) -> None:
    assert check_project(good) == good


@pytest.mark.parametrize(
    "bad", ["", "..", ".a", "-a", "_a", "A", "a b", "a/b", "ä", "x" * 65, None]
)
def test_a_bad_project_name_is_a_bad_value(bad: object) -> None:
    with pytest.raises(BadValue):
        check_project(bad)


def test_a_scope_is_one_of_five_words() -> None:
    assert [check_scope(scope) for scope in SCOPES] == list(SCOPES)
    for bad in ("owner", "", None, ["root"]):
        with pytest.raises(BadValue, match="watch, agent, poster, admin, root"):
            check_scope(bad)


@pytest.mark.parametrize(
    "good", ["x" * 16, "x" * 256, "sk live/with=signs+0", "schlüssel-zum-haus"]
)
def test_a_token_is_taken_over(good: str) -> None:
    assert check_token(good) == good


@pytest.mark.parametrize("bad", ["x" * 15, "x" * 257, "x" * 16 + "\n", " " + "x" * 16, None, 16])
def test_a_token_that_no_header_could_carry_is_refused_without_showing_it(bad: object) -> None:
    with pytest.raises(BadValue) as caught:
        check_token(bad)
    assert caught.value.field == "key"
    assert str(bad) not in caught.value.message or bad == 16


def test_a_root_key_may_be_of_any_length_from_16() -> None:
    assert check_root_token("x" * 1_000)
    for bad in ("x" * 15, "x" * 16 + " ", "x" * 20 + "\n", ""):
        with pytest.raises(BadValue, match="16 printable characters or more"):
            check_root_token(bad)


GRANTS_TO_REFUSE = [
    (grant("admin", agent="a1"), "agent"),
    (grant("agent", agent="a b"), "agent"),
    (grant("poster"), "poster"),
    (grant("agent", poster="p1"), "poster"),
    (grant("agent", name=""), "name"),
    (grant("agent", expires_ms=1_000), "expires_at"),
    (grant("root", project="other"), "scope"),
    (grant("agent", project="A"), "project"),
    (grant("owner"), "scope"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("wanted", "field"), GRANTS_TO_REFUSE)
def test_a_key_that_makes_no_sense_is_refused_by_its_field(wanted: Grant, field: str) -> None:
    with pytest.raises(BadValue) as caught:
        check_grant(wanted, 1_000)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "wanted",
    [
        grant("watch"),
        grant("agent", agent="team-*", name="the team", expires_ms=1_001),
        grant("poster", poster="p1", project="other"),
        grant("root"),
    ],
)
def test_a_key_that_makes_sense_is_taken(wanted: Grant) -> None:
    assert check_grant(wanted, 1_000) is wanted
