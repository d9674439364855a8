"""Positions and cursors."""

from __future__ import annotations

import pytest

from lifesigns.core.change import Place
from lifesigns.core.errors import BadValue
from lifesigns.hub.cursor import Position, epoch_sum, mark_of, read_cursor

AT_MS = 1_790_000_000_000
MARK = mark_of("Filter()", "full")
PLACES = {
    3: Place("1a1fc25d566116366", 70_000, AT_MS),
    0: Place("1a1fc25d566116366", 0, 0),
    15: Place("other", 2**53 - 1, AT_MS - 600_000),
}


def test_a_cursor_is_read_as_it_was_written() -> None:
    since = read_cursor(Position(PLACES).cursor(MARK))
    assert since.mark == MARK
    assert since.places == {
        number: (epoch_sum(epoch), seq, at_ms) for number, (epoch, seq, at_ms) in PLACES.items()
    }


def test_the_same_places_have_one_cursor_in_whatever_order_they_became_known() -> None:
    backwards = Position(dict(reversed(PLACES.items())))
    assert Position(PLACES).cursor(MARK) == backwards.cursor(MARK)


def test_a_position_goes_on_lane_by_lane() -> None:
    begin = Position(PLACES)
    end = begin.after([(3, Place("e", 1, 1)), (3, Place("e", 2, 2)), (0, Place("e", 3, 3))])
    assert end.places[3] == Place("e", 2, 2)
    assert end.places[0] == Place("e", 3, 3)
    assert end.places[15] == begin.places[15]
    assert begin.places[3].seq == 70_000


def test_who_looks_at_something_else_has_another_mark() -> None:
    marks = {mark_of("Filter()", "full"), mark_of("Filter()", "lite"), mark_of("Filter(x)", "full")}
    assert len(marks) == 3


def test_sixteen_lanes_fit_into_a_line() -> None:
    busy = {n: Place("epoch", 10**9 + n, AT_MS - n * 1000) for n in range(16)}
    assert len(Position(busy).cursor(MARK)) < 330


GOOD = Position(PLACES).cursor(MARK)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "ünïcode",
        MARK,
        GOOD[:-1],
        GOOD[:-7],
        GOOD[1:],
        "A" * 5_000,
        MARK + "_" * 400,
        "AgAAAAAA" + GOOD[8:],
        MARK + "AAA" + "AAAAAAE",
    ],
    ids=lambda text: text[:12],
)
def test_what_no_hub_wrote_is_a_bad_value(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_cursor(text)
    assert caught.value.field == "since"


def test_no_text_raises_anything_else() -> None:
    for cut in range(len(GOOD)):
        for letter in "A_z9 é":
            try:
                since = read_cursor(GOOD[:cut] + letter + GOOD[cut + 1 :])
            except BadValue:
                continue
            for _, seq, at_ms in since.places.values():
                assert 0 <= seq < 2**53
                assert 0 <= at_ms < 2**53
