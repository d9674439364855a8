"""The REST API as OpenAPI 3.1: every address, what it takes and all that it may answer.

Hand-written: the contract that a test holds the routes to. The values themselves are in
``schema``; what can go wrong is told once for each status.
"""

from __future__ import annotations

from typing import Any

from lifesigns import __version__
from lifesigns.core.filter import WORDS
from lifesigns.core.presence import DETAILS, STATES
from lifesigns.core.request import WATCH_DETAILS
from lifesigns.web import example
from lifesigns.web.poll import LONGEST_S
from lifesigns.web.pulse import BULK, LISTED
from lifesigns.web.schema import NAME, SCHEMAS, Schema, record, ref, several
from lifesigns.workers.census import METADATA, PARTS

JSON_TYPE = "application/json"
EVENT_STREAM = "text/event-stream"
READING = (400, 401, 403, 404, 500, 503)
WRITING = (400, 401, 403, 404, 413, 415, 422, 500, 503)
RETRY_AFTER = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}}

# Status: the machine's word, what it is about, and an example of the sentence.
ERRORS = {
    400: ("bad_request", "Not JSON, not a map, a bad query or a bad id", "Not JSON."),
    401: ("unauthorized", "No key, or none that is good", "A key is needed."),
    403: ("forbidden", "The key or the origin may not do this", "This needs the root key."),
    404: ("not_found", "There is no such thing", "No agent 'a' was ever seen."),
    409: ("conflict", "What is stored does not allow it", "This token is a key already."),
    413: ("too_large", "The body is too large", "The body has at most 65536 bytes."),
    415: ("unsupported", "The content type is not JSON", "The body is JSON."),
    422: ("bad_value", "A field is of the wrong type or out of range", "task is a text."),
    429: ("rate_limited", "Too often; the lease was renewed", "At most 10 beats a second."),
    500: ("internal", "A fault of the hub; nothing is told of it", "Something went wrong here."),
    503: ("unavailable", "The store is away; try again", "The store is away."),
}


PREFIX = r"^[A-Za-z0-9._:@~-]{0,128}\*$"
LETTER_PATTERN = "^[0-9]{1,15}-[0-9]{1,15}-[A-Za-z0-9._:@~-]{1,128}$"


def _error(status: int) -> Schema:
    code, text, sentence = ERRORS[status]
    detail = [{"field": "task", "message": sentence}] if status == 422 else []
    sample = {"error": sentence, "code": code, "detail": detail}
    answer: Schema = {
        "description": text,
        "content": {JSON_TYPE: {"schema": ref("Error"), "example": sample}},
    }
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
    return answer | ({"headers": RETRY_AFTER} if status in (429, 503) else {})


def _operation(
    name: str,
    summary: str,
    answer: Schema,
    *failures: int,
    status: int = 200,
    takes: str | None = None,
    sample: Any = None,
    asks: tuple[Schema, ...] = (),
    keys: tuple[Schema, ...] | None = None,
    text: str = "",
) -> Schema:
    """Describe one method of one address; ``keys`` are the ways in, None: any key."""
    operation: Schema = {"operationId": name, "summary": summary}
    if text:
        operation["description"] = text
    parameters = [*asks, *([{"$ref": "#/components/parameters/Project"}] if keys is None else [])]
    if parameters:
        operation["parameters"] = parameters
    if takes is not None:
        content = {"schema": ref(takes)} | ({} if sample is None else {"example": sample})
        required = not {"required", "minProperties"}.isdisjoint(SCHEMAS[takes])
        operation["requestBody"] = {"required": required, "content": {JSON_TYPE: content}}
    operation["responses"] = {str(status): answer} | {
        str(each): {"$ref": f"#/components/responses/{each}"} for each in sorted(failures)
    }
    if keys is not None:
        operation["security"] = list(keys)
    return operation


def _answer(schema: Schema, text: str, sample: Any = None) -> Schema:
    content = {"schema": schema} | ({} if sample is None else {"example": sample})
    return {"description": text, "content": {JSON_TYPE: content}}


def _query(name: str, schema: Schema, text: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _path(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema}


AGENT = _path("id", ref("AgentId"))
OVERRIDDEN = _path("id", {"anyOf": [ref("AgentId"), {"type": "string", "pattern": PREFIX}]})
LETTER_ID = _path("id", {"type": "string", "pattern": LETTER_PATTERN})
KEY_ID = _path("id", {"type": "string", "minLength": 1})
PROJECT_NAME = _path("name", ref("ProjectName"))
EXPAND = _query("expand", {"enum": ["instances"]}, "spell the instances out")
TEXT: Schema = {"type": "string"}
PART: Schema = {"anyOf": [{"enum": list(PARTS)}, {"type": "string", "pattern": r"^metadata\."}]}
NO_KEY: tuple[Schema, ...] = ()
OPEN_ON_LOOPBACK: tuple[Schema, ...] = ({}, {"bearer": []}, {"api_key": []}, {"agent_token": []})

FILTER = (
    _query("ids", several(TEXT), "ids; * at the end matches a prefix"),
    _query("state", several({"enum": list(STATES)}), "then dead ones are shown too"),
    _query("capability", several(TEXT), "all of them are needed"),
    *(_query(word, several(TEXT), f"any of these as the {word}") for word in WORDS),
    _query("alive", {"enum": ["true", "false", "any"]}, "true unless a state is named"),
)
PAGING = (
    _query("limit", {"type": "integer", "minimum": 1, "maximum": LISTED}, "agents a page"),
    _query("after", TEXT, "the `next` of the page before"),
    _query("detail", {"enum": [*DETAILS, "counts"]}, "how much is told of each"),
    EXPAND,
)

PATHS: dict[str, Schema] = {
    "/v1/pulse": {
        "get": _operation(
            "listAgents",
            "List agents by id",
            _answer({"anyOf": [ref("Agents"), ref("Counts")]}, "Those that match", example.AGENTS),
            *READING,
            asks=(*FILTER, *PAGING),
            text="`metadata.<key>=<value>` asks for agents whose metadata has that value.",
        ),
        "post": _operation(
            "beatMany",
            f"Beat for up to {BULK} agents; a bad one harms no other",
            _answer(ref("Results"), "One result for each beat, in their order", example.RESULTS),
            *WRITING,
            takes="Beats",
            sample={"beats": [{"id": "search-agent", "status": "thinking"}]},
        ),
    },
    "/v1/pulse/{id}": {
        "put": _operation(
            "beat",
            "Beat once",
            _answer(ref("Recorded"), "The presence, after it was stored", example.RECORDED),
            *WRITING,
            429,
            takes="Beat",
            sample={"status": "thinking", "task": "processing user query", "ttl": 60},
            asks=(AGENT,),
            text="With a status, an absent task, progress or context is cleared; all else that is"
            " absent is unchanged. Without an instance it is that of the agent's only socket.",
        ),
        "get": _operation(
            "readAgent",
            "Read one presence",
            _answer({"anyOf": [ref("Seen"), ref("Lite")]}, "The presence", example.SEEN),
            *READING,
            asks=(AGENT, EXPAND, _query("detail", {"enum": [*DETAILS]}, "how much is told")),
        ),
        "delete": _operation(
            "removeAgent",
            "End all instances, or one",
            _answer({"anyOf": [ref("Presence"), ref("Forgotten")]}, "What is left"),
            *READING,
            asks=(
                AGENT,
                _query("instance", NAME, "only this one leaves"),
                _query("forget", {"enum": ["true", "false"]}, "drop its record too (admin)"),
            ),
        ),
    },
    "/v1/pulse/{id}/history": {
        "get": _operation(
            "readHistory",
            "Read an agent's last changes and its uptime",
            _answer(ref("History"), "Its past", example.HISTORY),
            *READING,
            asks=(AGENT,),
        )
    },
    "/v1/pulse/{id}/override": {
        "put": _operation(
            "override",
            "Say what counts before an agent's own word (admin)",
            _answer(
                {"anyOf": [ref("Presence"), ref("Overridden")]},
                "The presence; of a prefix how many it is about",
                example.OVERRIDDEN,
            ),
            *WRITING,
            409,
            takes="NewOverride",
            sample={"state": "draining", "why": "a new disk"},
            asks=(OVERRIDDEN,),
            text="An id that ends in `*` means all whose ids begin so. Those who come later are"
            " overridden as well, for as long as it stands; the longest prefix counts.",
        ),
        "get": _operation(
            "readOverride",
            "Read what an operator says of an agent, or of a prefix",
            _answer(ref("Overridden"), "It"),
            *READING,
            asks=(OVERRIDDEN,),
        ),
        "delete": _operation(
            "endOverride",
            "Let an agent's own word count again (admin)",
            _answer(
                {"anyOf": [ref("Presence"), ref("Overridden")]},
                "The presence; of a prefix how many it is about",
            ),
            *READING,
            409,
            asks=(OVERRIDDEN,),
        ),
    },
    "/v1/pulse/{id}/tell": {
        "post": _operation(
            "tell",
            "Tell an agent something: over its sockets, and in its inbox",
            _answer(ref("Letter"), "What lies in its inbox now", example.LETTER),
            *WRITING,
            status=201,
            takes="NewTell",
            sample={"message": {"text": "the index is new"}},
            asks=(AGENT,),
        )
    },
    "/v1/inbox": {
        "get": _operation(
            "readInbox",
            "Read what an agent was told and has not acknowledged; wait if that is nothing",
            _answer(ref("Letters"), "The oldest first, a hundred at most", example.LETTERS),
            *READING,
            asks=(
                _query("agent", ref("AgentId"), "whose; of a key that is tied to one, its own"),
                _query(
                    "after",
                    {"type": "string", "pattern": f"^$|{LETTER_PATTERN}"},
                    "the `next` of the answer before",
                ),
                _query(
                    "wait",
                    {"type": "integer", "minimum": 0, "maximum": LONGEST_S, "default": 0},
                    "for how many seconds",
                ),
            ),
        )
    },
    "/v1/inbox/{id}/ack": {
        "post": _operation(
            "acknowledge",
            "Take a message out of the inbox",
            _answer(ref("Done"), "It is not told again"),
            *READING,
            asks=(LETTER_ID,),
        )
    },
    "/v1/events": {
        "get": _operation(
            "watch",
            "Watch agents, as Server-Sent Events",
            {
                "description": "The frames of a watch as they come, each with its cursor as id",
                "content": {EVENT_STREAM: {"schema": TEXT}},
            },
            *READING,
            asks=(
                *(each for each in FILTER if each["name"] != "alive"),
                _query("alive", {"enum": ["true", "false", "any"]}, "any unless told"),
                _query("detail", {"enum": [*WATCH_DETAILS]}, "beats needs ids, 100 at most"),
                _query("since", TEXT, "a cursor from which to go on"),
                _query("ticket", TEXT, "in the place of a key"),
                {"name": "Last-Event-ID", "in": "header", "schema": TEXT},
            ),
        )
    },
    "/v1/check": {
        "post": _operation(
            "check",
            "Ask whether agents are alive, and how sure that is",
            _answer(ref("Checked"), "One entry for each id", example.CHECKED),
            *WRITING,
            takes="Check",
            sample={"agents": ["search-agent"], "within": 2000, "probe": True, "detail": "lite"},
        )
    },
    "/v1/keys": {
        "post": _operation(
            "createKey",
            "Make a key (admin)",
            _answer(ref("ShownKey"), "The key, shown only now", example.SHOWN_KEY),
            *WRITING,
            409,
            status=201,
            takes="NewKey",
            sample={"scope": "agent", "agent": "search-*"},
        ),
        "get": _operation(
            "listKeys",
            "List the project's keys, without their secrets (admin)",
            _answer(
                record({"keys": several(ref("Key"))}), "The oldest first", {"keys": [example.KEY]}
            ),
            *READING,
        ),
    },
    "/v1/keys/{id}": {
        "get": _operation(
            "readKey", "Read a key (admin)", _answer(ref("Key"), "It"), *READING, asks=(KEY_ID,)
        ),
        "delete": _operation(
            "revokeKey",
            "End a key; its sockets close within a second (admin)",
            _answer(ref("Done"), "It is no key any more"),
            *READING,
            409,
            asks=(KEY_ID,),
        ),
    },
    "/v1/projects": {
        "post": _operation(
            "createProject",
            "Make a project (root)",
            _answer(ref("Project"), "It"),
            *WRITING,
            409,
            status=201,
            takes="NewProject",
            sample={"name": "staging"},
        ),
        "get": _operation(
            "listProjects",
            "List the projects (root)",
            _answer(record({"projects": several(ref("Project"))}), "By name"),
            *READING,
        ),
    },
    "/v1/projects/{name}": {
        "get": _operation(
            "readProject",
            "Read a project (root)",
            _answer(ref("Project"), "It"),
            *READING,
            asks=(PROJECT_NAME,),
        ),
        "delete": _operation(
            "deleteProject",
            "Drop a project with its keys and agents (root)",
            _answer(ref("Done"), "It is gone"),
            *READING,
            409,
            asks=(PROJECT_NAME,),
        ),
    },
    "/v1/tickets": {
        "post": _operation(
            "createTicket",
            "Make a ticket that stands for this key for a while",
            _answer(ref("Ticket"), "The ticket, shown only now", example.TICKET),
            *WRITING,
            status=201,
            takes="NewTicket",
            sample={"for": "connect"},
        )
    },
    "/v1/login": {
        "post": _operation(
            "login",
            "Make a key of a login ticket",
            _answer(ref("ShownKey"), "A key of the same scope, for 12 hours"),
            *WRITING,
            takes="Login",
            keys=NO_KEY,
        )
    },
    "/v1/stats": {
        "get": _operation(
            "stats",
            "Count the fleet",
            _answer(ref("Stats"), "How it is now", example.STATS),
            *READING,
            asks=(
                _query("by", PART, f"one of {', '.join(PARTS)}, or {METADATA}<key>"),
                _query("value", TEXT, "a key of metadata whose numbers are added up"),
            ),
        )
    },
    "/livez": {
        "get": _operation(
            "livez", "Is the process up?", _answer(ref("Up"), "It is"), 403, 500, keys=NO_KEY
        )
    },
    "/readyz": {
        "get": _operation(
            "readyz",
            "Does it take work?",
            _answer(ref("Up"), "It does"),
            *(403, 500, 503),
            keys=NO_KEY,
        )
    },
    "/health": {
        "get": _operation(
            "health", "How is it?", _answer(ref("Health"), "Well"), 403, 500, keys=NO_KEY
        )
    },
    "/metrics": {
        "get": _operation(
            "metrics",
            "What Prometheus scrapes",
            {"description": "The metrics of this hub", "content": {"text/plain": {"schema": TEXT}}},
            *READING,
            keys=OPEN_ON_LOOPBACK,
        )
    },
    "/lifesigns.js": {
        "get": _operation(
            "javascript",
            "The client for browsers and others, as a module",
            {"description": "The module", "content": {"text/javascript": {"schema": TEXT}}},
            403,
            500,
            keys=NO_KEY,
        )
    },
    "/openapi.json": {
        "get": _operation(
            "describe",
            "This description",
            _answer({"type": "object"}, "It"),
            *READING,
            keys=OPEN_ON_LOOPBACK,
        )
    },
}
PATHS["/health"]["get"]["responses"]["503"] = _answer(
    ref("Health"), "The store is away; the hub lives"
) | {"headers": RETRY_AFTER}

DESCRIPTION: Schema = {
    "openapi": "3.1.0",
    "info": {
        "title": "Lifesigns",
        "version": __version__,
        "summary": "Who is alive, and who can take work",
        "description": "Agents beat, anyone with a key asks. The WebSocket is at `/v1/connect`."
        " Bounds are those of a hub with its default settings.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "security": [{"bearer": []}, {"api_key": []}, {"agent_token": []}],
    "paths": PATHS,
    "components": {
        "schemas": SCHEMAS,
        "responses": {str(status): _error(status) for status in ERRORS},
        "parameters": {
            "Project": {
                "name": "X-Lifesigns-Project",
                "in": "header",
                "schema": ref("ProjectName"),
                "description": "the project that the root key stands in; `default` unless named",
            }
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "agent_token": {"type": "apiKey", "in": "header", "name": "X-Agent-Token"},
        },
    },
}
