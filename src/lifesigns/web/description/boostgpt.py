"""The Heartbeat API of BoostGPT: its addresses, its values and its refusals."""

from __future__ import annotations

from typing import Any

from lifesigns.dialects.boostgpt import LONGEST_PROMPT, MOST_ERRORS
from lifesigns.web.boostgpt import MOST_DAYS, MOST_PER_PAGE
from lifesigns.web.description.area import Area
from lifesigns.web.description.clause import (
    ERRORS,
    JSON_TYPE,
    RETRY_AFTER,
    answer,
    operation,
    query,
)
from lifesigns.web.description.term import (
    COUNT,
    FLAG,
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
from lifesigns.web.poll import LONGEST_S

VOICE = "boostgpt_"
ID: Schema = {"type": ["string", "integer"], "description": "comes back as it was sent"}
TEXT_ID: Schema = {"type": "string", "minLength": 1}
TIME = nullable({"type": "string", "format": "date-time"})
CALLING = (400, 401, 403, 404, 429, 500, 503)
CHANGING = (*CALLING, 409, 413, 415)
LEFT: Schema = {
    f"X-RateLimit-{name}": {"required": True, "schema": {"type": "integer", "minimum": 0}}
    for name in ("Limit", "Remaining", "Reset")
}
HEARTBEAT_ID = "0b3f5d7e-6c2a-4f0e-9b61-7f2f8b1f6a10"
SAMPLE: dict[str, Any] = {
    "uuid": HEARTBEAT_ID,
    "project_id": "support",
    "bot_id": "ticket-bot",
    "member_id": None,
    "prompt": "Look for new tickets",
    "interval_minutes": 60,
    "cron_pattern": None,
    "enabled": 1,
    "active_hours_start": "09:00",
    "active_hours_end": "17:00",
    "active_days": "1,2,3,4,5",
    "timezone": "America/New_York",
    "credit_budget": 100,
    "credits_used": 4.5,
    "last_executed_at": "2026-03-20T20:00:00.000Z",
    "next_run_at": "2026-03-23T13:00:00.000Z",
    "last_status": "success",
    "execution_count": 9,
    "error_count": 0,
    "consecutive_errors": 0,
    "max_consecutive_errors": 5,
    "paused_reason": None,
    "webhook_url": None,
    "notify_url": None,
    "created_at": "2026-03-19T13:00:00.000Z",
    "updated_at": "2026-03-19T13:00:00.000Z",
}
PLACE = {"project_id": "support", "bot_id": "ticket-bot"}
ONE = PLACE | {"heartbeat_id": HEARTBEAT_ID}
WORD = nullable(TEXT)
SETTINGS: Schema = {
    "prompt": nullable(words(LONGEST_PROMPT, "what the agent is asked; a new one needs it")),
    "interval_minutes": nullable(said("30 unless told", **NUMBER)),
    "cron_pattern": nullable(said("five fields; counts before the interval", **TEXT)),
    "enabled": {"enum": [True, False, 0, 1, None]},
    "active_hours_start": WORD,
    "active_hours_end": WORD,
    "active_days": {"type": ["string", "array", "null"], "description": "1,2,3; 1 is Monday"},
    "timezone": WORD,
    "credit_budget": nullable({"type": "number", "minimum": 0}),
    "max_consecutive_errors": nullable({"type": "integer", "minimum": 1, "maximum": MOST_ERRORS}),
    "member_id": {"type": ["string", "integer", "null"]},
    "heartbeat_id": {"type": ["string", "integer", "null"]},
    "new": {"enum": [True, False, 0, 1, None]},
    "webhook_url": WORD,
    "notify_url": WORD,
}
SHOWN: Schema = {
    "uuid": TEXT,
    "project_id": ID,
    "bot_id": ID,
    "member_id": {"type": ["string", "integer", "null"]},
    "prompt": TEXT,
    "interval_minutes": NUMBER,
    "cron_pattern": WORD,
    "enabled": {"enum": [0, 1]},
    "active_hours_start": WORD,
    "active_hours_end": WORD,
    "active_days": WORD,
    "timezone": TEXT,
    "credit_budget": nullable(NUMBER),
    "credits_used": NUMBER,
    "last_executed_at": TIME,
    "next_run_at": TIME,
    "last_status": {"enum": ["success", "error", "skipped", None]},
    "execution_count": COUNT,
    "error_count": COUNT,
    "consecutive_errors": COUNT,
    "max_consecutive_errors": COUNT,
    "paused_reason": WORD,
    "webhook_url": WORD,
    "webhook_secret": said("of a webhook that is new, only this once", **TEXT),
    "notify_url": WORD,
    "created_at": TIME,
    "updated_at": TIME,
}
OF_A_RUN: Schema = {
    "response": WORD,
    "duration_ms": nullable(COUNT),
    "tokens_used": nullable(COUNT),
    "credits_charged": nullable(NUMBER),
    "error_message": WORD,
}
STATUS: Schema = {"enum": ["success", "error", "skipped", "running"]}

SCHEMAS: dict[str, Schema] = {
    "Heartbeat": record({"heartbeat": record(SHOWN, "webhook_secret")}),
    "Heartbeats": record({"heartbeats": several(record(SHOWN, "webhook_secret"))}),
    "HeartbeatSettings": record({"project_id": ID, "bot_id": ID} | SETTINGS, *SETTINGS),
    "HeartbeatNamed": record({"project_id": ID, "bot_id": ID, "heartbeat_id": ID}),
    "HeartbeatGone": record(
        {"project_id": ID, "bot_id": ID, "heartbeat_id": ID},
        *("project_id", "bot_id", "heartbeat_id"),
    ),
    "HeartbeatTriggered": record(
        {
            "project_id": ID,
            "bot_id": ID,
            "heartbeat_id": ID,
            "wait": {"type": "number", "minimum": 0, "maximum": LONGEST_S},
        },
        "wait",
    ),
    "HeartbeatResult": record(
        {"result": record({"status": STATUS, "run": TEXT} | OF_A_RUN, *OF_A_RUN)}
    ),
    "HeartbeatDeleted": record({"success": {"const": True}}),
    "HeartbeatLogs": record(
        {
            "total": COUNT,
            "logs": several(
                record(
                    {
                        "uuid": TEXT,
                        "heartbeat_id": TEXT,
                        "member_id": {"type": ["string", "integer", "null"]},
                        "type": {"enum": ["heartbeat", "manual"]},
                        "status": STATUS,
                        "prompt": TEXT,
                        "created_at": TIME,
                    }
                    | OF_A_RUN
                )
            ),
            "pagination": record(
                {"page": COUNT, "per_page": COUNT, "total": COUNT, "total_pages": COUNT}
            ),
        }
    ),
    "HeartbeatStats": record(
        {
            "stats": record(
                {
                    "total_executions": COUNT,
                    "success_count": COUNT,
                    "error_count": COUNT,
                    "skipped_count": COUNT,
                    "success_rate": said("percent of those that were not skipped", **NUMBER),
                    "total_tokens": COUNT,
                    "total_credits": NUMBER,
                    "avg_duration_ms": COUNT,
                    "active_heartbeats": COUNT,
                    "by_type": tally(COUNT),
                    "time_series": several(
                        record({"date": TEXT, "total": COUNT, "success": COUNT, "error": COUNT})
                    ),
                }
            )
        }
    ),
    "BotSwitch": record(
        {"project_id": ID, "bot_id": ID, "heartbeat": {"enum": [True, False, 0, 1]}}
    ),
    "Bot": record({"bot": record({"project_id": ID, "bot_id": ID, "heartbeat": FLAG})}),
    "HeartbeatError": record(
        {
            "error": record({"status": COUNT, "message": TEXT, "field": TEXT}, "field"),
            "message": TEXT,
        }
    ),
}

PROJECT = query("project_id", TEXT_ID, "a label") | {"required": True}
BOT = query("bot_id", TEXT_ID, "the agent") | {"required": True}
MEMBER = query("member_id", TEXT, "of this subscriber alone")
NAMED = query("heartbeat_id", TEXT_ID, "which") | {"required": True}


def _page(name: str, most: int, text: str) -> Schema:
    return query(name, {"type": "integer", "minimum": 1, "maximum": most}, text)


def _answer(name: str, text: str, sample: Any = None) -> Schema:
    return answer(ref(name), text, sample) | {"headers": LEFT}


def _call(name: str, summary: str, success: Schema, *failures: int, **more: Any) -> Schema:
    return operation(f"heartbeat{name}", summary, success, *failures, voice=VOICE, **more)


def _one(name: str, summary: str) -> dict[str, Schema]:
    shown = _answer("Heartbeat", "It", {"heartbeat": SAMPLE})
    return {"post": _call(name, summary, shown, *CHANGING, takes="HeartbeatNamed", sample=ONE)}


def _gone(name: str, *asks: Schema) -> Schema:
    gone = _answer("HeartbeatDeleted", "It is gone; its runs stay in the log")
    summary = "Delete a heartbeat (admin)"
    return _call(name, summary, gone, *CHANGING, takes="HeartbeatGone", sample=ONE, asks=asks)


def _optional(asked: Schema) -> Schema:
    return asked | {"required": False, "description": f"{asked['description']}, or in the body"}


def _triggered() -> Schema:
    described = _call(
        "Trigger",
        "Begin a run now, and wait for its end (admin)",
        _answer("HeartbeatResult", "What came of it"),
        *CHANGING,
        takes="HeartbeatTriggered",
        sample=ONE,
        text="409: a run of it is open. Enabled or not; at most for as long as `wait` says, 60 s"
        " unless told.",
    )
    later = _answer("HeartbeatResult", "It runs still")
    return described | {"responses": described["responses"] | {"202": later}}


PATHS: dict[str, Schema] = {
    "/v1/bot/update": {
        "put": _call(
            "Switch",
            "Turn the heartbeats of a bot on, or stop them (admin)",
            _answer("Bot", "The bot"),
            *CHANGING,
            takes="BotSwitch",
            sample=PLACE | {"heartbeat": True},
        )
    },
    "/v1/bot/heartbeat/configure": {
        "post": _call(
            "Configure",
            "Make a heartbeat, or alter the one of this bot and member (admin)",
            _answer("Heartbeat", "It", {"heartbeat": SAMPLE}),
            *CHANGING,
            takes="HeartbeatSettings",
            sample=PLACE | {"prompt": "Look for new tickets", "interval_minutes": 60},
            text="403: the bot has no heartbeats, or this hub has none. What is not said stays as"
            " it is. `new` makes another beside the one that is there.",
        )
    },
    "/v1/bot/heartbeat/readall": {
        "get": _call(
            "List",
            "List the heartbeats of a bot",
            _answer("Heartbeats", "The oldest first", {"heartbeats": [SAMPLE]}),
            *CALLING,
            asks=(PROJECT, BOT, MEMBER),
        )
    },
    "/v1/bot/heartbeat/read": {
        "get": _call(
            "Read",
            "Read a heartbeat",
            _answer("Heartbeat", "It", {"heartbeat": SAMPLE}),
            *CALLING,
            asks=(PROJECT, BOT, NAMED),
        )
    },
    "/v1/bot/heartbeat/enable": _one("Enable", "Have a heartbeat run (admin)"),
    "/v1/bot/heartbeat/disable": _one("Disable", "Have a heartbeat run no more (admin)"),
    "/v1/bot/heartbeat/trigger": {"post": _triggered()},
    "/v1/bot/heartbeat/delete": {
        "delete": _gone("Delete", *(_optional(each) for each in (PROJECT, BOT, NAMED))),
        "post": _gone("DeletePost"),
    },
    "/v1/bot/heartbeat/logs": {
        "get": _call(
            "Logs",
            "List the runs of a bot, the latest first",
            _answer("HeartbeatLogs", "A page of them"),
            *CALLING,
            asks=(
                PROJECT,
                BOT,
                query("heartbeat_id", TEXT, "of this one alone"),
                MEMBER,
                query("status", STATUS, "of this status alone"),
                _page("page", 1_000_000, "1 unless told"),
                _page("per_page", MOST_PER_PAGE, "20 unless told"),
            ),
        )
    },
    "/v1/bot/heartbeat/stats": {
        "get": _call(
            "Stats",
            "Sum up the runs of a bot",
            _answer("HeartbeatStats", "By day, in UTC"),
            *CALLING,
            asks=(PROJECT, BOT, _page("days", MOST_DAYS, "30 unless told")),
        )
    },
}


def _error(status: int) -> Schema:
    _, text, sentence = ERRORS[status]
    sample = {"error": {"status": status, "message": sentence}, "message": sentence}
    headers = LEFT | (RETRY_AFTER if status in (429, 503) else {})
    if status == 401:
        headers = headers | {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
    content = {JSON_TYPE: {"schema": ref("HeartbeatError"), "example": sample}}
    return {"description": text, "content": content, "headers": headers}


AREA = Area(
    paths=PATHS,
    schemas=SCHEMAS,
    responses={f"{VOICE}{status}": _error(status) for status in sorted(set(CHANGING))},
)
