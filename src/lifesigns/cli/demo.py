"""`lifesigns demo`: a hub on a scratch store, a fleet that is alive on it, and one end for all."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lifesigns.cli.hub import check_install, told
from lifesigns.cli.workforce import Worker, held_port
from lifesigns.config import Config, inherited
from lifesigns.core.errors import BadValue, Unavailable
from lifesigns.setting import settings

if TYPE_CHECKING:
    from argparse import _SubParsersAction as SubParsers

MOST = 5_000  # what one process can bring to life
END_S = 12.0  # a hub takes ten seconds at most
TRY = """\
the fleet: {agents} agents that work, stall, crash and come back

In another terminal:

  export LIFESIGNS_URL={url} LIFESIGNS_KEY={key}
  lifesigns top
  lifesigns watch --capability search
  lifesigns who --state stalled --state error
  lifesigns claim --capability code --wait 10s -- sh -c 'echo "I have $LIFESIGNS_PEER"; sleep 5'

Ctrl-C ends it all, and nothing of it is kept.
"""


def register(subparsers: SubParsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="run a hub with a lively fleet, to look at",
        description="Run a hub on a scratch store, with agents that behave like agents, until "
        "Ctrl-C. Takes no setting from the environment, and leaves nothing behind.",
    )
    parser.add_argument("--agents", type=int, default=200, metavar="N", help="how many (200)")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8700, help="the same; 0 is a free one (8700)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not 0 <= args.agents <= MOST:
        raise BadValue(f"--agents is {args.agents}: it must be from 0 to {MOST}", field="agents")
    config = Config.load({"host": args.host, "port": str(args.port)}, {})
    check_install()
    logging.getLogger("lifesigns.client").setLevel(logging.CRITICAL)  # they break off on purpose
    with tempfile.TemporaryDirectory(prefix="lifesigns-demo-") as folder:
        try:
            asyncio.run(perform(config, args.agents, Path(folder)))
        except OSError as error:
            raise told(error, config) from error
    return 0


async def perform(config: Config, agents: int, folder: Path) -> None:
    """Run hub and fleet until a signal comes; the hub's end before that is an error."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    show = asyncio.create_task(_show(config, agents, folder))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait((show, stop), return_when=asyncio.FIRST_COMPLETED)
    for task in (show, stop):
        task.cancel()
    await asyncio.wait((show, stop))
    if not show.cancelled():
        show.result()  # raises what it ended by


async def _show(config: Config, agents: int, folder: Path) -> None:
    from lifesigns.cli.fleet import run_fleet

    key = secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        port = stack.enter_context(held_port(config.host, config.port))
        flags = {
            **{"host": config.host, "port": str(port), "data_dir": str(folder)},
            **{"admin_key": key, "log_level": "warning"},
        }
        worker = await Worker.start({"flags": flags, "greets": True}, _announce, _environment())
        stack.push_async_callback(_end, worker)
        await worker.ready()
        _announce(f"hub {worker.node}: {worker.url}")
        _announce(TRY.format(agents=agents, url=worker.url, key=key))
        fleet = asyncio.create_task(run_fleet(agents, worker.url, key))
        stack.push_async_callback(_cancel, fleet)
        await asyncio.wait((fleet, worker.ended), return_when=asyncio.FIRST_COMPLETED)
        if worker.ended.done():
            raise Unavailable("the hub has ended by itself")
        fleet.result()


async def _cancel(fleet: asyncio.Task[None]) -> None:
    fleet.cancel()
    await asyncio.wait((fleet,))


async def _end(worker: Worker) -> None:
    worker.signal(signal.SIGTERM)
    await worker.outlast(END_S)


def _environment() -> dict[str, str]:
    """Keep the settings of a real hub from this one: it must not get at a real store."""
    variables = [each.variable for each in settings(Config)]
    return inherited({}, [*variables, *(f"{name}_FILE" for name in variables)])


def _announce(text: str) -> None:
    print(text, flush=True)
