"""What a change of an agent means to those who are told of it."""

from __future__ import annotations

import msgpack
import pytest

from lifesigns.core.change import Head
from lifesigns.core.event import events_of, is_true, noted
from lifesigns.core.model import Words
from lifesigns.core.presence import (
    AVAILABLE,
    BUSY,
    ERROR,
    NONE,
    OFFLINE,
    SLEEPING,
    STALLED,
    SUSPECT,
    kind,
)
from lifesigns.core.record import pack_words

NOW = 1_774_189_800_000


def change(was: int, rank: int, letter: str | None = None, lasted_ms: int = 0) -> bytes:
    letter = letter or kind(was, rank)
    blob = pack_words(Words(status="s", capabilities=("search",)))
    inst = ["i", "", NOW, 1, 1, 60_000, "", [0, rank], 0, 0, 0, 0, blob, 1]
    alive = rank > SLEEPING
    record = [7, NOW, rank, NOW, NOW, 0, "", "", "", False if alive else inst, {}]
    record += [[inst] if alive else [], [], False, 0]
    head = Head(7, NOW, letter, was, "a1", lasted_ms, 0)
    return bytes(msgpack.packb(head) + msgpack.packb(record))


@pytest.mark.parametrize(
    ("was", "rank", "types"),
    [
        (NONE, AVAILABLE, ["agent.online"]),
        (OFFLINE, BUSY, ["agent.online"]),
        (BUSY, OFFLINE, ["agent.offline"]),
        (BUSY, SUSPECT, ["agent.suspect"]),
        (SUSPECT, BUSY, ["agent.recovered"]),
        (BUSY, STALLED, ["agent.stalled"]),
        (STALLED, BUSY, ["agent.recovered"]),
        (BUSY, ERROR, ["agent.error"]),
        (NONE, ERROR, ["agent.online", "agent.error"]),
        (SUSPECT, ERROR, ["agent.recovered", "agent.error"]),
        (ERROR, BUSY, [""]),
        (OFFLINE, SLEEPING, [""]),
    ],
)
def test_a_change_is_told_by_its_kind_and_need_of_attention_by_itself(
    was: int, rank: int, types: list[str]
) -> None:
    events = events_of("default", "e1", change(was, rank))
    assert [event.type for event in events] == types
    assert {(event.agent, event.subject, event.rank) for event in events} == {("a1", "a1", rank)}


def test_its_data_are_the_change_as_watchers_see_it() -> None:
    (event,) = events_of("default", "e1", change(SUSPECT, BUSY, lasted_ms=1_500))
    assert event.data["id"] == "a1"
    assert (event.data["epoch"], event.data["seq"]) == ("e1", 7)
    assert (event.data["kind"], event.data["was"], event.data["for_ms"]) == (
        *("recovered", "suspect", 1_500),
    )
    assert (event.data["state"], event.data["at"]) == ("busy", "2026-03-22T14:30:00.000Z")
    assert event.presence is not None
    assert event.presence.capabilities == ("search",)


def test_one_that_is_forgotten_has_no_state_any_more() -> None:
    (event,) = events_of("default", "e1", change(OFFLINE, OFFLINE, "g"))
    assert (event.type, event.rank) == ("agent.forgotten", NONE)


@pytest.mark.parametrize(
    ("type_", "ranks"),
    [
        ("agent.online", {SUSPECT, ERROR, STALLED, BUSY, AVAILABLE}),
        ("agent.offline", {OFFLINE, SLEEPING, NONE}),
        ("agent.suspect", {SUSPECT}),
        ("agent.stalled", {STALLED}),
        ("agent.error", {ERROR}),
        ("agent.recovered", {ERROR, BUSY, AVAILABLE}),
        (
            *("agent.forgotten",),
            {OFFLINE, SLEEPING, SUSPECT, ERROR, STALLED, BUSY, AVAILABLE, NONE},
        ),
    ],
)
def test_what_was_said_is_so_as_long_as_the_state_is_such(type_: str, ranks: set[int]) -> None:
    every = (OFFLINE, SLEEPING, SUSPECT, ERROR, STALLED, BUSY, AVAILABLE, NONE)
    assert {rank for rank in every if is_true(type_, rank)} == ranks


@pytest.mark.parametrize(
    ("data", "subject"),
    [
        ({"jobId": "j1", "run": "r1"}, "j1"),
        ({"slotId": "s1"}, "s1"),
        ({"run": "r1", "schedule": "h1"}, "r1"),
        ({"claim": "c@a"}, "c@a"),
        ({"jobId": 7}, "a1"),
        ({}, "a1"),
    ],
)
def test_other_events_are_about_what_their_data_name(data: dict[str, object], subject: str) -> None:
    event = noted("job.recovered", "a1", NOW, data)
    assert (event.subject, event.rank) == (subject, None)
    assert event.job == ("j1" if subject == "j1" else None)
