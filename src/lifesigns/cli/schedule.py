"""`lifesigns schedules`: what wakes an agent, and what came of it."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from lifesigns.cli.api import Api
from lifesigns.cli.flag import add_flags
from lifesigns.cli.span import seconds, spell
from lifesigns.cli.terminal import Look, printable, table
from lifesigns.config import ClientConfig
from lifesigns.core.access import check_agent_id
from lifesigns.core.errors import BadRequest, BadValue, Conflict, NotFound

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

PREFIX = "/v1/bot"
LABEL = "default"  # what schedules made here are filed under
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
SHORT_DAY = 3  # letters
LISTED = ("id", "agent", "when", "now", "last", "runs", "errors", "prompt")
LOGGED = ("at", "how", "status", "took", "tokens", "credits", "what")
LONGEST_WAIT_S = 60.0
PAGE = 100
EPILOG = """\
A schedule is named by its id, or by its beginning; where an agent has only one it need not be
named. Making, altering and triggering take an admin key.

exit codes of trigger:
  0    it succeeded, or is still running after --wait
  1    it failed, was skipped, or could not be begun
"""


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "schedules",
        help="wake agents on time",
        description="Schedules hand an agent a prompt when it is time, and keep what it answers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list the schedules of an agent, or of all")
    listing.set_defaults(run=show)

    adding = actions.add_parser("add", help="make a schedule, which begins at once")
    _add_times(adding)
    adding.add_argument(
        "--project-id",
        default=LABEL,
        metavar="LABEL",
        help=f"what the programs of the API file it under (default: {LABEL})",
    )
    adding.set_defaults(run=add)

    pausing = actions.add_parser("pause", help="stop a schedule, and keep it")
    pausing.set_defaults(run=pause)
    resuming = actions.add_parser("resume", help="let a schedule go on")
    resuming.set_defaults(run=resume)
    removing = actions.add_parser("remove", help="drop a schedule for good")
    removing.set_defaults(run=remove)

    triggering = actions.add_parser("trigger", help="run it now, paused or not")
    triggering.add_argument(
        "--wait", metavar="SPAN", default="60s", help="for what comes of it (60s, the longest)"
    )
    triggering.set_defaults(run=trigger)

    logging = actions.add_parser("logs", help="tell what came of the runs, the latest first")
    logging.add_argument("--status", choices=("success", "error", "skipped", "running"))
    logging.add_argument("--limit", type=int, default=20, metavar="N", help="how many (20)")
    logging.set_defaults(run=logs)

    acting = (listing, adding, pausing, resuming, removing, triggering, logging)
    for action in acting:
        whose = "?" if action is listing else None
        action.add_argument("agent", nargs=whose, metavar="AGENT", help="the agent's id")
        if action is adding:
            action.add_argument("prompt", metavar="PROMPT", help="what it is to do")
        elif action is not listing:
            action.add_argument("schedule", nargs="?", metavar="ID", help="which of them")
        action.add_argument("--json", action="store_true", help="print the hub's answer as it is")
        add_flags(action, ClientConfig)


def _add_times(parser: argparse.ArgumentParser) -> None:
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--every", metavar="SPAN", help="30m (the default), 6h, 1d")
    when.add_argument("--cron", metavar="PATTERN", help="five fields, like '0 9 * * 1-5'")
    parser.add_argument("--between", metavar="HH:MM-HH:MM", help="only in this part of the day")
    parser.add_argument("--days", metavar="DAYS", help="only on these: mon-fri, or 1,3,5")
    parser.add_argument("--zone", metavar="NAME", help="whose hours: Europe/Berlin (UTC)")
    parser.add_argument("--budget", type=float, metavar="N", help="credits a month, no more")
    parser.add_argument("--max-errors", type=int, metavar="N", help="in a row, then it pauses (5)")
    parser.add_argument("--member", metavar="ID", help="for which subscriber it is")
    parser.add_argument("--webhook", metavar="URL", help="called when the agent has no socket")
    parser.add_argument("--notify", metavar="URL", help="told what a run wants users to know")
    parser.add_argument("--paused", action="store_true", help="make it, and do not begin")


def add(args: argparse.Namespace) -> int:
    place = {"project_id": args.project_id, "bot_id": check_agent_id(args.agent)}
    said = {**place, "prompt": args.prompt, "new": True, "enabled": not args.paused}
    said |= times_of(args)
    api = Api.of(args)
    api.call("PUT", f"{PREFIX}/update", {**place, "heartbeat": True})
    answer = api.call("POST", f"{PREFIX}/heartbeat/configure", said)
    return _tell(args, answer, lambda made: f"{made['uuid']}, {_next(made)}")


def times_of(args: argparse.Namespace) -> dict[str, Any]:
    """Take when it is to run and what else was typed, by the names of the wire."""
    said: dict[str, Any] = {
        "cron_pattern": args.cron,
        "timezone": args.zone,
        "credit_budget": args.budget,
        "max_consecutive_errors": args.max_errors,
        "member_id": args.member,
        "webhook_url": args.webhook,
        "notify_url": args.notify,
    }
    if args.every is not None:
        said["interval_minutes"] = seconds(args.every, "--every") / 60
    if args.between is not None:
        hours = re.fullmatch(r"(\d{1,2}:\d\d)-(\d{1,2}:\d\d)", args.between)
        if hours is None:
            raise _misread("--between", args.between, "like 09:00-17:00")
        said["active_hours_start"], said["active_hours_end"] = (h.zfill(5) for h in hours.groups())
    if args.days is not None:
        said["active_days"] = days_of(args.days)
    return {name: value for name, value in said.items() if value is not None}


def days_of(text: str) -> str:
    """Read days of the week, by name or number, and from one to another: 1 is Monday."""
    days: list[int] = []
    for part in text.lower().split(","):
        first, dash, last = part.strip().partition("-")
        begin, end = _day(first, text), _day(last if dash else first, text)
        while True:
            days.append(begin)
            if begin == end:
                break
            begin = begin % len(DAYS) + 1  # from Saturday to Monday is over the week's end
    return ",".join(map(str, sorted(set(days))))


def _day(word: str, text: str) -> int:
    for number, name in enumerate(DAYS, 1):
        if word == str(number) or (len(word) >= SHORT_DAY and name.startswith(word)):
            return number
    raise _misread("--days", text, "like mon-fri or 1,3,5")


def _misread(flag: str, text: str, takes: str) -> BadValue:
    return BadValue(f"{flag} is {json.dumps(text)}: it must be {takes}", field=flag.lstrip("-"))


def show(args: argparse.Namespace) -> int:
    answer = _read_all(Api.of(args), args.agent)
    if args.json:
        print(json.dumps(answer))
        return 0
    rows = [
        (
            *(made["uuid"][:8], made["agent"], _when(made), _next(made), made["last_status"]),
            *(made["execution_count"], made["error_count"], made["prompt"]),
        )
        for made in answer["schedules"]
    ]
    look = Look.of(sys.stdout)
    print(table(LISTED, rows, width=look.width, gives_way=("prompt",)))
    if len(rows) < answer["total"]:
        print(f"and {answer['total'] - len(rows)} more: name an agent")
    return 0


def pause(args: argparse.Namespace) -> int:
    return _alter(args, "POST", "disable", lambda made: f"{made['uuid'][:8]} is paused")


def resume(args: argparse.Namespace) -> int:
    return _alter(args, "POST", "enable", lambda made: f"{made['uuid'][:8]}, {_next(made)}")


def remove(args: argparse.Namespace) -> int:
    return _alter(args, "DELETE", "delete", lambda made: "it is gone")


def trigger(args: argparse.Namespace) -> int:
    wait_s = min(LONGEST_WAIT_S, seconds(args.wait, "--wait"))
    api = Api.of(args, timeout_s=wait_s + 15)
    said = {**_chosen(api, args), "wait": wait_s}
    answer = api.call("POST", f"{PREFIX}/heartbeat/trigger", said)
    result = answer["result"]
    if args.json:
        print(json.dumps(answer))
    elif result["status"] == "success":
        print(printable(result["response"] or "", keep="\n"))
    elif result["status"] == "running":
        print(f"it is running: {printable(result['run'])}")
    else:
        raise Conflict(
            f"{result['status']}: {result.get('error_message') or 'no reason was given'}"
        )
    return 0 if result["status"] in ("success", "running") else 1


def logs(args: argparse.Namespace) -> int:
    api, page, left = Api.of(args), 1, args.limit
    if left < 1:
        raise BadRequest("--limit is 1 or more")
    asked = {**_chosen(api, args, all_of_them=True), "status": args.status}
    asked["per_page"] = min(PAGE, left)
    entries: list[Mapping[str, Any]] = []
    while True:
        answer = api.call("GET", f"{PREFIX}/heartbeat/logs?{_query({**asked, 'page': page})}")
        entries += answer["logs"]
        if len(entries) >= left or page >= answer["pagination"]["total_pages"]:
            break
        page += 1
    if args.json:
        print(json.dumps({**answer, "logs": entries[:left]}))
        return 0
    look = Look.of(sys.stdout)
    rows = [_row(entry) for entry in entries[:left]]
    shown = table(LOGGED, rows, width=look.width, gives_way=("what",))
    print(shown)
    return 0


def _row(entry: Mapping[str, Any]) -> tuple[object, ...]:
    took_ms = entry["duration_ms"]
    said = entry["error_message"] if entry["error_message"] is not None else entry["response"]
    return (
        *(entry["created_at"], entry["type"], entry["status"]),
        None if took_ms is None else spell(took_ms / 1000),
        *(entry["tokens_used"], entry["credits_charged"], said),
    )


def _alter(args: argparse.Namespace, method: str, deed: str, told: Any) -> int:
    api = Api.of(args)
    said = _chosen(api, args)
    return _tell(args, api.call(method, f"{PREFIX}/heartbeat/{deed}", said), told)


def _tell(args: argparse.Namespace, answer: Mapping[str, Any], told: Any) -> int:
    print(json.dumps(answer) if args.json else printable(told(answer.get("heartbeat"))))
    return 0


def _chosen(api: Api, args: argparse.Namespace, *, all_of_them: bool = False) -> dict[str, Any]:
    """Find which schedule is meant, in the words of the API; or all of the agent's."""
    found = _read_all(api, check_agent_id(args.agent))["schedules"]
    meant = [made for made in found if made["uuid"].startswith(args.schedule or "")]
    if not found:
        raise NotFound(f"{args.agent} has no schedules")
    if not meant:
        raise NotFound(f"no schedule of {args.agent} begins with {args.schedule}")
    place = {name: meant[0][name] for name in ("project_id", "bot_id")}
    if all_of_them and args.schedule is None:
        return place
    if len(meant) > 1:
        raise BadRequest(f"which of them? {', '.join(made['uuid'][:8] for made in meant)}")
    return {**place, "heartbeat_id": meant[0]["uuid"]}


def _read_all(api: Api, agent: str | None) -> dict[str, Any]:
    return api.call("GET", f"/v1/schedules?{_query({'agent': agent})}")


def _query(said: Mapping[str, Any]) -> str:
    return urlencode({name: value for name, value in said.items() if value is not None})


def _when(made: Mapping[str, Any]) -> str:
    if made["cron_pattern"]:
        when = str(made["cron_pattern"])
    else:
        when = f"every {spell(made['interval_minutes'] * 60)}"
    if made["active_hours_start"] and made["active_hours_end"]:
        when += f" {made['active_hours_start']}-{made['active_hours_end']}"
    if made["active_days"]:
        when += f" on {_spelt(made['active_days'])}"
    return when if made["timezone"] == "UTC" else f"{when} {made['timezone']}"


def _spelt(days: str) -> str:
    numbers: Sequence[str] = days.split(",")
    return ",".join(
        DAYS[int(day) - 1][:SHORT_DAY] if day.strip() in "1234567" else day for day in numbers
    )


def _next(made: Mapping[str, Any]) -> str:
    if made["paused_reason"]:
        return f"paused: {made['paused_reason']}"
    if not made["enabled"]:
        return "paused"
    return f"next at {made['next_run_at']}" if made["next_run_at"] else "no next run"
