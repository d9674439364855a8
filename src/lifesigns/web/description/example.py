"""Answers as they look, for the description; a test holds them to their schemas."""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]

EVIDENCE: Example = {
    "known": True,
    "evidence_age_ms": 412,
    "valid_for_ms": 59_588,
    "fresh": True,
    "probed": None,
}
LITE: Example = {
    "id": "search-agent",
    "name": None,
    "state": "busy",
    "status": "thinking",
    "dialect": "pulse",
    "group": None,
    "capabilities": ["search"],
    "alive": True,
    "epoch": "1a1fbf62b9eb4c15f",
    "seq": 1812,
}
PRESENCE: Example = LITE | {
    "agent_id": "search-agent",
    "uuid": "6b5fc147-5b4f-5a99-a539-6f608e9bdf34",
    "task": "processing user query",
    "progress": {"note": "23 of 50 records", "done": 23, "total": 50},
    "context": None,
    "metadata": {"model": "some-model", "queue_depth": 3},
    "slots": 1,
    "claims": 0,
    "free_slots": 0,
    "did": None,
    "host": None,
    "version": None,
    "override": None,
    "last_heartbeat": "2026-03-22T14:30:00.000Z",
    "expires_at": "2026-03-22T14:31:00.000Z",
    "held": False,
    "last_progress": "2026-03-22T14:29:58.000Z",
    "busy_until": None,
    "next_active_at": None,
    "online_since": "2026-03-22T14:00:00.000Z",
    "offline_since": None,
    "reason": None,
    "reason_text": None,
    "instances": 2,
    "instance_states": {"busy": 1, "error": 1},
}
SEEN = PRESENCE | dict.fromkeys(("last_seen", "last_pulse"), PRESENCE["last_heartbeat"])
RECORDED = SEEN | {"ok": True, "recorded_at": PRESENCE["last_heartbeat"]}
AGENTS: Example = {"agents": [SEEN], "count": 1, "total": 1, "next": None}
RESULTS: Example = {
    "results": [
        LITE,
        {"id": "me", "error": "No agent may be called 'me'.", "code": "bad_request", "field": "id"},
    ]
}
CHECKED: Example = {
    "agents": {
        "search-agent": LITE | EVIDENCE,
        "nobody": {
            "id": "nobody",
            "alive": False,
            "state": "offline",
            "known": False,
            "evidence_age_ms": None,
            "valid_for_ms": 0,
            "fresh": False,
            "probed": "no_socket",
        },
    }
}
HISTORY: Example = {
    "id": "search-agent",
    "agent_id": "search-agent",
    "changes": [
        {
            "kind": "online",
            "at": "2026-03-22T14:00:00.000Z",
            "was": "offline",
            "state": "available",
            "status": "idle",
            "task": None,
            "progress": None,
            "context": None,
            "reason": None,
            "reason_text": None,
            "epoch": "1a1fbf62b9eb4c15f",
            "seq": 1790,
            "downtime_ms": 60_000,
        }
    ],
    "events": [{"status": "idle", "context": None, "ts": "2026-03-22T14:00:00.000Z"}],
    "uptime": 0.998,
    "window_s": 2_592_000,
    "flaps": 2,
    "days": [{"date": "2026-03-22", "uptime": 0.998}],
}
OVERRIDDEN: Example = {
    "id": "rack7-*",
    "override": {"state": "draining", "why": "a new disk", "until": None},
    "agents": 12,
}
LETTER: Example = {
    "id": "1774189800000-0-search-agent",
    "kind": "tell",
    "type": "tell",
    "at": "2026-03-22T14:30:00.000Z",
    "message": {"text": "the index is new"},
}
LETTERS: Example = {"messages": [LETTER], "next": LETTER["id"]}
CLAIM: Example = {
    "claim": "7d3f1c0a9b2e@search-agent",
    "agent": "search-agent",
    "instance": "host-1-4711",
    "fence": 1_774_189_800_000,
    "note": "job 7",
    "by": "planner",
    "ttl": 60,
    "claimed_at": "2026-03-22T14:30:00.000Z",
    "expires_at": "2026-03-22T14:31:00.000Z",
}
CLAIMED = {name: CLAIM[name] for name in CLAIM if name not in ("by", "ttl", "claimed_at")} | {
    "presence": PRESENCE | {"claims": 1}
}
PICKED: Example = {"agents": [LITE | {"state": "available", "status": "idle"}]}
KEY: Example = {
    "id": "a1b2c3d4e5f6",
    "project": "default",
    "scope": "agent",
    "agent": "search-*",
    "poster": None,
    "name": None,
    "created_at": "2026-03-22T14:00:00.000Z",
    "expires_at": None,
}
SHOWN_KEY = KEY | {"key": "ls_a1b2c3d4e5f6_..."}
TICKET: Example = {
    "ticket": "lt_...",
    "expires_at": "2026-03-22T14:30:30.000Z",
    "scope": "watch",
    "project": "default",
}
STATS: Example = {
    "alive": 3,
    "total": 4,
    "states": {"offline": 1, "busy": 1, "available": 2},
    "dialects": {"pulse": 3},
    "beats_per_s": 1.5,
    "changes_per_s": 0.2,
    "claims": 0,
    "watchers": 0,
    "nodes": [{"id": "01", "agents": 3, "lag_ms": 1, "since": "2026-03-22T14:00:00.000Z"}],
    "held_until": None,
    "store": {"ok": True, "ping_ms": 0.21},
}
