"""The one reducer, by the vectors that its twin in JavaScript is held to, and by itself."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from lifesigns.core.mirror import Mirror
from lifesigns.core.roster import Difference, Outcome, Roster, Turn

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "roster.json").read_text())


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_vector(case: dict[str, Any]) -> None:
    mirror = Mirror()
    for number, step in enumerate(case["steps"]):
        outcome = mirror.receive(step["frame"])
        named = outcome.value if isinstance(outcome, Outcome) else "taken"
        assert named == step["outcome"], f"step {number}"
        assert mirror.agents == step["agents"], f"step {number}"
        assert mirror.cursor == step["cursor"], f"step {number}"
        assert mirror.counts == step.get("counts", {}), f"step {number}"
        assert mirror.total == sum(mirror.counts.values())


def roster(*agents: str) -> Roster[str]:
    """Make a roster at 0 of agents whose value is their name and number, as in "a1"."""
    made: Roster[str] = Roster(lambda value: ("", int(value[1:])))
    made.load({agent[0]: agent for agent in agents}, 0)
    return made


def turn(value: str, *, gone: bool = False) -> Turn[str]:
    return Turn(value[0], ("", int(value[1:])), None if gone else value)


def test_a_snapshot_answers_what_it_altered() -> None:
    it = roster("a1", "b1", "c1")
    assert it.load({"a": "a1", "b": "b2", "d": "d1"}, 5) == [
        Difference("b", "b1", "b2"),
        Difference("d", None, "d1"),
        Difference("c", "c1", None),
    ]
    assert it.position == 5


def test_changes_answer_what_they_altered() -> None:
    it = roster("a1")
    found = it.advance(0, 1, [turn("a2"), turn("b1"), turn("a3", gone=True), turn("x9", gone=True)])
    assert found == [
        Difference("a", "a1", "a2"),
        Difference("b", None, "b1"),
        Difference("a", "a2", None),
    ]


def test_a_gap_takes_nothing() -> None:
    it = roster("a1")
    assert it.advance(1, 2, [turn("a2")]) is Outcome.GAP
    assert it.agents == {"a": "a1"}
    assert it.position == 0


def test_while_a_snapshot_is_loaded_all_is_as_it_was() -> None:
    it = roster("a1")
    it.restart()
    assert it.loading
    assert it.load({"b": "b1"}, None, more=True) == []
    assert it.advance(3, 4, [turn("c1")]) is Outcome.WAITS
    assert it.agents == {"a": "a1"}
    assert it.load({}, 3) == [
        Difference("b", None, "b1"),
        Difference("a", "a1", None),
        Difference("c", None, "c1"),
    ]
    assert not it.loading
    assert it.position == 4


def test_what_waited_and_is_in_the_snapshot_is_skipped() -> None:
    it = roster()
    it.restart()
    for before in range(4):
        assert it.advance(before, before + 1, [turn(f"a{before + 1}")]) is Outcome.WAITS
    it.load({"a": "a2"}, 2)
    assert it.agents == {"a": "a4"}
    assert it.position == 4


def test_a_load_that_is_called_off_leaves_all_as_it_was() -> None:
    it = roster("a1")
    it.load({"b": "b1"}, None, more=True)
    it.resume()
    assert it.advance(0, 1, [turn("a2")]) == [Difference("a", "a1", "a2")]
    assert it.agents == {"a": "a2"}


@pytest.mark.parametrize("seed", range(20))
def test_snapshot_and_changes_are_the_truth_however_they_are_mixed(seed: int) -> None:
    """A snapshot read in pieces, while changes go on, and changes that wait for its end."""
    dice = random.Random(seed)
    there: dict[str, str] = {}
    log: list[Turn[str]] = []

    def happen() -> None:
        agent = dice.choice("abcdefgh")
        gone = agent in there and dice.random() < 0.3
        log.append(turn(f"{agent}{len(log) + 1}", gone=gone))
        if gone:
            del there[agent]
        else:
            there[agent] = f"{agent}{len(log)}"

    for _ in range(20):
        happen()
    it: Roster[str] = Roster(lambda value: ("", int(value[1:])))
    begin = len(log)
    for letters in ("abc", "def", "gh"):
        page = {agent: value for agent, value in there.items() if agent in letters}
        it.load(page, begin, more=letters != "gh")
        told = len(log)
        for _ in range(dice.randrange(4)):
            happen()
        for i in range(told, len(log)):
            it.advance(i, i + 1, [log[i]])
    assert it.agents == there
    assert it.position == len(log)
