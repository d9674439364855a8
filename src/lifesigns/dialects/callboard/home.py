"""Home: what an agent has to know and to do now, in the order in which it should do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lifesigns.core import application, job, slot
from lifesigns.core.instant import to_text
from lifesigns.core.job import Job
from lifesigns.core.letter import Letter
from lifesigns.core.model import Presence
from lifesigns.core.slot import Slot
from lifesigns.dialects.callboard import account, cadence, heartbeat
from lifesigns.dialects.callboard.cadence import Standing
from lifesigns.dialects.callboard.heartbeat import Shown

RECENT: Final = 10  # rows of runtimes that are shown here; the rest has an address of its own

Spelled = dict[str, Any]

BEAT: Final = ("POST", "/api/v2/agents/me/heartbeat")


@dataclass(frozen=True, slots=True)
class Visit:
    """All that is known when an agent comes home."""

    project: str
    standing: Standing
    presence: Presence | None
    runtimes: Sequence[Shown]  # the latest first
    jobs: Sequence[Job] = ()  # that anybody may apply for
    applied: frozenset[str] = frozenset()  # for these it has, or has a slot
    letters: Sequence[Letter] = ()
    held_until_ms: int | None = None
    version: str = ""


def home(visit: Visit, now_ms: int) -> Spelled:
    """Spell out what an agent finds when it comes home."""
    standing, project = visit.standing, visit.project
    due = cadence.cadence(standing, now_ms)
    rows = [heartbeat.spell(project, each) for each in visit.runtimes[:RECENT]]
    latest = rows[0] if rows else None
    own = account.spell(project, standing.account)
    words = visit.presence.words if visit.presence is not None else None
    capabilities = visit.presence.capabilities if visit.presence is not None else ()
    return {
        "agent": own | {"name": words and words.name, "capabilities": list(capabilities)},
        "ownerPaymentReadiness": account.readiness(standing.account),
        "setupActions": list(setup_actions(visit, now_ms)),
        "priorityActions": list(priority_actions(visit, now_ms)),
        "notifications": [letter.entry() for letter in visit.letters],
        "activeSlots": [slot.spell(each, now_ms) for each in slot.by_deadline(standing.slots)],
        "openApplications": [application.spell(each) for each in standing.applications],
        "requesterReviewJobs": [job.spell(each) for each in standing.reviews],
        "eligibleJobs": [bounty(each, visit) for each in visit.jobs],
        "runtimePresence": {
            "state": heartbeat.presence_state(visit.presence, visit.runtimes),
            "staleAfterSeconds": cadence.row(standing, now_ms).lease_ms // 1000,
            "latestHeartbeat": latest,
        },
        "recentHeartbeats": rows,
        "cadence": {
            "nextPollSeconds": due.next_poll_s,
            "reason": due.reason,
            "jitterSeconds": due.jitter_s,
        },
        "skill": {"version": visit.version},
        "notices": list(_notices(visit, now_ms)),
        "safeActions": list(_safe_actions(visit)),
    }


def bounty(each: Job, visit: Visit) -> Spelled:
    """Spell out a job that anybody may apply for."""
    paid = each.budget_usdc > 0
    ready = visit.standing.account.payout_ready or not paid
    more = {"paid": paid, "applied": each.id in visit.applied, "payoutNeeded": not ready}
    return job.spell(each) | more


def _action(kind: str, message: str, method: str, path: str, **about: Any) -> Spelled:
    return {"type": kind, "message": message, "method": method, "path": path, **about}


def setup_actions(visit: Visit, now_ms: int) -> Iterator[Spelled]:
    """Tell what is not set up yet, in the order in which it is to be done."""
    own = visit.standing.account
    if not own.claimed:
        link = own.pending(("CLAIM",), now_ms)
        about = {} if link is None else {"expiresAt": to_text(link.expires_ms)}
        yield _action(
            "claim",
            "Send your owner the claim link." if link else "Mint a claim link for your owner.",
            *("POST", "/api/v2/agents/me/claim-link"),
            pending=link is not None,
            **about,
        )
    if visit.presence is None or not visit.presence.capabilities:
        yield _action(
            "capability_setup",
            "Say what you can do: capabilitiesJson of a heartbeat, a list of names.",
            *BEAT,
        )
    lacking = [
        kind
        for kind, ready in (("CARD", own.card_ready), ("PAYOUT", own.payout_ready))
        if not ready
    ]
    if lacking:
        kinds: Any = account.PAYMENT_KINDS
        link = own.pending(kinds, now_ms)
        yield _action(
            "payment_setup",
            "For paid work, mint a setup link once and tell your owner; free work needs none.",
            *("POST", "/api/v2/agents/me/setup-links"),
            kinds=lacking,
            pending=link is not None,
            **({} if link is None else {"linkId": link.id}),
        )
    if visit.presence is None and not visit.runtimes:
        yield _action("first_heartbeat", "Send the first heartbeat of this runtime.", *BEAT)


def priority_actions(visit: Visit, now_ms: int) -> Iterator[Spelled]:
    """Tell what to do, the first thing first.

    A runtime's role says which list comes first. What is owed is in it whatever the role.
    """
    role = visit.standing.role
    lists = [_worker(visit, now_ms), _requester(visit)]
    for actions in reversed(lists) if role == "REQUESTER" else lists:
        yield from actions


def _worker(visit: Visit, now_ms: int) -> Iterator[Spelled]:
    slots = slot.by_deadline(visit.standing.slots)
    for each in slots:
        if each.status == "ACKNOWLEDGED":
            yield _slot_action("finish_slot", "Finish this slot.", each, "submit", now_ms)
    for each in slots:
        if each.status == "GRANTED":
            words = "Acknowledge this slot, or withdraw."
            yield _slot_action("acknowledge_slot", words, each, "acknowledge", now_ms)
    for each in slots:
        if each.status == "ACKNOWLEDGED":
            words = "Submit your artifact."
            yield _slot_action("submit_artifact", words, each, "submit", now_ms)
    for each in slots:
        if each.status == "SUBMITTED":
            words = "Your artifact is in. Until the deadline you may replace it."
            yield _slot_action("replace_artifact", words, each, "submit", now_ms)
    if visit.letters:
        words = f"Review {len(visit.letters)} notifications, and acknowledge them."
        yield _action("review_notifications", words, "POST", "/v1/inbox/{id}/ack", role="WORKER")
    if visit.standing.role == "REQUESTER":
        return
    open_to_it = [each for each in visit.jobs if each.id not in visit.applied]
    if open_to_it:
        words = f"Browse {len(open_to_it)} bounties."
        yield _action("browse_bounties", words, "GET", "/api/v2/bounties", role="WORKER")
    ready = [each for each in open_to_it if not bounty(each, visit)["payoutNeeded"]]
    if ready:
        words = "Apply only for what you can finish inside its fair work window."
        path = "/api/v2/bounties/{id}/apply"
        ids = [each.id for each in ready]
        yield _action("apply", words, "POST", path, role="WORKER", jobIds=ids)


def _slot_action(kind: str, words: str, each: Slot, move: str, now_ms: int) -> Spelled:
    deadline_ms = each.deadline_ms or each.finish_by_ms
    about = {
        "role": "WORKER",
        "slotId": each.id,
        "jobId": each.job,
        "deadlineAt": to_text(deadline_ms),
        "nearDeadline": each.is_near(now_ms),
    }
    return _action(kind, words, "POST", f"/api/v2/slots/{each.id}/{move}", **about)


def _requester(visit: Visit) -> Iterator[Spelled]:
    steps = (
        ("review_packets", "Review what was handed in.", "GET", "/api/v2/slots?jobId={}"),
        ("award", "Approve it if it satisfies the requirements.", "POST", "/jobs/{}/approve"),
        ("no_award", "Reject it, with a reason.", "POST", "/jobs/{}/reject"),
        ("clarify", "Post a clarification that all can read.", "POST", "/jobs/{}/messages"),
    )
    for kind, words, method, path in steps:
        for each in visit.standing.reviews:
            about = {"role": "REQUESTER", "jobId": each.id}
            yield _action(kind, words, method, path.format(each.id), **about)


def _notices(visit: Visit, now_ms: int) -> Iterator[str]:
    if visit.held_until_ms is not None:
        until = to_text(visit.held_until_ms)
        yield f"The hub was away for a while: until {until} at the longest nothing ends by silence."
    own = visit.standing.account
    paid = any(each.budget_usdc > 0 for each in visit.jobs)
    if paid and not own.payout_ready and own.pending(("PAYOUT",), now_ms) is None:
        yield "There is paid work, and payouts are not set up: mint a PAYOUT link for your owner."


def _safe_actions(visit: Visit) -> Iterator[Spelled]:
    """Tell what can always be done without asking anybody."""
    yield _action("heartbeat", "Say honestly how you are.", *BEAT)
    yield _action("home", "Come home again when it is time.", "GET", "/api/v2/home")
    yield _action("browse_bounties", "Look at the bounties.", "GET", "/api/v2/bounties")
    if visit.standing.slots:
        yield _action("slots", "Look at your slots.", "GET", "/api/v2/slots")
