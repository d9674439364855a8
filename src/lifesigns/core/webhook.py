"""Webhooks: who is told of what, where, and how people set that up.

Every event has a type; a webhook names the types that it wants, of which agents, and where they
go. A webhook may be *bound*, to one job or to one agent: then it is not among the project's, of
which all are looked at for each event, but found by its id, and there may be any number of them.
That of a job has the id that ``bound_id`` gives it, and gets the events whose data name the job as
``jobId``; whoever keeps jobs writes it beside the job, with the body that ``bound`` makes. That of
an agent has the id of ``own_id``, and gets the events that are about it. Neither is told of changes
of agents, which are noted for the project's own alone. Must not know how a webhook is kept, nor
what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from lifesigns.core import field
from lifesigns.core.access import check_name
from lifesigns.core.destination import Allowance, destination_of, literal
from lifesigns.core.errors import BadValue
from lifesigns.core.event import TURNS, TYPES
from lifesigns.core.filter import Filter, filter_of
from lifesigns.core.instant import to_text
from lifesigns.core.signature import check_secret

KIND: Final = "webhook"  # of the documents in which webhooks are kept
LISTED: Final = "all"  # the index of a project's own, by when they were made
BOUND: Final = "bound"  # and of those that are bound

AGENT_EVENTS: Final = (
    "agent.online",
    "agent.offline",
    "agent.suspect",
    "agent.recovered",
    "agent.stalled",
    "agent.error",
    "agent.flapping",
    "agent.forgotten",
)
EVENTS: Final = (
    *AGENT_EVENTS,
    "job.assigned",
    "job.submitted",
    "job.approved",
    "job.rejected",
    "job.cancelled",
    "job.disputed",
    "job.reclaimed",
    "job.message",
    "job.heartbeat_missed",
    "job.recovered",
    "job.disputable",
    "slot.granted",
    "slot.near_deadline",
    "slot.missed",
    "run.started",
    "run.succeeded",
    "run.failed",
    "run.skipped",
    "run.notify",
    "schedule.paused",
    "claim.lost",
)
TEST_EVENT: Final = "webhook.test"  # nobody asks for it by name
FORMATS: Final = ("standard", "slack", "discord", "text")
MOLTJOBS: Final = "moltjobs"

MOST = 100  # webhooks that a project has of its own
MOST_PATTERNS = 100
LONGEST_HOLD_S = 86_400
ROTATION_MS = 24 * 3_600_000  # how long the secret before still counts


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who wants to be told of what."""

    id: str
    url: str
    secret: str
    events: tuple[str, ...] = ("*",)
    filter: Mapping[str, Any] | None = None  # as it was given
    name: str | None = None
    hold_ms: int = 0  # told only if it is still so after that time
    format: str = "standard"
    enabled: bool = True
    disabled_why: str | None = None
    former: str | None = None  # the secret before,
    former_until_ms: int = 0  # and until when it counts as well
    job: str | None = None  # the one that it is bound to
    dialect: str | None = None  # in which it was made
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def wanted(self) -> Filter:
        """Tell which agents are meant."""
        return filter_of({"filter": self.filter})

    def wants(self, type_: str) -> bool:
        """Tell whether it wants events of a type; of what has none nobody is told."""
        return type_ != "" and any(_fits(pattern, type_) for pattern in self.events)

    def secrets(self, now_ms: int) -> list[str]:
        """Name the secrets that count, the newest first."""
        if self.former is not None and now_ms < self.former_until_ms:
            return [self.secret, self.former]
        return [self.secret]

    def body(self) -> dict[str, Any]:
        """Lay it out as it is kept."""
        kept = {name: getattr(self, name) for name in self.__slots__ if name != "id"}
        return kept | {"events": list(self.events)}


def webhook_of(id_: str, body: Mapping[str, Any]) -> Webhook:
    """Read one that was kept."""
    known = {name: value for name, value in body.items() if name in Webhook.__slots__}
    return Webhook(id_, **known | {"events": tuple(known["events"])})


def notes(webhooks: Iterable[Webhook]) -> str:
    """Write which changes have to be noted, a letter each, as the scripts look them up.

    Those of ``core.presence``, "e" for the need of attention and its end, "c" for lost claims, and
    "-" for the rest, which is always noted where there is a webhook.
    """
    noted = {"-"}
    for webhook in webhooks:
        if not webhook.enabled:
            continue
        wanted = [letter for letter, type_ in TYPES.items() if webhook.wants(type_)]
        noted.update(wanted)
        if webhook.wants("agent.flapping"):
            noted.update(letter for letter, type_ in TYPES.items() if type_ in TURNS)
        if webhook.wants("agent.error"):
            noted.add("e")
        if webhook.wants("claim.lost"):
            noted.add("c")
        if webhook.hold_ms and (wanted or "e" in noted):  # what ends it has to be known
            noted.update("ofstre")
    return "".join(sorted(noted))


def bound_id(job: str) -> str:
    """Name the webhook that is bound to a job."""
    return f"job:{job}"


def own_id(agent: str) -> str:
    """Name the webhook that an agent has of its own."""
    return f"agent:{agent}"


def is_bound(id_: str) -> bool:
    """Tell whether a webhook of this name is bound to a job or to an agent."""
    return id_.startswith(("job:", "agent:"))


def bound(job: str, url: object, secret: str, now_ms: int, field_: str = "webhookUrl") -> Webhook:
    """Make the webhook of a job; its body is written beside the job, in the index BOUND."""
    destination_of(url, field_)
    return Webhook(
        bound_id(job),
        str(url),
        secret,
        ("job.*", "slot.*"),
        job=job,
        dialect=MOLTJOBS,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def make(
    message: Mapping[str, Any], id_: str, secret: str, now_ms: int, allowance: Allowance
) -> Webhook:
    """Make one of what somebody asks for; with a ``secret`` of their own if they bring one."""
    if message.get("url") is None:
        raise BadValue("A webhook needs a url.", field="url")
    if message.get("secret") is not None:
        secret = check_secret(message["secret"])
    made = Webhook(id_, "", secret, created_ms=now_ms, updated_ms=now_ms)
    return replace(made, **_given(message, allowance))


def alter(
    webhook: Webhook, message: Mapping[str, Any], now_ms: int, allowance: Allowance
) -> Webhook:
    """Change what somebody wants changed; what is not named stays as it is."""
    given = _given(message, allowance)
    if given.get("enabled"):
        given["disabled_why"] = None
    elif "enabled" in given and webhook.enabled:
        given["disabled_why"] = "by hand"
    return replace(webhook, **given, updated_ms=now_ms)


def rotate(webhook: Webhook, secret: str, now_ms: int) -> Webhook:
    """Give it another secret; the one before counts for a while longer."""
    return replace(
        webhook,
        secret=secret,
        former=webhook.secret,
        former_until_ms=now_ms + ROTATION_MS,
        updated_ms=now_ms,
    )


def disable(webhook: Webhook, why: str, now_ms: int) -> Webhook:
    """End it, until somebody enables it again."""
    return replace(webhook, enabled=False, disabled_why=why, updated_ms=now_ms)


def spell(webhook: Webhook, now_ms: int) -> dict[str, Any]:
    """Spell it out, without its secrets."""
    rotating = webhook.former is not None and now_ms < webhook.former_until_ms
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": list(webhook.events),
        "filter": webhook.filter,
        "name": webhook.name,
        "hold_s": webhook.hold_ms / 1000,
        "format": webhook.format,
        "enabled": webhook.enabled,
        "disabled_reason": webhook.disabled_why,
        "job": webhook.job,
        "former_secret_until": to_text(webhook.former_until_ms) if rotating else None,
        "created_at": to_text(webhook.created_ms),
        "updated_at": to_text(webhook.updated_ms),
    }


def _given(message: Mapping[str, Any], allowance: Allowance) -> dict[str, Any]:
    """Take the fields that a message names, checked."""
    given: dict[str, Any] = {}
    if message.get("url") is not None:
        given["url"] = check_url(message["url"], allowance)
    if message.get("events") is not None:
        given["events"] = _patterns(message["events"])
    if "filter" in message:
        filter_of(message)
        given["filter"] = message["filter"]
    if "name" in message:
        name = message["name"]
        given["name"] = None if name is None else check_name(name)
    if "hold_s" in message:
        hold_s = field.number_of(message, "hold_s", 0, LONGEST_HOLD_S, 0.0)
        given["hold_ms"] = round((hold_s or 0.0) * 1000)
    if message.get("format") is not None:
        given["format"] = field.choice_of(message, "format", FORMATS)
    if message.get("enabled") is not None:
        given["enabled"] = field.flag_of(message, "enabled")
    return given


def check_url(url: object, allowance: Allowance, field_: str = "url") -> str:
    """Take where something shall be sent; an address that stands in it is judged at once."""
    destination = destination_of(url, field_)
    address = literal(destination)
    if address is not None and (kind := allowance.refuses(address)) is not None:
        raise BadValue(f"{field_} leads to {kind}: nothing is sent there.", field=field_)
    return str(url)


def _patterns(value: Any) -> tuple[str, ...]:
    patterns: Sequence[Any] = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        raise BadValue("events is a list of texts.", field="events")
    if not 1 <= len(patterns) <= MOST_PATTERNS:
        raise BadValue(f"events has 1 to {MOST_PATTERNS} entries.", field="events")
    for i, pattern in enumerate(patterns):
        if not any(_fits(pattern, type_) for type_ in EVENTS):
            raise BadValue(f"No event is called {pattern[:64]!r}.", field=f"events[{i}]")
    return tuple(dict.fromkeys(patterns))


def _fits(pattern: str, type_: str) -> bool:
    return type_.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == type_
