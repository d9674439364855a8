"""What a watch is at the hub: a question that stands, over however many connections and hubs.

It follows its cursor: after a break, and after a frame that does not follow on the last
one, it is asked again from there. What a new snapshot differs by is told as changes. A program that
does not take its changes has the watch ended before they fill the memory, and begun again from
where it was as soon as it has taken them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from lifesigns.client.connection import Connection
from lifesigns.client.signal import Signal
from lifesigns.core.caller import Received
from lifesigns.core.errors import LifesignsError, error_of
from lifesigns.core.mirror import Mirror
from lifesigns.core.presence import KIND_NAMES, KINDS, NONE, STATES
from lifesigns.core.roster import Difference, Outcome

Shown = Mapping[str, Any]

MOST_WAITING = 10_000  # changes that the program has not taken: some 10 MB
AGAIN_S = 1.0  # after the hub could not take the question just now
# What may differ between two sights of an agent to which nothing has happened.
CLOCKS = frozenset({"last_heartbeat", "expires_at", "last_progress", "held", "epoch", "seq"})


class Question:
    """A watch as the hub is asked for it, and what the program has not taken of it yet."""

    def __init__(self, wanted: Mapping[str, Any], detail: str | None, *, present: bool) -> None:
        self.wanted = wanted
        self.detail = detail
        self.mirror = Mirror()
        self.waiting: deque[dict[str, Any]] = deque()
        self.news = Signal()  # something waits, or it is over
        self.loaded = Signal()  # the first snapshot is there, or it is over
        self.name: str | None = None  # at the hub that answers it
        self.ref: int | None = None  # while the hub is asked
        self.paused = False  # the program has to take what waits first
        self.over = False
        self.error: LifesignsError | None = None
        self._present = present  # whether those who are there at first are told as changes

    @property
    def fields(self) -> dict[str, Any]:
        """Spell the question, as it is asked now."""
        fields = {"filter": self.wanted, "detail": self.detail, "since": self.mirror.cursor}
        return {name: value for name, value in fields.items() if value is not None}

    def take(self, frame: Shown) -> bool:
        """Take a frame; answer whether it followed on the last one."""
        known = self.mirror.agents
        numbers: dict[str, tuple[str, int]] = {}
        if frame["type"] == "changes":
            for change in frame["changes"]:
                if (before := known.get(change["id"])) is not None:
                    numbers[change["id"]] = before["epoch"], before["seq"]
        loading = self.mirror.loading
        outcome = [] if frame["type"] == "beats" else self.mirror.receive(frame)
        if isinstance(outcome, Outcome):
            return outcome is not Outcome.GAP
        if frame["type"] == "beats":
            self._tell({"kind": "beat", **beat} for beat in frame["beats"])
        elif frame["type"] == "changes":
            self._tell(change for change in frame["changes"] if _is_new(change, numbers))
        elif "counts" in frame:
            self.waiting.clear()  # only the latest numbers count
            self._tell(iter([{"counts": frame["counts"], "total": frame["total"]}]))
        elif outcome and (self.loaded or self._present):
            self._tell(_told(each, self.wanted) for each in outcome if _differs(each))
        if loading and not self.mirror.loading:
            self.loaded.set()
        return True

    def end(self, error: LifesignsError | None = None) -> None:
        """Nothing comes any more."""
        if not self.over:
            self.over, self.error = True, error
            self.loaded.set()
            self.news.set()

    def _tell(self, changes: Iterator[dict[str, Any]]) -> None:
        self.waiting.extend(changes)
        if self.waiting:
            self.news.set()


class Watches:
    """The questions of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._questions: set[Question] = set()

    def begin(self, question: Question) -> None:
        if self._connection.error is not None:
            question.end(self._connection.error)
            return
        self._questions.add(question)
        self._ask(question)

    def end(self, question: Question) -> None:
        self._questions.discard(question)
        self._leave(question)
        question.end()

    def resume(self, question: Question) -> None:
        """The program has taken what waited."""
        question.paused = False
        self._ask(question)

    def opened(self) -> None:
        for question in self._questions:
            self._ask(question)

    def broke(self) -> None:
        for question in self._questions:
            question.name = question.ref = None

    def ended(self, error: LifesignsError | None) -> None:
        for question in self._questions:
            question.end(error)
        self._questions.clear()

    def receive(self, received: Received) -> None:
        for question in self._questions:
            if received.ref is not None and received.ref == question.ref:
                self._answered(question, received)
                return
            if question.name is not None and received.body.get("watch") == question.name:
                self._take(question, received.body)
                return

    def _answered(self, question: Question, received: Received) -> None:
        question.ref = None
        if received.type == "watching":
            question.name = received.body["watch"]
            question.take(received.body)
            return
        error = error_of(received.body)
        if error.retry:
            asyncio.get_running_loop().call_later(AGAIN_S, self._ask, question)
        else:
            self._questions.discard(question)
            question.end(error)

    def _take(self, question: Question, frame: Shown) -> None:
        if not question.take(frame):
            self._leave(question)
            self._ask(question)
        elif len(question.waiting) >= MOST_WAITING and not question.mirror.loading:
            question.paused = True
            self._leave(question)

    def _ask(self, question: Question) -> None:
        idle = question.name is None and question.ref is None and not question.paused
        if idle and question in self._questions and self._connection.is_open:
            question.ref = self._connection.put("watch", **question.fields)

    def _leave(self, question: Question) -> None:
        if question.name is not None:
            self._connection.say("unwatch", watch=question.name)
            question.name = None


def _is_new(change: Shown, numbers: Mapping[str, tuple[str, int]]) -> bool:
    """Tell whether a change is not in the snapshot already."""
    epoch, seq = numbers.get(change["id"], ("", 0))
    return bool(epoch != change["epoch"] or seq < change["seq"])


def _differs(each: Difference[Shown]) -> bool:
    if each.before is None or each.after is None:
        return True
    return _lasting(each.before) != _lasting(each.after)


def _lasting(shown: Shown) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name not in CLOCKS}


def _told(each: Difference[Shown], wanted: Shown) -> dict[str, Any]:
    """Tell what a snapshot altered as the change that it stands for."""
    shown = each.after or each.before or {}
    was = None if each.before is None else each.before["state"]
    change = {"at": shown.get("last_heartbeat"), "was": was, **shown}
    if each.after is None:
        # Who does not match any more may still be there.
        return {"kind": "updated" if wanted else "forgotten", "gone": True, **change}
    if each.before is None:
        return {"kind": "present", **change}
    letter = KINDS[(NONE if was is None else STATES.index(was)) * 10 + STATES.index(shown["state"])]
    return {"kind": KIND_NAMES.get(letter, "updated"), **change}
