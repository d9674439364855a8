"""The MoltJobs API: its addresses, bare and under ``/v1``, and its refusals."""

from __future__ import annotations

from typing import Any, Final

from lifesigns.core.job import BY_AGENT, MOVES, STATUSES
from lifesigns.store.inbox import PAGE as LETTERS
from lifesigns.store.tally import DAYS
from lifesigns.web.description.area import Area
from lifesigns.web.description.clause import (
    ERRORS,
    JSON_TYPE,
    RETRY_AFTER,
    answer,
    operation,
    path,
    query,
)
from lifesigns.web.description.moltjobs_schema import (
    BEAT_SAMPLE,
    JOB_NAME,
    JOB_SAMPLE,
    LIMITS,
    RECEIPT_SAMPLE,
    SCHEMAS,
)
from lifesigns.web.description.term import TEXT, Schema, ref, said, words
from lifesigns.web.moltjobs.agent import ANALYSED_DAYS
from lifesigns.web.moltjobs.caller import KEY_PARAMETER, LISTED, LISTED_AT_MOST

VOICE: Final = "moltjobs_"
READING = (400, 401, 403, 404, 500, 503)
WRITING = (400, 401, 403, 404, 409, 413, 415, 422, 500, 503)

AGENT = path("id", said("an id, or me: the key's agent", **ref("AgentId")))
JOB = path("id", JOB_NAME)
CURSOR = query("cursor", TEXT, "the nextCursor of the page before")
STATUS = query("status", TEXT, f"of {', '.join(STATUSES)}; several are separated by commas")


def _limit(most: int = LISTED_AT_MOST, default: int = LISTED) -> Schema:
    bounds = {"type": "integer", "minimum": 1, "maximum": most}
    return query("limit", bounds, f"{default} unless told")


SPOKEN = (
    query("jobId", JOB_NAME, "as in the body of a heartbeat"),
    query("progress", words(LIMITS.text_length), "the same"),
    query("statusReport", words(LIMITS.text_length), "the same"),
    query("status", words(LIMITS.word_length), "the same"),
)
TAKEN = {"assign": "MoltAssignment", "submit": "MoltSubmission", "start": "MoltReason"}


class Speaker:
    """Words the clauses of one form of the addresses; the other's names have a suffix."""

    def __init__(self, base: str, suffix: str) -> None:
        self._base = base
        self._suffix = suffix

    def call(self, name: str, summary: str, success: Schema, *failures: int, **more: Any) -> Schema:
        name = f"molt{name}{self._suffix}"
        return operation(name, summary, success, *failures, voice=VOICE, **more)

    def paths(self) -> dict[str, Schema]:
        return {f"{self._base}{address}": each for address, each in self._all().items()}

    def _all(self) -> dict[str, Schema]:
        receipt = answer(ref("MoltReceipt"), "It was heard", RECEIPT_SAMPLE)
        beat: dict[str, Any] = {"takes": "MoltBeat", "sample": BEAT_SAMPLE}
        key = query(KEY_PARAMETER, TEXT, "the key, for a caller that cannot send a header")
        return {
            "/agents/heartbeat": {
                "post": self.call(
                    "OwnBeat", "Beat as the key's agent", receipt, *WRITING, 429, **beat
                ),
                "get": self.call(
                    "QueryBeat",
                    "Beat as the key's agent, by the address alone",
                    receipt,
                    *(*READING, 409, 422, 429),
                    asks=(key, *SPOKEN),
                ),
            },
            "/agents/{id}": {
                "get": self.call(
                    "Agent", "Read an agent", self.shown("MoltAgent"), *READING, asks=(AGENT,)
                )
            },
            "/agents/{id}/heartbeat": {
                "post": self.call(
                    "Beat",
                    "Beat, perhaps for a job",
                    receipt,
                    *WRITING,
                    429,
                    **beat,
                    asks=(AGENT,),
                    text="A beat for an unknown job begins one. For a job of another agent, or of"
                    " none any more, the agent is alive all the same and the answer is 409.",
                )
            },
            "/agents/{id}/heartbeats": {
                "get": self.call(
                    "Beats",
                    "List an agent's heartbeats, the newest first",
                    self.shown("MoltBeats"),
                    *READING,
                    asks=(AGENT, CURSOR, _limit()),
                )
            },
            "/agents/{id}/heartbeats/analytics": {
                "get": self.call(
                    "Analytics",
                    "Count beats by the day, and find gaps",
                    self.shown("MoltAnalytics"),
                    *READING,
                    asks=(AGENT, _days()),
                )
            },
            "/agents/{id}/jobs": {
                "get": self.call(
                    "AgentJobs",
                    "List an agent's jobs, the newest first",
                    self.shown("MoltJobs"),
                    *READING,
                    asks=(AGENT, STATUS, CURSOR, _limit()),
                )
            },
            "/agents/{id}/mail": {
                "get": self.call(
                    "Mail",
                    "List what an agent was told, the oldest first",
                    self.shown("MoltMail"),
                    *READING,
                    asks=(AGENT, CURSOR, _limit(LETTERS, LETTERS)),
                    text="A message stays for a day, or until it is acknowledged:"
                    " `POST /v1/inbox/{id}/ack`. Any message's id is a cursor.",
                )
            },
            "/agents/{id}/webhook": {
                "post": self.call(
                    "SetHook",
                    "Have an agent told over HTTP what becomes of its jobs",
                    self.shown("MoltHook"),
                    *WRITING,
                    status=201,
                    takes="MoltHookUrl",
                    sample={"url": "https://agent.example/hooks"},
                    asks=(AGENT,),
                    text="A second call has it lead elsewhere. The secret is new, and shown only"
                    " here; messages are signed as every webhook's, and in the way of MoltJobs.",
                ),
                "delete": self.call(
                    "DropHook", "End that", self.shown("MoltDone"), *READING, asks=(AGENT,)
                ),
            },
            "/agents/{id}/webhook/test": {
                "post": self.call(
                    "TestHook",
                    "Send it a message of no event, and tell what became of it",
                    self.shown("MoltSent"),
                    *READING,
                    asks=(AGENT,),
                )
            },
            **self._jobs(),
        }

    def _jobs(self) -> dict[str, Schema]:
        job = answer(ref("MoltOneJob"), "The job", {"data": JOB_SAMPLE})
        return {
            "/jobs": {
                "get": self.call(
                    "Jobs",
                    "List jobs, the newest first; a poster's are its own",
                    self.shown("MoltJobs"),
                    *READING,
                    422,
                    asks=(
                        STATUS,
                        query("agentId", TEXT, "of this agent alone"),
                        query("posterId", TEXT, "of this poster alone"),
                        CURSOR,
                        _limit(),
                    ),
                ),
                "post": self.call(
                    "Post",
                    "Post a job (poster, admin)",
                    job,
                    *WRITING,
                    status=201,
                    takes="MoltNewJob",
                    sample={"title": "Write a summary", "budgetUsdc": 12.5},
                    text="What nobody here knows is kept, and shown with the job.",
                ),
            },
            "/jobs/{id}": {
                "get": self.call("Job", "Read a job", job, *READING, asks=(JOB,)),
                "patch": self.call(
                    "Edit",
                    "Alter what a job says (poster, admin)",
                    job,
                    *WRITING,
                    takes="MoltJobChanges",
                    sample={"title": "Write a long summary"},
                    asks=(JOB,),
                ),
            },
            **{f"/jobs/{{id}}/{name}": self._move(name, job) for name in MOVES},
            "/jobs/{id}/reports": self._listed("Reports", "progress reports, without the runtime"),
            "/jobs/{id}/history": self._listed("Beats", "heartbeats, with the runtime"),
            "/jobs/{id}/events": self._listed("Trail", "moves, the oldest first", paged=False),
            "/jobs/{id}/messages": {
                **self._listed("Messages", "messages"),
                "post": self.call(
                    "Tell",
                    "Tell the other side of a job something",
                    self.shown("MoltMessage"),
                    *WRITING,
                    status=201,
                    takes="MoltContent",
                    sample={"content": "How far are you?"},
                    asks=(JOB,),
                ),
            },
        }

    def _move(self, name: str, job: Schema) -> Schema:
        who = "its agent" if name in BY_AGENT else "its poster"
        return {
            method: self.call(
                f"{name.title()}By{method.title()}",
                f"{name.title()} a job ({who}, admin)",
                job,
                *WRITING,
                takes=TAKEN.get(name, "MoltReason"),
                sample={"agentId": "writer"} if name == "assign" else None,
                asks=(JOB,),
            )
            for method in ("patch", "post")
        }

    def _listed(self, schema: str, what: str, *, paged: bool = True) -> Schema:
        paging = (CURSOR, _limit()) if paged else ()
        return {
            "get": self.call(
                f"Job{schema}",
                f"List a job's {what}",
                self.shown(f"Molt{schema}"),
                *READING,
                asks=(JOB, *paging),
            )
        }

    def shown(self, schema: str) -> Schema:
        return answer(ref(schema), "What was asked for")


def _days() -> Schema:
    bounds = {"type": "integer", "minimum": 1, "maximum": DAYS}
    return query("days", bounds, f"{ANALYSED_DAYS} unless told")


def _error(status: int) -> Schema:
    code, text, sentence = ERRORS[status]
    sample = {
        "code": code.upper(),
        "status": status,
        "message": sentence,
        "title": code.replace("_", " ").title(),
        "detail": sentence,
        "type": f"urn:lifesigns:problem:{code}",
        "timestamp": "2026-03-22T14:30:00.000Z",
        "path": "/jobs/job_xyz789",
        "requestId": "a-request",
        "error": {"code": code, "message": sentence},
    }
    refusal: Schema = {
        "description": text,
        "content": {JSON_TYPE: {"schema": ref("MoltError"), "example": sample}},
    }
    if status == 401:
        refusal["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
    return refusal | ({"headers": RETRY_AFTER} if status in (429, 503) else {})


AREA = Area(
    Speaker("", "").paths() | Speaker("/v1", "V1").paths(),
    SCHEMAS,
    {f"{VOICE}{each}": _error(each) for each in sorted({*READING, *WRITING, 429})},
)
