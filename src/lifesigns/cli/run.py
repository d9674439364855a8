"""`lifesigns run`: a program, and its presence while it runs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import secrets
import signal
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lifesigns.cli.api import Api
from lifesigns.cli.child import BY_SIGNAL, ENDING, Child, End, Switchboard
from lifesigns.cli.ear import Ear
from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.portrait import add_words, words_of
from lifesigns.cli.restart import WHEN, Limit, Restarts
from lifesigns.cli.terminal import complain
from lifesigns.config import ClientConfig, inherited
from lifesigns.core.errors import BadRequest, LifesignsError

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

    from lifesigns.client import Agent

LEAVE_S = 2.0  # for a connection that is being made, so that an end soon after the start is told
QUIET_S = 10.0  # without a hub, before that is mentioned
ONCE_S = 0.05  # `timeout` and others signal us and then our group, and mean one signal
STALLED = "stalled"
EPILOG = """\
The program has our stdin, stdout, stderr and terminal, and gets our signals. Its LIFESIGNS_AGENT
and LIFESIGNS_INSTANCE let `lifesigns beat` in it speak for it. It runs whether there is a hub or
not. How it ended becomes the reason for which it left: "exit 3: the last line of its stderr". While
it waits for a restart after a failure its state is error. After INT, TERM or QUIT there is no
restart. If this process is killed, so is the program.

exit codes:
  0-125  the program's own
  126    the program cannot be run
  127    there is no such program
  128+n  signal n ended the program, or the wait for a restart
  2      what was asked cannot be understood; the program was not started
"""


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "run",
        usage="lifesigns run NAME [FLAG ...] -- CMD [ARG ...]",
        help="run a program, and be present while it runs",
        description="Run a program, and hold its presence while it runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the agent's id")
    parser.add_argument(
        "--restart", choices=WHEN, default="no", help="when it is started again (default: no)"
    )
    parser.add_argument(
        "--restart-when",
        choices=(STALLED,),
        help="end it and start it again when it is stalled: see --progress-ttl",
    )
    parser.add_argument(
        "--max-restarts", metavar="N[/SPAN]", help="no more of them (5), or not in so long (5/10m)"
    )
    parser.add_argument("--instance", metavar="NAME", help="which copy this is (default: random)")
    add_words(parser)
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run, command=())


def run(args: argparse.Namespace) -> int:
    from lifesigns.client import Agent

    if not args.command:
        raise BadRequest("which program? lifesigns run NAME -- CMD ...")
    config = ClientConfig.load(flags_of(args, ClientConfig))
    limit = None if args.max_restarts is None else Limit.read(args.max_restarts)
    words = words_of(args)
    if "progress_ttl" in words and not words.keys() & {"status", "state", "task"}:
        words["status"] = "running"  # only who works can stall
    instance = args.instance or secrets.token_hex(6)
    agent = Agent(args.name, config.url, config.key, instance=instance, **words)
    logging.getLogger("lifesigns.client").setLevel(logging.CRITICAL)  # its stderr is the program's
    board = Switchboard()
    supervisor = Supervisor(args, agent, words, Restarts(args.restart, limit), board)
    return asyncio.run(supervisor.run())


class Supervisor:
    """One program from its first start to its last end."""

    def __init__(
        self,
        args: argparse.Namespace,
        agent: Agent,
        words: dict[str, Any],
        restarts: Restarts,
        board: Switchboard,
    ) -> None:
        self._args = args
        self._agent = agent
        self._words: dict[str, Any] = {"status": None, "state": None, "task": None} | words
        self._restarts = restarts
        self._board = board
        self._ear = Ear(agent)
        self._env = _environment(args, agent)
        self._child: Child | None = None
        self._stalled = False  # it was ended for that
        self._told = 0  # the signal that told us to end
        self._told_at = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Run it until it has ended for good; answer the exit code."""
        self._board.attend(self._pass_on)
        try:
            self._env["LIFESIGNS_EAR"] = await self._ear.open() or ""
            return (await self._attended()).code
        finally:
            self._ear.close()

    async def _attended(self) -> End:
        entering = asyncio.create_task(self._agent.__aenter__())
        beside = [asyncio.create_task(self._tell_trouble())]
        if self._args.restart_when == STALLED:
            beside.append(asyncio.create_task(self._restart_when_stalled()))
        end = await self._live()
        for task in beside:
            task.cancel()
        await self._leave(entering, end)
        return end

    async def _live(self) -> End:
        while True:
            began = time.monotonic()
            end = await self._once()
            now = time.monotonic()
            final = self._stopping.is_set() or not end.ran
            forced, self._stalled = self._stalled, False
            if forced:
                end = replace(end, text=f"{STALLED}, ended: {end.text}")
            pause_s = self._restarts.pause_s(
                failed=end.failed,
                forced=forced,
                lived_s=now - began,
                now=now,
                chance=random.random(),
            )
            if final or pause_s is None:
                return end
            await self._tell_end(end.text, failed=forced or end.failed)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return replace(end, code=BY_SIGNAL + self._told)
            await self._agent.update(**self._words)

    async def _once(self) -> End:
        child = await Child.start(self._args.command, self._env, self._board)
        if isinstance(child, End):
            complain(child.text)
            return child
        self._child = child
        if self._stopping.is_set():  # it came while the program was being started
            child.signal(self._told)
        end = await child.ended()
        self._child = None
        return end

    def _pass_on(self, number: int, has_it: bool) -> None:
        if number == self._told and time.monotonic() - self._told_at < ONCE_S:
            return
        if number in ENDING or (number == signal.SIGHUP and self._child is None):
            self._told, self._told_at = number, time.monotonic()
            self._stopping.set()
        # The size of what it has for stderr may have been the old one when it heard of the new one.
        if self._child is not None and (not has_it or number == signal.SIGWINCH):
            self._child.signal(number)

    async def _tell_end(self, text: str, *, failed: bool) -> None:
        if failed:
            await self._agent.update(status="failed", state="error", task=text)
        else:
            await self._agent.update(status="restarting", state="draining", task=None)

    async def _leave(self, entering: asyncio.Task[Agent], end: End) -> None:
        await asyncio.wait([entering], timeout=LEAVE_S)
        entering.cancel()
        if end.failed and not self._stopping.is_set():
            await self._tell_end(end.text, failed=True)
        await self._agent.leave(end.text)

    async def _tell_trouble(self) -> None:
        """Say once what keeps the program from being seen."""
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await self._agent.closed.wait()
        if not self._agent.closed and not self._agent.connected:
            complain(f"no hub answers; {self._agent.id} runs on, and will be seen when one does")
        await self._agent.closed.wait()
        complain(f"{self._agent.closed.reason}; {self._agent.id} runs on unseen")

    async def _restart_when_stalled(self) -> None:
        with suppress(LifesignsError):  # no hub will ever answer, and that is told elsewhere
            async for change in self._agent.hub.watch(ids=[self._agent.id], present=True):
                child = self._child
                if child is not None and await self._is_stalled(change):
                    self._stalled = True
                    await child.end()

    async def _is_stalled(self, change: dict[str, Any]) -> bool:
        states = change.get("instance_states", {})
        if STALLED not in states or len(states) == 1:
            return STALLED in states
        path = f"/v1/pulse/{quote(self._agent.id, safe='')}?expand=instances"
        try:
            shown = await asyncio.to_thread(Api.of(self._args).call, "GET", path)
        except LifesignsError as error:
            complain(f"whether it is stalled cannot be found out: {error.message}")
            return False
        mine = (each for each in shown["instances"] if each["instance"] == self._agent.instance)
        return any(each["state"] == STALLED for each in mine)


def _environment(args: argparse.Namespace, agent: Agent) -> dict[str, str]:
    """Answer the program's environment: what was typed for us counts for what it calls."""
    named = {"LIFESIGNS_AGENT": agent.id, "LIFESIGNS_INSTANCE": agent.instance}
    dropped = []
    if args.url is not None:
        named["LIFESIGNS_URL"] = args.url
    if args.key is not None:
        named["LIFESIGNS_KEY"] = args.key
        dropped = ["LIFESIGNS_KEY_FILE"]
    if args.key_file is not None:
        named["LIFESIGNS_KEY_FILE"] = os.path.abspath(os.path.expanduser(args.key_file))
        dropped = ["LIFESIGNS_KEY"]
    return inherited(named, dropped)
