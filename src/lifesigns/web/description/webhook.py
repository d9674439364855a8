"""The description of webhooks."""

from __future__ import annotations

from lifesigns.core.delivery import STATES
from lifesigns.core.webhook import EVENTS, FORMATS, LONGEST_HOLD_S, MOST_PATTERNS
from lifesigns.web.description.area import Area
from lifesigns.web.description.clause import READING, WRITING, answer, operation, path, query
from lifesigns.web.description.example import Example
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
    words,
)
from lifesigns.web.webhook import MOST_LISTED, PAGE

ID = path("id", TEXT | {"description": "a webhook's"})
DELIVERY = path("delivery", TEXT | {"description": "a delivery's"})
PATTERNS: Schema = {
    "anyOf": [TEXT, several(TEXT, minItems=1, maxItems=MOST_PATTERNS), {"type": "null"}]
}
CHANGING: Schema = {
    "url": nullable(words(2_048, "https:// or http://, without a name and a password")),
    "events": PATTERNS | {"description": f"types, or their beginnings with *: {', '.join(EVENTS)}"},
    "filter": nullable(ref("Filter")),
    "name": nullable(words(128, "for people") | {"minLength": 1}),
    "hold_s": nullable(
        {
            "type": "number",
            "minimum": 0,
            "maximum": LONGEST_HOLD_S,
            "description": "told only if it is still so after that time",
        }
    ),
    "format": {"enum": [*FORMATS, None], "description": "standard unless told"},
    "enabled": nullable(FLAG),
}
SECRET = nullable(words(100, "whsec_ and 24 to 64 bytes in base64; made here unless given"))
HEALTH = record(
    {
        "failures": COUNT | {"description": "in a row"},
        "failing_since": nullable(ref("Instant")),
        "last_error": nullable(TEXT),
        "circuit": {"enum": ["closed", "open"]},
    }
)
WEBHOOK: Schema = {
    "id": TEXT,
    "url": TEXT,
    "events": several(TEXT),
    "filter": nullable(MAP),
    "name": nullable(TEXT),
    "hold_s": NUMBER,
    "format": {"enum": [*FORMATS]},
    "enabled": FLAG,
    "disabled_reason": nullable(TEXT),
    "job": nullable(TEXT | {"description": "the one that it is bound to"}),
    "former_secret_until": nullable(ref("Instant")),
    "created_at": ref("Instant"),
    "updated_at": ref("Instant"),
    "health": HEALTH,
}
SHOWN: Example = {
    "id": "wh_1f0c6a3be84d2975",
    "url": "https://ops.example/lifesigns",
    "events": ["agent.offline", "agent.online"],
    "filter": {"group": ["search"]},
    "name": "on call",
    "hold_s": 30.0,
    "format": "standard",
    "enabled": True,
    "disabled_reason": None,
    "job": None,
    "former_secret_until": None,
    "created_at": "2026-03-22T14:30:00.000Z",
    "updated_at": "2026-03-22T14:30:00.000Z",
    "health": {
        "failures": 0,
        "failing_since": None,
        "last_error": None,
        "circuit": "closed",
    },
}
WITH_SECRET: Example = SHOWN | {"secret": "whsec_bWFkZSBmb3IgdGhpcyBleGFtcGxlIG9ubHk="}
SENT: Example = {
    "id": "msg_0337ba44f67ab0f02a1faa0b7c",
    "webhook": SHOWN["id"],
    "event": "agent.offline",
    "agent": "search-agent",
    "state": "retrying",
    "created_at": "2026-03-22T14:30:00.000Z",
    "next_attempt_at": "2026-03-22T14:30:05.412Z",
    "attempts": [
        {
            "at": "2026-03-22T14:30:00.031Z",
            "took_ms": 12,
            "status": 503,
            "error": None,
            "answer": "restarting",
        }
    ],
    "content_type": "application/json",
    "body": '{"type": "agent.offline"}',
}

AREA = Area(
    paths={
        "/v1/webhooks": {
            "post": operation(
                "createWebhook",
                "Have events told to a receiver (admin)",
                answer(ref("NewlyMadeWebhook"), "It, with its secret this once", WITH_SECRET),
                *WRITING,
                409,
                status=201,
                takes="NewWebhook",
                sample={"url": SHOWN["url"], "events": SHOWN["events"], "hold_s": 30},
                text="Messages are signed as Standard Webhooks 1.0.0 has it. What is held is told"
                " only if it is still so after that time; a return meanwhile cancels both.",
            ),
            "get": operation(
                "listWebhooks",
                "List the project's webhooks (admin)",
                answer(
                    record({"webhooks": several(ref("Webhook"))}),
                    "The oldest first",
                    {"webhooks": [SHOWN]},
                ),
                *READING,
            ),
        },
        "/v1/webhooks/{id}": {
            "get": operation(
                "readWebhook",
                "Read a webhook (admin)",
                answer(ref("Webhook"), "It", SHOWN),
                *READING,
                asks=(ID,),
            ),
            "patch": operation(
                "changeWebhook",
                "Change a webhook (admin)",
                answer(ref("Webhook"), "It, after that", SHOWN),
                *WRITING,
                takes="WebhookChange",
                sample={"enabled": False},
                asks=(ID,),
                text="What is not named stays as it is.",
            ),
            "delete": operation(
                "deleteWebhook",
                "End a webhook, and all that was on its way to it (admin)",
                answer(ref("Done"), "It is gone"),
                *READING,
                asks=(ID,),
            ),
        },
        "/v1/webhooks/{id}/rotate": {
            "post": operation(
                "rotateWebhook",
                "Give it another secret; the one before counts for 24 hours more (admin)",
                answer(ref("NewlyMadeWebhook"), "It, with its secret this once", WITH_SECRET),
                *WRITING,
                takes="NewSecret",
                asks=(ID,),
                text="In that time messages carry a signature for each of the two.",
            )
        },
        "/v1/webhooks/{id}/test": {
            "post": operation(
                "testWebhook",
                "Send it a message of no event, now (admin)",
                answer(ref("Delivery"), "What became of it", SENT),
                *READING,
                asks=(ID,),
                text="It is tried once, even if the webhook is disabled.",
            )
        },
        "/v1/webhooks/{id}/deliveries": {
            "get": operation(
                "listDeliveries",
                "List what was sent, the newest first (admin)",
                answer(
                    record({"deliveries": several(ref("Delivery")), "total": COUNT}),
                    "The newest",
                    {"deliveries": [SENT], "total": 1},
                ),
                *READING,
                asks=(
                    ID,
                    query("state", {"enum": [*STATES]}, "only those"),
                    query(
                        "limit",
                        {"type": "integer", "minimum": 1, "maximum": MOST_LISTED},
                        f"{PAGE} unless told",
                    ),
                ),
            )
        },
        "/v1/webhooks/{id}/deliveries/{delivery}": {
            "get": operation(
                "readDelivery",
                "Read what became of one message (admin)",
                answer(ref("Delivery"), "It", SENT),
                *READING,
                asks=(ID, DELIVERY),
            )
        },
        "/v1/webhooks/{id}/deliveries/{delivery}/resend": {
            "post": operation(
                "resendDelivery",
                "Send a message again, with as many tries as at first (admin)",
                answer(ref("Delivery"), "It is on its way", SENT),
                *READING,
                409,
                status=202,
                asks=(ID, DELIVERY),
            )
        },
    },
    schemas={
        "NewWebhook": {
            "type": "object",
            "properties": CHANGING | {"url": words(2_048, "where to"), "secret": SECRET},
            "required": ["url"],
        },
        "WebhookChange": {"type": "object", "properties": CHANGING},
        "NewSecret": {"type": "object", "properties": {"secret": SECRET}},
        "Webhook": record(WEBHOOK),
        "NewlyMadeWebhook": record(WEBHOOK | {"secret": said("only this once", **TEXT)}),
        "Delivery": record(
            {
                "id": said("what stands in webhook-id", **TEXT),
                "webhook": TEXT,
                "event": said("its type", **TEXT),
                "agent": nullable(TEXT),
                "state": {"enum": [*STATES]},
                "created_at": ref("Instant"),
                "next_attempt_at": nullable(ref("Instant")),
                "attempts": several(
                    record(
                        {
                            "at": ref("Instant"),
                            "took_ms": COUNT,
                            "status": nullable(COUNT),
                            "error": nullable(TEXT),
                            "answer": TEXT,
                        }
                    )
                ),
                "content_type": TEXT,
                "body": TEXT,
            }
        ),
    },
)
