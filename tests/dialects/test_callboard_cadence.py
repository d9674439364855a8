"""The cadence tables of Callboard, row by row, and what a deadline does to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifesigns.core.application import Application
from lifesigns.core.job import IN_REVIEW, Job
from lifesigns.core.slot import Slot
from lifesigns.dialects.callboard import cadence
from lifesigns.dialects.callboard.account import Account, mint
from lifesigns.dialects.callboard.cadence import ROWS, Row, Standing

T0 = 1_774_189_800_000
MINUTE, HOUR = 60_000, 3_600_000
DAY_MS = 24 * HOUR

OWNED = Account("a", T0, claimed=True, card_ready=True, payout_ready=True)
NEW = Account("a", T0)
LINKED, _ = mint(replace(OWNED, payout_ready=False), "PAYOUT", "l", T0)
GRANTED = Slot("s", "a", "u", "j", None, "GRANTED", T0, T0 + HOUR, T0 + 4 * HOUR, T0)
TAKEN = replace(GRANTED, status="ACKNOWLEDGED")
APPLIED = Application("x", "a", "u", "j", T0, T0)
REVIEW = Job("r", MINUTE, T0, T0, T0, IN_REVIEW, poster="a")


def standing(account: Account = OWNED, **more: Any) -> Standing:
    return Standing(account, **({"role": "WORKER"} | more))


@pytest.mark.parametrize(
    ("now", "after_ms", "row", "least_s", "most_s"),
    [
        # Setup
        (standing(replace(NEW, owner_attending=True)), 0, cadence.CLAIM_ATTENDED, 30, 60),
        (standing(NEW), 0, cadence.CLAIM_UNATTENDED, 300, 600),
        (standing(LINKED), DAY_MS - 1, cadence.PAYMENT_LINK, 120, 180),
        (standing(LINKED), DAY_MS, cadence.IDLE_WORKER, 300, 600),  # the link is dead
        # Worker
        (standing(), 0, cadence.IDLE_WORKER, 300, 600),
        (standing(role="BOTH"), 0, cadence.IDLE_WORKER, 300, 600),
        (standing(applications=(APPLIED,)), 0, cadence.PENDING_APPLICATION, 180, 300),
        (standing(slots=(GRANTED,)), 0, cadence.GRANTED_SLOT, 30, 60),
        (standing(slots=(TAKEN,)), 0, cadence.ACTIVE_SLOT, 60, 120),
        (standing(slots=(TAKEN,)), 4 * HOUR - 10 * MINUTE, cadence.ACTIVE_SLOT, 60, 120),
        (standing(slots=(TAKEN,)), 4 * HOUR - 10 * MINUTE + 1, cadence.NEAR_DEADLINE, 30, 60),
        (standing(slots=(GRANTED,)), 51 * MINUTE, cadence.NEAR_DEADLINE, 30, 60),
        (standing(slots=(replace(TAKEN, status="SUBMITTED"),)), 0, cadence.IDLE_WORKER, 300, 600),
        # Requester
        (standing(role="REQUESTER"), 0, cadence.IDLE_REQUESTER, 600, 900),
        (standing(role="REQUESTER", posted=1), 0, cadence.OPEN_BOUNTY, 270, 330),
        (standing(role="REQUESTER", reviews=(REVIEW,)), 0, cadence.REVIEW_AVAILABLE, 60, 120),
        (
            standing(role="REQUESTER", reviews=(replace(REVIEW, deadline_ms=T0 + HOUR),)),
            50 * MINUTE,
            cadence.REVIEW_AVAILABLE,
            60,
            120,
        ),
        (
            standing(role="REQUESTER", reviews=(replace(REVIEW, deadline_ms=T0 + HOUR),)),
            50 * MINUTE + 1,
            cadence.NEAR_REVIEW_DEADLINE,
            30,
            60,
        ),
        # Several at once: the most urgent one, whatever the role
        (standing(NEW, slots=(TAKEN,)), 0, cadence.ACTIVE_SLOT, 60, 120),
        (standing(slots=(TAKEN, GRANTED)), 0, cadence.GRANTED_SLOT, 30, 60),
        (standing(role="REQUESTER", slots=(TAKEN,)), 0, cadence.ACTIVE_SLOT, 60, 120),
        (standing(posted=1, applications=(APPLIED,)), 0, cadence.PENDING_APPLICATION, 180, 300),
        (
            standing(reviews=(REVIEW,), applications=(APPLIED,)),
            0,
            cadence.REVIEW_AVAILABLE,
            60,
            120,
        ),
    ],
)
def test_each_row_of_the_tables(
    now: Standing, after_ms: int, row: Row, least_s: int, most_s: int
) -> None:
    assert cadence.row(now, T0 + after_ms) is row
    assert (row.least_s, row.most_s) == (least_s, most_s)
    due = cadence.cadence(now, T0 + after_ms)
    assert due.reason == row.reason
    # With all its jitter, either way, it stays within the row.
    assert least_s <= due.next_poll_s - due.jitter_s
    assert due.next_poll_s + due.jitter_s <= most_s
    assert due.jitter_s > 0


def test_every_row_is_one_that_somebody_can_be_told() -> None:
    assert len({row.reason for row in ROWS}) == len(ROWS) == 12


@pytest.mark.parametrize(
    ("left_ms", "latest_s"),
    [(HOUR, 60), (61_000, 60), (60_999, 59), (31_000, 30), (5_000, 4), (2_000, 1), (1_500, 1)],
)
def test_the_next_call_comes_before_the_nearest_deadline(left_ms: int, latest_s: int) -> None:
    slot = replace(GRANTED, acknowledge_by_ms=T0 + left_ms, finish_by_ms=T0 + HOUR)
    due = cadence.cadence(standing(slots=(slot,)), T0)
    assert due.next_poll_s + due.jitter_s == latest_s
    assert due.next_poll_s >= 1


def test_nobody_is_sent_into_a_tight_loop_by_a_deadline_that_is_there_or_over() -> None:
    for now_ms in (T0 + HOUR - 1, T0 + HOUR, T0 + 2 * HOUR):
        due = cadence.cadence(standing(slots=(GRANTED,)), now_ms)
        assert due.next_poll_s >= 1


def test_the_deadline_of_a_review_counts_as_well() -> None:
    review = replace(REVIEW, deadline_ms=T0 + 45_000)
    due = cadence.cadence(standing(reviews=(review,)), T0)
    assert due.next_poll_s + due.jitter_s == 44
    over = cadence.row(standing(reviews=(replace(REVIEW, deadline_ms=T0 - 1),)), T0)
    assert over is cadence.NEAR_REVIEW_DEADLINE, "one that has passed is not less urgent"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.reason)
def test_a_lease_is_twice_the_upper_bound_and_a_quarter_of_an_hour_at_least(row: Row) -> None:
    assert row.lease_ms == max(900_000, 2 * row.most_s * 1000)
