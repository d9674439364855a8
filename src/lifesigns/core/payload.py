"""What is said: an event in the form that its receiver reads.

The standard one carries everything; chats and pagers get one sentence for people. What agents say
of themselves is in it, and may not pose as the chat's own: no mentions, no links made of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.codec import JSON
from lifesigns.core.event import Event
from lifesigns.core.instant import to_text

LONGEST_SENTENCE = 1_500  # Discord takes 2,000 characters


class Payload(NamedTuple):
    """A body, and what kind of one it is."""

    content_type: str
    text: str


def payload_of(format_: str, id_: str, project: str, event: Event) -> Payload:
    """Write an event in one of the formats."""
    if format_ == "standard":
        at = to_text(event.at_ms)
        message = {
            "id": id_,
            "type": event.type,
            "timestamp": at,
            "createdAt": at,
            "project": project,
            "data": event.data,
        }
        return _json(message)
    said = sentence(project, event)
    if format_ == "slack":
        escaped = said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return _json({"text": escaped})
    if format_ == "discord":
        return _json({"content": said, "allowed_mentions": {"parse": []}})
    return Payload("text/plain; charset=utf-8", said)


def sentence(project: str, event: Event) -> str:
    """Say in one line what happened."""
    data = event.data
    who = event.agent or event.subject
    match event.type:
        case "agent.online":
            again = data.get("downtime_ms")
            what = "is online" + (f" again after {_span(again)}" if again else "")
        case "agent.offline":
            what = "is offline" + _why(data.get("reason"), data.get("reason_text"))
        case "agent.suspect":
            what = "may be gone: its connection broke"
        case "agent.recovered":
            what = f"has recovered after {_span(data.get('for_ms') or 0)}"
        case "agent.stalled":
            what = "is stalled" + _why(data.get("task"))
        case "agent.error":
            what = "needs attention" + _why(data.get("status"), data.get("task"))
        case "agent.flapping":
            what = f"comes and goes: {data.get('turns')} times in ten minutes"
        case "agent.forgotten":
            what = "is forgotten"
        case _:
            about = event.subject if event.subject != who else ""
            what = f"{event.type} {about}".rstrip()
    where = "" if project == DEFAULT_PROJECT else f"[{project}] "
    line = " ".join(f"{where}{who} {what}".split())  # one line, whatever agents say
    return line if len(line) <= LONGEST_SENTENCE else line[: LONGEST_SENTENCE - 1] + "…"


def _why(*parts: Any) -> str:
    said = [str(part) for part in parts if part]
    return f": {', '.join(said)}" if said else ""


def _span(ms: int) -> str:
    seconds = round(ms / 1000)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _json(message: dict[str, Any]) -> Payload:
    return Payload("application/json", JSON.encode(message).decode())
