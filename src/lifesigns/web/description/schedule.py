"""The description of the schedules of a project."""

from __future__ import annotations

from lifesigns.web.description.area import Area
from lifesigns.web.description.boostgpt import SAMPLE, SHOWN
from lifesigns.web.description.clause import READING, answer, operation, query
from lifesigns.web.description.term import COUNT, record, ref, several
from lifesigns.web.schedule import MOST

LIMIT = {"type": "integer", "minimum": 1, "maximum": MOST}

AREA = Area(
    paths={
        "/v1/schedules": {
            "get": operation(
                "listSchedules",
                "List the schedules of the project, or of one agent",
                answer(
                    ref("Schedules"),
                    "The latest first; those of one agent the oldest first",
                    {"schedules": [SAMPLE | {"agent": "ticket-bot"}], "total": 1},
                ),
                *READING,
                asks=(
                    query("agent", ref("AgentId"), "whose; all unless told"),
                    query("limit", LIMIT, f"how many; {MOST} unless told"),
                ),
            )
        }
    },
    schemas={
        "Schedules": record(
            {
                "schedules": several(record(SHOWN | {"agent": ref("AgentId")}, "webhook_secret")),
                "total": COUNT,
            }
        )
    },
)
