"""What goes over HTTP in our own API, as JSON Schema: the named parts of the description.

Hand-written, because it is the contract and not whatever the code happens to do; only bounds that
are settings come from their defaults. It must not know which address takes or answers what.
"""

from __future__ import annotations

from lifesigns.core.access import RESERVED_IDS, SCOPES
from lifesigns.core.evidence import ANSWERED, NO_ANSWER, NO_SOCKET
from lifesigns.core.filter import WORDS
from lifesigns.core.letter import KINDS
from lifesigns.core.model import Limits
from lifesigns.core.presence import HINTS, KIND_NAMES, OVERRIDES, STATES
from lifesigns.core.request import (
    CLAIM_TTL_S,
    LONGEST_CLAIM_TTL_S,
    LONGEST_WAIT_S,
    MOST_PICKED,
)
from lifesigns.store.registry import TICKETS
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
from lifesigns.web.pulse import BULK

LIMITS = Limits()

# A name is shown and stored as it is, so that it has no control characters.
NAME: Schema = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f-\x9f]{1,128}$"}
TTL: Schema = {
    "type": "number",
    "minimum": LIMITS.min_ttl_s,
    "maximum": LIMITS.max_ttl_s,
    "description": "seconds; one once given stays until another is given",
}
BULKY = f"at most {LIMITS.metadata_bytes} bytes and {LIMITS.metadata_depth} levels"

# What an agent may say of itself. Absent is unchanged, null is cleared.
DESCRIBING: Schema = {
    "status": nullable(words(LIMITS.word_length, "the agent's own word, kept verbatim")),
    "state": nullable({"enum": list(HINTS), "description": "a hint that counts before the status"}),
    "task": nullable(words(LIMITS.text_length)),
    "progress": {
        "type": ["string", "object", "null"],
        "maxLength": LIMITS.text_length,
        "properties": {"note": {}, "done": {}, "total": {}},
        "description": f"a map, {BULKY}; a text is its note",
    },
    "progress_ttl": nullable(
        {
            "type": "number",
            "minimum": 0.1,
            "maximum": LIMITS.max_ttl_s,
            "description": "seconds without progress after which a busy agent is stalled",
        }
    ),
    "busy_until": nullable(ref("Instant")),
    "busy_for": nullable({"type": "number", "minimum": 0, "maximum": 86_400}),
    "metadata": nullable(MAP | {"description": f"replaced whole; {BULKY}"}),
    "context": said(f"any value, {BULKY}"),
    "capabilities": nullable(several(words(LIMITS.word_length), maxItems=LIMITS.capabilities)),
    "slots": nullable(
        COUNT | {"maximum": LIMITS.slots, "description": "1 unless told; 0 is never claimed"}
    ),
    "did": nullable(words(LIMITS.text_length)),
    "name": nullable(words(LIMITS.word_length)),
    "group": nullable(words(LIMITS.word_length)),
    "host": nullable(words(LIMITS.word_length)),
    "version": nullable(words(LIMITS.word_length)),
}
BEAT: Schema = {
    **DESCRIBING,
    "instance": nullable(NAME),
    "ttl": nullable(TTL),
}
LITE: Schema = {
    "id": ref("AgentId"),
    "name": nullable(TEXT),
    "state": ref("State"),
    "status": nullable(TEXT),
    "dialect": TEXT,
    "group": nullable(TEXT),
    "capabilities": several(TEXT),
    "alive": FLAG,
    "epoch": TEXT,
    "seq": COUNT | {"description": "with the epoch it only grows, for one agent"},
}
INSTANCE: Schema = {
    "instance": TEXT,
    "state": ref("State"),
    "status": nullable(TEXT),
    "task": nullable(TEXT),
    "progress": nullable(MAP),
    "metadata": nullable(MAP),
    "capabilities": several(TEXT),
    "slots": COUNT,
    "host": nullable(TEXT),
    "version": nullable(TEXT),
    "ttl": NUMBER,
    "last_heartbeat": ref("Instant"),
    "expires_at": nullable(ref("Instant")),
    "last_progress": ref("Instant"),
    "progress_ttl": nullable(NUMBER),
    "stalls_at": said("when it stalls without progress until then", **nullable(ref("Instant"))),
    "started_at": ref("Instant"),
}
PRESENCE: Schema = {
    **LITE,
    "agent_id": ref("AgentId"),
    "uuid": {"type": "string", "format": "uuid"},
    "task": nullable(TEXT),
    "progress": nullable(MAP),
    "context": {},
    "metadata": nullable(MAP),
    "slots": COUNT,
    "claims": COUNT,
    "free_slots": COUNT,
    "did": nullable(TEXT),
    "host": nullable(TEXT),
    "version": nullable(TEXT),
    "override": nullable(ref("Override")),
    "last_heartbeat": ref("Instant"),
    "expires_at": nullable(ref("Instant")),
    "held": said("its lease has run out while the store or the sweep was away", **FLAG),
    "last_progress": ref("Instant"),
    "busy_until": nullable(ref("Instant")),
    "next_active_at": nullable(ref("Instant")),
    "online_since": nullable(ref("Instant")),
    "offline_since": nullable(ref("Instant")),
    "reason": nullable({"enum": ["left", "expired", "disconnected", "node_lost", "revoked"]}),
    "reason_text": nullable(TEXT),
    "instances": {
        "anyOf": [COUNT, several(ref("Instance"))],
        "description": "how many; with expand=instances what they are",
    },
    "instance_states": tally(COUNT),
}
EVIDENCE: Schema = {
    "known": FLAG | {"description": "false: it was never seen"},
    "evidence_age_ms": nullable(COUNT),
    "valid_for_ms": COUNT,
    "fresh": FLAG | {"description": "whether the evidence is as young as `within` asks"},
    "probed": {"enum": [None, ANSWERED, NO_ANSWER, NO_SOCKET]},
}
PASSAGE: Schema = {
    "kind": {"enum": sorted(KIND_NAMES.values())},
    "at": ref("Instant"),
    "was": nullable(ref("State")),
    "state": ref("State"),
    "status": nullable(TEXT),
    "task": nullable(TEXT),
    "progress": nullable(MAP),
    "context": {},
    "reason": nullable(TEXT),
    "reason_text": nullable(TEXT),
    "epoch": TEXT,
    "seq": COUNT,
    "downtime_ms": said("of the kind online: how long it was away", **nullable(COUNT)),
    "for_ms": said("of the kind recovered: how long it was not well", **COUNT),
}
LETTER: Schema = {
    "id": TEXT,
    "kind": {"enum": list(KINDS)},
    "type": {"enum": list(KINDS)},
    "at": ref("Instant"),
}
CLAIMED: Schema = {
    "claim": said("its id, by which it is renewed and released", **TEXT),
    "agent": ref("AgentId"),
    "instance": TEXT,
    "fence": COUNT | {"description": "greater than that of any claim on the agent before"},
    "note": nullable(TEXT),
    "expires_at": ref("Instant"),
    "presence": ref("Presence"),
}
CLAIM: Schema = {name: part for name, part in CLAIMED.items() if name != "presence"} | {
    "by": said("the agent or the key that holds it", **TEXT),
    "ttl": NUMBER,
    "claimed_at": ref("Instant"),
}
CLAIM_TTL: Schema = nullable(
    {
        "type": "number",
        "minimum": 1,
        "maximum": LONGEST_CLAIM_TTL_S,
        "description": f"seconds; {CLAIM_TTL_S} unless told, or as long as before",
    }
)
LIST: Schema = {"anyOf": [TEXT, several(TEXT, maxItems=1_000), {"type": "null"}]}
A_STATE: Schema = {"enum": list(STATES)}
FILTER: Schema = {
    **dict.fromkeys(("ids", "capability", *WORDS), LIST),
    "state": {"anyOf": [A_STATE, several(A_STATE, maxItems=1_000), {"type": "null"}]},
    "metadata": nullable(MAP),
    "alive": nullable(FLAG),
}
PICK: Schema = {
    "filter": nullable(ref("Filter")),
    "n": nullable({"type": "integer", "minimum": 1, "maximum": MOST_PICKED}),
    "detail": {"enum": ["full", "lite", None]},
}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
KEY: Schema = {
    "id": TEXT,
    "project": ref("ProjectName"),
    "scope": ref("Scope"),
    "agent": nullable(TEXT),
    "poster": nullable(TEXT),
    "name": nullable(TEXT),
    "created_at": ref("Instant"),
    "expires_at": nullable(ref("Instant")),
}
NODE: Schema = {"id": TEXT, "agents": COUNT, "lag_ms": NUMBER, "since": ref("Instant")}
STATS: Schema = {
    "alive": COUNT,
    "total": COUNT,
    "states": tally(COUNT),
    "dialects": tally(COUNT),
    "beats_per_s": NUMBER,
    "changes_per_s": NUMBER,
    "claims": COUNT,
    "watchers": COUNT,
    "nodes": several(record(NODE)),
    "held_until": nullable(ref("Instant")),
    "store": record({"ok": FLAG, "ping_ms": NUMBER}),
    "counts": tally(COUNT),
    "value": record(
        {each: nullable(NUMBER) for each in ("sum", "avg", "min", "max")} | {"n": COUNT}
    ),
}

SCHEMAS: dict[str, Schema] = {
    "AgentId": {
        "type": "string",
        "pattern": "^[A-Za-z0-9._:@~-]{1,128}$",
        "not": {"enum": sorted(RESERVED_IDS)},
    },
    "Instant": {
        "type": "string",
        "format": "date-time",
        "description": "UTC with milliseconds where the hub says it; any offset where it is told",
        "examples": ["2026-03-22T14:30:00.000Z"],
    },
    "State": {"enum": list(STATES)},
    "Scope": {"enum": list(SCOPES)},
    "ProjectName": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
    "Error": record(
        {
            "error": said("a sentence that a person understands", **TEXT),
            "code": said("the machine's word for it", **TEXT),
            "detail": several(record({"field": TEXT, "message": TEXT})),
        }
    ),
    "Beat": record(BEAT, *BEAT),
    "Beats": record(
        {"beats": several({"allOf": [record({"id": TEXT}), ref("Beat")]}, maxItems=BULK)}
    ),
    "Instance": record(INSTANCE),
    "Lite": record(LITE),
    "Presence": record(PRESENCE),
    "Seen": {
        "allOf": [
            ref("Presence"),
            record({"last_seen": ref("Instant"), "last_pulse": ref("Instant")}),
        ],
        "description": "a presence, with the names that pulse clients know for its last heartbeat",
    },
    "Recorded": {
        "allOf": [ref("Seen"), record({"ok": {"const": True}, "recorded_at": ref("Instant")})]
    },
    "Forgotten": record({"ok": {"const": True}, "id": TEXT, "forgotten": {"const": True}}),
    "Results": record({"results": several({"anyOf": [ref("Lite"), ref("Refused")]})}),
    "Refused": record({"id": {}, "error": TEXT, "code": TEXT, "field": TEXT}, "field"),
    "Agents": record(
        {
            "agents": several({"anyOf": [ref("Seen"), ref("Lite")]}),
            "count": said("how many are on this page", **COUNT),
            "total": said("how many match", **COUNT),
            "next": said("what to send as `after` for more", **nullable(TEXT)),
        }
    ),
    "Counts": record({"counts": tally(COUNT), "total": COUNT}),
    "Passage": record(PASSAGE, "downtime_ms", "for_ms"),
    "History": record(
        {
            "id": ref("AgentId"),
            "agent_id": ref("AgentId"),
            "changes": several(ref("Passage")),
            "events": several(
                record({"status": nullable(TEXT), "context": {}, "ts": ref("Instant")})
            ),
            "uptime": SHARE,
            "window_s": COUNT | {"description": "the time that the uptime is a share of"},
            "flaps": COUNT,
            "days": several(
                record({"date": {"type": "string", "format": "date"}, "uptime": SHARE})
            ),
        }
    ),
    "Check": record(
        {
            "agents": several(ref("AgentId"), minItems=1, maxItems=LIMITS.check_agents),
            "within": nullable(said("milliseconds", type="number", minimum=0, maximum=10**12)),
            "probe": nullable(said("ask those whose evidence is older", **FLAG)),
            "timeout": nullable(
                said("milliseconds for the probe", type="number", minimum=0, maximum=10_000)
            ),
            "detail": {"enum": ["full", "lite", None]},
        },
        *("within", "probe", "timeout", "detail"),
    ),
    "Checked": record(
        {
            "agents": tally(
                {
                    "allOf": [
                        {"anyOf": [ref("Presence"), ref("Lite"), ref("Stranger")]},
                        record(EVIDENCE),
                    ]
                }
            )
        }
    ),
    "Stranger": record(
        {
            "id": ref("AgentId"),
            "alive": {"const": False},
            "state": {"const": "offline"},
            "known": {"const": False},
        }
    ),
    "Letter": {
        "type": "object",
        "description": "what a socket is told as a frame of this type; more fields by its kind",
        "properties": LETTER,
        "required": list(LETTER),
    },
    "Letters": record(
        {
            "messages": several(ref("Letter")),
            "next": said("what to send as `after` for more", **nullable(TEXT)),
        }
    ),
    "NewTell": {
        "type": "object",
        "minProperties": 1,
        "properties": {"message": said(f"any value, {BULKY}; absent: the whole body")},
    },
    "NewOverride": record(
        {
            "state": {"enum": list(OVERRIDES)},
            "why": nullable(words(LIMITS.text_length)),
            "until": nullable(said("in the future; absent: until it is taken back", **TEXT)),
        },
        *("why", "until"),
    ),
    "Override": record(
        {
            "state": {"enum": list(OVERRIDES)},
            "why": nullable(TEXT),
            "until": nullable(ref("Instant")),
        }
    ),
    "Overridden": record(
        {
            "id": TEXT,
            "override": nullable(ref("Override")),
            "agents": said("of a prefix: how many are known already", **COUNT),
        },
        "agents",
    ),
    "Filter": {
        "type": "object",
        "properties": FILTER,
        "additionalProperties": False,
        "description": "all parts must hold",
    },
    "NewPick": record(PICK, *PICK),
    "Picked": record({"agents": several({"anyOf": [ref("Presence"), ref("Lite")]})}),
    "NewClaim": record(
        {
            "agent": nullable(ref("AgentId")),
            "filter": nullable(ref("Filter") | {"description": "in the place of an agent"}),
            "ttl": CLAIM_TTL,
            "wait": nullable(
                said("seconds to wait for one", type="number", minimum=0, maximum=LONGEST_WAIT_S)
            ),
            "note": nullable(words(LIMITS.text_length, "the agent is told")),
        },
        *("agent", "filter", "ttl", "wait", "note"),
    ),
    "Renewal": record({"ttl": CLAIM_TTL}, "ttl"),
    "Claim": record(CLAIM),
    "Claimed": record(CLAIMED),
    "Released": record({"ok": {"const": True}, "claim": TEXT}),
    "NewKey": record(
        {
            "scope": ref("Scope"),
            "agent": nullable(
                said(
                    "of the scope agent only: an id, or a prefix that ends in *",
                    type="string",
                    pattern=r"^[A-Za-z0-9._:@~-]{0,128}\*?$",
                    minLength=1,
                )
            ),
            "poster": nullable(NAME),
            "name": nullable(NAME),
            "expires_at": nullable(ref("Instant")),
            "key": nullable(
                said(
                    "an existing token that is taken over",
                    type="string",
                    minLength=16,
                    maxLength=256,
                )
            ),
        },
        *("agent", "poster", "name", "expires_at", "key"),
    ),
    "Key": record(KEY),
    "ShownKey": {
        "allOf": [ref("Key"), record({"key": said("the secret, shown only now", **TEXT)})]
    },
    "NewProject": record(
        {
            "name": ref("ProjectName"),
            "spread": said("all: it expects many thousand agents", enum=["one", "all", None]),
        },
        "spread",
    ),
    "Project": record({"name": ref("ProjectName"), "spread": COUNT, "created_at": ref("Instant")}),
    "NewTicket": record(
        {
            "for": {"enum": [*TICKETS, None]},
            "ttl": nullable({"type": "number", "minimum": 1, "maximum": 3_600}),
        },
        *("for", "ttl"),
    ),
    "Ticket": record(
        {
            "ticket": TEXT,
            "expires_at": ref("Instant"),
            "scope": ref("Scope"),
            "project": ref("ProjectName"),
        }
    ),
    "Login": record({"ticket": TEXT}),
    "Stats": record(STATS, "counts", "value"),
    "Health": record(
        {
            "service": {"const": "lifesigns"},
            "status": {"enum": ["ok", "degraded"]},
            "store": TEXT,
            "subscribers": COUNT,
        }
    ),
    "Up": record({"status": TEXT}),
    "Done": record({"ok": {"const": True}}),
}
