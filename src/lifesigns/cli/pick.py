"""`lifesigns pick`: whom a claim would get, the best first."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from lifesigns.cli.api import Api
from lifesigns.cli.filter import add_filter, filter_of
from lifesigns.cli.flag import add_flags
from lifesigns.cli.terminal import Look, table
from lifesigns.config import ClientConfig
from lifesigns.core.errors import NoMatch

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

COLUMNS = ("id", "state", "slots free", "status", "capabilities", "group")
EXIT_CODES = """\
exit codes:
  0    there is somebody
  1    nobody can be claimed
  2    it could not be found out: no hub, no key, or what was asked cannot be understood
"""


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "pick",
        help="tell whom a claim would get",
        description="Tell whom a claim would get, without claiming: whoever acts on it may find "
        "them taken.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_filter(parser)
    parser.add_argument("--n", type=int, default=1, help="how many at most (1 to 100; default 1)")
    parser.add_argument("--json", action="store_true", help='print {"agents": [...]}')
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run, failure=2)


def run(args: argparse.Namespace) -> int:
    question = {"filter": filter_of(args), "n": args.n}
    agents = Api.of(args).call("POST", "/v1/pick", question)["agents"]
    if args.json:
        print(json.dumps({"agents": agents}))
    if not agents:
        raise NoMatch("Nobody who matches takes work now.")
    if not args.json:
        show(agents)
    return 0


def show(agents: list[dict[str, Any]]) -> None:
    look = Look.of(sys.stdout)
    rows = (
        (
            *(agent["id"], agent["state"], f"{agent['free_slots']} of {agent['slots']}"),
            *(agent["status"], ", ".join(agent["capabilities"]) or None, agent["group"]),
        )
        for agent in agents
    )
    shown = table(COLUMNS, rows, width=look.width, gives_way=COLUMNS[3:], paint=look.paint_states)
    print(shown)
