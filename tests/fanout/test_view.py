"""Frames that chain, and say exactly how far they lead."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from lifesigns.core.change import Place
from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.core.filter import Filter
from lifesigns.core.model import Words
from lifesigns.core.presence import AVAILABLE, BUSY, NONE, OFFLINE
from lifesigns.hub.cursor import Position, read_cursor
from lifesigns.hub.packet import ROOM_BYTES
from lifesigns.hub.turn import Turn
from lifesigns.hub.view import FRESH_S, View
from lifesigns.hub.watch import Watch
from tests.fanout.border import BEGAN_MS, EPOCH, Reader, shown, turned

START = Position({0: Place(EPOCH, 0, 0), 1: Place(EPOCH, 0, 0)})


def view_of(
    wanted: Filter | None = None,
    *,
    detail: str = "full",
    codec: Codec = JSON,
    frame_bytes: int = 1_000_000,
) -> View:
    return View("default", "w1", wanted or Filter(), detail, codec, START, frame_bytes, 0.0)


def joined(view: View, reader: Reader) -> Watch:
    """Add a watcher that is in step."""
    watch = Watch(None, view, reader)  # type: ignore[arg-type]
    reader.mirror.receive(
        {"type": "snapshot", "agents": [], "cursor": view.position.cursor(view.mark)}
    )
    view.fall_behind(watch)
    view.keep_step(watch)
    return watch


def after(*turns: Turn) -> Position:
    return START.after((turn.lane, turn.place) for turn in turns)


def places(frame: dict[str, Any], which: str = "cursor") -> dict[int, int]:
    """Tell which change of each lane a frame leads to."""
    return {lane: seq for lane, (_, seq, _) in read_cursor(frame[which]).places.items()}


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_all_in_step_are_sent_the_same_bytes(codec: Codec) -> None:
    view, readers = view_of(codec=codec), [Reader(codec), Reader(codec)]
    packets: list[list[Any]] = [[], []]
    for reader, kept in zip(readers, packets, strict=True):
        joined(view, reader)
        reader.deliver = kept.append  # type: ignore[method-assign]
    turn = turned(None, shown("a", 1))
    view.tell([turn], after(turn), 1.0)
    assert packets[0][0] is packets[1][0]


def test_each_part_of_a_long_batch_leads_exactly_to_its_end() -> None:
    view, reader = view_of(frame_bytes=ROOM_BYTES + 5_000), Reader()
    joined(view, reader)
    turns = []
    for seq in range(1, 5):
        for lane in (0, 1):
            turns.append(turned(None, shown(f"{lane}-{seq}", seq, task="x" * 2_000), lane))
    end = after(*turns)
    view.tell(turns, end, 1.0)
    assert len(reader.frames) == 8
    told: dict[int, int] = {0: 0, 1: 0}
    for frame in reader.frames:
        assert places(frame, "from") == told
        for change in frame["changes"]:
            told[int(change["id"][0])] = change["seq"]
        assert places(frame) == told
        assert frame.get("more", False) is (frame is not reader.frames[-1])
    assert reader.frames[-1]["cursor"] == end.cursor(view.mark)
    assert reader.gaps == 0


def test_a_reader_who_stops_within_a_batch_is_owed_the_rest() -> None:
    view, reader = view_of(frame_bytes=ROOM_BYTES + 1_000), Reader()
    watch = joined(view, reader)
    reader.room = 2
    turns = [turned(None, shown(f"a{seq}", seq)) for seq in range(1, 6)]
    view.tell(turns, after(*turns), 1.0)
    assert watch in view.behind
    assert len(reader.frames) == 2
    assert watch.outbox is not None
    assert [owed.agent for owed in watch.outbox.take(9)] == ["a3", "a4", "a5"]
    assert watch.position.places[0].seq == 2


def test_what_is_not_in_the_view_moves_nothing() -> None:
    view, reader = view_of(Filter(group=("red",))), Reader()
    joined(view, reader)
    turn = turned(None, shown("a", 1, group="blue"))
    view.tell([turn], after(turn), 1.0)
    assert not reader.frames
    assert view.position is START


def test_a_quiet_view_is_told_how_far_it_is_before_the_history_forgets() -> None:
    """Its cursor stood still, and was older than the history when the watcher came back."""
    view, reader = view_of(Filter(group=("red",))), Reader()
    joined(view, reader)
    for seq, now in ((1, FRESH_S - 1), (2, FRESH_S), (3, FRESH_S + 1)):
        turn = turned(None, shown("a", seq, group="blue"))
        view.tell([turn], after(turn), now)
    (frame,) = reader.frames
    assert frame["changes"] == []
    assert places(frame) == {0: 2, 1: 0}


def test_who_leaves_and_enters_is_told_by_what_it_was_and_is() -> None:
    view, reader = view_of(Filter(state=("busy",))), Reader()
    joined(view, reader)
    states = [NONE, BUSY, AVAILABLE, OFFLINE, BUSY, BUSY]
    before = None
    for seq, (was, now) in enumerate(pairwise(states), 1):
        turn = turned(before, shown("a", seq, rank=now, was=was))
        view.tell([turn], after(turn), 1.0)
        before = turn.after
    assert reader.told == [
        ("a", "online", False),
        ("a", "updated", True),
        ("a", "online", False),
        ("a", "updated", False),
    ]
    assert reader.gaps == 0


def test_counts_are_sent_only_when_they_differ_and_chain_all_the_same() -> None:
    """Equal counts moved the cursor, though no frame said so."""
    view, reader = view_of(detail="counts"), Reader()
    joined(view, reader)
    reader.mirror.receive({"type": "snapshot", "from": None, "counts": {}, "total": 0,
                           "cursor": view.position.cursor(view.mark)})  # fmt: skip
    one = turned(None, shown("a", 1))
    two = turned(one.after, shown("a", 2, was=AVAILABLE, task="x"))
    three = turned(two.after, shown("a", 3, rank=BUSY, was=AVAILABLE))
    for turn in (one, two, three):
        view.tell([turn], after(turn), 1.0)
    assert [frame["counts"] for frame in reader.frames] == [{"available": 1}, {"busy": 1}]
    assert reader.gaps == 0


@pytest.mark.parametrize(
    ("wanted", "may"),
    [
        (Filter(), True),
        (Filter(ids=("a*",)), True),
        (Filter(ids=("b*",)), False),
        (Filter(alive=True), True),
        (Filter(alive=False), False),
        (Filter(state=("busy",)), True),
        (Filter(state=("available",)), False),
        (Filter(group=("red",)), True),
    ],
    ids=str,
)
def test_who_cannot_have_been_in_the_view_is_not_told_to_be_gone(wanted: Filter, may: bool) -> None:
    assert view_of(wanted).had(shown("a", 2, was=BUSY).head, None) is may
    assert not view_of(wanted).had(shown("a", 2, was=NONE).head, None)


@pytest.mark.parametrize(
    ("wanted", "had"),
    [
        (Filter(group=("red",)), True),
        (Filter(group=("blue",)), False),
        (Filter(metadata={"n": (1,)}), True),
        (Filter(metadata={"n": (2,)}), False),
        (Filter(group=("red",), state=("available",)), False),
        (Filter(capability=("search",)), True),
    ],
    ids=str,
)
def test_who_said_something_else_before_was_not_in_the_view(wanted: Filter, had: bool) -> None:
    before = Words(group="red", metadata={"n": 1})
    assert view_of(wanted).had(shown("a", 2, was=BUSY).head, before) is had


def test_a_position_holds_times_by_which_the_log_is_found() -> None:
    turn = turned(None, shown("a", 1))
    cursor = after(turn).cursor("")
    assert read_cursor("AQAAAAAA" + cursor).places[0][2] == BEGAN_MS + 1_000
