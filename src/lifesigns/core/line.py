"""What waits to be told to one webhook of one agent, in its order.

First attempts leave the line one after another; what fails goes on by itself and holds nobody up.
What a webhook *holds* stays here until it has been so for long enough: what happens meanwhile may
end it, and if it is the very return from it, there was nothing to tell of either. Must not know
how a line is kept, nor what is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from lifesigns.core.event import Event, is_true

KIND: Final = "line"  # of the documents in which lines are kept

# What is told as the return from what; both are left out if it comes while that is held.
RETURNS: Final[Mapping[str, frozenset[str]]] = {
    "agent.online": frozenset({"agent.offline"}),
    "agent.offline": frozenset({"agent.online"}),
    "agent.recovered": frozenset({"agent.suspect", "agent.stalled"}),
    "agent.suspect": frozenset({"agent.recovered"}),
    "agent.stalled": frozenset({"agent.recovered"}),
    "job.recovered": frozenset({"job.heartbeat_missed", "job.disputable"}),
    "job.heartbeat_missed": frozenset({"job.recovered"}),
}


class Waiting(NamedTuple):
    """One event that was not tried yet."""

    delivery: str  # its id
    type: str
    subject: str
    at_ms: int
    due_ms: int  # not before
    calm: bool  # told only because the agent has come to rest


@dataclass(frozen=True, slots=True)
class Line:
    """All that wait, in the order in which they came."""

    webhook: str
    waiting: tuple[Waiting, ...] = ()
    taken_ms: int = 0  # until when somebody is at the next one,
    taken_by: str = ""  # and who

    @property
    def next(self) -> Waiting:
        """Name whose turn it is: the first of those that are due first."""
        return min(self.waiting, key=lambda each: each.due_ms)

    @property
    def due_ms(self) -> int:
        """Tell when the next one is to be tried."""
        return max(self.taken_ms, self.next.due_ms)

    def body(self) -> dict[str, Any]:
        """Lay it out as it is kept."""
        return {
            "webhook": self.webhook,
            "waiting": [list(each) for each in self.waiting],
            "taken_ms": self.taken_ms,
            "taken_by": self.taken_by,
        }


class Admission(NamedTuple):
    """What becomes of a line by an event."""

    line: Line
    ended: tuple[str, ...]  # deliveries that will never be told
    admitted: bool


def line_of(body: Mapping[str, Any]) -> Line:
    """Read one that was kept."""
    waiting = tuple(Waiting(*each) for each in body["waiting"])
    return Line(body["webhook"], waiting, body["taken_ms"], body["taken_by"])


def line_id(webhook: str, event: Event) -> str:
    """Name the line in which an event stands."""
    return f"{webhook} {event.agent or event.subject}"


def admit(
    line: Line, event: Event, delivery: str, *, wanted: bool, hold_ms: int, calm: bool = False
) -> Admission:
    """Let an event in, if it is ``wanted``; what is held and not so any more goes."""
    ended = [each for each in line.waiting if _ends(event, each, line)]
    kept = [each for each in line.waiting if each not in ended]
    returns = RETURNS.get(event.type, frozenset())
    returned = any(each.type in returns and not each.calm for each in ended)
    admitted = wanted and not returned
    if admitted:
        due_ms = event.at_ms + hold_ms
        kept.append(Waiting(delivery, event.type, event.subject, event.at_ms, due_ms, calm))
    left = replace(line, waiting=tuple(kept))
    return Admission(left, tuple(each.delivery for each in ended), admitted)


def _ends(event: Event, waiting: Waiting, line: Line) -> bool:
    """Tell whether an event is the end of something that is held."""
    if waiting.subject != event.subject or not waiting.at_ms <= event.at_ms < waiting.due_ms:
        return False
    if line.taken_ms >= waiting.due_ms and waiting == line.next:  # it may be on its way already
        return False
    if event.rank is not None:
        return not is_true(waiting.type, event.rank)
    return waiting.type in RETURNS.get(event.type, ())
