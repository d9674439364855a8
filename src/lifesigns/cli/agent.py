"""`lifesigns agent`: a presence that is held by hand, or by whoever writes to its stdin."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from lifesigns.cli.flag import add_flags, flags_of
from lifesigns.cli.portrait import add_words, words_of
from lifesigns.config import ClientConfig

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

    from lifesigns.client import Agent

LONGEST_TASK = 1_024
INTERRUPTED = 130
EPILOG = """\
Every line of stdin becomes its task; an empty one ends the task. With the end of a pipe it leaves;
with the end of anything else it goes on, with its last task.

exit codes:
  0    ended by SIGTERM or SIGHUP, or with the pipe that it read
  1    the hub does not want it: no key, or another instance has taken its place
  2    what was asked cannot be understood
  130  ended with Ctrl-C
"""


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "agent",
        help="be present until Ctrl-C, with lines of stdin as tasks",
        description="Be present until Ctrl-C.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="the agent's id")
    parser.add_argument("--instance", metavar="NAME", help="which copy this is (default: random)")
    add_words(parser)
    add_flags(parser, ClientConfig)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lifesigns.client import Agent

    config = ClientConfig.load(flags_of(args, ClientConfig))
    agent = Agent(args.name, config.url, config.key, instance=args.instance, **words_of(args))
    logging.basicConfig(format="lifesigns: %(message)s", level=logging.WARNING)
    return asyncio.run(_hold(agent))


async def _hold(agent: Agent) -> int:
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not ending.done():
            ending.set_result(code)

    for number, code in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 0), (signal.SIGHUP, 0)):
        loop.add_signal_handler(number, end, code)
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    threading.Thread(target=_read, args=(loop, lines), name="stdin", daemon=True).start()
    async with agent:
        beside = [
            asyncio.create_task(_follow(lines, agent, end)),
            asyncio.create_task(_give_up(agent, end)),
        ]
        try:
            return await ending
        finally:
            for task in beside:
                task.cancel()


async def _follow(
    lines: asyncio.Queue[str | None], agent: Agent, end: Callable[[int], None]
) -> None:
    while (line := await lines.get()) is not None:
        await agent.update(task=line.strip()[:LONGEST_TASK] or None)
    if _is_pipe():
        end(0)


async def _give_up(agent: Agent, end: Callable[[int], None]) -> None:
    await agent.closed.wait()
    end(1)


def _read(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str | None]) -> None:
    with suppress(RuntimeError):  # the loop is over
        # As bytes: what is no text must not end it.
        for line in sys.stdin.buffer:
            loop.call_soon_threadsafe(lines.put_nowait, line.decode("utf-8", "replace"))
        loop.call_soon_threadsafe(lines.put_nowait, None)


def _is_pipe() -> bool:
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
