"""Which agents a filter means: every part alone, and that all must hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifesigns.core.errors import BadValue
from lifesigns.core.filter import WORDS, Filter, filter_of
from lifesigns.core.model import Words
from lifesigns.core.presence import BUSY, STATES
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


class TestReading:
    @pytest.mark.parametrize("message", [{}, {"filter": None}, {"filter": {}}])
    def test_without_a_filter_everything_is_meant(self, message: dict[str, Any]) -> None:
        assert filter_of(message) == Filter()
        assert filter_of(message).everything

    def test_a_part_that_is_null_asks_nothing(self) -> None:
        parts = dict.fromkeys(["ids", "state", "capability", "metadata", "alive", *WORDS])
        assert filter_of({"filter": parts}) == Filter()

    @pytest.mark.parametrize("part", ["ids", "capability", *WORDS])
    def test_a_list_of_texts_is_taken_and_one_text_needs_no_list(self, part: str) -> None:
        wanted: dict[str, Any] = {part: ("a", "b")}
        assert filter_of({"filter": {part: ["a", "b"]}}) == Filter(**wanted)
        wanted = {part: ("a",)}
        assert filter_of({"filter": {part: "a"}}) == Filter(**wanted)
        assert not filter_of({"filter": {part: "a"}}).everything

    @pytest.mark.parametrize("state", STATES)
    def test_every_state_can_be_asked_for(self, state: str) -> None:
        assert filter_of({"filter": {"state": [state]}}).state == (state,)

    def test_metadata_are_equalities(self) -> None:
        read = filter_of({"filter": {"metadata": {"model": "m1", "tree": {"a": [1]}}}})
        assert read.matches(SEARCHER)
        assert not read.matches(GONE)
        assert not read.everything

    @pytest.mark.parametrize("alive", [True, False])
    def test_alive_is_asked_for_or_not(self, alive: bool) -> None:
        read = filter_of({"filter": {"alive": alive}})
        assert (read.alive, read.everything) == (alive, False)

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ("ids", "filter"),
            (["a"], "filter"),
            (True, "filter"),
            ({"ids": 1}, "filter.ids"),
            ({"ids": {"a": 1}}, "filter.ids"),
            ({"name": ["a", None]}, "filter.name"),
            ({"capability": ["a"] * 1_001}, "filter.capability"),
            ({"state": ["busy", "gone"]}, "filter.state"),
            ({"state": "Busy"}, "filter.state"),
            ({"metadata": ["model"]}, "filter.metadata"),
            ({"alive": 1}, "filter.alive"),
            ({"alive": "true"}, "filter.alive"),
            ({"mood": ["good"]}, "filter.mood"),
        ],
    )
    def test_a_part_that_is_wrong_or_that_nobody_knows_is_refused(
        self, given: Any, field: str
    ) -> None:
        with pytest.raises(BadValue) as caught:
            filter_of({"filter": given})
        assert caught.value.field == field

    def test_the_name_of_an_unknown_part_is_not_told_at_any_length(self) -> None:
        with pytest.raises(BadValue) as caught:
            filter_of({"filter": {"x" * 60_000: 1}})
        assert len(caught.value.message) + len(caught.value.field or "") < 300

    def test_a_list_may_have_a_thousand_entries(self) -> None:
        ids = [f"a{n}" for n in range(1_000)]
        assert filter_of({"filter": {"ids": ids}}).ids == tuple(ids)
