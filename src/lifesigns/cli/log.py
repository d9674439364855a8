"""Logs: one line an event, as text or as JSON, on stderr, without secrets.

An event is the message of a log record; what is handed over as ``extra`` follows as its fields.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import TextIO

from lifesigns.cli.terminal import printable
from lifesigns.core.instant import to_text
from lifesigns.web.redaction import Redactor

# What every record has; anything else came as ``extra``. uvicorn adds a message in colours.
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
# The least level of others. On debug they tell every frame and every header, keys included; on info
# uvicorn tells its own start and end, under a name that reads like an error.
TALKATIVE = {
    "asyncio": logging.INFO,
    "redis": logging.INFO,
    "uvicorn": logging.WARNING,
    "websockets": logging.INFO,
}

Scalar = str | int | float | bool | None


class EventFormatter(logging.Formatter):
    """Turns a record that has passed the redactor into the fields of one event."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def fields(self, record: logging.LogRecord) -> dict[str, Scalar]:
        fields: dict[str, Scalar] = {
            "at": to_text(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in STANDARD and name not in fields:
                plain = isinstance(value, int | float | None)
                fields[name] = value if plain else self._redactor.mask(str(value))
        if record.exc_text:
            fields["trace"] = record.exc_text
        return fields


class JsonFormatter(EventFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record))


class TextFormatter(EventFormatter):
    def format(self, record: logging.LogRecord) -> str:
        at, level, logger, event, *more = self.fields(record).items()
        head = f"{at[1]} {str(level[1]).upper():7} {logger[1]}: {printable(str(event[1]))}"
        return " ".join([head, *(f"{name}={_quoted(value)}" for name, value in more)])


class Signature(logging.Filter):
    """Signs each record with the hub's name, once it has one: several may write to one stream."""

    node = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if self.node:
            record.node = self.node
        return True


def handler(form: str, secrets: Iterable[str], stream: TextIO) -> logging.Handler:
    """Make the one way out: ``form`` is json or text, ``secrets`` are masked wherever they are."""
    redactor = Redactor(secrets)
    made = logging.StreamHandler(stream)
    made.addFilter(redactor)
    made.setFormatter({"json": JsonFormatter, "text": TextFormatter}[form](redactor))
    return made


def set_up(form: str, level: str, secrets: Iterable[str] = ()) -> Signature:
    """Send everything that is logged in this process through one handler; answer what signs it."""
    root, signature = logging.getLogger(), Signature()
    root.handlers[:] = [handler(form, secrets, sys.stderr)]
    root.handlers[0].addFilter(signature)
    root.setLevel(level.upper())
    for name, least in TALKATIVE.items():
        logging.getLogger(name).setLevel(max(root.level, least))
    logging.captureWarnings(True)
    return signature


def _quoted(value: Scalar) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    bare = value.isprintable() and value and not set(value) & set(' "=')
    return value if bare else json.dumps(value, ensure_ascii=not value.isprintable())
