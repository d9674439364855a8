"""What waits to be told, in its order, and what is over before it was told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lifesigns.core.event import Event
from lifesigns.core.line import Line, admit, line_id, line_of
from lifesigns.core.presence import (
    AVAILABLE,
    BUSY,
    ERROR,
    NONE,
    OFFLINE,
    SLEEPING,
    STALLED,
    SUSPECT,
)

HOLD = 60
RANKS = {
    "agent.online": AVAILABLE,
    "agent.offline": OFFLINE,
    "agent.suspect": SUSPECT,
    "agent.stalled": STALLED,
    "agent.recovered": BUSY,
    "agent.error": ERROR,
    "agent.forgotten": NONE,
    "": BUSY,  # something that nobody is told of
}


def event(type_: str, at_ms: int, subject: str = "a") -> Event:
    return Event(type_, "a", subject, at_ms, {}, None, RANKS.get(type_))


def left(*told: tuple[str, int], hold_ms: int = HOLD) -> list[str]:
    """Answer what is left of events, each with its moment, when the last has come."""
    line = Line("w")
    for type_, at_ms in told:
        line = admit(line, event(type_, at_ms), f"d{at_ms}", wanted=bool(type_), hold_ms=hold_ms)[0]
    return [each.type.removeprefix("agent.") for each in line.waiting]


def test_without_a_hold_all_are_told_in_their_order() -> None:
    told = [("agent.offline", 0), ("agent.online", 0), ("agent.offline", 1), ("agent.online", 2)]
    assert left(*told, hold_ms=0) == ["offline", "online", "offline", "online"]


@pytest.mark.parametrize(
    ("told", "rest"),
    [
        ([("agent.offline", 0), ("agent.online", 59)], []),
        ([("agent.offline", 0), ("agent.online", 60)], ["offline", "online"]),
        ([("agent.offline", 0), ("agent.online", 10), ("agent.offline", 20)], ["offline"]),
        ([("agent.online", 0), ("agent.offline", 10)], []),
        ([("agent.online", 0), ("agent.offline", 10), ("agent.online", 20)], ["online"]),
        ([("agent.stalled", 0), ("agent.recovered", 10)], []),
        ([("agent.suspect", 0), ("agent.recovered", 10)], []),
        ([("agent.suspect", 0), ("agent.offline", 10)], ["offline"]),
        ([("agent.stalled", 0), ("agent.recovered", 99), ("agent.stalled", 110)], ["stalled"]),
        ([("agent.error", 0), ("", 10)], []),
        ([("agent.error", 0), ("agent.offline", 10)], ["offline"]),
        ([("agent.online", 0), ("agent.error", 10)], ["online", "error"]),
        ([("agent.offline", 0), ("agent.forgotten", 10)], ["offline", "forgotten"]),
        ([("agent.forgotten", 0), ("agent.online", 10)], ["forgotten", "online"]),
    ],
)
def test_what_is_held_is_told_if_it_is_still_so(
    told: Sequence[tuple[str, int]], rest: list[str]
) -> None:
    assert left(*told) == rest


def test_falling_asleep_is_no_return() -> None:
    line = admit(Line("w"), event("agent.offline", 0), "d", wanted=True, hold_ms=HOLD).line
    asleep = Event("", "a", "a", 10, {}, None, SLEEPING)
    assert admit(line, asleep, "e", wanted=False, hold_ms=HOLD).line == line


def test_what_ends_something_need_not_be_wanted_itself() -> None:
    line = admit(Line("w"), event("agent.offline", 0), "d", wanted=True, hold_ms=HOLD).line
    after = admit(line, event("agent.online", 10), "e", wanted=False, hold_ms=HOLD)
    assert (after.line.waiting, after.ended, after.admitted) == ((), ("d",), False)


def test_jobs_are_held_each_by_itself() -> None:
    line = Line("w")
    for job in ("j1", "j2"):
        missed = event("job.heartbeat_missed", 0, job)
        line = admit(line, missed, job, wanted=True, hold_ms=HOLD).line
    after = admit(line, event("job.recovered", 9, "j1"), "e", wanted=True, hold_ms=HOLD)
    assert (after.ended, after.admitted) == (("j1",), False)
    assert [each.delivery for each in after.line.waiting] == ["j2"]


def test_what_may_be_on_its_way_is_not_taken_back() -> None:
    line = admit(Line("w"), event("agent.offline", 0), "d", wanted=True, hold_ms=HOLD).line
    taken = Line("w", line.waiting, taken_ms=90)
    after = admit(taken, event("agent.online", 50), "e", wanted=True, hold_ms=HOLD)
    assert after.ended == ()
    assert after.admitted


def test_what_stands_behind_it_still_is() -> None:
    line = Line("w")
    for at_ms, type_ in ((0, "agent.forgotten"), (3, "agent.offline")):
        line = admit(line, event(type_, at_ms), f"d{at_ms}", wanted=True, hold_ms=HOLD).line
    taken = Line("w", line.waiting, taken_ms=90)
    assert admit(taken, event("agent.online", 61), "e", wanted=True, hold_ms=HOLD).ended == ("d3",)


def test_whose_rest_is_waited_for_is_told_only_of_the_last_turn() -> None:
    line = Line("w")
    for at_ms, type_ in ((0, "agent.offline"), (10, "agent.online"), (20, "agent.offline")):
        line, ended, admitted = admit(
            line, event(type_, at_ms), f"d{at_ms}", wanted=True, hold_ms=HOLD, calm=True
        )
        assert admitted
        assert ended == (() if at_ms == 0 else (f"d{at_ms - 10}",))
    assert [(each.delivery, each.due_ms) for each in line.waiting] == [("d20", 80)]


def test_the_next_is_the_first_that_is_due() -> None:
    line = admit(
        Line("w"), event("agent.offline", 0), "d0", wanted=True, hold_ms=HOLD, calm=True
    ).line
    for at_ms in (1, 2):
        forgotten = event("agent.forgotten", at_ms)
        line = admit(line, forgotten, f"d{at_ms}", wanted=True, hold_ms=0).line
    assert (line.next.delivery, line.due_ms) == ("d1", 1)
    assert Line("w", line.waiting, taken_ms=50).due_ms == 50
    assert line_of(line.body()) == line


def test_a_line_is_of_one_webhook_and_one_agent_or_of_what_has_none() -> None:
    assert line_id("w", event("job.recovered", 0, "j1")) == "w a"
    assert line_id("w", Event("run.failed", "", "r1", 0, {})) == "w r1"
