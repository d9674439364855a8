"""`lifesigns beat`: one heartbeat, for scripts and for what a wrapped program calls."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lifesigns.cli.api import Api
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.portrait import add_words, words_of
from lifesigns.config import ClientConfig, SpeakerConfig
from lifesigns.core.access import check_agent_id
from lifesigns.core.errors import BadRequest, Unavailable

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "beat",
        help="say once that an agent is alive",
        description="Say once that an agent is alive, and how it is. What is not named stays as it "
        "is; but with --status, a task and a progress that are not named are over. Below "
        "`lifesigns run` it speaks for the program that runs, and needs no NAME.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the agent's id")
    add_words(parser)
    parser.add_argument("--json", action="store_true", help="print the presence that came of it")
    add_flags(parser, SpeakerConfig, "for whom")
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    agent, instance = _speaker(args)
    said = words_of(args)
    named = {} if instance is None else {"instance": instance}
    try:
        shown = Api.of(args).call("PUT", "/v1/pulse/" + quote(agent, safe=""), {**said, **named})
    except Unavailable:
        _tell_supervisor(args, agent, instance, said)  # it will say so when there is a hub again
        raise
    _tell_supervisor(args, agent, instance, said)
    if args.json:
        print(json.dumps(shown))
    return 0


def _tell_supervisor(
    args: argparse.Namespace, agent: str, instance: str | None, said: Mapping[str, Any]
) -> None:
    around = SpeakerConfig.load(flags_of(args, SpeakerConfig))
    if said and around.ear is not None and (agent, instance) == (around.agent, around.instance):
        from lifesigns.cli.ear import tell_supervisor

        tell_supervisor(around.ear, agent, instance or "", said)


def _speaker(args: argparse.Namespace) -> tuple[str, str | None]:
    flags = flags_of(args, SpeakerConfig)
    around = SpeakerConfig.load(flags)
    agent = args.name or around.agent
    if agent is None:
        raise BadRequest("for whom? Name an agent, or set LIFESIGNS_AGENT")
    # Whoever speaks for another than the one that runs here does not mean an instance of that.
    means_it = args.instance is not None or agent == around.agent
    return check_agent_id(agent), around.instance if means_it else None
