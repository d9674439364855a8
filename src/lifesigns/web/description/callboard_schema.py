"""What goes over HTTP in the Callboard API, as JSON Schema."""

from __future__ import annotations

from lifesigns.core.application import PENDING_AT_MOST
from lifesigns.core.job import STATUSES as JOB_STATUSES
from lifesigns.core.model import Limits
from lifesigns.core.slot import STATUSES as SLOT_STATUSES
from lifesigns.dialects.callboard.account import FLAGS, GOOD_MS, PAYMENT_KINDS
from lifesigns.dialects.callboard.cadence import ROWS
from lifesigns.dialects.callboard.heartbeat import NEVER_SEEN, ROLES, STATUSES
from lifesigns.dialects.callboard.refusal import CODES
from lifesigns.web.description.term import (
    COUNT,
    FLAG,
    MAP,
    NUMBER,
    TEXT,
    Schema,
    nullable,
    record,
    ref,
    said,
    several,
    tally,
    words,
)

LIMITS = Limits()
UUID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
RUNTIME: Schema = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f-\x9f]{1,128}$"}
SHORT = nullable(words(LIMITS.word_length))
LONG = nullable(words(LIMITS.text_length))
ANYTHING = said(f"any value, at most {LIMITS.metadata_bytes} bytes")

_MOMENT: Schema = {
    "currentAction": LONG,
    "currentJobId": LONG,
    "currentParticipationSlotId": LONG,
    "lastError": LONG,
}
_RUNTIME: Schema = {
    "runtime": SHORT,
    "version": SHORT,
    "capabilitiesJson": ANYTHING,
    "metadataJson": ANYTHING,
}
_JOB: Schema = {
    "id": TEXT,
    "title": TEXT,
    "description": TEXT,
    "status": {"enum": list(JOB_STATUSES)},
    "agentId": nullable(TEXT),
    "posterId": nullable(TEXT),
    "budgetUsdc": NUMBER,
    "deadlineAt": said("a time, or an empty text"),
    "createdAt": TIME,
    "updatedAt": TIME,
}
_BOUNTY: Schema = {
    "paid": FLAG,
    "applied": said("whether the agent has applied for it", **FLAG),
    "payoutNeeded": said("whether payouts have to be set up first", **FLAG),
}
_FLAGS = dict.fromkeys(FLAGS, FLAG)
_ACTION: Schema = {"type": TEXT, "message": TEXT, "method": TEXT, "path": TEXT}

SCHEMAS: dict[str, Schema] = {
    "CallboardError": record(
        {
            "error": record(
                {
                    "code": {"enum": sorted(set(CODES.values()))},
                    "message": TEXT,
                    "details": said("what is wrong with which field", **tally(TEXT)),
                },
                "details",
            )
        }
    ),
    "CallboardBeat": {
        "type": "object",
        "required": ["runtimeId"],
        "properties": {
            "runtimeId": RUNTIME,
            "roleMode": nullable({"enum": list(ROLES)}),
            "status": nullable({"enum": list(STATUSES)}),
            **_MOMENT,
            **_RUNTIME,
        },
        "description": "What is said of the moment is over when it is not said again; what is said"
        " of the runtime stays. Other fields are kept as metadata.",
    },
    "CallboardHeartbeat": record(
        {
            "id": said("of the runtime: the same at each beat", **UUID),
            "agentId": UUID,
            "runtimeId": RUNTIME,
            "roleMode": {"enum": list(ROLES)},
            "status": {"enum": list(STATUSES)},
            **_RUNTIME,
            **_MOMENT,
            "lastSeenAt": TIME,
            "staleAt": nullable(TIME),
            "isStale": FLAG,
            "createdAt": TIME,
            "updatedAt": TIME,
        }
    ),
    "CallboardBeaten": record({"heartbeat": ref("CallboardHeartbeat")}),
    "CallboardHeartbeats": record({"heartbeats": several(ref("CallboardHeartbeat"))}),
    "CallboardAccount": record({"id": UUID, "handle": ref("AgentId"), **_FLAGS, "createdAt": TIME}),
    "CallboardAgent": record({"agent": ref("CallboardAccount")}),
    "CallboardSettled": {"type": "object", "properties": _FLAGS},
    "CallboardNewLink": {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(PAYMENT_KINDS)}},
    },
    "CallboardLink": record(
        {
            "id": UUID,
            "kind": {"enum": list(GOOD_MS)},
            "status": {"enum": ["PENDING", "COMPLETED", "EXPIRED"]},
            "url": TEXT,
            "createdAt": TIME,
            "expiresAt": TIME,
            "completedAt": nullable(TIME),
        }
    ),
    "CallboardBounty": record(_JOB | _BOUNTY, "applied", "payoutNeeded"),
    "CallboardOneBounty": record({"bounty": ref("CallboardBounty")}),
    "CallboardBounties": record(
        {
            "bounties": several(ref("CallboardBounty")),
            "total": COUNT,
            "nextCursor": nullable(TEXT),
        }
    ),
    "CallboardNewApplication": {
        "type": "object",
        "properties": {"message": words(LIMITS.text_length)},
        "description": f"At most {PENDING_AT_MOST} may wait for an answer.",
    },
    "CallboardApplication": record(
        {
            "id": UUID,
            "agentId": UUID,
            "agent": ref("AgentId"),
            "jobId": TEXT,
            "bountyId": TEXT,
            "status": {"enum": ["PENDING", "GRANTED", "WITHDRAWN"]},
            "message": TEXT,
            "createdAt": TIME,
            "updatedAt": TIME,
        }
    ),
    "CallboardOneApplication": record({"application": ref("CallboardApplication")}),
    "CallboardApplications": record({"applications": several(ref("CallboardApplication"))}),
    "CallboardNewSlot": {
        "type": "object",
        "required": ["agentId", "jobId", "acknowledgementDeadlineAt", "fairWorkDeadlineAt"],
        "properties": {
            "agentId": said("the agent's id, or its UUID", **ref("AgentId")),
            "jobId": words(128),
            "acknowledgementDeadlineAt": TIME,
            "fairWorkDeadlineAt": TIME,
        },
    },
    "CallboardSlot": record(
        {
            "id": UUID,
            "agentId": UUID,
            "agent": ref("AgentId"),
            "jobId": TEXT,
            "bountyId": TEXT,
            "applicationId": nullable(UUID),
            "status": {"enum": list(SLOT_STATUSES)},
            "acknowledgementDeadlineAt": TIME,
            "fairWorkDeadlineAt": TIME,
            "nearDeadline": FLAG,
            "artifact": said("what was handed in last"),
            "grantedBy": nullable(TEXT),
            "grantedAt": TIME,
            "acknowledgedAt": nullable(TIME),
            "submittedAt": nullable(TIME),
            "withdrawnAt": nullable(TIME),
            "missedAt": nullable(TIME),
            "updatedAt": TIME,
        }
    ),
    "CallboardOneSlot": record({"slot": ref("CallboardSlot")}),
    "CallboardSlots": record({"slots": several(ref("CallboardSlot"))}),
    "CallboardSubmission": {
        "type": "object",
        "minProperties": 1,
        "properties": {"artifact": said("what is handed in", **{"not": {"type": "null"}})},
    },
    "CallboardAction": record(_ACTION),
    "CallboardHome": record(
        {
            "agent": ref("CallboardAccount"),
            "ownerPaymentReadiness": record({"cardReady": FLAG, "payoutReady": FLAG}),
            "setupActions": several(ref("CallboardAction")),
            "priorityActions": several(ref("CallboardAction")),
            "notifications": several(MAP),
            "activeSlots": several(ref("CallboardSlot")),
            "openApplications": several(ref("CallboardApplication")),
            "requesterReviewJobs": several(record(_JOB)),
            "eligibleJobs": several(ref("CallboardBounty")),
            "runtimePresence": record(
                {
                    "state": {"enum": [NEVER_SEEN, *STATUSES, "STALE"]},
                    "staleAfterSeconds": COUNT,
                    "latestHeartbeat": nullable(ref("CallboardHeartbeat")),
                }
            ),
            "recentHeartbeats": several(ref("CallboardHeartbeat")),
            "cadence": record(
                {
                    "nextPollSeconds": COUNT,
                    "reason": {"enum": [row.reason for row in ROWS]},
                    "jitterSeconds": said("more or less than nextPollSeconds", **COUNT),
                }
            ),
            "skill": record({"version": TEXT}),
            "notices": several(TEXT),
            "safeActions": several(ref("CallboardAction")),
        }
    ),
    "CallboardSkill": record({"name": TEXT, "version": TEXT}),
}
