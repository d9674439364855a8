"""The description of the fleet over time."""

from __future__ import annotations

from lifesigns.core.sample import SAMPLED
from lifesigns.core.tally import METADATA
from lifesigns.web.capacity import MOST_STEP_S, POINTS
from lifesigns.web.description.area import Area
from lifesigns.web.description.clause import READING, answer, operation, query
from lifesigns.web.description.example import Example
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
    tally,
)

PART: Schema = {"anyOf": [{"enum": list(SAMPLED)}, {"type": "string", "pattern": r"^metadata\."}]}
SUMS = record({each: nullable(NUMBER) for each in ("sum", "avg", "min", "max")} | {"n": NUMBER})
EXAMPLE: Example = {
    "step_s": 10,
    "parts": [*SAMPLED, "metadata.queue_depth"],
    "points": [
        {
            "at": "2026-03-22T14:30:00.000Z",
            "total": 4,
            "counts": {"idle": 1, "thinking": 3},
            "value": {"sum": 12, "avg": 3.0, "min": 0, "max": 9, "n": 4},
        }
    ],
}

AREA = Area(
    paths={
        "/v1/stats/history": {
            "get": operation(
                "statsHistory",
                "Tell how many there were over time",
                answer(ref("StatsHistory"), "A point for every step that was sampled", EXAMPLE),
                *READING,
                asks=(
                    query("from", ref("Instant"), "an hour before `to` unless told"),
                    query("to", ref("Instant"), "until before this moment; now unless told"),
                    query(
                        "step",
                        {"type": "integer", "minimum": 1, "maximum": MOST_STEP_S},
                        "seconds between two points, rounded up to a multiple of 10, or of 300"
                        " where it is older than a day; what fits a chart unless told",
                    ),
                    query(
                        "by",
                        PART,
                        f"what is counted: one of {', '.join(SAMPLED)} (state unless told), or"
                        f" {METADATA}<key> for the keys that the hub's settings name",
                    ),
                    query("value", TEXT, "a key of metadata, of the same, whose numbers are told"),
                ),
                text="All living agents of the project are counted every 10 seconds, kept for a"
                " day, and every 5 minutes, kept for 90 days. A point of several samples is their"
                " average; of a step in which nobody looked there is no point. The most frequent"
                " 16 words stand by themselves, all others are `other`."
                f" An answer has at most {POINTS} points.",
            )
        }
    },
    schemas={
        "StatsHistory": record(
            {
                "step_s": COUNT,
                "points": several(
                    record(
                        {
                            "at": ref("Instant"),
                            "total": NUMBER,
                            "counts": tally(NUMBER),
                            "value": SUMS,
                        },
                        "value",
                    )
                ),
                "parts": said("what may be asked `by`", **several(TEXT)),
            }
        )
    },
)
