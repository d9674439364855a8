"""When a program is started again, decided without any waiting; and what is kept of its words."""

from __future__ import annotations

import pytest

from lifesigns.cli.relay import LONGEST_LINE, last_line
from lifesigns.cli.restart import LONGEST_S, STEADY_S, Limit, Restarts
from lifesigns.cli.span import seconds, spell
from lifesigns.core.errors import BadValue


def pause(restarts: Restarts, now: float, *, failed: bool = True, **how: float) -> float | None:
    forced = bool(how.get("forced"))
    return restarts.pause_s(
        failed=failed, forced=forced, lived_s=how.get("lived_s", 0), now=now, chance=1
    )


@pytest.mark.parametrize(
    ("when", "after_failure", "after_success"),
    [("no", False, False), ("on-failure", True, False), ("always", True, True)],
)
def test_who_is_started_again(when: str, after_failure: bool, after_success: bool) -> None:
    assert (pause(Restarts(when, None), 0) is not None) is after_failure
    assert (pause(Restarts(when, None), 0, failed=False) is not None) is after_success
    assert pause(Restarts(when, None), 0, failed=False, forced=1) is not None


def test_pauses_grow_until_a_life_was_steady() -> None:
    restarts = Restarts("always", None)
    pauses = [pause(restarts, 0) or 0 for _ in range(12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (0.5, 1, LONGEST_S)
    assert pause(restarts, 0, lived_s=STEADY_S) == pauses[0]


def test_no_pause_is_left_to_chance_alone() -> None:
    restarts = Restarts("always", None)
    assert restarts.pause_s(failed=True, forced=False, lived_s=0, now=0, chance=0) == 0.25


def test_too_many_restarts_in_a_window_are_the_last() -> None:
    restarts = Restarts("always", Limit.read("2/10m"))
    assert pause(restarts, 0) is not None
    assert pause(restarts, 1) is not None
    assert pause(restarts, 599) is None
    assert pause(restarts, 600) is not None  # the first of them counts no more
    assert pause(restarts, 600) is None
    ever = Restarts("always", Limit.read("1"))
    assert pause(ever, 0) is not None
    assert pause(ever, 1e9) is None


@pytest.mark.parametrize("text", ["", "x", "5/", "5/x", "-1", "5/10m/2"])
def test_a_limit_that_is_none_is_named(text: str) -> None:
    with pytest.raises(BadValue, match="--max-restarts"):
        Limit.read(text)


def test_spans_are_read_and_spelled() -> None:
    read = {"500ms": 0.5, "2s": 2, "1.5": 1.5, "10m": 600, "12h": 43_200, "90d": 7_776_000}
    assert {text: seconds(text, "--x") for text in read} == read
    spelled = {0: "0.0s", 0.44: "0.4s", 59: "59s", 61: "1m", 7_200: "2h", 1e6: "11d"}
    assert {span: spell(span) for span in spelled} == spelled
    with pytest.raises(BadValue, match='--x is "soon"'):
        seconds("soon", "--x")


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (b"", ""),
        (b"one\ntwo", "two"),
        (b"one\ntwo\r\n\n  \n", "two"),
        (b"\x1b[31mred\x1b[0m\n", "red"),
        (b" 10%\r 20%\r", "20%"),
        (b"a\x07b\xff\n", "a\\x07b\ufffd"),
        (b"x" * 5_000, "x" * LONGEST_LINE),
    ],
)
def test_the_last_line_is_what_a_person_would_call_so(told: bytes, line: str) -> None:
    assert last_line(told) == line
