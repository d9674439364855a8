"""A schedule and its runs: when one begins, when it is skipped, and what comes of its end.

Every judgement takes a schedule as it was read and answers a ``Turn``: the schedule and the runs as
they shall be, what is to be told of it, and what is to be counted. When the next run is due is
decided in ``timing``. Must not know how a schedule is kept, how a run is sent, nor what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, NamedTuple

from lifesigns.core.cron import read_cron
from lifesigns.core.errors import BadValue, Conflict
from lifesigns.core.instant import to_text, to_text_or_none
from lifesigns.core.run import (
    ERROR,
    HEARTBEAT,
    MANUAL,
    OPEN,
    SKIPPED,
    SUCCESS,
    Report,
    Run,
    run_id,
)
from lifesigns.core.timing import MOST_MISSED, Timing, period_of
from lifesigns.core.window import EVERY_DAY, Window, read_days, read_hour
from lifesigns.core.zone import zone_of

LONGEST_INTERVAL_MINUTES: Final = 366 * 1440
TOLD: Final = {SUCCESS: "run.succeeded", ERROR: "run.failed", SKIPPED: "run.skipped"}
STARTED, NOTIFY, PAUSED = "run.started", "run.notify", "schedule.paused"
NO_ANSWER: Final = "no answer in time"
NOT_CONNECTED: Final = "agent is not connected"

# What of a schedule says when it runs: another value begins anew.
TIMED: Final = frozenset(
    {"interval_minutes", "cron_pattern", "active_hours_start", "active_hours_end"}
    | {"active_days", "timezone"}
)


@dataclass(frozen=True, slots=True)
class Terms:
    """How schedules are dealt with; settings."""

    least_interval_minutes: float = 1
    timeout_ms: int = 600_000  # from the begin of a run to its report
    kept_ms: int = 90 * 86_400_000  # of a closed run
    allowance_ms: int = 60_000  # how late a run may be before its agent does not sleep any more


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is kept; fields may be added with a default."""

    id: str
    agent: str
    bot_id: Any  # the agent's id, in the type in which it was sent
    project_id: Any  # a label
    prompt: str
    created_ms: int
    updated_ms: int
    member_id: Any = None
    interval_minutes: float = 30
    cron_pattern: str | None = None
    enabled: bool = False
    stopped: bool = False  # with all schedules of its bot
    active_hours_start: str | None = None
    active_hours_end: str | None = None
    active_days: str | None = None
    timezone: str = "UTC"
    credit_budget: float | None = None
    credits_used: float = 0  # in the period
    period: str = ""
    max_consecutive_errors: int = 5
    webhook_url: str | None = None
    webhook_secret: str | None = None  # by which that, and who is notified, knows who calls
    notify_url: str | None = None
    due_ms: int | None = None
    open_run: str | None = None
    last_executed_ms: int | None = None
    last_status: str | None = None
    execution_count: int = 0
    error_count: int = 0
    consecutive_errors: int = 0
    paused_reason: str | None = None

    @property
    def runs(self) -> bool:
        return self.enabled and not self.stopped


class Told(NamedTuple):
    """What is to be told."""

    type: str
    agent: str
    data: Mapping[str, Any]


class Turn(NamedTuple):
    """What comes of a judgement."""

    schedule: Schedule | None  # None: it is gone
    runs: tuple[Run, ...] = ()
    told: tuple[Told, ...] = ()

    def and_then(self, later: Turn) -> Turn:
        """Add what came of the next one."""
        return Turn(later.schedule, self.runs + later.runs, self.told + later.told)


def timing_of(schedule: Schedule) -> Timing:
    """Read when a schedule runs; raises BadValue with the field that says something else."""
    start, end, days = (
        schedule.active_hours_start,
        schedule.active_hours_end,
        schedule.active_days,
    )
    window = Window(
        zone_of(schedule.timezone),
        0 if start is None else read_hour(start, "active_hours_start"),
        0 if end is None else read_hour(end, "active_hours_end"),
        EVERY_DAY if days is None else read_days(days, "active_days"),
    )
    pattern = schedule.cron_pattern
    cron = None if pattern is None else read_cron(pattern)
    return Timing(window, schedule.interval_minutes, cron)


def configure(
    former: Schedule, said: Mapping[str, Any], now_ms: int, terms: Terms, *, new: bool = False
) -> Schedule:
    """Alter a schedule; keys are fields. What is not said stays as it is."""
    schedule = replace(former, **said, updated_ms=now_ms)
    least = terms.least_interval_minutes
    if not least <= schedule.interval_minutes <= LONGEST_INTERVAL_MINUTES:
        raise BadValue(
            f"interval_minutes is between {least:g} and {LONGEST_INTERVAL_MINUTES}.",
            field="interval_minutes",
        )
    timing_of(schedule).following(now_ms)  # refuses what can never run, enabled or not
    retimed = any(getattr(schedule, name) != getattr(former, name) for name in TIMED)
    return _armed(schedule, now_ms, anew=new or retimed or not former.enabled)


def enable(schedule: Schedule, now_ms: int) -> Schedule:
    """Have it run, as if nothing had failed before; one that does already goes on."""
    if schedule.enabled:
        return schedule
    return _armed(replace(schedule, enabled=True, updated_ms=now_ms), now_ms, anew=True)


def disable(schedule: Schedule, now_ms: int) -> Schedule:
    """Have it run no more until it is enabled."""
    return replace(schedule, enabled=False, due_ms=None, updated_ms=now_ms)


def switch(schedule: Schedule, on: bool, now_ms: int) -> Schedule:
    """Stop it with its bot, or let it go on."""
    if schedule.stopped is not on:
        return schedule
    return _armed(replace(schedule, stopped=not on, updated_ms=now_ms), now_ms, anew=True)


def _armed(schedule: Schedule, now_ms: int, *, anew: bool) -> Schedule:
    if schedule.enabled and anew:
        schedule = replace(schedule, consecutive_errors=0, paused_reason=None)
    if not schedule.runs:
        return replace(schedule, due_ms=None)
    if schedule.due_ms is not None and not anew:
        return schedule
    return replace(schedule, due_ms=timing_of(schedule).following(now_ms))


# Runs.


def fall_due(schedule: Schedule, now_ms: int, token: str, terms: Terms) -> Turn:
    """Begin the run that is due, or skip it and say why; times that were missed are one entry.

    ``token`` names what comes of it: whoever comes second with the same schedule writes nothing.
    """
    assert schedule.due_ms is not None, "it was handed out as due"
    due_ms = schedule.due_ms
    next_ms, missed = timing_of(schedule).caught_up(due_ms, now_ms)
    schedule = _in_period(replace(schedule, due_ms=next_ms), now_ms)
    turn = Turn(schedule)
    if missed:
        more = " or more" if missed >= MOST_MISSED else ""
        turn = _skip(schedule, f"missed {missed}{more}", now_ms, f"{token}-missed", due_ms)
    why = _hindrance(schedule)
    if why is not None:
        return turn.and_then(_skip(schedule, why, now_ms, token, due_ms))
    return turn.and_then(_begin(schedule, now_ms, token, terms, HEARTBEAT, due_ms))


def trigger(schedule: Schedule, now_ms: int, token: str, terms: Terms) -> Turn:
    """Begin a run now, whether it is enabled or not; Conflict if one is open."""
    if schedule.open_run is not None:
        raise Conflict("A run of this schedule is open.")
    schedule = _in_period(schedule, now_ms)
    why = _hindrance(schedule)
    if why is not None:
        return _skip(schedule, why, now_ms, token, None, MANUAL)
    return _begin(schedule, now_ms, token, terms, MANUAL, None)


def finish(schedule: Schedule | None, run: Run, report: Report, now_ms: int) -> Turn:
    """Close a run by what its agent reported."""
    error = report.error_message
    if report.status == ERROR and not error:
        error = "the agent reported an error"
    turn = _close(
        schedule,
        replace(
            run,
            status=report.status,
            report=asdict(report),
            response=report.response,
            error_message=error,
            tokens_used=report.tokens_used,
            credits=report.credits,
        ),
        now_ms,
    )
    if report.notify is None or report.notify is False:
        return turn
    (closed,) = turn.runs
    notice = {"notify": report.notify, "notify_url": schedule and schedule.notify_url}
    told = Told(NOTIFY, run.agent, {**about(closed), **notice})
    return turn._replace(told=(*turn.told, told))


def fail(schedule: Schedule | None, run: Run, why: str, now_ms: int) -> Turn:
    """Close a run that nobody reports any more."""
    return _close(schedule, replace(run, status=ERROR, error_message=why), now_ms)


def about(run: Run) -> dict[str, Any]:
    """Spell out what webhooks are told of a run."""
    return {
        "run": run.id,
        "schedule": run.schedule,
        "agent": run.agent,
        "bot_id": run.bot_id,
        "member_id": run.member_id,
        "type": run.type,
        "status": run.status,
        "prompt": run.prompt,
        "due_at": to_text_or_none(run.due_ms),
        "started_at": to_text(run.created_ms),
        "duration_ms": run.duration_ms,
        "response": run.response,
        "error_message": run.error_message,
        "tokens_used": run.tokens_used,
        "credits": run.credits,
    }


def _hindrance(schedule: Schedule) -> str | None:
    if schedule.open_run is not None:
        return "the previous run is open"
    budget = schedule.credit_budget
    if budget is not None and schedule.credits_used >= budget:
        used = f"{schedule.credits_used:g} of {budget:g} credits"
        return f"the budget of {schedule.period} is used up: {used}"
    return None


def _begin(
    schedule: Schedule, now_ms: int, token: str, terms: Terms, type_: str, due_ms: int | None
) -> Turn:
    run = replace(
        _run(schedule, now_ms, token, type_, due_ms),
        deadline_ms=now_ms + terms.timeout_ms,
        webhook_url=schedule.webhook_url,
    )
    begun = replace(schedule, open_run=run.id, last_executed_ms=now_ms)
    return Turn(begun, (run,), (Told(STARTED, run.agent, about(run)),))


def _skip(
    schedule: Schedule,
    why: str,
    now_ms: int,
    token: str,
    due_ms: int | None,
    type_: str = HEARTBEAT,
) -> Turn:
    run = replace(
        _run(schedule, now_ms, token, type_, due_ms),
        status=SKIPPED,
        error_message=why,
        ended_ms=now_ms,
    )
    skipped = replace(schedule, last_status=SKIPPED)
    return Turn(skipped, (run,), (Told(TOLD[SKIPPED], run.agent, about(run)),))


def _run(schedule: Schedule, now_ms: int, token: str, type_: str, due_ms: int | None) -> Run:
    return Run(
        id=run_id(token, schedule.agent),
        schedule=schedule.id,
        agent=schedule.agent,
        prompt=schedule.prompt,
        created_ms=now_ms,
        deadline_ms=now_ms,
        type=type_,
        status=OPEN,
        bot_id=schedule.bot_id,
        member_id=schedule.member_id,
        due_ms=due_ms,
    )


def _close(schedule: Schedule | None, run: Run, now_ms: int) -> Turn:
    run = replace(run, ended_ms=now_ms, look_ms=None)
    told = [Told(TOLD[run.status], run.agent, about(run))]
    if schedule is None or schedule.open_run != run.id:
        return Turn(schedule, (run,), tuple(told))
    schedule = _in_period(schedule, now_ms)
    failed = run.status == ERROR
    schedule = replace(
        schedule,
        open_run=None,
        last_status=run.status,
        credits_used=schedule.credits_used + (run.credits or 0),
        execution_count=schedule.execution_count + 1,
        error_count=schedule.error_count + failed,
        consecutive_errors=schedule.consecutive_errors + 1 if failed else 0,
    )
    if schedule.enabled and schedule.consecutive_errors >= schedule.max_consecutive_errors:
        why = f"{schedule.consecutive_errors} failed in a row, the last: {run.error_message}"
        schedule = replace(schedule, enabled=False, due_ms=None, paused_reason=why)
        told.append(Told(PAUSED, run.agent, {**about(run), "paused_reason": why}))
    return Turn(schedule, (run,), tuple(told))


def _in_period(schedule: Schedule, now_ms: int) -> Schedule:
    period = period_of(now_ms, timing_of(schedule).window)
    if period == schedule.period:
        return schedule
    return replace(schedule, period=period, credits_used=0)


def credits_used(schedule: Schedule, now_ms: int) -> float:
    """Tell what was used in the period that is now."""
    return _in_period(schedule, now_ms).credits_used


def pack(schedule: Schedule) -> dict[str, Any]:
    """Lay a schedule out to be kept."""
    return {each.name: getattr(schedule, each.name) for each in fields(schedule)}


def unpack(body: Mapping[str, Any]) -> Schedule:
    """Read a schedule that was kept, by a hub of whatever version."""
    return Schedule(**{name: value for name, value in body.items() if name in _FIELDS})


_FIELDS = frozenset(each.name for each in fields(Schedule))
