"""What an enrolment says, and which agent a name means."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from lifesigns.core.enrolment import (
    Enrolment,
    enrolment_of,
    meant,
    named,
    new_serial,
    ulid,
)
from lifesigns.core.errors import Conflict

AGENT = Enrolment("a", "Worker", None, "S", "/w", "k", 10, 10, more={"x": 1})


def test_it_comes_back_as_it_was_laid_out_and_what_a_newer_hub_says_is_left_out() -> None:
    whole = replace(AGENT, board="b", terms={"every": 3}, profile={"p": 1}, lead=True, heard_ms=7)
    assert enrolment_of("a", whole.body() | {"mood": "new"}) == whole
    assert "id" not in whole.body()


def test_terms_are_those_that_were_given_else_the_usual_ones() -> None:
    assert (AGENT.interval_s, AGENT.tolerance_s) == (60, 120)
    given = replace(AGENT, terms={"interval_seconds": 2.5, "missing_tolerance": 9})
    assert (given.interval_s, given.tolerance_s) == (2.5, 9)


def test_an_alteration_leaves_of_the_terms_what_it_does_not_say() -> None:
    given = replace(AGENT, terms={"interval_seconds": 5, "missing_tolerance": 9})
    after = given.altered(
        {"name": "Chief", "terms": {"missing_tolerance": 7}, "more": {"y": 2}}, 99
    )
    assert after.terms == {"interval_seconds": 5, "missing_tolerance": 7}
    assert after.more == {"x": 1, "y": 2}
    assert (after.name, after.created_ms, after.updated_ms) == ("Chief", 10, 99)


def test_a_name_means_the_agent_of_that_board_or_without_a_board_the_only_one() -> None:
    roll = {"one": "north", "two": "south", "three": None}
    assert meant("x", roll, "north") == "one"
    assert meant("x", roll, "west") is None
    assert meant("x", {}, None) is None
    assert meant("x", {"one": "north"}, None) == "one"
    with pytest.raises(Conflict, match="board_id"):
        meant("x", roll, None)


def test_a_name_is_taken_once_on_each_board_and_once_without() -> None:
    roll = named("x", {}, None, "one")
    roll = named("x", roll, "north", "two")
    assert roll == {"one": None, "two": "north"}
    with pytest.raises(Conflict, match="without a board"):
        named("x", roll, None, "three")
    with pytest.raises(Conflict, match="on this board"):
        named("x", roll, "north", "three")
    assert named("x", roll, "south", "two") == {"one": None, "two": "south"}, "it moved"
    assert named("x", roll, "north", "two") == roll, "it is there already"


def test_serials_sort_by_their_time() -> None:
    early, late = new_serial(1_000, 2**80 - 1), new_serial(1_001, 0)
    assert early < late
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", late)
    assert ulid(0) == "0" * 26
    assert ulid(2**128 - 1) == "7" + "Z" * 25
    # As the specification of ULIDs has it: the first ten letters are the time.
    assert new_serial(1_469_918_176_385, 0)[:10] == "01ARYZ6S41"
