"""Which agents a filter means: every part alone, and that all must hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifesigns.core.filter import WORDS, Filter
from lifesigns.core.model import Words
from lifesigns.core.presence import BUSY
from tests.core.fleet import gone, instance, seen, shown

SEARCHER = shown(
    instance(
        rank=BUSY,
        words=Words(
            status="thinking",
            name="Search",
            group="eu",
            host="h1",
            did="did:web:x",
            capabilities=("search", "rank"),
            metadata={
                "model": "m1",
                "depth": 3,
                "flag": True,
                "none": None,
                "tags": ["x"],
                "tree": {"a": [1]},
            },
        ),
    ),
    agent="team-search",
)
GONE = seen(gone(instance(words=Words(status="idle"))), "team-gone")

MET: list[dict[str, Any]] = [
    {},
    {"ids": ["team-search"]},
    {"ids": ["other", "team-search"]},
    {"ids": ["team-*"]},
    {"ids": ["*"]},
    {"state": ["busy"]},
    {"state": ["available", "busy"]},
    {"status": ["thinking"]},
    {"dialect": ["pulse"]},
    {"name": ["Search"]},
    {"group": ["us", "eu"]},
    {"host": ["h1"]},
    {"did": ["did:web:x"]},
    {"capability": ["search"]},
    {"capability": ["rank", "search"]},
    {"metadata": {"model": ["m1"]}},
    {"metadata": {"model": ["m1"], "depth": [3]}},
    {"metadata": {"model": ["m2", "m1"]}},
    {"metadata": {"depth": [3.0]}},
    {"metadata": {"flag": [True]}},
    {"metadata": {"none": [None]}},
    {"metadata": {"tree": [{"a": [1]}]}},
    {"alive": True},
    {"ids": ["team-*"], "state": ["busy"], "capability": ["rank"], "alive": True, "group": ["eu"]},
]
NOT_MET: list[dict[str, Any]] = [
    {"ids": ["team-searc"]},
    {"ids": ["team-search2"]},
    {"ids": ["other-*"]},
    {"ids": ["*-search"]},
    {"state": ["available"]},
    {"status": ["Thinking"]},
    {"dialect": ["native"]},
    {"name": ["search"]},
    {"group": ["us"]},
    {"host": ["h"]},
    {"did": ["did:web:y"]},
    {"capability": ["summarise"]},
    {"capability": ["search", "summarise"]},
    {"metadata": {"model": ["m2"]}},
    {"metadata": {"model": ["m1"], "depth": [4]}},
    {"metadata": {"model": ["m2", "m3"]}},
    {"metadata": {"depth": ["3"]}},
    {"metadata": {"flag": [1]}},
    {"metadata": {"tree": [{"a": [True]}]}},
    {"metadata": {"tree": [{"a": [1, 2]}]}},
    {"metadata": {"tree": [{"b": [1]}]}},
    {"metadata": {"tree": [[1]]}},
    {"metadata": {"tags": ["x"]}},
    {"metadata": {"nothing": ["x"]}},
    {"alive": False},
    {"ids": ["team-*"], "state": ["busy"], "capability": ["rank"], "alive": True, "group": ["us"]},
]


@pytest.mark.parametrize("parts", MET, ids=str)
def test_a_filter_means_an_agent_of_which_all_parts_hold(parts: dict[str, Any]) -> None:
    assert Filter(**parts).matches(SEARCHER)


@pytest.mark.parametrize("parts", NOT_MET, ids=str)
def test_a_filter_does_not_mean_an_agent_of_which_one_part_fails(parts: dict[str, Any]) -> None:
    assert not Filter(**parts).matches(SEARCHER)


def test_an_agent_that_is_down_is_meant_unless_only_the_living_are() -> None:
    assert Filter().matches(GONE)
    assert Filter(alive=False).matches(GONE)
    assert Filter(state=["offline"]).matches(GONE)
    assert not Filter(alive=True).matches(GONE)


def test_an_agent_without_metadata_has_no_values() -> None:
    assert not Filter(metadata={"model": ["m1"]}).matches(GONE)


def test_a_key_that_is_absent_equals_null() -> None:
    assert Filter(metadata={"model": [None]}).matches(GONE)
    assert not Filter(metadata={"model": [None]}).matches(SEARCHER)


@pytest.mark.parametrize("part", WORDS)
def test_a_word_that_was_never_said_is_not_the_empty_one(part: str) -> None:
    parts: dict[str, Any] = {part: ["x", ""]}
    assert not Filter(**parts).matches(GONE)


parts_of_filters = st.sampled_from([*MET, *NOT_MET])


@given(st.lists(parts_of_filters, max_size=4))
def test_parts_that_are_joined_hold_only_if_each_does(several: list[dict[str, Any]]) -> None:
    joined: dict[str, Any] = {}
    for parts in several:
        joined |= parts
    alone = [Filter(**{name: wanted}).matches(SEARCHER) for name, wanted in joined.items()]
    assert Filter(**joined).matches(SEARCHER) == all(alone)
