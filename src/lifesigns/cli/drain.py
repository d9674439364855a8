"""`lifesigns drain` and `undrain`: the operator's word on an agent, and its end."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lifesigns.cli.api import Api
from lifesigns.cli.flag import add_flags
from lifesigns.cli.span import seconds
from lifesigns.cli.terminal import printable
from lifesigns.config import ClientConfig
from lifesigns.core.instant import to_text
from lifesigns.core.presence import OVERRIDES

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    draining = subparsers.add_parser(
        "drain",
        help="let agents take no new work",
        description="Let agents take no new work, whatever they say themselves, until they are "
        "undrained. Takes an admin key.",
    )
    draining.add_argument("--why", metavar="TEXT", help="for people who wonder")
    draining.add_argument("--for", dest="span", metavar="SPAN", help="it ends by itself after this")
    draining.add_argument(
        "--state",
        choices=tuple(OVERRIDES),
        default="draining",
        help="what they are said to be (default: draining)",
    )
    draining.set_defaults(run=drain)

    undraining = subparsers.add_parser(
        "undrain", help="end what drain began", description="Let agents speak for themselves again."
    )
    undraining.set_defaults(run=undrain)

    for parser in (draining, undraining):
        parser.add_argument(
            "names",
            nargs="+",
            metavar="NAME",
            help="an agent's id; NAME* is all of a prefix, and those who come later",
        )
        parser.add_argument("--json", action="store_true", help="print each answer of the hub")
        add_flags(parser, ClientConfig)


def drain(args: argparse.Namespace) -> int:
    override: dict[str, Any] = {"state": args.state}
    if args.why is not None:
        override["why"] = args.why
    if args.span is not None:
        override["until"] = to_text(int((time.time() + seconds(args.span, "--for")) * 1000))
    return _say(args, "PUT", override)


def undrain(args: argparse.Namespace) -> int:
    return _say(args, "DELETE", None)


def _say(args: argparse.Namespace, method: str, override: dict[str, Any] | None) -> int:
    api = Api.of(args)
    for name in args.names:
        answer = api.call(method, f"/v1/pulse/{quote(name, safe='')}/override", override)
        print(json.dumps(answer) if args.json else printable(_told(answer)))
    return 0


def _told(answer: dict[str, Any]) -> str:
    override = answer["override"]
    said = "speaks for itself" if override is None else f"is {override['state']}"
    if "agents" in answer:
        return f"{answer['id']} {said}: {answer['agents']} agents now, and all that come"
    return f"{answer['id']} {said}; its state is {answer['state']}"
