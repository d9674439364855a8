"""Each field's limits, at both edges, and that a refusal names the field."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from lifesigns.core.errors import BadRequest, BadValue, LifesignsError
from lifesigns.core.field import (
    DESCRIBING,
    agent_of,
    agents_of,
    choice_of,
    describing,
    instance_of,
    number_of,
    reason_of,
    ref_of,
    text_of,
    ttl_ms,
)
from lifesigns.core.instant import to_text
from lifesigns.core.model import Limits, Words
from lifesigns.core.presence import HINTS, merge
from tests.core.fleet import NOW

LIMITS = Limits()
DAY_S = 86_400


def nested(levels: int) -> dict[str, Any]:
    """Make a map that is this deep, its plain values being the last level."""
    made: dict[str, Any] = {"x": 1}
    for _ in range(levels - 1):
        made = {"x": made}
    return made


def bulky(size: int) -> dict[str, Any]:
    """Make a map that takes this many bytes in msgpack."""
    return {"x": "x" * (size - 6)}  # one for the map, two for the key, three before the text


# What is sent, and what becomes of it in the words of the agent.
TAKEN: list[tuple[str, Any, Any]] = [
    ("status", "thinking", "thinking"),
    ("status", "Thinking … ", "Thinking … "),
    ("status", "", ""),
    ("status", "x" * 128, "x" * 128),
    ("status", "😀" * 128, "😀" * 128),
    *[("state", hint, hint) for hint in HINTS],
    ("task", "", ""),
    ("task", "x" * 1_024, "x" * 1_024),
    ("progress", {}, {}),
    ("progress", {"note": "x" * 1_024, "done": 1, "total": 2.5}, ...),
    ("progress", {"note": None, "step": ["a"]}, ...),
    ("progress", "half way", {"note": "half way"}),
    ("progress", "x" * 1_024, {"note": "x" * 1_024}),
    ("progress", bulky(16_384), ...),
    ("progress", nested(16), ...),
    ("metadata", {}, {}),
    ("metadata", bulky(16_384), ...),
    ("metadata", nested(16), ...),
    *[("context", value, value) for value in (0, False, "", "x" * 16_384, [], [1, "a"], {})],
    ("context", bulky(16_384), ...),
    ("context", nested(16), ...),
    ("capabilities", [], ()),
    ("capabilities", ["b", "a", "b"], ("b", "a")),
    ("capabilities", ["x" * 128], ("x" * 128,)),
    ("capabilities", [f"c{i}" for i in range(64)], tuple(f"c{i}" for i in range(64))),
    *[("slots", n, n) for n in (0, 1, 1_000)],
    ("did", "did:web:" + "x" * 1_016, ...),
    *[(name, "x" * 128, "x" * 128) for name in ("name", "group", "host", "version")],
]


@pytest.mark.parametrize(("name", "value", "kept"), TAKEN)
def test_a_value_within_its_limits_is_taken(name: str, value: Any, kept: Any) -> None:
    assert describing({name: value}, LIMITS, NOW) == {name: value if kept is ... else kept}


# What is sent, and the path that the refusal names.
REFUSED: list[tuple[str, Any, str]] = [
    ("status", "x" * 129, "status"),
    ("task", "x" * 1_025, "task"),
    *[("state", v, "state") for v in ("", "Busy", "idle", "offline", "suspect", "stalled", 1)],
    ("state", ["busy"], "state"),
    ("progress", "x" * 1_025, "progress"),
    ("progress", {"note": "x" * 1_025}, "progress.note"),
    ("progress", {"note": 5}, "progress.note"),
    ("progress", {"note": ["x"]}, "progress.note"),
    ("progress", 0.5, "progress"),
    ("progress", ["x"], "progress"),
    ("progress", bulky(16_385), "progress"),
    ("progress", nested(17), "progress" + ".x" * 16),
    ("metadata", bulky(16_385), "metadata"),
    ("metadata", nested(17), "metadata" + ".x" * 16),
    ("metadata", [], "metadata"),
    ("metadata", "x", "metadata"),
    ("context", bulky(16_385), "context"),
    ("context", "x" * 16_385, "context"),
    ("context", nested(17), "context" + ".x" * 16),
    ("capabilities", "search", "capabilities"),
    ("capabilities", {"search": True}, "capabilities"),
    ("capabilities", [f"c{i}" for i in range(65)], "capabilities"),
    ("capabilities", ["a"] * 65, "capabilities"),
    ("capabilities", ["a", "b", "x" * 129], "capabilities[2]"),
    ("capabilities", ["a", 1], "capabilities[1]"),
    ("capabilities", [None], "capabilities[0]"),
    ("capabilities", ["a", ""], "capabilities[1]"),
    *[("slots", value, "slots") for value in (-1, 1_001, 1.0, "1", True, [])],
    ("did", "x" * 1_025, "did"),
    *[(name, "x" * 129, name) for name in ("name", "group", "host", "version")],
    *[
        (name, value, name)
        for name in ("status", "task", "did", "name", "group", "host", "version")
        for value in (1, True, ["x"], {"x": 1})
    ],
]


@pytest.mark.parametrize(("name", "value", "path"), REFUSED)
def test_a_value_outside_its_limits_is_refused_by_its_path(
    name: str, value: Any, path: str
) -> None:
    with pytest.raises(BadValue) as caught:
        describing({"status": "idle", name: value}, LIMITS, NOW)
    assert caught.value.field == path
    assert path in caught.value.message


class TestDescribing:
    def test_all_fields_of_a_hello_can_be_said_and_all_are_words(self) -> None:
        spoken = set(
            [
                "status",
                "state",
                "task",
                "progress",
                "progress_ttl",
                "busy_until",
                "busy_for",
                "metadata",
                "context",
                "capabilities",
                "slots",
                "did",
                "name",
                "group",
                "host",
                "version",
            ]
        )
        assert set(DESCRIBING) == spoken
        said = describing(dict.fromkeys(spoken), LIMITS, NOW)
        assert set(Words._fields) - set(said) == {"dialect"}

    def test_null_clears_each_field_to_its_default(self) -> None:
        said = describing(dict.fromkeys(DESCRIBING), LIMITS, NOW)
        assert merge(Words(status="x", slots=7, capabilities=("a",), group="g"), said) == Words()

    def test_what_is_absent_is_not_said(self) -> None:
        assert describing({}, LIMITS, NOW) == {}

    def test_fields_that_nobody_knows_are_left_alone(self) -> None:
        message = {"type": "beat", "ref": 1, "ttl": 5, "mood": {"x": math.nan}, "dialect": "mine"}
        assert describing(message, LIMITS, NOW) == {}

    def test_the_limits_are_settings(self) -> None:
        small = Limits(
            metadata_bytes=10, metadata_depth=1, word_length=2, text_length=3, capabilities=1,
            slots=4,
        )  # fmt: skip
        for message, field in (
            ({"status": "xxx"}, "status"),
            ({"task": "xxxx"}, "task"),
            ({"capabilities": ["a", "b"]}, "capabilities"),
            ({"slots": 5}, "slots"),
            ({"metadata": {"a": {}}}, "metadata.a"),
            ({"metadata": {"a": "x" * 10}}, "metadata"),
        ):
            with pytest.raises(BadValue) as caught:
                describing(message, small, NOW)
            assert caught.value.field == field


class TestQuietPhase:
    def until(self, **message: Any) -> Any:
        return describing(message, LIMITS, NOW)["busy_until_ms"]

    @pytest.mark.parametrize("span_s", [0, 0.001, 90, DAY_S])
    def test_busy_for_counts_from_now(self, span_s: float) -> None:
        assert self.until(busy_for=span_s) == NOW + round(span_s * 1000)

    @pytest.mark.parametrize("ahead_ms", [-3_600_000, 0, 1, DAY_S * 1000])
    def test_busy_until_is_an_instant_at_most_a_day_ahead(self, ahead_ms: int) -> None:
        assert self.until(busy_until=to_text(NOW + ahead_ms)) == NOW + ahead_ms

    def test_busy_for_counts_where_both_are_given(self) -> None:
        both = {"busy_until": to_text(NOW + 5_000), "busy_for": 9}
        assert self.until(**both) == NOW + 9_000
        assert self.until(**(both | {"busy_for": None})) == NOW + 5_000
        assert self.until(**(both | {"busy_until": None})) == NOW + 9_000

    def test_null_in_either_ends_the_phase(self) -> None:
        assert self.until(busy_for=None) is None
        assert self.until(busy_until=None) is None

    @pytest.mark.parametrize("value", [-0.001, DAY_S + 0.001, math.inf, math.nan, "60", True, []])
    def test_busy_for_beyond_a_day_or_no_number_is_refused(self, value: Any) -> None:
        with pytest.raises(BadValue) as caught:
            self.until(busy_for=value)
        assert caught.value.field == "busy_for"

    @pytest.mark.parametrize("span_s", [None, 5])
    def test_busy_until_beyond_a_day_is_refused(self, span_s: int | None) -> None:
        with pytest.raises(BadValue, match="24 hours") as caught:
            self.until(busy_until=to_text(NOW + DAY_S * 1000 + 1), busy_for=span_s)
        assert caught.value.field == "busy_until"

    @pytest.mark.parametrize("value", ["soon", "2026-03-22 14:30:00", 1774189800000, True, ""])
    def test_busy_until_that_is_no_instant_is_refused(self, value: Any) -> None:
        with pytest.raises(BadValue) as caught:
            self.until(busy_until=value)
        assert caught.value.field == "busy_until"


class TestTtl:
    @pytest.mark.parametrize(
        ("ttl", "ms"), [(1, 1_000), (1.0, 1_000), (1.5, 1_500), (86_400, 86_400_000), (None, None)]
    )
    def test_a_ttl_is_taken_as_it_is(self, ttl: float | None, ms: int | None) -> None:
        assert ttl_ms({"ttl": ttl}, LIMITS) == ms

    def test_none_given_is_none(self) -> None:
        assert ttl_ms({}, LIMITS) is None

    @pytest.mark.parametrize(
        "ttl", [0, -1, 0.999, 86_400.001, 86_401, 1e300, 2**63, math.inf, math.nan, "30", True, []]
    )
    def test_a_ttl_out_of_range_is_refused_never_clamped(self, ttl: Any) -> None:
        with pytest.raises(BadValue) as caught:
            ttl_ms({"ttl": ttl}, LIMITS)
        assert caught.value.field == "ttl"

    @pytest.mark.parametrize("ttl", [0.1, 0.5, 86_400])
    def test_a_progress_ttl_may_be_short(self, ttl: float) -> None:
        said = describing({"progress_ttl": ttl}, LIMITS, NOW)
        assert said == {"progress_ttl_ms": round(ttl * 1000)}
        assert describing({"progress_ttl": None}, LIMITS, NOW) == {"progress_ttl_ms": None}

    @pytest.mark.parametrize("ttl", [0, 0.099, 86_400.001, "30", True])
    def test_a_progress_ttl_out_of_range_is_refused(self, ttl: Any) -> None:
        with pytest.raises(BadValue) as caught:
            describing({"progress_ttl": ttl}, LIMITS, NOW)
        assert caught.value.field == "progress_ttl"


class TestNames:
    def test_an_agent_may_be_absent(self) -> None:
        assert agent_of({}) is None
        assert agent_of({"agent": None}) is None

    @pytest.mark.parametrize("agent", ["a", "search-agent", "A.z_0:@~-", "x" * 128])
    def test_a_good_id_is_taken(self, agent: str) -> None:
        assert agent_of({"agent": agent}) == agent
        assert agent_of({"id": agent}, "id") == agent

    @pytest.mark.parametrize("agent", ["", "a b", "x" * 129, "ä", "me", "stats", 5, ["a"]])
    def test_a_bad_id_is_refused_by_the_fields_name(self, agent: Any) -> None:
        for name in ("agent", "id"):
            with pytest.raises((BadRequest, BadValue)) as caught:
                agent_of({name: agent}, name)
            assert caught.value.field == name

    @pytest.mark.parametrize("instance", ["-", "host 1/pid 7", "é", "x" * 128])
    def test_an_instance_is_nearly_any_text(self, instance: str) -> None:
        assert instance_of({"instance": instance}) == instance

    def test_an_instance_may_be_absent(self) -> None:
        assert instance_of({}) is None
        assert instance_of({"instance": None}) is None

    @pytest.mark.parametrize("instance", ["", "x" * 129, "a\x1fb", "a\n", 7, True, []])
    def test_a_bad_instance_is_a_bad_value(self, instance: Any) -> None:
        with pytest.raises(BadValue) as caught:
            instance_of({"instance": instance})
        assert caught.value.field == "instance"


class TestReason:
    def test_without_one_it_is_empty(self) -> None:
        assert reason_of({}, LIMITS) == reason_of({"reason": None}, LIMITS) == ""

    def test_it_is_free_words(self) -> None:
        assert reason_of({"reason": "x" * 1_024}, LIMITS) == "x" * 1_024
        assert reason_of({"why": "deploy"}, LIMITS, "why") == "deploy"

    @pytest.mark.parametrize("reason", ["x" * 1_025, 1, ["x"]])
    def test_too_long_or_no_text_is_refused(self, reason: Any) -> None:
        with pytest.raises(BadValue) as caught:
            reason_of({"reason": reason}, LIMITS)
        assert caught.value.field == "reason"


class TestText:
    def test_a_text_that_must_be_there_is_taken_as_it_is(self) -> None:
        assert text_of({"watch": ""}, "watch") == ""
        assert text_of({"watch": "w1"}, "watch") == "w1"

    @pytest.mark.parametrize("message", [{}, {"watch": None}, {"watch": 1}, {"watch": ["w1"]}])
    def test_without_it_a_message_is_refused(self, message: dict[str, Any]) -> None:
        with pytest.raises(BadValue) as caught:
            text_of(message, "watch")
        assert caught.value.field == "watch"


class TestRef:
    @pytest.mark.parametrize("ref", [None, "", "abc", 0, -1, 2**63 - 1])
    def test_a_ref_is_a_text_or_an_integer(self, ref: Any) -> None:
        assert ref_of({"ref": ref}) == ref

    def test_a_ref_may_be_absent(self) -> None:
        assert ref_of({}) is None

    @pytest.mark.parametrize("ref", [1.5, 1.0, True, False, [1], {}])
    def test_anything_else_is_refused(self, ref: Any) -> None:
        with pytest.raises(BadValue) as caught:
            ref_of({"ref": ref})
        assert caught.value.field == "ref"


class TestWhomACheckIsAbout:
    def test_ids_come_once_each_in_their_order(self) -> None:
        assert agents_of({"agents": ["b", "a", "b"]}, LIMITS) == ["b", "a"]

    def test_a_thousand_may_be_asked_about(self) -> None:
        ids = [f"a{i}" for i in range(1_000)]
        assert agents_of({"agents": ids}, LIMITS) == ids

    @pytest.mark.parametrize("agents", [None, [], "a1", {"a1": 1}, ["a"] * 1_001])
    def test_no_list_none_or_too_many_are_refused(self, agents: Any) -> None:
        for message in ({"agents": agents}, {}):
            with pytest.raises(BadValue) as caught:
                agents_of(message, LIMITS)
            assert caught.value.field == "agents"

    @pytest.mark.parametrize(
        ("bad", "kind"),
        [
            *((bad, BadRequest) for bad in ("", "a b", "x" * 129, "me")),
            *((bad, BadValue) for bad in (5, None, ["a"], True)),
        ],
    )
    def test_a_bad_id_is_refused_by_its_place(self, bad: Any, kind: type[LifesignsError]) -> None:
        """In a check it was a bad value, and everywhere else a bad request."""
        with pytest.raises(kind) as caught:
            agents_of({"agents": ["a", "b", "c", bad]}, LIMITS)
        assert type(caught.value) is kind
        assert caught.value.field == "agents[3]"


class TestNumbersAndChoices:
    @pytest.mark.parametrize("value", [0, 0.5, 10, 10.0])
    def test_a_number_in_its_range_is_taken(self, value: float) -> None:
        assert number_of({"within": value}, "within", 0, 10) == value

    @pytest.mark.parametrize("message", [{}, {"within": None}])
    def test_without_one_it_is_the_default(self, message: dict[str, Any]) -> None:
        assert number_of(message, "within", 0, 10) is None
        assert number_of(message, "within", 0, 10, 5) == 5

    @pytest.mark.parametrize("value", [-0.1, 10.1, math.nan, math.inf, "5", True, [], {}])
    def test_anything_else_is_refused(self, value: Any) -> None:
        with pytest.raises(BadValue) as caught:
            number_of({"within": value}, "within", 0, 10)
        assert caught.value.field == "within"

    def test_a_choice_is_one_of_a_few_words_and_the_first_is_the_default(self) -> None:
        choices = ("full", "lite")
        assert choice_of({"detail": "lite"}, "detail", choices) == "lite"
        assert choice_of({}, "detail", choices) == "full"
        assert choice_of({"detail": None}, "detail", choices) == "full"

    @pytest.mark.parametrize("value", ["Full", "", "beats", 0, True, ["full"], {}])
    def test_any_other_word_is_refused(self, value: Any) -> None:
        with pytest.raises(BadValue, match="full, lite") as caught:
            choice_of({"detail": value}, "detail", ("full", "lite"))
        assert caught.value.field == "detail"


def test_the_limits_are_those_of_the_contract_unless_set_otherwise() -> None:
    contract = {
        "min_ttl_s": 1,
        "max_ttl_s": 86_400,
        "metadata_bytes": 16 * 1024,
        "metadata_depth": 16,
        "word_length": 128,
        "text_length": 1_024,
        "capabilities": 64,
        "slots": 1_000,
        "check_agents": 1_000,
        "message_bytes": 64 * 1024,
        "check_message_bytes": 256 * 1024,
        "messages_per_s": 50,
        "burst_s": 2,
        "flood_s": 10,
        "errors": 20,
        "errors_s": 10,
        "default_ttl_s": 30,
        "hello_timeout_s": 5,
        "pong_timeout_s": 20,
        "outgoing_frame_bytes": 512 * 1024,
    }
    assert contract.items() <= dataclasses.asdict(LIMITS).items()


def test_every_refusal_is_of_the_one_tree() -> None:
    for name, value, _ in REFUSED:
        with pytest.raises(LifesignsError) as caught:
            describing({name: value}, LIMITS, NOW)
        assert caught.value.http_status == 422
