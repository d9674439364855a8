"""`lifesigns who`: the agents that are there, as a table that fits the terminal."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from lifesigns.cli.api import Api
from lifesigns.cli.filter import add_filter, filter_of, query_of
from lifesigns.cli.flag import add_flags
from lifesigns.cli.span import spell
from lifesigns.cli.terminal import Look, table
from lifesigns.config import ClientConfig
from lifesigns.core.instant import from_text

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

COLUMNS = ("id", "state", "status", "task", "heard", "capabilities", "group")
GIVES_WAY = ("status", "task", "capabilities", "group")


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "who", help="list the agents that are there", description="List agents by id."
    )
    add_filter(parser)
    parser.add_argument("--all", action="store_true", help="also those that are not alive")
    parser.add_argument("--json", action="store_true", help='print {"agents": [...], "count": n}')
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    wanted = filter_of(args) | ({"alive": "any"} if args.all else {})
    agents = found(Api.of(args), wanted)
    if args.json:
        print(json.dumps({"agents": agents, "count": len(agents)}))
        return 0
    look, now_ms = Look.of(sys.stdout), time.time() * 1000
    rows = (row(agent, now_ms) for agent in agents)
    shown = table(
        COLUMNS,
        rows,
        width=look.width,
        gives_way=GIVES_WAY,
        paint=look.paint_states,
    )
    print(shown)
    return 0


def found(api: Api, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Ask for all that are meant, however many pages that is."""
    agents: list[dict[str, Any]] = []
    after = ""
    while True:
        query = urlencode({**query_of(wanted), "after": after}, doseq=True)
        answer = api.call("GET", f"/v1/pulse?{query}")
        agents += answer["agents"]
        if answer["next"] is None:
            return agents
        after = answer["next"]


def row(agent: Mapping[str, Any], now_ms: float) -> tuple[object, ...]:
    """Lay an agent out: of one that is gone, why it is stands in place of its task."""
    heard = spell((now_ms - from_text(agent["last_heartbeat"])) / 1000)
    gone = ": ".join(filter(None, (agent["reason"], agent["reason_text"])))
    task = agent["task"] if agent["alive"] else gone
    capabilities = ", ".join(agent["capabilities"])
    return (
        *(agent["id"], agent["state"], agent["status"], task or None),
        *(heard, capabilities or None, agent["group"]),
    )
