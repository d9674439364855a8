"""Every rule can be broken: stories of a few events, each with one fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.invariant import (
    LATE_MS,
    RULES,
    Account,
    Evidence,
    Rule,
    judge,
    kinds_follow_each_other,
    nobody_dies_alive,
    numbers_are_dense,
    one_change_per_transition,
    the_silent_end_in_time,
    watchers_know_the_truth,
)
from tests.chaos.truth import BROKEN, BYE, LOST_MS, SILENT, Gap, Life, Outage, Truth
from tests.chaos.witness import Fresh, Told

TTL_MS = 2_000
BEGAN_MS = 1_000_000
DIED_MS = BEGAN_MS + 10_000
OVER_MS = BEGAN_MS + 60_000

ONLINE = Told("a", "e", 1, "online", None, "available", BEGAN_MS)
UPDATED = Told("a", "e", 2, "updated", "available", "busy", BEGAN_MS + 5_000)
OFFLINE = Told("a", "e", 3, "offline", "busy", "offline", DIED_MS + TTL_MS)
STORY = [Fresh(BEGAN_MS - 5_000, {}), ONLINE, UPDATED, OFFLINE]
ALIVE = {"a": {"id": "a", "alive": True, "state": "available"}}
DEAD = {"a": {"id": "a", "alive": False, "state": "offline"}}


def silent(since_ms: int, *, how: str = SILENT, **more: Any) -> Gap:
    ends_ms = since_ms if how == BYE else since_ms + TTL_MS
    return Gap(since_ms, ends_ms, how, frozenset({"h"}), **more)


def lived(*gaps: Gap, outages: tuple[Outage, ...] = ()) -> Truth:
    """Tell of an agent with these gaps; it is gone if the last of them is open."""
    truth = Truth()
    truth.outages += outages
    life = truth.lives["a"] = Life("a", TTL_MS, hub="h", heard_ms=BEGAN_MS, gaps=list(gaps))
    life.gap = gaps[-1] if gaps and gaps[-1].until_ms > OVER_MS else None
    life.wanted = life.gap is None
    return truth


def account(*told: Told | Fresh, name: str = "w", wrong: tuple[str, ...] = ()) -> Account:
    return Account(name, told, DEAD, wrong)


SOUND = Evidence(
    truth=lived(silent(DIED_MS)),
    accounts=[account(*STORY), account(*STORY, name="v")],
    written={0: [ONLINE, UPDATED, OFFLINE]},
    shown={"h": DEAD, "i": DEAD},
    since_ms=0,
    until_ms=OVER_MS,
)
WITHOUT_UPDATE = [entry for entry in STORY if entry is not UPDATED]
TWICE = replace(OFFLINE, seq=4, was="offline")
EARLY = replace(OFFLINE, at_ms=DIED_MS + TTL_MS // 2)
LATE = replace(OFFLINE, at_ms=DIED_MS + TTL_MS + LATE_MS + 1)

BROKEN_RULES: tuple[tuple[Rule, dict[str, Any], str], ...] = (
    (kinds_follow_each_other, {"accounts": [account(*WITHOUT_UPDATE)]}, "it was available"),
    (kinds_follow_each_other, {"accounts": [account(*STORY, TWICE)]}, "already"),
    (kinds_follow_each_other, {"written": {0: [ONLINE, OFFLINE]}}, "the log"),
    (numbers_are_dense, {"written": {0: [ONLINE, OFFLINE]}}, "3 after 1"),
    (watchers_know_the_truth, {"shown": {"h": DEAD, "i": ALIVE}}, "w and i differ"),
    (watchers_know_the_truth, {"accounts": [account(wrong=("torn",))]}, "torn"),
    (nobody_dies_alive, {"truth": lived()}, "it lived"),
    (nobody_dies_alive, {"accounts": [account(EARLY)], "written": {}}, "it lived"),
    (
        nobody_dies_alive,
        {"truth": lived(silent(DIED_MS), outages=(Outage("away", DIED_MS, None, DIED_MS + 500),))},
        "it lived",
    ),
    (
        nobody_dies_alive,
        {"truth": lived(silent(DIED_MS), outages=(Outage("killed", DIED_MS, "h", DIED_MS),))},
        "it lived",
    ),
    (the_silent_end_in_time, {"shown": {"h": DEAD, "i": ALIVE}}, "a ghost at i"),
    (the_silent_end_in_time, {"truth": lived()}, "not at h"),
    (the_silent_end_in_time, {"accounts": [account(LATE)], "written": {}}, "1 ms late"),
    (one_change_per_transition, {"accounts": [account(*WITHOUT_UPDATE)]}, "was not told"),
    (
        one_change_per_transition,
        {"accounts": [account(*STORY), account(EARLY, name="v")]},
        "v: offline",
    ),
)


def test_a_sound_story_is_left_alone() -> None:
    assert judge(SOUND) == ""


@pytest.mark.parametrize(("rule", "changed", "complaint"), BROKEN_RULES)
def test_a_broken_rule_is_told(rule: Rule, changed: dict[str, Any], complaint: str) -> None:
    evidence = replace(SOUND, **changed)
    assert any(complaint in told.text for told in rule(evidence))
    assert f"{rule.__name__}: " in judge(evidence)


def test_every_rule_has_a_story_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BROKEN_RULES} == set(RULES)


def test_the_timeline_of_the_agent_concerned_is_told() -> None:
    told = judge(replace(SOUND, truth=lived()))
    assert "a, in s since it all began:" in told
    assert "offline: busy -> offline (e, 3)  [the log, w, v]" in told


@pytest.mark.parametrize(
    ("gap", "outage", "from_ms"),
    [
        (silent(DIED_MS), None, DIED_MS + TTL_MS),
        (silent(DIED_MS, how=BYE), None, DIED_MS),
        (silent(DIED_MS), Outage("", DIED_MS, None, DIED_MS + 500), DIED_MS + 500 + TTL_MS),
        (silent(DIED_MS), Outage("", DIED_MS, "h", DIED_MS + 500), DIED_MS + LOST_MS),
        (silent(DIED_MS), Outage("", DIED_MS, "another", DIED_MS + 500), DIED_MS + TTL_MS),
        (silent(DIED_MS, how=BYE), Outage("", DIED_MS, None, DIED_MS + 500), DIED_MS),
        (silent(DIED_MS), Outage("", OVER_MS, None), DIED_MS + TTL_MS),
    ],
)
def test_an_agent_may_end_from_a_moment_on(gap: Gap, outage: Outage | None, from_ms: int) -> None:
    life = Life("a", TTL_MS, gaps=[gap])
    outages = [] if outage is None else [outage]
    assert life.may_end(from_ms, outages)
    assert not life.may_end(from_ms - 1_000, outages)


def test_a_gap_begins_with_the_last_sign_and_ends_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = moved(monkeypatch)
    life = Life("a", TTL_MS)
    life.sign(at(0), "h")
    life.broke()
    at(500)
    life.broke()
    life.sign(at(700), "i")
    life.sign(at(1_000), "i")
    assert [(gap.since_ms, gap.ends_ms, gap.until_ms, gap.how) for gap in life.gaps] == [
        (BEGAN_MS, BEGAN_MS + TTL_MS, BEGAN_MS + 700, BROKEN)
    ]


def test_who_was_silent_for_a_lease_has_a_gap_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = moved(monkeypatch)
    life = Life("a", TTL_MS)
    life.sign(at(0), "h")
    life.sign(at(TTL_MS - 1), "h")
    assert not life.gaps
    life.sign(at(3 * TTL_MS), "h")
    assert [(gap.since_ms, gap.how) for gap in life.gaps] == [(BEGAN_MS + TTL_MS - 1, SILENT)]


def moved(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Give a clock that stands where it was put last."""

    def at(ms: int) -> int:
        monkeypatch.setattr("tests.chaos.truth.now_ms", lambda: BEGAN_MS + ms)
        return BEGAN_MS + ms

    return at
