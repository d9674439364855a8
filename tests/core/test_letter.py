"""Letters: what they are called, and how they are spelled out."""

from __future__ import annotations

import pytest

from lifesigns.core.errors import BadRequest
from lifesigns.core.letter import Letter, read_id

LETTER = Letter("search-agent", "1774189800000-3", "tell", {"message": {"id": 7}})


def test_its_id_leads_to_its_agent_and_its_number() -> None:
    assert LETTER.id == "1774189800000-3-search-agent"
    assert read_id(LETTER.id) == ("search-agent", "1774189800000-3")
    assert read_id("1-0--") == ("-", "1-0")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1-0",
        "1-0-",
        "x-0-a",
        "1-0-me",
        "1-0-no space",
        f"{10**15}-0-a",
        "1-0-a\n",
        "+",
        "1-+-a",
    ],
)
def test_what_cannot_be_one_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_id(name, "after")
    assert refused.value.field == "after"


def test_a_socket_is_told_a_frame_and_who_polls_the_same_with_its_kind() -> None:
    frame = {
        "type": "tell",
        "id": "1774189800000-3-search-agent",
        "at": "2026-03-22T14:30:00.000Z",
        "message": {"id": 7},
    }
    assert LETTER.frame() == frame
    assert LETTER.entry() == frame | {"kind": "tell"}


def test_what_is_in_it_cannot_pose_as_another() -> None:
    posed = Letter("a", "1-0", "assigned", {"type": "tell", "id": "x", "kind": "run", "claim": "c"})
    entry = posed.entry()
    assert (entry["type"], entry["kind"], entry["id"]) == ("assigned", "assigned", "1-0-a")
    assert entry["claim"] == "c"
