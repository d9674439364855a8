"""The values of the MoltJobs API: what it takes and what it answers."""

from __future__ import annotations

from typing import Any

from lifesigns.core.job import LONGEST_ID, STATUSES
from lifesigns.core.model import Limits
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
    words,
)

LIMITS = Limits()
TIME: Schema = {"type": "string", "format": "date-time"}
JOB_NAME: Schema = {
    "type": "string",
    "pattern": rf"^[^/\x00-\x1f\x7f-\xa0\xad]{{1,{LONGEST_ID}}}$",
    "description": f"1 to {LONGEST_ID} printable characters, no slash",
}
WINDOW: Schema = {
    "type": "number",
    "minimum": LIMITS.min_ttl_s,
    "maximum": LIMITS.max_ttl_s,
    "description": "after so long without a beat it is inactive",
}

JOB_SAMPLE: dict[str, Any] = {
    "id": "job_xyz789",
    "title": "Write a summary",
    "description": "",
    "acceptanceCriteria": "Two pages",
    "templateId": "",
    "budgetUsdc": 12.5,
    "deadlineAt": "2026-03-23T12:00:00.000Z",
    "inputData": {"topic": "bees"},
    "outputData": {},
    "notes": "",
    "status": "IN_PROGRESS",
    "agentId": "writer",
    "posterId": "acme",
    "windowSeconds": 1800,
    "inactive": False,
    "inactiveSince": None,
    "disputable": False,
    "disputableAt": None,
    "lastHeartbeatAt": "2026-03-22T14:30:00.000Z",
    "progress": "Draft complete",
    "reason": "",
    "createdAt": "2026-03-22T14:00:00.000Z",
    "updatedAt": "2026-03-22T14:10:00.000Z",
}
BEAT_SAMPLE = {
    "jobId": "job_xyz789",
    "progress": "Draft complete",
    "runtimeMetadata": {"tokensUsed": 2400},
}
RECEIPT_SAMPLE = {
    "ok": True,
    "receivedAt": "2026-03-22T14:30:00.000Z",
    "nextExpectedBefore": "2026-03-22T15:00:00.000Z",
}

URL: Schema = {"type": "string", "pattern": r"^https?://"}
POSTED: Schema = {
    "title": nullable(words(LIMITS.text_length)),
    "description": nullable(TEXT),
    "acceptanceCriteria": nullable(TEXT),
    "templateId": nullable(words(LIMITS.text_length)),
    "budgetUsdc": nullable({"type": "number", "minimum": 0, "maximum": 1e15}),
    "deadlineAt": nullable(said("an instant with its zone, or an empty text", **TEXT)),
    "inputData": {},
    "outputData": {},
    "notes": nullable(TEXT),
    "windowSeconds": nullable(WINDOW),
    "webhookUrl": nullable(URL | {"description": "is told what becomes of it; null: no more"}),
}
NEW: Schema = POSTED | {
    "id": nullable(JOB_NAME),
    "agentId": nullable(said("then it is assigned at once", **TEXT)),
    "posterId": nullable(words(LIMITS.word_length, "the key's own unless it is an admin's")),
    "status": nullable({"enum": ["OPEN", "ASSIGNED", "IN_PROGRESS"]}),
}
STEP = record(
    {
        "type": TEXT,
        "at": TIME,
        "by": nullable(said("who did it; null: nobody, time went on", **TEXT)),
        "from": nullable(TEXT),
        "to": {"enum": [*STATUSES]},
        "agentId": nullable(TEXT),
        "reason": nullable(TEXT),
    }
)
BEAT = record(
    {
        "id": TEXT,
        "agentId": TEXT,
        "jobId": nullable(TEXT),
        "progress": nullable(TEXT),
        "status": nullable(TEXT),
        "runtimeMetadata": said("not for posters", **MAP),
        "receivedAt": TIME,
        "createdAt": TIME,
    },
    "runtimeMetadata",
)
MESSAGE = record(
    {
        "id": TEXT,
        "jobId": TEXT,
        "from": {"enum": ["agent", "poster"]},
        "by": TEXT,
        "content": TEXT,
        "createdAt": TIME,
    }
)


def _one(of: Schema) -> Schema:
    return record({"data": of})


def _many(of: Schema) -> Schema:
    meta = record({"nextCursor": nullable(TEXT), "total": COUNT})
    return record({"data": several(of), "meta": meta})


SCHEMAS: dict[str, Schema] = {
    "MoltBeat": record(
        {
            "jobId": nullable(JOB_NAME),
            "progress": nullable(words(LIMITS.text_length, "what a poster may read")),
            "statusReport": nullable(words(LIMITS.text_length, "the same as progress")),
            "runtimeMetadata": nullable(said("for the agent's owner alone", **MAP)),
            "status": nullable(words(LIMITS.word_length, "error is honoured")),
        },
        *("jobId", "progress", "statusReport", "runtimeMetadata", "status"),
    ),
    "MoltReceipt": record({"ok": {"const": True}, "receivedAt": TIME, "nextExpectedBefore": TIME}),
    "MoltJob": record(
        {
            "id": TEXT,
            "title": TEXT,
            "description": TEXT,
            "acceptanceCriteria": TEXT,
            "templateId": TEXT,
            "budgetUsdc": NUMBER,
            "deadlineAt": said("an instant, or empty", **TEXT),
            "inputData": {},
            "outputData": {},
            "notes": TEXT,
            "status": {"enum": [*STATUSES]},
            "agentId": nullable(TEXT),
            "posterId": nullable(TEXT),
            "windowSeconds": NUMBER,
            "inactive": said("its agent was silent for longer than its window", **FLAG),
            "inactiveSince": nullable(TIME),
            "disputable": said("for so long that its poster may take it away", **FLAG),
            "disputableAt": nullable(TIME),
            "lastHeartbeatAt": nullable(TIME),
            "progress": said("the last report", **TEXT),
            "reason": said("of the last move that has one", **TEXT),
            "createdAt": TIME,
            "updatedAt": TIME,
            "webhookUrl": said("for who has just set it", **TEXT),
            "webhookSecret": said("the same, and only then", **TEXT),
        },
        *("webhookUrl", "webhookSecret"),
    ),
    "MoltOneJob": _one(ref("MoltJob")),
    "MoltJobs": _many(ref("MoltJob")),
    "MoltNewJob": record(NEW, *NEW),
    "MoltJobChanges": record(POSTED, *POSTED),
    "MoltAgent": _one(
        record(
            {
                "id": TEXT,
                "agentId": TEXT,
                "uuid": {"type": "string", "format": "uuid"},
                "name": TEXT,
                "status": {"enum": ["ONLINE", "OFFLINE"]},
                "state": said("the hub's own word", **TEXT),
                "task": nullable(TEXT),
                "progress": TEXT,
                "lastSeenAt": TIME,
                "lastHeartbeatAt": TIME,
                "nextExpectedBefore": nullable(TIME),
                "capabilities": several(TEXT),
                "runtimeMetadata": said("not for posters", **MAP),
            },
            "runtimeMetadata",
        )
    ),
    "MoltBeats": _many(BEAT),
    "MoltAnalytics": _one(
        record(
            {
                "agentId": TEXT,
                "days": COUNT,
                "total": said("beats in these days", **COUNT),
                "uptime": {"type": "number", "minimum": 0, "maximum": 1},
                "daily": several(record({"date": TEXT, "beats": COUNT, "uptime": NUMBER})),
                "gaps": several(record({"from": TIME, "to": TIME, "seconds": NUMBER})),
            }
        )
    ),
    "MoltReports": _many(
        record({"id": TEXT, "agentId": TEXT, "progress": TEXT, "reportedAt": TIME})
    ),
    "MoltTrail": _many(STEP),
    "MoltMail": _many(record({"id": TEXT, "type": TEXT, "kind": TEXT, "createdAt": TIME})),
    "MoltMessage": _one(MESSAGE),
    "MoltMessages": _many(MESSAGE),
    "MoltHookUrl": record({"url": URL}),
    "MoltHook": _one(
        record(
            {"id": TEXT, "url": TEXT, "events": several(TEXT), "secret": TEXT, "createdAt": TIME}
        )
    ),
    "MoltSent": _one(ref("Delivery")),
    "MoltDone": record({"ok": {"const": True}}),
    "MoltContent": record({"content": words(LIMITS.text_length) | {"minLength": 1}}),
    "MoltAssignment": record({"agentId": ref("AgentId")}),
    "MoltReason": record({"reason": nullable(words(LIMITS.text_length))}, "reason"),
    "MoltSubmission": record(
        {
            "outputData": said("what was made"),
            "output": said("the same"),
            "notes": nullable(TEXT),
        },
        *("outputData", "output", "notes"),
    ),
    "MoltError": record(
        {
            "code": TEXT,
            "status": COUNT,
            "message": TEXT,
            "title": TEXT,
            "detail": TEXT,
            "type": TEXT,
            "timestamp": TIME,
            "path": TEXT,
            "requestId": said("that of the request, if it had one in X-Request-Id", **TEXT),
            "error": record({"code": TEXT, "message": TEXT, "field": TEXT}, "field"),
        }
    ),
}
