"""One message on its way to one receiver: when it is tried, and what comes of it.

It is tried until somebody answers 2xx, at growing intervals, and kept with what came of each try;
after the last it stays among the failed ones until somebody sends it again. Must not know what
time it is, nor how anything is sent. Chance is an argument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, NamedTuple

from lifesigns.core.instant import to_text, to_text_or_none

KIND: Final = "delivery"  # of the documents in which deliveries are kept

RETRIES_S: Final = (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000)
JITTER: Final = 0.2  # so much later at most: what failed together shall not come back together
LONGEST_HINT_S: Final = 86_400  # of a receiver that says when to come back
TRIES_KEPT: Final = 20
ANSWER_KEPT: Final = 1_024  # characters of what a receiver answers: enough to see what it is
GONE: Final = 410

State = Literal["held", "pending", "retrying", "delivered", "failed"]
STATES: Final[tuple[State, ...]] = ("held", "pending", "retrying", "delivered", "failed")
ENDED: Final = frozenset({"delivered", "failed"})


class Try(NamedTuple):
    """What came of one attempt."""

    at_ms: int
    took_ms: int
    status: int | None  # None: no answer
    error: str | None  # why there was none, or why it does not count
    answer: str  # the beginning of it
    hint_s: float | None = None  # in how many seconds the receiver wants to be asked again

    @property
    def ok(self) -> bool:
        return self.error is None and self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one receiver."""

    id: str
    webhook: str
    type: str
    agent: str
    content_type: str
    payload: str
    state: State
    created_ms: int
    next_ms: int | None = None
    failures: int = 0  # since it was last begun
    tries: tuple[Try, ...] = ()
    taken_ms: int = 0  # until when somebody is at another try,
    taken_by: str = ""  # and who

    def body(self) -> dict[str, Any]:
        """Lay it out as it is kept."""
        kept = {name: getattr(self, name) for name in self.__slots__ if name != "id"}
        return kept | {"tries": [list(each) for each in self.tries]}

    def indexes(self) -> dict[str, float]:
        """Name the lists in which it stands."""
        return {self.webhook: self.created_ms, f"{self.webhook}/{self.state}": self.created_ms}


def delivery_of(id_: str, body: Mapping[str, Any]) -> Delivery:
    """Read one that was kept."""
    return Delivery(id_, **{**body, "tries": tuple(Try(*each) for each in body["tries"])})


def delivery_id(number: int, *parts: str) -> str:
    """Name a delivery by where it lies and what it is of: twice the same is one."""
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"msg_{number:02}{digest[:24]}"


def home_of(id_: str) -> int | None:
    """Tell in which partition a delivery lies; None for what names none."""
    number = id_[4:6]
    return int(number) if id_.startswith("msg_") and number.isdecimal() else None


def tried(delivery: Delivery, attempt: Try, chance: float) -> Delivery:
    """Take what came of an attempt, and say what is next."""
    kept = (*delivery.tries, attempt)[-TRIES_KEPT:]
    if attempt.ok:
        return replace(delivery, state="delivered", next_ms=None, tries=kept)
    failures = delivery.failures + 1
    if attempt.status == GONE or failures > len(RETRIES_S):
        return replace(delivery, state="failed", next_ms=None, failures=failures, tries=kept)
    wait_s = RETRIES_S[failures - 1] * (1 + JITTER * chance)
    if attempt.hint_s is not None:
        wait_s = min(attempt.hint_s, LONGEST_HINT_S)
    next_ms = attempt.at_ms + attempt.took_ms + round(wait_s * 1000)
    return replace(delivery, state="retrying", next_ms=next_ms, failures=failures, tries=kept)


def abandoned(delivery: Delivery, at_ms: int, why: str) -> Delivery:
    """Try no more, for a reason that another try would not change."""
    kept = (*delivery.tries, Try(at_ms, 0, None, why, ""))[-TRIES_KEPT:]
    return replace(delivery, state="failed", next_ms=None, tries=kept)


def begun_again(delivery: Delivery, now_ms: int) -> Delivery:
    """Send it again, with as many tries as at first."""
    return replace(delivery, state="pending", next_ms=now_ms, failures=0)


def due_ms(delivery: Delivery, kept_ms: int) -> int:
    """Tell when there is something to do by itself: the next try, or to drop it."""
    if delivery.state in ENDED or delivery.next_ms is None:
        return delivery.created_ms + kept_ms
    return delivery.next_ms


def hint_of(headers: Mapping[str, str], now_ms: int) -> float | None:
    """Read Retry-After: seconds, or a date; None if there is none that can be understood."""
    text = headers.get("retry-after", "")
    if text.isascii() and text.isdecimal():
        return float(max(1, int(text[:9])))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(1.0, (at - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds())


def spell(delivery: Delivery) -> dict[str, Any]:
    """Spell it out for people who look what became of it."""
    return {
        "id": delivery.id,
        "webhook": delivery.webhook,
        "event": delivery.type,
        "agent": delivery.agent or None,
        "state": delivery.state,
        "created_at": to_text(delivery.created_ms),
        "next_attempt_at": to_text_or_none(delivery.next_ms),
        "attempts": [
            {
                "at": to_text(each.at_ms),
                "took_ms": each.took_ms,
                "status": each.status,
                "error": each.error,
                "answer": each.answer,
            }
            for each in delivery.tries
        ],
        "content_type": delivery.content_type,
        "body": delivery.payload,
    }
