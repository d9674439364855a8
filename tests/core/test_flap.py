"""When coming and going is no news any more."""

from __future__ import annotations

from lifesigns.core.flap import TURNS, WINDOW_MS, judge, moments
from lifesigns.core.past import Life


def verdicts(turns: list[int]) -> list[str]:
    return [judge(turns[: i + 1]) for i in range(len(turns))]


def test_the_sixth_turn_in_ten_minutes_is_told_as_flapping_and_the_next_not_at_all() -> None:
    assert verdicts([*range(0, 9_000, 1_000)]) == ["each"] * 5 + ["flapping"] + ["still"] * 3


def test_turns_far_apart_are_each_told() -> None:
    apart = WINDOW_MS // (TURNS - 1) + 1
    assert verdicts([i * apart for i in range(12)]) == ["each"] * 12


def test_the_window_has_an_exact_edge() -> None:
    assert judge([0, 1, 2, 3, 4, WINDOW_MS]) == "flapping"
    assert judge([0, 1, 2, 3, 4, WINDOW_MS + 1]) == "each"


def test_after_a_rest_it_is_told_anew() -> None:
    wild = [*range(0, 7_000, 1_000)]
    later = [each + 2 * WINDOW_MS for each in wild]
    assert verdicts(wild + later)[len(wild) :] == ["each"] * 5 + ["flapping", "still"]


def test_its_turns_are_told_by_its_lives_up_to_the_moment_asked_for() -> None:
    lives = [Life(10, 20), Life(30, 40), Life(50, 60)]
    assert moments(lives, 70) == [10, 20, 30, 40, 50, 60, 70]
    assert moments(lives, 60) == [10, 20, 30, 40, 50, 60]
    assert moments(lives, 40) == [10, 20, 30, 40]
    assert moments([], 5) == [5]
