"""`lifesigns check`: are these alive, and as asked? For scripts, before they delegate."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lifesigns.cli.api import Api
from lifesigns.cli.flag import add_flags
from lifesigns.cli.span import seconds, spell
from lifesigns.cli.terminal import Look, table
from lifesigns.config import ClientConfig
from lifesigns.core.presence import STATES

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

MOST_AT_ONCE = 1_000  # agents in one question
EXIT_CODES = """\
exit codes:
  0    all of them are alive, and as asked
  1    at least one is not
  2    it could not be found out: no hub, no key, or what was asked cannot be understood
"""


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "check",
        help="tell whether agents are alive, by exit code",
        description="Tell of each agent whether it is alive, and as asked.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="an agent's id")
    parser.add_argument(
        "--state",
        action="append",
        choices=STATES,
        help="it must be in this state, or another named",
    )
    parser.add_argument(
        "--within", metavar="SPAN", help="its last sign of life must not be older (2s, 500ms)"
    )
    parser.add_argument(
        "--probe",
        action="store_true",
        help="ask those that hold a socket now; one without a socket is judged by its last sign",
    )
    parser.add_argument("--timeout", metavar="SPAN", help="for a probe (1s; at most 10s)")
    parser.add_argument("--json", action="store_true", help="print the hub's answer as it is")
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run, failure=2)


def run(args: argparse.Namespace) -> int:
    agents = asked(args)
    faults = {name: list(_faults(agent, args)) for name, agent in agents.items()}
    if args.json:
        print(json.dumps({"agents": agents}))
    else:
        _show(agents, faults)
    return 1 if any(faults.values()) else 0


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """Answer what the hub says of each, in the order in which they were named."""
    question: dict[str, Any] = {"probe": True} if args.probe else {}
    for name in ("within", "timeout"):
        if (typed := getattr(args, name)) is not None:
            question[name] = round(seconds(typed, f"--{name}") * 1000)
    api, names = Api.of(args), list(dict.fromkeys(args.names))
    agents: dict[str, Any] = {}
    for begin in range(0, len(names), MOST_AT_ONCE):
        some = names[begin : begin + MOST_AT_ONCE]
        agents |= api.call("POST", "/v1/check", question | {"agents": some})["agents"]
    return {name: agents[name] for name in names}


def _faults(agent: Mapping[str, Any], args: argparse.Namespace) -> Iterator[str]:
    if not agent["known"]:
        yield "never seen"
        return
    if not agent["alive"]:
        yield ": ".join(filter(None, (agent["reason"], agent["reason_text"]))) or "not alive"
    elif args.state and agent["state"] not in args.state:
        yield f"not {' or '.join(args.state)}"
    if agent["probed"] == "no_answer":
        yield "no answer"
    if not agent["fresh"]:
        yield f"not heard within {args.within}"


def _show(agents: Mapping[str, Any], faults: Mapping[str, Sequence[str]]) -> None:
    look = Look.of(sys.stdout)
    rows = []
    for name, agent in agents.items():
        why = "; ".join(faults[name])
        if agent["known"]:
            why = "; ".join(filter(None, [f"heard {_age(agent)} ago", why]))
        rows.append(("no" if faults[name] else "ok", name, agent["state"], why))
    shown = table(
        ("", "id", "state", "evidence"),
        rows,
        paint=look.paint_states,
    )
    print(shown.partition("\n")[2])


def _age(agent: Mapping[str, Any]) -> str:
    return spell(agent["evidence_age_ms"] / 1000)
