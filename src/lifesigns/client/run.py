"""A run: what a schedule asks of an agent, and what is reported of it.

Knows neither connection nor loop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lifesigns.core.codec import JSON
from lifesigns.core.errors import LifesignsError
from lifesigns.core.instant import from_text

SUCCESS, ERROR = "success", "error"
REPORTED = ("status", "response", "tokens_used", "credits", "error_message", "notify")
LONGEST_ERROR = 1_024
LONGEST = 49_152  # bytes of a response and of what to notify: a hub takes a message of 65,536
CUT = "…"


class Run:
    """One execution of a schedule, as the program that does it sees it.

    What it used, and what users are to be told, may be noted on it while the work is done: it is
    reported with the result, or with the error.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.id: str = told["run"]
        self.schedule: str = told["schedule"]
        self.agent: str = told["agent"]
        self.prompt: str = told["prompt"]
        self.member_id: Any = told.get("member_id")
        self.deadline: str = told["deadline"]  # a report that comes later does not count
        self.tokens_used: int | None = None
        self.credits: float | None = None
        self.notify: Any = None

    def __repr__(self) -> str:
        return f"Run({self.id!r}, prompt={self.prompt!r})"

    @property
    def deadline_ms(self) -> int:
        return from_text(self.deadline)

    def done(self, result: Any) -> dict[str, Any]:
        """Say what a handler's result reports.

        A text is the response; a map of a report's fields is the report; anything else but None is
        told as JSON.
        """
        report = self._noted(SUCCESS)
        if isinstance(result, Mapping) and result and set(result) <= set(REPORTED):
            report |= result
        elif result is not None:
            report["response"] = result
        return _sendable(report)

    def failed(self, error: BaseException) -> dict[str, Any]:
        """Say how a handler failed."""
        return self.given_up(f"{type(error).__name__}: {error}")

    def given_up(self, why: str) -> dict[str, Any]:
        """Say why there is no result."""
        return _sendable(self._noted(ERROR) | {"error_message": why})

    def refused(self, why: str) -> dict[str, Any]:
        """Say that the hub did not take what was reported first."""
        return _sendable({"status": ERROR, "error_message": f"Its report was not taken: {why}"})

    def _noted(self, status: str) -> dict[str, Any]:
        noted = {
            "tokens_used": self.tokens_used,
            "credits": self.credits,
            "notify": self.notify,
        }
        return {"status": status} | {
            name: value for name, value in noted.items() if value is not None
        }


def _sendable(report: dict[str, Any]) -> dict[str, Any]:
    """Make a report one that a hub can take: its texts are texts, and not too long."""
    for name in ("response", "error_message"):
        if report.get(name) is not None:
            report[name] = _text(report[name])
    if report.get("error_message") is not None:
        report["error_message"] = _cut(report["error_message"], LONGEST_ERROR)
    if report.get("response") is not None:
        report["response"] = _cut(report["response"], LONGEST)
    if report.get("notify") is not None and not _fits(report["notify"]):
        report["notify"] = _cut(_text(report["notify"]), LONGEST // 8)
    return report


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()  # lone surrogates cannot be sent


def _fits(value: Any) -> bool:
    """Tell whether a value can be sent as it is."""
    try:
        payload = JSON.encode({"notify": value})
        JSON.decode(payload)
    except (LifesignsError, TypeError, ValueError, RecursionError):
        return False
    return len(payload) <= LONGEST // 8


def _cut(text: str, longest: int) -> str:
    """Cut what takes more than so many bytes, in JSON or msgpack."""
    if len(text) * 6 <= longest or len(json.dumps(text)) <= longest:
        return text
    low, high = 0, min(len(text), longest)
    while low < high:  # an escaped character takes up to six bytes, or twelve
        middle = (low + high + 1) // 2
        if len(json.dumps(text[:middle])) + 6 <= longest:
            low = middle
        else:
            high = middle - 1
    return text[:low] + CUT
