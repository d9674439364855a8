"""Logs: one line an event, in both forms, without secrets."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable

import pytest

from lifesigns.cli.log import handler

SECRET = "correct-horse-battery-staple"
KEY = "ls_abc123_verysecretpart"

Write = Callable[[Callable[[logging.Logger], None]], str]


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def write(form: str) -> Write:
    """Log something in a form; answer what was written."""

    def write(act: Callable[[logging.Logger], None]) -> str:
        stream = io.StringIO()
        log = logging.Logger("lifesigns.test")
        log.addHandler(handler(form, [SECRET], stream))
        act(log)
        return stream.getvalue()

    return write


def test_event_is_one_line_with_when_how_grave_where_and_what(write: Write, form: str) -> None:
    line = write(lambda log: log.warning("the store is %s", "away", extra={"tries": 3}))
    assert line.count("\n") == 1
    if form == "json":
        fields = json.loads(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("at"))
        assert fields == {
            "level": "warning",
            "logger": "lifesigns.test",
            "event": "the store is away",
            "tries": 3,
        }
    else:
        at, rest = line.split(" ", 1)
        assert at.endswith("Z")
        assert rest == "WARNING lifesigns.test: the store is away tries=3\n"


def test_nobody_can_forge_a_line(write: Write) -> None:
    hostile = "x\n2026-01-01T00:00:00.000Z ERROR forged\x1b[2J\u2028"
    line = write(lambda log: log.info("agent %s came", hostile, extra={"agent": hostile}))
    assert line.count("\n") == 1
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_text_that_cannot_be_sent_is_logged_all_the_same(write: Write) -> None:
    line = write(lambda log: log.info("lone %s", "\ud800", extra={"task": "\ud800"}))
    assert b"ud800" in line.encode()


def test_secrets_are_masked_in_messages_fields_and_traces(write: Write) -> None:
    def act(log: logging.Logger) -> None:
        log.info("GET /v1/connect?ticket=lt_abcdefg with %s and %s", SECRET, KEY)
        log.info("fields", extra={"header": f"Bearer {KEY}", "list": [SECRET]})
        try:
            raise ValueError(f"no such key {KEY} of {SECRET}")
        except ValueError:
            log.exception("failed")

    written = write(act)
    for secret in (SECRET, "verysecretpart", "lt_abcdefg"):
        assert secret not in written
    assert "ls_abc123_***" in written


def test_trace_stands_in_the_line_of_its_event(write: Write, form: str) -> None:
    def act(log: logging.Logger) -> None:
        try:
            raise ValueError("what happened")
        except ValueError:
            log.exception("failed")

    line = write(act)
    assert line.count("\n") == 1
    assert "test_log.py" in line
    trace = json.loads(line)["trace"] if form == "json" else line
    assert "ValueError: what happened" in trace


def test_text_quotes_what_would_be_read_as_two_fields() -> None:
    stream = io.StringIO()
    log = logging.Logger("x")
    log.addHandler(handler("text", [], stream))
    log.info("e", extra={"a": "two words", "b": "", "c": "k=v", "d": None, "e": True})
    assert stream.getvalue().endswith(' INFO    x: e a="two words" b="" c="k=v" d=null e=true\n')
