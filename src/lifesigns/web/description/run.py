"""The description of runs, for agents that ask for them."""

from __future__ import annotations

from typing import Any

from lifesigns.core.run import STATUSES
from lifesigns.web.description.area import Area
from lifesigns.web.description.clause import READING, WRITING, answer, operation, path, query
from lifesigns.web.description.term import (
    COUNT,
    NUMBER,
    TEXT,
    Schema,
    nullable,
    record,
    ref,
    said,
    several,
)
from lifesigns.web.poll import LONGEST_S
from lifesigns.web.run import ANY, MOST

SAMPLE: dict[str, Any] = {
    "run": "3ea6acd9-1905-4858-a8cd-cb4e351611a6@search-agent",
    "schedule": "0b3f5d7e-6c2a-4f0e-9b61-7f2f8b1f6a10",
    "agent": "search-agent",
    "prompt": "Look for new tickets",
    "member_id": None,
    "deadline": "2026-03-22T14:40:00.000Z",
    "type": "heartbeat",
    "status": "open",
    "via": "socket",
    "instance": "i-1",
    "created_at": "2026-03-22T14:30:00.012Z",
    "due_at": "2026-03-22T14:30:00.000Z",
    "ended_at": None,
    "duration_ms": None,
    "response": None,
    "error_message": None,
    "tokens_used": None,
    "credits": None,
}
FIELDS: Schema = {
    "run": TEXT,
    "schedule": TEXT,
    "agent": ref("AgentId"),
    "prompt": TEXT,
    "member_id": {},
    "deadline": ref("Instant"),
    "type": {"enum": ["heartbeat", "manual"]},
    "status": {"enum": list(STATUSES)},
    "via": {"enum": ["socket", "webhook", "poll", None]},
    "instance": nullable(TEXT),
    "created_at": ref("Instant"),
    "due_at": nullable(ref("Instant")),
    "ended_at": nullable(ref("Instant")),
    "duration_ms": nullable(COUNT),
    "response": nullable(TEXT),
    "error_message": nullable(TEXT),
    "tokens_used": nullable(COUNT),
    "credits": nullable(NUMBER),
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MOST}
RUN = path("run", {"type": "string", "pattern": r"^[^@/]+@[A-Za-z0-9._:@~-]{1,128}$"})

AREA = Area(
    paths={
        "/v1/runs": {
            "get": operation(
                "listRuns",
                "List the runs of an agent; wait for one if none is open",
                answer(
                    ref("Runs"), "Open ones the oldest first, others the latest", {"runs": [SAMPLE]}
                ),
                *READING,
                asks=(
                    query("agent", ref("AgentId"), "whose; of a key that is tied to one, its own"),
                    query("status", {"enum": [*STATUSES, ANY]}, "open unless told"),
                    query(
                        "wait",
                        {"type": "integer", "minimum": 0, "maximum": LONGEST_S, "default": 0},
                        "for how many seconds, if none is open",
                    ),
                    query("limit", LIMIT, "how many; 100 unless told"),
                ),
                text="Who asks for the open ones of an agent counts as that agent for a while:"
                " its next run waits for it if there is no socket.",
            )
        },
        "/v1/runs/{run}": {
            "get": operation(
                "readRun",
                "Read a run",
                answer(ref("Run"), "It", SAMPLE),
                *READING,
                asks=(RUN,),
            )
        },
        "/v1/runs/{run}/done": {
            "post": operation(
                "reportRun",
                "Report what became of a run",
                answer(ref("Reported"), "The run, closed; said twice it is the same"),
                *WRITING,
                409,
                takes="Report",
                sample={"status": "success", "response": "All quiet.", "tokens_used": 120},
                asks=(RUN,),
                text="409: something else was reported before, or its time was over.",
            )
        },
    },
    schemas={
        "Run": record(FIELDS),
        "Runs": record({"runs": several(ref("Run"))}),
        "Reported": record({"ok": {"const": True}, **FIELDS}),
        "Report": record(
            {
                "status": {"enum": ["success", "error"]},
                "response": nullable(TEXT),
                "tokens_used": nullable(COUNT),
                "credits": nullable({"type": "number", "minimum": 0}),
                "error_message": nullable(TEXT),
                "notify": said("what people are to be told: any value"),
            },
            *("response", "tokens_used", "credits", "error_message", "notify"),
        ),
    },
)
