"""`lifesigns doctor`: says in words what is wrong with this set-up, and what to do about it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from lifesigns.cli.doctor.finding import Finding, wrong
from lifesigns.cli.doctor.machine import check_files, check_folder, check_packages, check_python
from lifesigns.cli.doctor.network import check_hub, check_port
from lifesigns.cli.doctor.store import check_store
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.terminal import printable
from lifesigns.config import ClientConfig, Config, misspelt

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "doctor",
        usage="lifesigns doctor [--json] [SETTING ...]",
        help="say what is wrong with this set-up",
        description="Look at this machine as `lifesigns serve` with the same flags would find it, "
        "and at the hub of LIFESIGNS_URL. Exit code 1 if anything is wrong; notes do not count.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_flags(parser, Config)
    add_flags(parser, ClientConfig, "settings of client commands")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = Config.load(flags_of(args, Config))
    client = ClientConfig.load(flags_of(args, ClientConfig))
    found = []
    for each in examine(config, client):
        found.append(each)
        if not args.json:
            print(f"{MARKS[each.level]}  {each.about:9} {printable(each.text)}", flush=True)
    bad = sum(each.level == "wrong" for each in found)
    if args.json:
        print(json.dumps({"ok": not bad, "findings": [asdict(each) for each in found]}))
    else:
        print(f"{bad} wrong" if bad else "Nothing is wrong.")
    return 1 if bad else 0


def examine(config: Config, client: ClientConfig) -> Iterator[Finding]:
    """Look at everything, what the rest stands on first."""
    yield from check_python()
    yield from check_packages(serves=client.url == ClientConfig().url)
    for name in misspelt():
        yield wrong("settings", f"{name} is no setting; docs/configuration.md lists them all")
    yield from check_files(config)
    yield from check_folder(config)
    yield from check_store(config)
    yield from check_port(config)
    yield from check_hub(client)
