"""`lifesigns stats`: the fleet in numbers, as they are now or as they were over time."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from lifesigns.cli.api import Api
from lifesigns.cli.flag import add_flags
from lifesigns.cli.span import seconds
from lifesigns.cli.terminal import Look, table
from lifesigns.cli.trend import bars_of, step_of, trend
from lifesigns.config import ClientConfig
from lifesigns.core.instant import to_text

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "stats",
        help="count the fleet",
        description="Tell how many there are, and what is going on; or, with --since, how many"
        " there were over time, by what the hub samples: state, status, dialect, group and the"
        " keys of metadata that its settings name.",
    )
    parser.add_argument(
        "--by",
        metavar="PART",
        help="count by state, status, dialect, group or metadata.<key>",
    )
    parser.add_argument("--value", metavar="KEY", help="add up the numbers of a key of metadata")
    parser.add_argument("--since", metavar="SPAN", help="over so long until now: 30m, 24h, 90d")
    parser.add_argument("--json", action="store_true", help="print the hub's answer as it is")
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    asked = {"by": args.by, "value": args.value}
    if args.since is not None:
        return _tell_of_time(args, asked)
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    answer = Api.of(args).call("GET", f"/v1/stats?{query}")
    if args.json:
        print(json.dumps(answer))
    elif "counts" in answer:
        print(counted(answer, args.by or "state", args.value))
    else:
        print(told(answer))
    return 0


def _tell_of_time(args: argparse.Namespace, asked: Mapping[str, str | None]) -> int:
    span_s = seconds(args.since, "--since")
    bars = bars_of(Look.of(sys.stdout).width)
    to_ms = time.time_ns() // 1_000_000
    from_ms = max(0, to_ms - round(span_s * 1000))
    asked = {**asked, "from": to_text(from_ms), "step": str(step_of(span_s, bars))}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    answer = Api.of(args).call("GET", f"/v1/stats/history?{query}")
    if args.json:
        print(json.dumps(answer))
    else:
        print(trend(answer, args.by or "state", args.value, from_ms=from_ms, to_ms=to_ms))
    return 0


def counted(answer: Mapping[str, Any], by: str, value: str | None) -> str:
    """Lay out the counts, the largest first, and what a value adds up to."""
    counts = sorted(answer["counts"].items(), key=lambda pair: (-pair[1], pair[0]))
    shown = table((by, "agents"), [(name or None, count) for name, count in counts])
    if value is not None:
        numbers = answer["value"]
        shown += "\n\n" + table((value, *numbers), [("", *numbers.values())])
    return shown


def told(answer: Mapping[str, Any]) -> str:
    """Say all that is known now."""
    rows: list[tuple[object, ...]] = [("alive", f"{answer['alive']} of {answer['total']}")]
    rows += answer["states"].items()
    rows += [
        ("beats", f"{answer['beats_per_s']} a second"),
        ("changes", f"{answer['changes_per_s']} a second"),
        ("claims", answer["claims"]),
        ("watchers", answer["watchers"]),
        ("store", f"{answer['store']['ping_ms']} ms away"),
    ]
    if answer["held_until"] is not None:
        rows.append(("held until", answer["held_until"]))
    rows += [
        (f"hub {hub['id']}", f"{hub['agents']} agents, {hub['lag_ms']} ms behind")
        for hub in answer["nodes"]
    ]
    return table(("what", "now"), rows)
