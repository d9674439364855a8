"""One run of a schedule: what it asks of an agent, whom it is handed to, and what is reported.

A run is open until it is reported, or until its time is over; what is closed never changes again.
Its id ends in its agent's, so that whoever has the id finds the run. Must not know how runs are
kept or sent, nor what time it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from lifesigns.core import field
from lifesigns.core.access import check_agent_id
from lifesigns.core.errors import BadRequest, BadValue, Conflict, Forbidden
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.model import Limits, Presence
from lifesigns.core.presence import AVAILABLE, BUSY, DEGRADED, STATES

OPEN, SUCCESS, ERROR, SKIPPED = "open", "success", "error", "skipped"
STATUSES: Final = (OPEN, SUCCESS, ERROR, SKIPPED)
HEARTBEAT, MANUAL = "heartbeat", "manual"
SOCKET, WEBHOOK, POLL = "socket", "webhook", "poll"  # the ways to an agent

MOST_TOKENS: Final = 10**15
MOST_CREDITS: Final = 1e12
# When it is looked again whether a run that was sent has come; then it may be sent anew.
LOOK_MS: Final = (2_000, 5_000, 10_000)
# Who takes work, the best first. A draining, stalled or failed instance is given none.
TAKING: Final = (AVAILABLE, BUSY, DEGRADED)


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent says of a run that it has done."""

    status: str
    response: str | None = None
    tokens_used: int | None = None
    credits: float | None = None
    error_message: str | None = None
    notify: Any = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept; fields may be added with a default."""

    id: str
    schedule: str
    agent: str
    prompt: str
    created_ms: int
    deadline_ms: int
    type: str = HEARTBEAT
    status: str = OPEN
    bot_id: Any = None
    member_id: Any = None
    due_ms: int | None = None  # when it should have begun; None: somebody began it
    via: str = ""  # the way that it went; "": none yet
    session: str = ""  # of the socket that it was sent to,
    instance: str = ""  # and whose that is
    received: bool = False  # that socket's peer has read it
    tries: int = 0  # how often it was sent, or looked after
    look_ms: int | None = None  # when to look after it next
    webhook_url: str | None = None
    report: Mapping[str, Any] | None = None  # None: nobody has reported
    response: str | None = None
    error_message: str | None = None
    tokens_used: int | None = None
    credits: float | None = None
    ended_ms: int | None = None

    @property
    def open(self) -> bool:
        return self.status == OPEN

    @property
    def token(self) -> str:
        return self.id.partition("@")[0]

    @property
    def duration_ms(self) -> int | None:
        return None if self.ended_ms is None else max(0, self.ended_ms - self.created_ms)


def run_id(token: str, agent: str) -> str:
    """Name a run."""
    return f"{token}@{agent}"


def agent_of_run(run: str, name: str = "run") -> str:
    """Tell whose a run is by its id."""
    token, _, agent = run.partition("@")
    if not token or not agent:
        raise BadRequest(f"No run is called {run[:64]!r}.", field=name)
    return check_agent_id(agent, name)


def read_report(message: Mapping[str, Any], limits: Limits) -> Report:
    """Take a report, of a socket or of a request."""
    status = message.get("status")
    if status not in (SUCCESS, ERROR):
        raise BadValue(f"status is {SUCCESS} or {ERROR}.", field="status")
    given = message.get("tokens_used") is not None
    return Report(
        status=status,
        response=_text(message, "response"),
        tokens_used=field.whole_of(message, "tokens_used", 0, MOST_TOKENS, 0) if given else None,
        credits=field.number_of(message, "credits", 0, MOST_CREDITS),
        error_message=_text(message, "error_message"),
        notify=message.get("notify"),
    )


def _text(message: Mapping[str, Any], name: str) -> str | None:
    return None if message.get(name) is None else field.text_of(message, name)


def check_report(run: Run, agent: str, report: Report) -> bool:
    """Tell whether a report is news; one that was said before is not, any other is refused."""
    if run.agent != agent:
        raise Forbidden(f"This run is of {run.agent!r}, not of {agent!r}.")
    if run.open:
        return True
    if run.report == asdict(report):
        return False
    assert run.ended_ms is not None, "what is closed has an end"
    ended = f"This run ended at {to_text(run.ended_ms)}"
    if run.report is None:
        raise Conflict(f"{ended}: {run.error_message}")
    raise Conflict(f"{ended}, when something else was reported of it.")


def choose(
    presence: Presence, laden: Collection[str] = (), missed: str = ""
) -> tuple[str, str] | None:
    """Choose the socket that a run goes to: its session and its instance; None if there is none.

    That is the claimable one that was idle longest. One that works, if no other is there, is given
    it all the same: it has the longest deadline of all to begin. ``laden`` are sessions that have
    a run before them, ``missed`` is one that did not get it.
    """
    held = [instance for _, instance in presence.claims]
    found = []
    for instance, state in presence.instances:
        rank = STATES.index(state)
        if not instance.session or instance.session == missed or rank not in TAKING:
            continue
        free = instance.words.slots > held.count(instance.name)
        burden = TAKING.index(rank) if free else len(TAKING)
        order = (burden, instance.session in laden, instance.worded_ms, instance.name)
        found.append((order, (instance.session, instance.name)))
    return min(found)[1] if found else None


def has_socket(presence: Presence | None) -> bool:
    """Tell whether an agent is connected, whatever it can take now."""
    return presence is not None and any(each.session for each, _ in presence.instances)


def frame(run: Run) -> dict[str, Any]:
    """Spell a run out as a socket is told it."""
    return {
        "type": "run",
        "run": run.id,
        "schedule": run.schedule,
        "agent": run.agent,
        "prompt": run.prompt,
        "member_id": run.member_id,
        "deadline": to_text(run.deadline_ms),
    }


def spell(run: Run) -> dict[str, Any]:
    """Spell a run out as whoever polls is told it."""
    return {
        **{name: value for name, value in frame(run).items() if name != "type"},
        "type": run.type,
        "status": run.status,
        "via": run.via or None,
        "instance": run.instance or None,
        "created_at": to_text(run.created_ms),
        "due_at": to_text_or_none(run.due_ms),
        "ended_at": to_text_or_none(run.ended_ms),
        "duration_ms": run.duration_ms,
        "response": run.response,
        "error_message": run.error_message,
        "tokens_used": run.tokens_used,
        "credits": run.credits,
    }


def pack(run: Run) -> dict[str, Any]:
    """Lay a run out to be kept."""
    return {each.name: getattr(run, each.name) for each in fields(run)}


def unpack(body: Mapping[str, Any]) -> Run:
    """Read a run that was kept, by a hub of whatever version."""
    return Run(**{name: value for name, value in body.items() if name in _FIELDS})


_FIELDS = frozenset(each.name for each in fields(Run))
