"""`lifesigns claim`: reserves a slot of an agent, for a time or while a program runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lifesigns.cli.api import TIMEOUT_S, Api
from lifesigns.cli.child import BY_SIGNAL, ENDING, Child, End, Switchboard
from lifesigns.cli.filter import add_filter, filter_of
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.span import seconds
from lifesigns.cli.terminal import complain, printable
from lifesigns.config import ClientConfig, inherited
from lifesigns.core.errors import BadRequest

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

    from lifesigns.client.peer import Peer

LOST = 75  # sysexits.h: try again
EPILOG = """\
With one ID and no flag beside it that agent is claimed, else one of those who match.

Without CMD the claim ends by its time alone. With CMD it is held and renewed while the program
runs, and released when that ends. The program finds in its environment whom it has:
LIFESIGNS_PEER, LIFESIGNS_PEER_INSTANCE, LIFESIGNS_CLAIM, and LIFESIGNS_FENCE, which is greater than
that of every earlier claim on the agent. It gets our signals. If the claim is lost, the program
gets SIGTERM, and SIGKILL ten seconds later.

exit codes:
  0-125  the program's own; without one 0: somebody was claimed
  1      nobody can be claimed; the program was not started
  2      no hub, no key, or what was asked cannot be understood; the program was not started
  75     the claim was lost while the program ran
  126    the program cannot be run
  127    there is no such program
  128+n  signal n ended the program, or the wait for a claim
"""


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "claim",
        usage="lifesigns claim [ID ...] [FLAG ...] [-- CMD [ARG ...]]",
        help="reserve a living agent, for a time or while a program runs",
        description="Find, check and reserve an agent that can take work, in one step.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_filter(parser)
    parser.add_argument("--ttl", metavar="SPAN", default="60s", help="for how long (default 60s)")
    parser.add_argument(
        "--wait", metavar="SPAN", default="0s", help="for somebody to be free (at most 60s)"
    )
    parser.add_argument("--note", metavar="TEXT", help="what the agent is told with it")
    parser.add_argument(
        "--json", action="store_true", help="print the hub's answer as it is; not with CMD"
    )
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run, failure=2, command=())


def run(args: argparse.Namespace) -> int:
    wanted = filter_of(args)
    ttl_s, wait_s = seconds(args.ttl, "--ttl"), seconds(args.wait, "--wait")
    asked: dict[str, Any] = {"ttl": ttl_s, "wait": wait_s}
    if args.note is not None:
        asked["note"] = args.note
    agent = _named(wanted)
    if args.command:
        if args.json:
            raise BadRequest("--json is for a claim without a program")
        return hold(args, asked | ({"agent": agent} if agent else wanted))
    asked |= {"agent": agent} if agent else {"filter": wanted}
    claimed = Api.of(args, TIMEOUT_S + wait_s).call("POST", "/v1/claims", asked)
    print(json.dumps(claimed) if args.json else told(claimed))
    return 0


def _named(wanted: Mapping[str, Any]) -> str | None:
    """Tell which agent is meant, if it is no other than this one."""
    ids = wanted.get("ids", [])
    return ids[0] if len(wanted) == len(ids) == 1 and not ids[0].endswith("*") else None


def told(claimed: Mapping[str, Any]) -> str:
    names = ("claim", "agent", "instance", "fence", "expires_at")
    return "\n".join(f"{name:10}  {printable(str(claimed[name]))}" for name in names)


def hold(args: argparse.Namespace, asked: Mapping[str, Any]) -> int:
    config = ClientConfig.load(flags_of(args, ClientConfig))
    logging.getLogger("lifesigns.client").setLevel(logging.CRITICAL)  # stderr is the program's
    board = Switchboard()
    return asyncio.run(Holder(args.command, board).run(config, asked))


class Holder:
    """A program, and the claim under which it runs."""

    def __init__(self, command: Sequence[str], board: Switchboard) -> None:
        self._command = command
        self._board = board
        self._child: Child | None = None
        self._told = 0  # the signal that told us to end, before there was a program
        self._stopping = asyncio.Event()

    async def run(self, config: ClientConfig, asked: Mapping[str, Any]) -> int:
        from lifesigns.client import Hub

        self._board.attend(self._pass_on)
        working = asyncio.create_task(self._work(Hub(config.url, config.key), asked))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.is_set():
            working.cancel()
            await asyncio.wait((working,))
            return BY_SIGNAL + self._told
        stopping.cancel()
        return working.result()

    async def _work(self, hub: Any, asked: Mapping[str, Any]) -> int:
        async with hub, hub.claim(**asked) as peer:
            child = await Child.start(self._command, environment(peer), self._board)
            if isinstance(child, End):
                complain(child.text)
                return child.code
            self._child = child
            return await self._attend(child, peer)

    async def _attend(self, child: Child, peer: Peer) -> int:
        ended = asyncio.create_task(child.ended())
        lost = asyncio.create_task(peer.lost.wait())
        await asyncio.wait((ended, lost), return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if ended.done():
            return ended.result().code
        complain(f"{peer.id} was lost: {peer.lost.why}")
        await child.end()
        await ended
        return LOST

    def _pass_on(self, number: int, has_it: bool) -> None:
        if self._child is None:
            if number in ENDING:
                self._told = number
                self._stopping.set()
        elif not has_it:
            self._child.signal(number)


def environment(peer: Peer) -> dict[str, str]:
    """Answer what the program finds around it."""
    return inherited(
        {
            "LIFESIGNS_PEER": peer.id,
            "LIFESIGNS_PEER_INSTANCE": peer.instance,
            "LIFESIGNS_CLAIM": peer.claim,
            "LIFESIGNS_FENCE": str(peer.fence),
        }
    )
