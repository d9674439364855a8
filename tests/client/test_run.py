"""What an agent reports of a run: whatever a handler returns or raises can be sent."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from lifesigns.client.run import CUT, LONGEST, LONGEST_ERROR, Run
from lifesigns.core.codec import JSON, MSGPACK

TOLD = {
    "type": "run",
    "run": "r1@reporter",
    "schedule": "s1",
    "agent": "reporter",
    "prompt": "What is new?",
    "member_id": 7,
    "deadline": "2026-03-22T14:40:00.000Z",
}


def made(**noted: Any) -> Run:
    run = Run(TOLD)
    for name, value in noted.items():
        setattr(run, name, value)
    return run


def test_a_run_is_what_the_hub_told() -> None:
    run = made()
    assert (run.id, run.schedule, run.agent, run.member_id) == ("r1@reporter", "s1", "reporter", 7)
    assert (run.prompt, run.deadline_ms) == ("What is new?", 1_774_190_400_000)
    assert "What is new?" in repr(run)


@pytest.mark.parametrize(
    ("result", "report"),
    [
        (None, {"status": "success"}),
        ("", {"status": "success", "response": ""}),
        ("done", {"status": "success", "response": "done"}),
        (5, {"status": "success", "response": "5"}),
        ({}, {"status": "success", "response": "{}"}),
        ({"found": ["ä", None]}, {"status": "success", "response": '{"found": ["ä", null]}'}),
        (
            {"response": "x", "other": 1},
            {"status": "success", "response": '{"response": "x", "other": 1}'},
        ),
        ({"response": {"n": 1}}, {"status": "success", "response": '{"n": 1}'}),
        (
            {"status": "error", "error_message": "none found", "tokens_used": 3},
            {"status": "error", "error_message": "none found", "tokens_used": 3},
        ),
        ({"response": None}, {"status": "success", "response": None}),
    ],
)
def test_what_a_handler_returns_is_reported(result: object, report: dict[str, Any]) -> None:
    assert made().done(result) == report


def test_what_was_noted_is_reported_with_the_result_and_with_the_error() -> None:
    noted = {"tokens_used": 812, "credits": 0.5, "notify": {"text": "3 new"}}
    assert made(**noted).done("ok") == {"status": "success", "response": "ok", **noted}
    assert made(**noted).done({"tokens_used": 5})["tokens_used"] == 5
    assert made(tokens_used=0).failed(ValueError("no")) == {
        **{"status": "error", "error_message": "ValueError: no", "tokens_used": 0},
    }
    assert made(**noted).refused("tokens_used") == {
        "status": "error",
        "error_message": "Its report was not taken: tokens_used",
    }


class Circle(dict):
    def __init__(self) -> None:
        self["self"] = self


CHANCE = random.Random(7)
LONG = (
    "a" * 100_000,
    "\x00" * 100_000,
    "😀" * 50_000,
    "".join(CHANCE.choices(["a", '"', "\\", "\x01", "ä", "😀"], k=80_000)),
)


@pytest.mark.parametrize("text", LONG, ids=["plain", "escaped", "wide", "mixed"])
def test_what_is_too_long_is_cut(text: str) -> None:
    """A message over the hub's bound would end the connection for good."""
    report = made(notify=[text]).done(text)
    error = made().failed(ValueError(text))
    assert report["response"].endswith(CUT)
    assert text.startswith(report["response"][:-1])
    assert len(error["error_message"]) <= LONGEST_ERROR
    for codec in (JSON, MSGPACK):
        for each in (report, error):
            assert len(codec.encode({"type": "done", "run": "r" * 256, **each})) < 65_536
    assert len(json.dumps(report["response"])) > LONGEST - 30


def test_what_just_fits_is_whole() -> None:
    text = "a" * (LONGEST - 2)
    assert made().done(text)["response"] == text


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("\ud800", "?"),
        (float("nan"), "NaN"),
        (b"bytes", "\"b'bytes'\""),
        (2**70, str(2**70)),
    ],
)
def test_what_no_codec_takes_is_told_as_text(value: object, sent: str) -> None:
    assert made().done(value)["response"] == sent
    assert made(notify=value).done(None)["notify"] in (sent, [sent])


def test_what_has_no_end_is_an_error_of_the_handler() -> None:
    with pytest.raises(ValueError, match="Circular"):
        made().done(Circle())
