"""The BoostGPT Heartbeat API: schedules that wake agents, in its words.

A bot is an agent here, a heartbeat is a schedule. Ids come as texts or numbers and go back as they
came; what a project is called is a label, for our projects are told by the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lifesigns.core import field
from lifesigns.core.access import check_agent_id
from lifesigns.core.destination import destination_of
from lifesigns.core.errors import BadRequest, BadValue, LifesignsError
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.run import ERROR, OPEN, SKIPPED, SUCCESS, Run
from lifesigns.core.schedule import Schedule, credits_used

LONGEST_PROMPT: Final = 16_384
LONGEST_ID: Final = 128
MOST_ERRORS: Final = 1_000
RUNNING: Final = "running"  # what an open run is called here

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bot:
    """Whose heartbeats a call is about."""

    project_id: Any
    bot_id: Any

    @property
    def label(self) -> str:
        return str(self.project_id)

    @property
    def agent(self) -> str:
        return str(self.bot_id)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a call wants of a heartbeat; keys of ``said`` are fields of a schedule."""

    bot: Bot
    heartbeat_id: str | None
    member_id: Any
    new: bool
    said: Mapping[str, Any]


def read_bot(said: Mapping[str, Any]) -> Bot:
    """Take whose heartbeats a call is about."""
    bot = Bot(_id(said, "project_id"), _id(said, "bot_id"))
    check_agent_id(bot.agent, "bot_id")
    return bot


def read_heartbeat_id(said: Mapping[str, Any]) -> str:
    """Take which heartbeat a call is about."""
    return str(_id(said, "heartbeat_id"))


def read_member(said: Mapping[str, Any]) -> Any:
    """Take whose heartbeat it is of a bot's subscribers; None when that is not said."""
    return None if said.get("member_id") in (None, "") else _id(said, "member_id")


def read_configuration(said: Mapping[str, Any]) -> Configuration:
    """Take a heartbeat as it shall be."""
    named = said.get("heartbeat_id") is not None
    return Configuration(
        bot=read_bot(said),
        heartbeat_id=read_heartbeat_id(said) if named else None,
        member_id=read_member(said),
        new=_flag(said, "new"),
        said={
            name: check(said, name)
            for name, check in _SETTINGS.items()
            if name in said and (said[name] is not None or name not in _NEEDED)
        },
    )


def check_whole(configuration: Configuration) -> None:
    """Refuse a heartbeat that has to be made and does not say what it asks."""
    if "prompt" not in configuration.said:
        raise BadRequest("prompt is required.", field="prompt")


def read_switch(said: Mapping[str, Any]) -> bool:
    """Take whether a bot's heartbeats shall be on."""
    if said.get("heartbeat") is None:
        raise BadRequest("heartbeat is required: true or false.", field="heartbeat")
    return _flag(said, "heartbeat")


def _id(said: Mapping[str, Any], name: str) -> Any:
    value = said.get(name)
    if value is None or value == "":
        raise BadRequest(f"{name} is required.", field=name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadValue(f"{name} is a text or a number.", field=name)
    if len(str(value)) > LONGEST_ID or not str(value).isprintable():
        raise BadValue(f"{name} has at most {LONGEST_ID} printable characters.", field=name)
    return value


def _flag(said: Mapping[str, Any], name: str) -> bool:
    """Take true or false; they are told as 1 and 0, and may so be sent back."""
    value = said.get(name)
    if value is not None and value not in (True, False):
        raise BadValue(f"{name} is true or false.", field=name)
    return bool(value)


def _prompt(said: Mapping[str, Any], name: str) -> str:
    prompt = field.text_of(said, name)
    if not prompt.strip() or len(prompt) > LONGEST_PROMPT:
        raise BadValue(f"{name} has 1 to {LONGEST_PROMPT} characters.", field=name)
    return prompt


def _minutes(said: Mapping[str, Any], name: str) -> float:
    minutes = field.number_of(said, name, 0, 1e9, 30)
    assert minutes is not None, "it has a default"
    return int(minutes) if minutes % 1 == 0 else minutes  # as it is shown: 30, not 30.0


def _errors(said: Mapping[str, Any], name: str) -> int:
    return field.whole_of(said, name, 1, MOST_ERRORS, 5)


def _budget(said: Mapping[str, Any], name: str) -> float | None:
    return field.number_of(said, name, 0, 1e12)


def _text(said: Mapping[str, Any], name: str) -> str | None:
    """Take a text; an empty one is none, as forms send it."""
    return field.text_of(said, name) or None if said[name] is not None else None


def _days(said: Mapping[str, Any], name: str) -> str | None:
    value = said[name]
    return ",".join(map(str, value)) if isinstance(value, list) else _text(said, name)


def _zone(said: Mapping[str, Any], name: str) -> str:
    return _text(said, name) or "UTC"


def _url(said: Mapping[str, Any], name: str) -> str | None:
    url = _text(said, name)
    if url is not None:
        destination_of(url, name)
    return url


_NEEDED: Final = frozenset({"prompt", "enabled"})  # null is as if they were not there
_SETTINGS: Final = {
    "prompt": _prompt,
    "interval_minutes": _minutes,
    "cron_pattern": _text,
    "enabled": _flag,
    "active_hours_start": _text,
    "active_hours_end": _text,
    "active_days": _days,
    "timezone": _zone,
    "credit_budget": _budget,
    "max_consecutive_errors": _errors,
    "webhook_url": _url,
    "notify_url": _url,
}


def heartbeat(schedule: Schedule, now_ms: int, *, secret: bool = False) -> Shown:
    """Show a heartbeat; with the secret of its webhook when that was just made."""
    shown = {
        "uuid": schedule.id,
        "project_id": schedule.project_id,
        "bot_id": schedule.bot_id,
        "member_id": schedule.member_id,
        "prompt": schedule.prompt,
        "interval_minutes": schedule.interval_minutes,
        "cron_pattern": schedule.cron_pattern,
        "enabled": int(schedule.enabled),
        "active_hours_start": schedule.active_hours_start,
        "active_hours_end": schedule.active_hours_end,
        "active_days": schedule.active_days,
        "timezone": schedule.timezone,
        "credit_budget": schedule.credit_budget,
        "credits_used": _number(credits_used(schedule, now_ms)),
        "last_executed_at": to_text_or_none(schedule.last_executed_ms),
        "next_run_at": to_text_or_none(schedule.due_ms),
        "last_status": schedule.last_status,
        "execution_count": schedule.execution_count,
        "error_count": schedule.error_count,
        "consecutive_errors": schedule.consecutive_errors,
        "max_consecutive_errors": schedule.max_consecutive_errors,
        "paused_reason": schedule.paused_reason,
        "webhook_url": schedule.webhook_url,
        "notify_url": schedule.notify_url,
        "created_at": to_text(schedule.created_ms),
        "updated_at": to_text(schedule.updated_ms),
    }
    return shown | {"webhook_secret": schedule.webhook_secret} if secret else shown


def result(run: Run) -> Shown:
    """Tell what came of a run that somebody began."""
    if run.open:
        return {"status": RUNNING, "run": run.id}
    return {
        "status": run.status,
        "response": run.response,
        "duration_ms": run.duration_ms,
        "tokens_used": run.tokens_used,
        "credits_charged": run.credits,
        "error_message": run.error_message,
        "run": run.id,
    }


def entry(run: Run) -> Shown:
    """Show a run as an entry of the log."""
    return {
        "uuid": run.token,
        "heartbeat_id": run.schedule,
        "member_id": run.member_id,
        "type": run.type,
        "status": RUNNING if run.open else run.status,
        "prompt": run.prompt,
        "response": run.response,
        "duration_ms": run.duration_ms,
        "tokens_used": run.tokens_used,
        "credits_charged": run.credits,
        "error_message": run.error_message,
        "created_at": to_text(run.created_ms),
    }


def logs(runs: Iterable[Run], total: int, page: int, per_page: int) -> Shown:
    """Show a page of the log."""
    pages = -(-total // per_page)
    return {
        "total": total,
        "logs": [entry(run) for run in runs],
        "pagination": {"page": page, "per_page": per_page, "total": total, "total_pages": pages},
    }


def read_status(text: str | None) -> str | None:
    """Take which entries of a log are wanted; None: all."""
    statuses = {SUCCESS: SUCCESS, ERROR: ERROR, SKIPPED: SKIPPED, RUNNING: OPEN}
    if text is None or text == "":
        return None
    if text not in statuses:
        raise BadRequest(f"status is one of {', '.join(statuses)}.", field="status")
    return statuses[text]


def stats(days: Sequence[str], tallies: Sequence[Mapping[str, float]], active: int) -> Shown:
    """Sum up what was counted, day by day; the days go up."""

    def total(name: str) -> float:
        return sum(tally.get(name, 0) for tally in tallies)

    done, failed, skipped = total(SUCCESS), total(ERROR), total(SKIPPED)
    executed = done + failed
    types = sorted({name for tally in tallies for name in tally if name.startswith("type:")})
    return {
        "total_executions": _number(executed + skipped),
        "success_count": _number(done),
        "error_count": _number(failed),
        "skipped_count": _number(skipped),
        "success_rate": round(100 * done / executed, 1) if executed else 0,
        "total_tokens": _number(total("tokens")),
        "total_credits": _number(total("credits")),
        "avg_duration_ms": round(total("duration_ms") / executed) if executed else 0,
        "active_heartbeats": active,
        "by_type": {name.removeprefix("type:"): _number(total(name)) for name in types},
        "time_series": [
            {
                "date": day,
                "total": _number(sum(tally.get(name, 0) for name in (SUCCESS, ERROR, SKIPPED))),
                "success": _number(tally.get(SUCCESS, 0)),
                "error": _number(tally.get(ERROR, 0)),
            }
            for day, tally in zip(days, tallies, strict=True)
        ],
    }


def refusal(error: LifesignsError) -> tuple[int, Shown]:
    """Say no; what is of the wrong type is a bad request here."""
    status = 400 if error.http_status == 422 else error.http_status
    told = {"status": status, "message": error.message}
    if error.field is not None:
        told["field"] = error.field
    return status, {"error": told, "message": error.message}


def _number(value: float) -> float:
    """Show a whole number as one."""
    return int(value) if float(value).is_integer() else round(value, 6)
