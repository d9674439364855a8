"""`lifesigns watch`: every change as it comes, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from lifesigns import __version__
from lifesigns.cli.api import ASK_FOR_KEY, Stranger
from lifesigns.cli.filter import add_filter, filter_of
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.reaction import Reaction
from lifesigns.cli.terminal import printable
from lifesigns.config import ClientConfig
from lifesigns.core.backoff import delay_s
from lifesigns.core.caller import reconnects
from lifesigns.core.codec import JSON
from lifesigns.core.errors import BadValue, LifesignsError, RateLimited, Unauthorized, Unavailable
from lifesigns.core.presence import KIND_NAMES, STATES

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

ANSWER_S = 15.0
LARGEST_FRAME = 1_048_576  # the hub's frames are half of it
AGAIN_S, AGAIN_AT_MOST_S = 0.5, 15.0
MOST_AT_ONCE = 256
NO_CHANGES = ("present", "resync")  # what was so before
NOTICES = {
    "store_away": "the hub has lost its store; what was shown may be old",
    "store_back": "the hub has its store again; what happened meanwhile follows",
    "held": "no silent agent is declared offline for a while: the hubs could not hear them all",
}
ERRORS = {each.code: each for each in (Unavailable, RateLimited)}  # those that pass by themselves


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "watch", help="show changes as they come", description="Follow the agents of the hub."
    )
    add_filter(parser)
    parser.add_argument(
        "--on",
        metavar="KINDS",
        help="only these changes: kinds (online, offline, suspect, stalled, recovered, updated, "
        "forgotten) or states that are entered, parted by commas",
    )
    parser.add_argument(
        "--exec",
        metavar="CMD",
        help="run this in a shell for each change, with the change as JSON on stdin, and "
        "LIFESIGNS_CHANGE_ID, _KIND, _STATE, _WAS and _REASON in its environment",
    )
    parser.add_argument(
        "--at-once", type=_count, default=4, metavar="N", help="commands at a time (default: 4)"
    )
    parser.add_argument("--json", action="store_true", help="print the changes as JSON lines")
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = ClientConfig.load(flags_of(args, ClientConfig))
    kinds = None if args.on is None else _kinds(args.on)
    reaction = None if args.exec is None else Reaction(args.exec, args.at_once)
    for change in follow(config.url, config.key, filter_of(args)):
        if kinds is not None and not _is_among(change, kinds):
            continue
        if reaction is not None and change["kind"] not in NO_CHANGES:
            reaction.receive(change)
        print(json.dumps(change) if args.json else describe(change), flush=True)
    return 0


def follow(url: str, key: str | None, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield changes for ever: the agents of a snapshot first, then what comes of them.

    A connection that breaks is made again, and goes on where it was.
    """
    cursor: str | None = None
    tries = 0
    complained = False  # once for each time that it is away
    while True:
        hint_s: float | None = None
        try:
            with _open(url, key) as socket:
                for frame in _frames(socket, wanted, cursor):
                    if frame["type"] == "goaway":
                        hint_s = frame["reconnect_in_ms"] / 1000
                    if "watch" in frame:
                        tries, complained = 0, False
                    cursor = frame.get("cursor") or cursor
                    if notice := NOTICES.get(frame.get("code", "")):
                        print(f"lifesigns: {notice}", file=sys.stderr, flush=True)
                    yield from _changes(frame)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            if not reconnects(code):
                reason = closed.rcvd.reason if closed.rcvd else ""
                _refused(code, reason)
        except (OSError, InvalidHandshake, Unavailable, RateLimited) as error:
            if isinstance(error, InvalidStatus) and error.response.status_code not in (502, 503):
                status = error.response.status_code
                raise Stranger(f"{url} refuses a WebSocket (HTTP {status})") from None
            if not complained:
                why = f"no hub answers at {url}"
                if isinstance(error, LifesignsError):
                    why = printable(error.message)
                print(f"lifesigns: {why}; trying again", file=sys.stderr, flush=True)
                complained = True
        tries += 1
        pause_s = delay_s(tries, random.random(), AGAIN_S, AGAIN_AT_MOST_S)
        time.sleep(pause_s if hint_s is None else hint_s)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"it is a number from 1 to {MOST_AT_ONCE}")
    return number


def _kinds(text: str) -> frozenset[str]:
    kinds = frozenset(text.split(","))
    if strangers := kinds - set(KIND_NAMES.values()) - set(STATES):
        known = ", ".join(sorted({*KIND_NAMES.values(), *STATES}))
        message = f"--on is {json.dumps(text)}: {min(strangers)!r} is none of {known}"
        raise BadValue(message, field="on")
    return kinds


def _is_among(change: Mapping[str, Any], kinds: frozenset[str]) -> bool:
    if change["kind"] in NO_CHANGES:
        return False
    entered = change["state"] if change["state"] != change["was"] else None
    return change["kind"] in kinds or entered in kinds


def describe(change: Mapping[str, Any]) -> str:
    """Say a change in a line for people."""
    if change["kind"] == "resync":
        return f"all that was told before is void ({change['why']}); this is who is there:"
    was = change.get("was")
    state = change["state"] if was in (None, change["state"]) else f"{was} -> {change['state']}"
    words = [change["at"][11:23], change["id"], f"{change['kind']}:", state]
    if change.get("gone"):
        words.append("(not among these any more)")
    if change["status"]:
        words.append(change["status"])
    if change["task"]:
        words.append(f"- {change['task']}")
    reason = ", ".join(filter(None, (change["reason"], change["reason_text"])))
    if reason:
        words.append(f"({reason})")
    return printable(" ".join(words))


def _open(url: str, key: str | None) -> ClientConnection:
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        return connect(
            f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/v1/connect",
            additional_headers=headers,
            user_agent_header=f"lifesigns/{__version__}",
            open_timeout=ANSWER_S,
            max_size=LARGEST_FRAME,
        )
    except (ValueError, InvalidURI) as error:  # a port or a host name that cannot be
        raise LifesignsError(f"no hub can be reached at {url}: {str(error).lower()}") from None


def _frames(
    socket: ClientConnection, wanted: Mapping[str, Any], cursor: str | None
) -> Iterator[dict[str, Any]]:
    socket.send(JSON.encode({"type": "hello"}).decode())
    question = {"type": "watch", "ref": 1, "filter": wanted, "since": cursor}
    socket.send(JSON.encode(question).decode())
    for message in socket:
        payload = message.encode() if isinstance(message, str) else message
        frame = JSON.decode(payload)
        if frame["type"] == "error":
            raise ERRORS.get(frame["code"], LifesignsError)(frame["message"])
        yield frame


def _changes(frame: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if frame["type"] == "changes":
        yield from frame["changes"]
    if frame["type"] == "resync":
        yield {"kind": "resync", "why": frame["why"]}
    for agent in frame.get("agents") or () if frame["type"] == "snapshot" else ():
        yield {"kind": "present", "at": agent["last_heartbeat"], "was": None, **agent}


def _refused(code: int, reason: str) -> None:
    if code == Unauthorized.close_code:
        raise Unauthorized(f"the hub does not know this key. {ASK_FOR_KEY}")
    raise LifesignsError(f"the hub closed the connection: {reason or code}")
