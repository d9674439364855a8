"""What `lifesigns top` shows, and what keys do to it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lifesigns.cli.pane import FURNITURE, Pane, columns_for, keys_of, summary
from lifesigns.cli.roll import SORTS, WORST_FIRST, Choice, Roll
from lifesigns.cli.terminal import GAP, Look, cells
from lifesigns.core.presence import STATES


def agent(name: str, state: str = "available", **words: Any) -> dict[str, Any]:
    alive = state not in ("offline", "sleeping")
    plain = {"status": None, "group": None, "capabilities": [], "seq": 1}
    return {"id": name, "state": state, "alive": alive, **plain, **words}


def drawn(pane: Pane, roll: Roll, size: tuple[int, int], alarm: str | None = None) -> list[str]:
    return pane.draw(roll, Look(), size, "12:00:00", alarm)


def test_every_state_has_a_place() -> None:
    assert sorted(WORST_FIRST) == sorted(STATES)


@pytest.mark.parametrize("sort", SORTS)
def test_changes_one_by_one_end_where_a_look_at_all_does(sort: str) -> None:
    chance = random.Random(sort)
    roll = Roll(Choice(sort, frozenset({"busy", "error", "offline"}), "A"))
    known: dict[str, dict[str, Any]] = {}
    roll.load({})
    for at in range(1, 3_000):
        name = f"{chance.choice('ab')}{chance.randrange(40)}"
        words = {"status": chance.choice((None, "Idle", "at work")), "group": chance.choice("xA")}
        change = {"kind": "updated", **agent(name, chance.choice(STATES), **words), "at": at}
        gone = chance.random() < 0.2
        roll.take(change | ({"gone": True} if gone else {}), float(at))
        if gone:
            known.pop(name, None)
        else:
            known[name] = change
    wanted = sorted(
        (
            (SORTS[sort](each, float(each["at"])), name)
            for name, each in known.items()
            if roll.choice.takes(each)
        )
    )
    assert 0 < len(wanted) == len(roll) < len(known) == roll.total
    assert [each["id"] for each in roll.page(0, 100)] == [name for _, name in wanted]
    assert +roll.counts == Counter(each["state"] for each in known.values())
    roll.choose(replace(roll.choice, search="", states=frozenset()))
    assert len(roll) == roll.total


def test_keys_are_told_from_what_a_terminal_makes_of_them() -> None:
    assert list(keys_of("sö\x1b[A\x1bOB\x1b[6~/\x7f\r".encode())) == [
        *("s", "ö", "up", "down", "page down", "/", "back", "enter"),
    ]
    assert list(keys_of(b"\x1b")) == ["escape"]
    assert list(keys_of(b"\x1b[200~q")) == [], "of a sequence that nobody knows no letter is a key"


def test_keys_choose_sort_search_and_move() -> None:
    roll, pane = Roll(Choice()), Pane()
    roll.load({f"w{n:03}": agent(f"w{n:03}", "busy" if n % 2 else "error") for n in range(100)})

    def press(*keys: str) -> list[str]:
        assert all(pane.press(key, roll) for key in keys)
        return [
            line.split()[0]
            for line in drawn(pane, roll, (80, FURNITURE + 10))[4:-1]
            if line.strip()
        ]

    assert press()[:2] == ["w000", "w002"]
    assert press("1") == [f"w{n:03}" for n in range(0, 20, 2)], "errors alone"
    assert press("6", "s")[:3] == ["w000", "w001", "w002"], "both, by id"
    assert press("page down", "down")[0] == "w011"
    assert press("end")[-1] == "w099"
    assert press("page down")[-1] == "w099"
    assert press("home", "up")[0] == "w000"
    assert press("0", *"/w09q", "back", "5") == ["w095"], "letters are no commands here"
    assert press("enter", "escape")[0] == "w000"
    assert "q " in "\n".join(press("?", "x", "?") and drawn(pane, roll, (80, 24)))
    assert not pane.press("q", roll)


@pytest.mark.parametrize("size", [(200, 50), (80, 24), (40, 8), (10, 3), (1, 1)])
def test_a_screen_of_any_size_is_filled_and_not_left(size: tuple[int, int]) -> None:
    roll, pane = Roll(Choice()), Pane()
    names = ("日本" * 30, "a\x1b[2Jb", "c")
    roll.load({name: agent(name, "error", status="x" * 99, group="g" * 99) for name in names})
    pane.details = {"c": {"seq": 1, "task": "t\n" * 99, "evidence_age_ms": 1_200}}
    for alarm in (None, "no hub answers at http://127.0.0.1:8700"):
        lines = drawn(pane, roll, size, alarm)
        plain = [line.replace("\x1b[7m", "").replace("\x1b[1m", "") for line in lines]
        plain = [line.replace("\x1b[0m", "") for line in plain]
        assert len(lines) == size[1]
        assert "\x1b" not in "".join(plain)
        assert max(map(cells, plain)) <= size[0]
    columns = columns_for(size[0])
    assert sum(wide for _, wide in columns) + len(GAP) * (len(columns) - 1) <= size[0]


def test_a_narrow_screen_leaves_out_states_in_which_nobody_is() -> None:
    roll, pane = Roll(Choice(states=frozenset({"stalled"}))), Pane()
    roll.load({"a": agent("a", "offline"), "b": agent("b", "busy")})
    assert drawn(pane, roll, (150, 9))[1].count(" ") > 20
    line = drawn(pane, roll, (60, 9))[1]
    assert line == "\x1b[7m2 stalled 0\x1b[0m  6 busy 1  9 offline 1"


def test_what_is_no_terminal_gets_a_line() -> None:
    roll = Roll(Choice())
    roll.load({name: agent(name, "stalled") for name in "cab"} | {"x": agent("x", "offline")})
    assert summary(roll) == "4 agents, 3 alive: 3 stalled, 1 offline"
    assert roll.first("stalled", 2) == ["a", "b"]
    roll.load({})
    assert summary(roll) == "0 agents, 0 alive: nobody"
