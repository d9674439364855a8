"""`lifesigns webhooks`: who is told of what happens, and what became of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from lifesigns.cli.api import Api
from lifesigns.cli.filter import add_filter, filter_of
from lifesigns.cli.flag import add_flags
from lifesigns.cli.span import seconds
from lifesigns.cli.terminal import Look, printable, table
from lifesigns.config import ClientConfig
from lifesigns.core.delivery import STATES
from lifesigns.core.webhook import EVENTS, FORMATS

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

PATH = "/v1/webhooks"
INDENTED: Any = {"initial_indent": "  ", "subsequent_indent": "    "}
LISTED = ("id", "name", "events", "agents", "hold", "does", "url")
SENT = ("id", "event", "agent", "state", "tries", "last", "created", "next")
FAMILIES = dict.fromkeys(each.partition(".")[0] for each in EVENTS)
EPILOG = (
    "events, a * at the end for all that begin so:\n"
    + "".join(
        fill(" ".join(each for each in EVENTS if each.startswith(f"{family}.")), 78, **INDENTED)
        + "\n"
        for family in FAMILIES
    )
    + """
All of it takes an admin key.

exit codes of test:
  0    it arrived
  1    it did not
"""
)


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "webhooks",
        help="tell others what happens",
        description="Webhooks tell receivers over HTTP what happens, signed, until it arrives.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list the webhooks of a project")
    listing.set_defaults(run=show)

    adding = actions.add_parser("add", help="make one; its secret is shown this once")
    adding.add_argument("receiver", metavar="URL", help="where to: https://...")
    add_filter(adding)
    adding.add_argument(
        "--on", action="append", metavar="EVENT", help="told of this (default: of everything)"
    )
    adding.add_argument("--name", help="what people call it")
    adding.add_argument("--hold", metavar="SPAN", help="told only if it is still so after this")
    adding.add_argument("--format", choices=FORMATS, help="how it is said (default: standard)")
    adding.set_defaults(run=add)

    removing = actions.add_parser("remove", help="end one, and what was on its way to it")
    removing.set_defaults(run=remove)

    testing = actions.add_parser("test", help="send it a message now, and say what became of it")
    testing.set_defaults(run=test)

    looking = actions.add_parser("deliveries", help="list what was sent to it, the newest first")
    looking.add_argument("--state", choices=STATES, help="only those")
    looking.add_argument("--limit", type=int, default=50, metavar="N", help="how many (50)")
    looking.set_defaults(run=deliveries)

    resending = actions.add_parser("resend", help="send a message again; without one all failed")
    resending.set_defaults(run=resend)

    for action in (removing, testing, looking, resending):
        action.add_argument("id", metavar="WEBHOOK", help="its id, as listed")
    resending.add_argument("delivery", nargs="*", metavar="DELIVERY", help="as listed")
    for action in (listing, adding, removing, testing, looking, resending):
        action.add_argument("--project", help="another project than the key's own (root only)")
        action.add_argument("--json", action="store_true", help="print the hub's answer as it is")
        add_flags(action, ClientConfig)


def show(args: argparse.Namespace) -> int:
    answer = Api.of(args).call("GET", PATH)
    if args.json:
        print(json.dumps(answer))
        return 0
    rows = [_row(each) for each in answer["webhooks"]]
    print(table(LISTED, rows, width=Look.of(sys.stdout).width, gives_way=("url", "events")))
    return 0


def _row(webhook: Mapping[str, Any]) -> tuple[object, ...]:
    health = webhook["health"]
    does = "well"
    if not webhook["enabled"]:
        does = f"disabled: {webhook['disabled_reason']}"
    elif health["failures"]:
        does = f"{health['failures']} failures: {health['last_error']}"
    return (
        webhook["id"],
        webhook["name"],
        " ".join(webhook["events"]),
        json.dumps(webhook["filter"]) if webhook["filter"] else "all",
        f"{webhook['hold_s']:g}s" if webhook["hold_s"] else None,
        does,
        webhook["url"],
    )


def add(args: argparse.Namespace) -> int:
    wanted = {
        "url": args.receiver,
        "events": args.on,
        "filter": filter_of(args) or None,
        "name": args.name,
        "hold_s": None if args.hold is None else seconds(args.hold, "--hold"),
        "format": args.format,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    made = Api.of(args).call("POST", PATH, given)
    if args.json:
        print(json.dumps(made))
        return 0
    for name in ("id", "url", "secret"):
        print(f"{name:8}{printable(str(made[name]))}")
    print("The secret is not shown again: the receiver verifies messages by it.", file=sys.stderr)
    return 0


def remove(args: argparse.Namespace) -> int:
    answer = Api.of(args).call("DELETE", _place(args))
    print(json.dumps(answer) if args.json else f"{printable(args.id)} is removed")
    return 0


def test(args: argparse.Namespace) -> int:
    sent = Api.of(args).call("POST", f"{_place(args)}/test")
    print(json.dumps(sent) if args.json else f"{sent['state']}: {_last(sent)}")
    return 0 if sent["state"] == "delivered" else 1


def deliveries(args: argparse.Namespace) -> int:
    asked = {"limit": args.limit} | ({} if args.state is None else {"state": args.state})
    answer = Api.of(args).call("GET", f"{_place(args)}/deliveries?{urlencode(asked)}")
    if args.json:
        print(json.dumps(answer))
        return 0
    rows = [
        (
            each["id"],
            each["event"],
            each["agent"],
            each["state"],
            len(each["attempts"]),
            _last(each),
            each["created_at"],
            each["next_attempt_at"],
        )
        for each in answer["deliveries"]
    ]
    print(table(SENT, rows, width=Look.of(sys.stdout).width, gives_way=("last", "id")))
    if answer["total"] > len(rows):
        print(f"{answer['total'] - len(rows)} more: --limit", file=sys.stderr)
    return 0


def resend(args: argparse.Namespace) -> int:
    api = Api.of(args)
    names = args.delivery
    if not names:
        failed = api.call("GET", f"{_place(args)}/deliveries?state=failed&limit=500")
        names = [each["id"] for each in failed["deliveries"]]
    sent = [
        api.call("POST", f"{_place(args)}/deliveries/{quote(name, safe='')}/resend")
        for name in names
    ]
    if args.json:
        print(json.dumps({"deliveries": sent}))
    else:
        print(f"{len(sent)} on their way")
    return 0


def _last(sent: Mapping[str, Any]) -> str:
    """Say what came of the last try."""
    if not sent["attempts"]:
        return ""
    attempt = sent["attempts"][-1]
    return printable(attempt["error"] or f"HTTP {attempt['status']}")


def _place(args: argparse.Namespace) -> str:
    return f"{PATH}/{quote(args.id, safe='')}"
