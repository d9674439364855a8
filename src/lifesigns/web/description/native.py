"""Our own REST API: every address, what it takes and all that it may answer.

The values themselves are in ``schema``, the wording of a clause in ``clause``.
"""

from __future__ import annotations

from lifesigns.core.filter import WORDS
from lifesigns.core.presence import DETAILS, STATES
from lifesigns.core.request import WATCH_DETAILS
from lifesigns.core.tally import METADATA, PARTS
from lifesigns.web.description import example
from lifesigns.web.description.area import Area
from lifesigns.web.description.clause import (
    ERRORS,
    READING,
    RETRY_AFTER,
    WRITING,
    answer,
    error,
    operation,
    path,
    query,
)
from lifesigns.web.description.schema import NAME, SCHEMAS
from lifesigns.web.description.term import TEXT, Schema, record, ref, several
from lifesigns.web.poll import LONGEST_S
from lifesigns.web.pulse import BULK, LISTED

EVENT_STREAM = "text/event-stream"
PREFIX = r"^[A-Za-z0-9._:@~-]{0,128}\*$"
CLAIM_PATTERN = "^[A-Za-z0-9]{1,12}@[A-Za-z0-9._:@~-]{1,128}$"
LETTER_PATTERN = "^[0-9]{1,15}-[0-9]{1,15}-[A-Za-z0-9._:@~-]{1,128}$"

AGENT = path("id", ref("AgentId"))
OVERRIDDEN = path("id", {"anyOf": [ref("AgentId"), {"type": "string", "pattern": PREFIX}]})
LETTER_ID = path("id", {"type": "string", "pattern": LETTER_PATTERN})
CLAIM_ID = path("id", {"type": "string", "pattern": CLAIM_PATTERN})
KEY_ID = path("id", {"type": "string", "minLength": 1})
PROJECT_NAME = path("name", ref("ProjectName"))
EXPAND = query("expand", {"enum": ["instances"]}, "spell the instances out")
PART: Schema = {"anyOf": [{"enum": list(PARTS)}, {"type": "string", "pattern": r"^metadata\."}]}
NO_KEY: tuple[Schema, ...] = ()
OPEN_ON_LOOPBACK: tuple[Schema, ...] = ({}, {"bearer": []}, {"api_key": []}, {"agent_token": []})

FILTER = (
    query("ids", several(TEXT), "ids; * at the end matches a prefix"),
    query("state", several({"enum": list(STATES)}), "then dead ones are shown too"),
    query("capability", several(TEXT), "all of them are needed"),
    *(query(word, several(TEXT), f"any of these as the {word}") for word in WORDS),
    query("alive", {"enum": ["true", "false", "any"]}, "true unless a state is named"),
)
PAGING = (
    query("limit", {"type": "integer", "minimum": 1, "maximum": LISTED}, "agents a page"),
    query("after", TEXT, "the `next` of the page before"),
    query("detail", {"enum": [*DETAILS, "counts"]}, "how much is told of each"),
    EXPAND,
)

PATHS: dict[str, Schema] = {
    "/v1/pulse": {
        "get": operation(
            "listAgents",
            "List agents by id",
            answer({"anyOf": [ref("Agents"), ref("Counts")]}, "Those that match", example.AGENTS),
            *READING,
            asks=(*FILTER, *PAGING),
            text="`metadata.<key>=<value>` asks for agents whose metadata has that value.",
        ),
        "post": operation(
            "beatMany",
            f"Beat for up to {BULK} agents; a bad one harms no other",
            answer(ref("Results"), "One result for each beat, in their order", example.RESULTS),
            *WRITING,
            takes="Beats",
            sample={"beats": [{"id": "search-agent", "status": "thinking"}]},
        ),
    },
    "/v1/pulse/{id}": {
        "put": operation(
            "beat",
            "Beat once",
            answer(ref("Recorded"), "The presence, after it was stored", example.RECORDED),
            *WRITING,
            429,
            takes="Beat",
            sample={"status": "thinking", "task": "processing user query", "ttl": 60},
            asks=(AGENT,),
            text="With a status, an absent task, progress or context is cleared; all else that is"
            " absent is unchanged. Without an instance it is that of the agent's only socket.",
        ),
        "get": operation(
            "readAgent",
            "Read one presence",
            answer({"anyOf": [ref("Seen"), ref("Lite")]}, "The presence", example.SEEN),
            *READING,
            asks=(AGENT, EXPAND, query("detail", {"enum": [*DETAILS]}, "how much is told")),
        ),
        "delete": operation(
            "removeAgent",
            "End all instances, or one",
            answer({"anyOf": [ref("Presence"), ref("Forgotten")]}, "What is left"),
            *READING,
            asks=(
                AGENT,
                query("instance", NAME, "only this one leaves"),
                query("forget", {"enum": ["true", "false"]}, "drop its record too (admin)"),
            ),
        ),
    },
    "/v1/pulse/{id}/history": {
        "get": operation(
            "readHistory",
            "Read an agent's last changes and its uptime",
            answer(ref("History"), "Its past", example.HISTORY),
            *READING,
            asks=(AGENT,),
        )
    },
    "/v1/pulse/{id}/override": {
        "put": operation(
            "override",
            "Say what counts before an agent's own word (admin)",
            answer(
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
        "get": operation(
            "readOverride",
            "Read what an operator says of an agent, or of a prefix",
            answer(ref("Overridden"), "It"),
            *READING,
            asks=(OVERRIDDEN,),
        ),
        "delete": operation(
            "endOverride",
            "Let an agent's own word count again (admin)",
            answer(
                {"anyOf": [ref("Presence"), ref("Overridden")]},
                "The presence; of a prefix how many it is about",
            ),
            *READING,
            409,
            asks=(OVERRIDDEN,),
        ),
    },
    "/v1/pulse/{id}/tell": {
        "post": operation(
            "tell",
            "Tell an agent something: over its sockets, and in its inbox",
            answer(ref("Letter"), "What lies in its inbox now", example.LETTER),
            *WRITING,
            status=201,
            takes="NewTell",
            sample={"message": {"text": "the index is new"}},
            asks=(AGENT,),
        )
    },
    "/v1/inbox": {
        "get": operation(
            "readInbox",
            "Read what an agent was told and has not acknowledged; wait if that is nothing",
            answer(ref("Letters"), "The oldest first, a hundred at most", example.LETTERS),
            *READING,
            asks=(
                query("agent", ref("AgentId"), "whose; of a key that is tied to one, its own"),
                query(
                    "after",
                    {"type": "string", "pattern": f"^$|{LETTER_PATTERN}"},
                    "the `next` of the answer before",
                ),
                query(
                    "wait",
                    {"type": "integer", "minimum": 0, "maximum": LONGEST_S, "default": 0},
                    "for how many seconds",
                ),
            ),
        )
    },
    "/v1/inbox/{id}/ack": {
        "post": operation(
            "acknowledge",
            "Take a message out of the inbox",
            answer(ref("Done"), "It is not told again"),
            *READING,
            asks=(LETTER_ID,),
        )
    },
    "/v1/events": {
        "get": operation(
            "watch",
            "Watch agents, as Server-Sent Events",
            {
                "description": "The frames of a watch as they come, each with its cursor as id",
                "content": {EVENT_STREAM: {"schema": TEXT}},
            },
            *READING,
            asks=(
                *(each for each in FILTER if each["name"] != "alive"),
                query("alive", {"enum": ["true", "false", "any"]}, "any unless told"),
                query("detail", {"enum": [*WATCH_DETAILS]}, "beats needs ids, 100 at most"),
                query("since", TEXT, "a cursor from which to go on"),
                query("ticket", TEXT, "in the place of a key"),
                {"name": "Last-Event-ID", "in": "header", "schema": TEXT},
            ),
        )
    },
    "/v1/check": {
        "post": operation(
            "check",
            "Ask whether agents are alive, and how sure that is",
            answer(ref("Checked"), "One entry for each id", example.CHECKED),
            *WRITING,
            takes="Check",
            sample={"agents": ["search-agent"], "within": 2000, "probe": True, "detail": "lite"},
        )
    },
    "/v1/pick": {
        "post": operation(
            "pick",
            "Name agents that could be claimed now: a dry run of a claim",
            answer(ref("Picked"), "As many as there are, drawn from the best", example.PICKED),
            *WRITING,
            takes="NewPick",
            sample={"filter": {"capability": ["search"]}, "n": 1, "detail": "lite"},
        )
    },
    "/v1/claims": {
        "post": operation(
            "claim",
            "Reserve a slot of a living agent, in one step with the check that it takes work",
            answer(ref("Claimed"), "The claim, and the presence with it", example.CLAIMED),
            *WRITING,
            409,
            status=201,
            takes="NewClaim",
            sample={"filter": {"capability": ["search"]}, "ttl": 60, "note": "job 7"},
            text="Of those who match it is one of the best eight: the fewest claims, then the"
            " longest idle. The holder is the key, and the claim ends with its time.",
        ),
        "get": operation(
            "listClaims",
            "List the claims that are held",
            answer(
                record({"claims": several(ref("Claim"))}),
                "The oldest first",
                {"claims": [example.CLAIM]},
            ),
            *READING,
            asks=(query("agent", ref("AgentId"), "only those on this agent"),),
        ),
    },
    "/v1/claims/{id}": {
        "put": operation(
            "renewClaim",
            "Let a claim last longer, from now on",
            answer(ref("Claim"), "It", example.CLAIM),
            *WRITING,
            409,
            takes="Renewal",
            sample={"ttl": 60},
            asks=(CLAIM_ID,),
        ),
        "delete": operation(
            "releaseClaim",
            "Let a claim go; an admin may release any",
            answer(ref("Released"), "The slot is free"),
            *READING,
            409,
            asks=(CLAIM_ID,),
        ),
    },
    "/v1/keys": {
        "post": operation(
            "createKey",
            "Make a key (admin)",
            answer(ref("ShownKey"), "The key, shown only now", example.SHOWN_KEY),
            *WRITING,
            409,
            status=201,
            takes="NewKey",
            sample={"scope": "agent", "agent": "search-*"},
        ),
        "get": operation(
            "listKeys",
            "List the project's keys, without their secrets (admin)",
            answer(
                record({"keys": several(ref("Key"))}), "The oldest first", {"keys": [example.KEY]}
            ),
            *READING,
        ),
    },
    "/v1/keys/{id}": {
        "get": operation(
            "readKey", "Read a key (admin)", answer(ref("Key"), "It"), *READING, asks=(KEY_ID,)
        ),
        "delete": operation(
            "revokeKey",
            "End a key; its sockets close within a second (admin)",
            answer(ref("Done"), "It is no key any more"),
            *READING,
            409,
            asks=(KEY_ID,),
        ),
    },
    "/v1/projects": {
        "post": operation(
            "createProject",
            "Make a project (root)",
            answer(ref("Project"), "It"),
            *WRITING,
            409,
            status=201,
            takes="NewProject",
            sample={"name": "staging"},
        ),
        "get": operation(
            "listProjects",
            "List the projects (root)",
            answer(record({"projects": several(ref("Project"))}), "By name"),
            *READING,
        ),
    },
    "/v1/projects/{name}": {
        "get": operation(
            "readProject",
            "Read a project (root)",
            answer(ref("Project"), "It"),
            *READING,
            asks=(PROJECT_NAME,),
        ),
        "delete": operation(
            "deleteProject",
            "Drop a project with its keys and agents (root)",
            answer(ref("Done"), "It is gone"),
            *READING,
            409,
            asks=(PROJECT_NAME,),
        ),
    },
    "/v1/tickets": {
        "post": operation(
            "createTicket",
            "Make a ticket that stands for this key for a while",
            answer(ref("Ticket"), "The ticket, shown only now", example.TICKET),
            *WRITING,
            status=201,
            takes="NewTicket",
            sample={"for": "connect"},
        )
    },
    "/v1/login": {
        "post": operation(
            "login",
            "Make a key of a login ticket",
            answer(ref("ShownKey"), "A key of the same scope, for 12 hours"),
            *WRITING,
            takes="Login",
            keys=NO_KEY,
        )
    },
    "/v1/stats": {
        "get": operation(
            "stats",
            "Count the fleet",
            answer(ref("Stats"), "How it is now", example.STATS),
            *READING,
            asks=(
                query("by", PART, f"one of {', '.join(PARTS)}, or {METADATA}<key>"),
                query("value", TEXT, "a key of metadata whose numbers are added up"),
            ),
        )
    },
    "/v1/connect": {
        "get": operation(
            "connect",
            "Open a WebSocket",
            {"description": "A WebSocket; a key that is not good is told by its closing code"},
            *(400, 403, 503),
            status=101,
        )
    },
    "/livez": {
        "get": operation(
            "livez", "Is the process up?", answer(ref("Up"), "It is"), 403, 500, keys=NO_KEY
        )
    },
    "/readyz": {
        "get": operation(
            "readyz",
            "Does it take work?",
            answer(ref("Up"), "It does"),
            *(403, 500, 503),
            keys=NO_KEY,
        )
    },
    "/health": {
        "get": operation(
            "health", "How is it?", answer(ref("Health"), "Well"), 403, 500, keys=NO_KEY
        )
    },
    "/metrics": {
        "get": operation(
            "metrics",
            "What Prometheus scrapes",
            {"description": "The metrics of this hub", "content": {"text/plain": {"schema": TEXT}}},
            *READING,
            keys=OPEN_ON_LOOPBACK,
        )
    },
    "/openapi.json": {
        "get": operation(
            "describe",
            "This description",
            answer({"type": "object"}, "It"),
            *READING,
            keys=OPEN_ON_LOOPBACK,
        )
    },
}
PATHS["/health"]["get"]["responses"]["503"] = answer(
    ref("Health"), "The store is away; the hub lives"
) | {"headers": RETRY_AFTER}

AREA = Area(PATHS, SCHEMAS, {str(status): error(status) for status in ERRORS})
