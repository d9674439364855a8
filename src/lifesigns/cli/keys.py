"""`lifesigns keys`: make, list and revoke the keys of a project."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from lifesigns.cli.api import Api
from lifesigns.cli.flag import add_flags
from lifesigns.cli.terminal import printable, table
from lifesigns.config import ClientConfig
from lifesigns.core.access import SCOPES
from lifesigns.core.errors import BadValue
from lifesigns.core.instant import from_text, to_text

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

COLUMNS = ("id", "scope", "agent", "poster", "name", "created_at", "expires_at")
UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "keys", help="make, list and revoke keys", description="Keys of the hub at --url."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    creating = actions.add_parser("create", help="make a key; it is shown this once")
    creating.add_argument("--scope", required=True, choices=SCOPES, help="what it allows")
    creating.add_argument("--agent", help="the one id, or a prefix with *, that it speaks for")
    creating.add_argument("--poster", help="whose jobs it acts on")
    creating.add_argument("--name", help="what people call it")
    creating.add_argument(
        "--expires", metavar="WHEN", help="30m, 12h, 90d, or 2027-01-31T00:00:00Z (default: never)"
    )
    creating.add_argument(
        "--take-over", metavar="FILE", help="make a key of the token in this file (-: stdin)"
    )
    creating.set_defaults(run=create)

    listing = actions.add_parser("list", help="list the keys of a project")
    listing.set_defaults(run=show)

    revoking = actions.add_parser("revoke", help="end a key, and close its sockets")
    revoking.add_argument("id", help="the id, as listed")
    revoking.set_defaults(run=revoke)

    for action in (creating, listing, revoking):
        action.add_argument("--project", help="another project than the key's own (root only)")
        action.add_argument("--json", action="store_true", help="print the hub's answer as it is")
        add_flags(action, ClientConfig)


def create(args: argparse.Namespace) -> int:
    wanted = {
        "scope": args.scope,
        "agent": args.agent,
        "poster": args.poster,
        "name": args.name,
        "expires_at": None if args.expires is None else instant(args.expires, time.time()),
        "key": None if args.take_over is None else _token(args.take_over),
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    made = Api.of(args).call("POST", "/v1/keys", given)
    if args.json:
        print(json.dumps(made))
        return 0
    for name in ("id", "scope", "agent", "poster", "name", "expires_at", "key"):
        if made.get(name) is not None:
            print(f"{name:11}{printable(str(made[name]))}")
    print("The key is not shown again: the hub keeps only its hash.", file=sys.stderr)
    return 0


def show(args: argparse.Namespace) -> int:
    answer = Api.of(args).call("GET", "/v1/keys")
    if args.json:
        print(json.dumps(answer))
    else:
        print(table(COLUMNS, ([key.get(name) for name in COLUMNS] for key in answer["keys"])))
    return 0


def revoke(args: argparse.Namespace) -> int:
    answer = Api.of(args).call("DELETE", "/v1/keys/" + quote(args.id, safe=""))
    print(json.dumps(answer) if args.json else f"{printable(args.id)} is revoked")
    return 0


def instant(text: str, now_s: float) -> str:
    """Read when a key is to end: from now on, or at an instant."""
    after = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    try:
        if after:
            return to_text(int(now_s * 1000) + int(after[1]) * UNITS_MS[after[2]])
        return to_text(from_text(text))
    except BadValue:
        message = f"--expires is {json.dumps(text)}: it must be like 90d or 2027-01-31T00:00:00Z"
        raise BadValue(message, field="expires") from None


def _token(path: str) -> str:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise BadValue(f"--take-over is {json.dumps(path)}: it cannot be read: {why}") from None
    return text.rstrip("\r\n")
