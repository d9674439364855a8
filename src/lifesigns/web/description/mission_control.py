"""The agents API of Mission Control: its addresses, its values and its refusals."""

from __future__ import annotations

from typing import Any

from lifesigns.core.enrolment import INTERVAL, TOLERANCE
from lifesigns.core.field import DAY_MS
from lifesigns.core.model import Limits
from lifesigns.core.workspace import NAMES
from lifesigns.dialects.mission_control import LISTED, PAGE, SHORTEST_INTERVAL_S
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
from lifesigns.web.description.term import (
    COUNT,
    FLAG,
    MAP,
    TEXT,
    Schema,
    nullable,
    record,
    ref,
    said,
    several,
    words,
)
from lifesigns.web.mission_control import DEEPEST

VOICE = "mission_control_"
LIMITS = Limits()
UUID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
NAMED: Schema = {"type": "string", "pattern": r"^[^\s\x00-\x1f\x7f-\x9f]{1,128}$"}
PACE: Schema = {"type": "number", "minimum": SHORTEST_INTERVAL_S, "maximum": DAY_MS / 1000}
TERM: Schema = {"type": "number", "minimum": LIMITS.min_ttl_s, "maximum": LIMITS.max_ttl_s}
STATUS = nullable(words(LIMITS.word_length, "any word; offline ends it"))

READING = (401, 403, 404, 422, 500, 503)
WRITING = (401, 403, 404, 409, 413, 415, 422, 500, 503)

AGENT_ID = "c91361ef-6d85-439c-82e1-8f388a302e6a"
BOARD_ID = "550e8400-e29b-41d4-a716-446655440000"
SAMPLE: dict[str, Any] = {
    "id": AGENT_ID,
    "gateway_id": "55cc268a-4b45-400f-accf-201e025232ac",
    "board_id": BOARD_ID,
    "name": "Bookkeeper",
    "status": "healthy",
    "gateway_agent_id": "agent-01KH0JQ5J8T2M4E9B7X3C6V1ZD",
    "workspace_path": f"/var/lib/lifesigns/workspace-mc-{AGENT_ID}",
    "is_mc_agent": True,
    "is_board_lead": False,
    "is_gateway_main": False,
    "openclaw_session_id": f"agent:mc-{AGENT_ID}:main",
    "heartbeat_config": {INTERVAL: 60, TOLERANCE: 120},
    "identity_profile": None,
    "identity_template": None,
    "soul_template": None,
    "last_seen_at": "2026-03-05T11:30:00.000Z",
    "created_at": "2026-03-01T08:00:00.000Z",
    "updated_at": "2026-03-05T11:30:00.000Z",
}
TERMS: Schema = {
    "type": "object",
    "properties": {INTERVAL: nullable(PACE), TOLERANCE: nullable(TERM)},
    "description": f"seconds: how often it should beat, and how long it may be silent; {INTERVAL}"
    f" is 60 and {TOLERANCE} 120 unless told",
}
SAID: Schema = {
    "name": NAMED,
    "board_id": nullable(UUID),
    "heartbeat_config": nullable(TERMS),
    "identity_profile": nullable(MAP),
    "identity_template": nullable(words(LIMITS.metadata_bytes)),
    "soul_template": nullable(words(LIMITS.metadata_bytes)),
    "is_board_lead": FLAG,
    "is_gateway_main": FLAG,
}

SCHEMAS: dict[str, Schema] = {
    "MissionAgent": record(
        {
            "id": said("the agent's UUID", **UUID),
            "gateway_id": said("this hub, for the project", **UUID),
            "board_id": nullable(UUID),
            "name": TEXT,
            "status": said("its own word while it is alive, else offline", **TEXT),
            "gateway_agent_id": TEXT,
            "workspace_path": nullable(TEXT),
            "is_mc_agent": said("whether it is enrolled here, or speaks another API", **FLAG),
            "is_board_lead": FLAG,
            "is_gateway_main": FLAG,
            "openclaw_session_id": TEXT,
            "heartbeat_config": MAP,
            "identity_profile": nullable(MAP),
            "identity_template": nullable(TEXT),
            "soul_template": nullable(TEXT),
            "last_seen_at": nullable(TIME),
            "created_at": TIME,
            "updated_at": TIME,
        }
    ),
    "MissionAgents": record(
        {"items": several(ref("MissionAgent")), "total": COUNT, "limit": COUNT, "offset": COUNT}
    ),
    "MissionBootstrap": record(
        {"name": NAMED, "board_id": nullable(UUID), "status": STATUS}, "board_id", "status"
    ),
    "MissionHeartbeat": record({"status": STATUS}, "status"),
    "MissionNewAgent": record(SAID, *(name for name in SAID if name != "name")),
    "MissionChanges": record(SAID, *SAID),
    "MissionHealth": record(
        {
            "ok": {"const": True},
            "agent_id": UUID,
            "board_id": nullable(UUID),
            "gateway_id": UUID,
            "status": TEXT,
            "is_board_lead": FLAG,
        }
    ),
    "MissionToken": record({"ok": {"const": True}, "agent_id": UUID, "token": TEXT}),
    "MissionDeleted": record({"ok": {"const": True}}),
    "MissionEvent": record(
        {
            "id": UUID,
            "event_type": {"const": "agent.heartbeat"},
            "message": TEXT,
            "agent_id": UUID,
            "board_id": nullable(UUID),
            "created_at": TIME,
        }
    ),
    "MissionActivity": record(
        {"items": several(ref("MissionEvent")), "total": COUNT, "limit": COUNT, "offset": COUNT}
    ),
    "MissionError": record(
        {
            "detail": {
                "anyOf": [
                    TEXT,
                    several(
                        record(
                            {
                                "type": TEXT,
                                "loc": several({"type": ["string", "integer"]}),
                                "msg": TEXT,
                                "input": {},
                            }
                        )
                    ),
                ]
            },
            "request_id": said("that of the request, if it had one in X-Request-Id", **TEXT),
        }
    ),
}

AGENT = path("agent_id", said("an id, or a UUID", type="string", minLength=1))
BOARD = query("board_id", UUID, "of this board alone")
LIMIT = query("limit", {"type": "integer", "minimum": 1, "maximum": LISTED}, f"{PAGE} unless told")


def _offset(deepest: int) -> Schema:
    bounds = {"type": "integer", "minimum": 0, "maximum": deepest}
    return query("offset", bounds, "how many to skip")


def _shown(text: str) -> Schema:
    return answer(ref("MissionAgent"), text, SAMPLE)


def _call(name: str, summary: str, success: Schema, *failures: int, **more: Any) -> Schema:
    return operation(f"mission{name}", summary, success, *failures, voice=VOICE, **more)


LISTING = (
    BOARD,
    query("gateway_id", UUID, "of this gateway alone"),
    query("is_mc_agent", FLAG, "those that are enrolled here, or the others"),
    LIMIT,
    _offset(1_000_000_000),
)


def _list(name: str) -> Schema:
    page = {"items": [SAMPLE], "total": 1, "limit": PAGE, "offset": 0}
    shown = answer(ref("MissionAgents"), "A page of them", page)
    summary = "List agents, of other APIs too, the newest first"
    return _call(name, summary, shown, *READING, asks=LISTING)


PATHS: dict[str, Schema] = {
    "/api/v1/agents/heartbeat": {
        "post": _call(
            "Bootstrap",
            "Beat by name; an agent that is not there is enrolled",
            _shown("The agent"),
            *WRITING,
            429,
            takes="MissionBootstrap",
            sample={"name": "Bookkeeper", "board_id": BOARD_ID, "status": "healthy"},
            text="A key that is tied to an agent beats that one, whatever the name. A new agent"
            " gets a key of its own and a workspace with commands that run as they stand.",
        )
    },
    "/api/v1/agents/{agent_id}/heartbeat": {
        "post": _call(
            "Beat",
            "Beat for an agent that is there",
            _shown("The agent"),
            *WRITING,
            429,
            takes="MissionHeartbeat",
            sample={"status": "degraded"},
            asks=(AGENT,),
        )
    },
    "/api/v1/agent/heartbeat": {
        "post": _call(
            "OwnBeat",
            "Beat as the key's agent",
            _shown("The agent"),
            *WRITING,
            429,
            takes="MissionHeartbeat",
            sample={},
        )
    },
    "/api/v1/agent/healthz": {
        "get": _call(
            "Health",
            "How the key's agent stands",
            answer(ref("MissionHealth"), "It"),
            *READING,
        )
    },
    "/api/v1/agent/agents": {"get": _list("Peers")},
    "/api/v1/agents": {
        "get": _list("List"),
        "post": _call(
            "Create",
            "Enrol an agent before its first heartbeat",
            _shown("The agent"),
            *WRITING,
            takes="MissionNewAgent",
            sample={"name": "Bookkeeper", "heartbeat_config": {TOLERANCE: 300}},
        ),
    },
    "/api/v1/agents/stream": {
        "get": _call(
            "Stream",
            "Hear of each agent that changes or goes, as Server-Sent Events",
            {
                "description": 'Events of the type agent, whose data is `{"agent": …}`',
                "content": {"text/event-stream": {"schema": TEXT}},
            },
            *READING,
            asks=(
                BOARD,
                query("since", TIME, "first those that changed since then"),
                query("ticket", TEXT, "in the place of a key"),
            ),
        )
    },
    "/api/v1/agents/{agent_id}": {
        "get": _call("Read", "Read an agent", _shown("It"), *READING, asks=(AGENT,)),
        "patch": _call(
            "Alter",
            "Alter what is kept of an agent (admin); its status comes with heartbeats alone",
            _shown("The agent"),
            *WRITING,
            takes="MissionChanges",
            sample={"heartbeat_config": {INTERVAL: 30, TOLERANCE: 90}},
            asks=(AGENT,),
        ),
        "delete": _call(
            "Delete",
            "Forget an agent, and end its key (admin)",
            answer(ref("MissionDeleted"), "It is gone"),
            *READING,
            409,
            asks=(AGENT,),
        ),
    },
    "/api/v1/agents/{agent_id}/token": {
        "post": _call(
            "Token",
            "Give an agent a new key; its former one ends",
            answer(ref("MissionToken"), "The key, which is not shown again"),
            *READING,
            409,
            asks=(AGENT,),
        )
    },
    "/api/v1/agents/{agent_id}/files/{name}": {
        "get": _call(
            "File",
            "Read a file of an agent's workspace",
            {
                "description": "The text. The key stands in TOOLS.md the first time that the key by"
                " which the agent was enrolled reads it, within a day",
                "content": {"text/markdown": {"schema": TEXT}},
            },
            *READING,
            asks=(AGENT, path("name", {"enum": [*NAMES]})),
        )
    },
    "/api/v1/activity": {
        "get": _call(
            "Activity",
            "List the heartbeats of all agents of this API, the newest first",
            answer(ref("MissionActivity"), "A page of them"),
            *READING,
            asks=(LIMIT, _offset(DEEPEST)),
        )
    },
}


def _error(status: int) -> Schema:
    _, text, sentence = ERRORS[status]
    detail: Any = "Unauthorized" if status == 401 else sentence
    if status == 422:
        text = "It does not validate: not JSON, a field that is missing or wrong, a bad query"
        loc = ["body", "name"]
        detail = [{"type": "missing", "loc": loc, "msg": "Field required", "input": {}}]
    sample = {"detail": detail, "request_id": "a-request"}
    refusal: Schema = {
        "description": text,
        "content": {JSON_TYPE: {"schema": ref("MissionError"), "example": sample}},
    }
    return refusal | ({"headers": RETRY_AFTER} if status in (429, 503) else {})


AREA = Area(
    PATHS, SCHEMAS, {f"{VOICE}{each}": _error(each) for each in sorted({*READING, *WRITING, 429})}
)
