"""How often an agent has to come home: the tables of the API, and which row is an agent's now.

Of the rows that apply the most urgent one counts. It is cut so that the next call comes before the
nearest deadline, whatever the row says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from lifesigns.core.application import Application
from lifesigns.core.job import Job
from lifesigns.core.slot import Slot, near_from_ms
from lifesigns.dialects.callboard.account import PAYMENT_KINDS, Account
from lifesigns.dialects.callboard.heartbeat import Role

LEAST_LEASE_MS: Final = 900_000
SHORTEST_S: Final = 1  # however near a deadline is: nobody calls in a tight loop


class Row(NamedTuple):
    """One row of the tables: the bounds of the interval, jitter included, in seconds."""

    reason: str
    least_s: int
    most_s: int

    @property
    def lease_ms(self) -> int:
        """Say for how long a runtime that comes at this rate counts as there."""
        return max(LEAST_LEASE_MS, 2 * self.most_s * 1000)


CLAIM_ATTENDED: Final = Row("setup_claim_attended", 30, 60)
CLAIM_UNATTENDED: Final = Row("setup_claim_unattended", 300, 600)
PAYMENT_LINK: Final = Row("setup_payment_link", 120, 180)
IDLE_WORKER: Final = Row("idle_worker", 300, 600)
PENDING_APPLICATION: Final = Row("pending_application", 180, 300)
GRANTED_SLOT: Final = Row("granted_slot", 30, 60)
ACTIVE_SLOT: Final = Row("active_slot", 60, 120)
NEAR_DEADLINE: Final = Row("near_deadline", 30, 60)
IDLE_REQUESTER: Final = Row("idle_requester", 600, 900)
OPEN_BOUNTY: Final = Row("open_bounty", 270, 330)  # "every five minutes", and some jitter
REVIEW_AVAILABLE: Final = Row("review_available", 60, 120)
NEAR_REVIEW_DEADLINE: Final = Row("near_review_deadline", 30, 60)

# The first of equally urgent ones is named.
ROWS: Final = (
    NEAR_DEADLINE,
    NEAR_REVIEW_DEADLINE,
    GRANTED_SLOT,
    CLAIM_ATTENDED,
    ACTIVE_SLOT,
    REVIEW_AVAILABLE,
    PAYMENT_LINK,
    PENDING_APPLICATION,
    OPEN_BOUNTY,
    CLAIM_UNATTENDED,
    IDLE_WORKER,
    IDLE_REQUESTER,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an agent is in the middle of."""

    account: Account
    role: Role = "BOTH"
    slots: tuple[Slot, ...] = ()  # all that are not over
    applications: tuple[Application, ...] = ()  # that wait for an answer
    posted: int = 0  # jobs of its own that anybody may still apply for
    reviews: tuple[Job, ...] = ()  # jobs of its own that it has to decide about

    def deadlines_ms(self) -> list[int]:
        owed = [slot.deadline_ms for slot in self.slots]
        return [ms for ms in (*owed, *(job.deadline_ms for job in self.reviews)) if ms is not None]


def is_near(review: Job, now_ms: int) -> bool:
    """Tell whether the time in which its poster has to decide is nearly over."""
    deadline_ms = review.deadline_ms
    if deadline_ms is None:
        return False
    return now_ms >= deadline_ms or now_ms >= near_from_ms(review.since_ms, deadline_ms)


class Cadence(NamedTuple):
    """When to come again: ``next_poll_s`` give or take ``jitter_s`` stays within the row."""

    reason: str
    next_poll_s: int
    jitter_s: int


def row(standing: Standing, now_ms: int) -> Row:
    """Choose the row that counts."""
    return min(_applying(standing, now_ms), key=lambda row: (row.most_s, ROWS.index(row)))


def _applying(standing: Standing, now_ms: int) -> Iterator[Row]:
    account = standing.account
    yield IDLE_REQUESTER if standing.role == "REQUESTER" else IDLE_WORKER
    if not account.claimed:
        yield CLAIM_ATTENDED if account.owner_attending else CLAIM_UNATTENDED
    if account.pending(PAYMENT_KINDS, now_ms) is not None:
        yield PAYMENT_LINK
    if standing.applications:
        yield PENDING_APPLICATION
    for slot in standing.slots:
        if slot.is_near(now_ms):
            yield NEAR_DEADLINE
        if slot.status == "GRANTED":
            yield GRANTED_SLOT
        if slot.status == "ACKNOWLEDGED":
            yield ACTIVE_SLOT
    if standing.posted:
        yield OPEN_BOUNTY
    for review in standing.reviews:
        yield NEAR_REVIEW_DEADLINE if is_near(review, now_ms) else REVIEW_AVAILABLE


def cadence(standing: Standing, now_ms: int) -> Cadence:
    """Say when an agent has to come again."""
    found = row(standing, now_ms)
    least_s, most_s = found.least_s, found.most_s
    ahead = [ms - now_ms for ms in standing.deadlines_ms() if ms > now_ms]
    if ahead:  # a whole second before it, so that the call itself is in time
        most_s = min(most_s, max(SHORTEST_S, min(ahead) // 1000 - 1))
        least_s = min(least_s, most_s)
    jitter_s = (most_s - least_s) // 2
    return Cadence(found.reason, most_s - jitter_s, jitter_s)
