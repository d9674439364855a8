"""One change, as watchers see it, and many that became one."""

from __future__ import annotations

from typing import Any

import pytest

from lifesigns.core.codec import JSON
from lifesigns.core.presence import AVAILABLE, BUSY, NONE, OFFLINE, STALLED, SUSPECT
from lifesigns.hub.turn import Shown, conflated
from tests.fanout.border import shown, turned


def spell(before: Shown | None, after: Shown, *, gone: bool = False) -> dict[str, Any]:
    return JSON.decode(turned(before, after).spelled("full", JSON, gone=gone))


def conflate(
    before: Shown | None, after: Shown, *, seen: bool = True, gone: bool = False
) -> dict[str, Any] | None:
    return conflated(turned(before, after), "full", seen=seen, gone=gone)


def test_a_change_is_the_presence_and_what_became_of_it() -> None:
    change = spell(shown("a", 1), shown("a", 2, rank=BUSY, was=AVAILABLE, status="thinking"))
    assert change["kind"] == "updated"
    assert change["was"] == "available"
    assert change["at"] == "2026-09-21T14:13:22.000Z"
    assert change["id"] == "a"
    assert change["state"] == "busy"
    assert change["status"] == "thinking"
    assert change["seq"] == 2
    assert change["epoch"] == "e1"
    assert "gone" not in change


def test_a_change_out_of_the_view_says_so() -> None:
    assert spell(shown("a", 1), shown("a", 2, was=BUSY), gone=True)["gone"] is True


def test_some_kinds_say_how_long_it_lasted() -> None:
    came = shown("a", 1, was=OFFLINE, lasted_ms=700)
    assert spell(None, came)["downtime_ms"] == 700
    assert spell(None, shown("a", 1))["downtime_ms"] is None
    assert spell(None, shown("a", 1, was=STALLED, lasted_ms=800))["for_ms"] == 800


def test_an_entry_is_spelled_once() -> None:
    turn = turned(None, shown("a", 1))
    assert turn.spelled("full", JSON, gone=False) is turn.spelled("full", JSON, gone=False)
    assert turn.spelled("full", JSON, gone=True) is not turn.spelled("full", JSON, gone=False)
    assert turn.after.spelled("lite", JSON) is turn.after.spelled("lite", JSON)


@pytest.mark.parametrize("rank", [OFFLINE, SUSPECT, BUSY])
def test_the_rank_is_read_without_the_rest(rank: int) -> None:
    one = shown("a", 1, rank=rank, was=AVAILABLE)
    assert one.rank == rank == one.presence.rank == one.rank


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [
        (NONE, AVAILABLE, "online"),
        (OFFLINE, BUSY, "online"),
        (BUSY, OFFLINE, "offline"),
        (BUSY, SUSPECT, "suspect"),
        (BUSY, STALLED, "stalled"),
        (SUSPECT, BUSY, "recovered"),
        (AVAILABLE, BUSY, "updated"),
    ],
)
def test_many_changes_become_one_by_the_table(was: int, now: int, kind: str) -> None:
    before = None if was == NONE else shown("a", 1, rank=was, was=AVAILABLE)
    change = conflate(before, shown("a", 9, rank=now, was=STALLED), seen=before is not None)
    assert change is not None
    assert change["kind"] == kind
    assert change["seq"] == 9


def test_changes_that_undo_each_other_are_none() -> None:
    assert conflate(shown("a", 1, status="x"), shown("a", 9, status="x", was=BUSY)) is not None
    before, after = shown("a", 1, rank=OFFLINE), shown("a", 1, rank=OFFLINE, was=BUSY)
    assert conflate(before, after) is None


def test_who_comes_into_the_view_is_told_even_if_nothing_differs() -> None:
    before, after = shown("a", 1, rank=OFFLINE), shown("a", 1, rank=OFFLINE, was=BUSY)
    for seen, gone in ((False, False), (True, True)):
        change = conflate(before, after, seen=seen, gone=gone)
        assert change is not None
        assert change["kind"] == "updated"
        assert change["was"] == "offline"
        assert change.get("gone", False) is gone


def test_a_forgotten_agent_is_forgotten_whatever_it_was() -> None:
    gone = shown("a", 9, rank=OFFLINE, was=OFFLINE, forgotten=True)
    change = conflate(shown("a", 1, rank=BUSY), gone, gone=True)
    assert change is not None
    assert (change["kind"], change["was"]) == ("forgotten", "busy")


def test_a_life_that_ended_and_began_meanwhile_is_seen_by_its_clock() -> None:
    change = conflate(shown("a", 1), shown("a", 9, was=OFFLINE))
    assert change is not None
    assert change["kind"] == "updated"


def test_durations_run_from_what_was_shown() -> None:
    came = conflate(shown("a", 1, rank=OFFLINE), shown("a", 9, was=AVAILABLE))
    assert came is not None
    assert came["downtime_ms"] == 8_000
    recovered = conflate(shown("a", 1, rank=SUSPECT, was=BUSY), shown("a", 9, was=AVAILABLE))
    assert recovered is not None
    assert recovered["for_ms"] == 8_000
