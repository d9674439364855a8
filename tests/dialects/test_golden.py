"""Every route and every refusal of the dialects, as they are written in the files beside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dialects.golden import differences, filled, play
from tests.hub import running_hub

SCENES = {
    f"{path.parent.name}/{path.stem}": json.loads(path.read_bytes())["steps"]
    for path in sorted(Path(__file__).parent.glob("*/*.json"))
}


@pytest.mark.parametrize("scene", SCENES)
async def test_what_is_asked_is_answered_as_it_is_written(scene: str, fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub:
        await play(hub, SCENES[scene])


def test_an_answer_that_is_not_as_written_is_told_with_its_place() -> None:
    wanted = {"at": "<time=t>", "later": "<time=t>", "n": 1, "list": [{"a": None}], "ok": True}
    found = {
        "at": "2026-03-22T14:30:00.000Z",
        "later": "2026-03-22T14:30:00.001Z",
        "n": True,
        "list": [{"a": None, "b": 2}],
    }
    assert differences(wanted, found, {}) == [
        "/later is '2026-03-22T14:30:00.001Z' and not '2026-03-22T14:30:00.000Z'",
        "/list/0/b is 2 and not 'nothing'",
        "/n is True and not 1",
        "/ok is 'nothing' and not True",
    ]
    assert differences({"<...>": "<more>", "n": 1}, found | {"n": 1}, {}) == []


def test_what_was_found_can_be_sent() -> None:
    step = {"call": "GET /a/<=id>", "body": {"n": 1, "keys": ["<=key>", None]}}
    assert filled(step, {"id": 7, "key": "k"}) == {
        "call": "GET /a/7",
        "body": {"n": 1, "keys": ["k", None]},
    }
