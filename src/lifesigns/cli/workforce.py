"""The workers of one port: started, watched over, restarted one by one, ended together.

Each is a process of its own that listens for itself, and the kernel spreads the connections. This
process only holds the port, with a socket that does not listen, so that nothing is ever waiting
here; it takes no call and knows no agent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from lifesigns.cli.worker import RETIRE
from lifesigns.config import Config
from lifesigns.core.backoff import delay_s
from lifesigns.core.errors import Unavailable

log = logging.getLogger(__name__)

AGAIN_S, AGAIN_AT_MOST_S = 0.2, 10.0  # before a worker that ended by itself is replaced
STEADY_S = 30.0  # one that lived for so long did not end because of how it was started


class Worker:
    """One process, as seen from here."""

    def __init__(self, process: Process, announce: Callable[[str], None]) -> None:
        self._process = process
        self.node = ""
        self.url = ""
        self._announce = announce
        self._failure = "it ended before it was ready"
        self._ready = asyncio.Event()
        self._since = asyncio.get_running_loop().time()
        self.ended = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls,
        told: Mapping[str, object],
        announce: Callable[[str], None],
        env: Mapping[str, str] | None = None,
    ) -> Worker:
        """Start one, and tell it what to do; it is not ready yet."""
        process = await asyncio.create_subprocess_exec(
            *_command(),
            stdin=PIPE,
            stdout=PIPE,
            env=env,
            start_new_session=True,  # Ctrl-C is for this process, which then ends it in order
        )
        worker = cls(process, announce)
        worker.tell(told)
        return worker

    async def ready(self) -> None:
        """Return when it serves; raise Unavailable if it has ended instead."""
        await self._ready.wait()
        if not self.node:
            raise Unavailable(self._failure)

    @property
    def age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._since

    def tell(self, message: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def retire(self) -> None:
        """Let it leave the port to the others, send its agents away, and end."""
        assert self._process.stdin is not None
        self._process.stdin.write(RETIRE)

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def outlast(self, patience_s: float) -> None:
        """Return when it has ended, as it was told to; it gets no more time than that."""
        await asyncio.wait([self.ended], timeout=patience_s)
        if not self.ended.done():
            log.error("hub %s does not end, and is killed", self.node)
            self.signal(signal.SIGKILL)
            await self.ended

    async def _listen(self) -> int:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                what, content = json.loads(line)
                if what == "says":
                    self._announce(content)
                elif what == "ready":
                    self.node, self.url = content["node"], content["url"]
                    self._ready.set()
                else:
                    self._failure = content
            return await self._process.wait()
        finally:
            self._ready.set()


class Workforce:
    """As many workers as there should be."""

    def __init__(
        self, config: Config, flags: Mapping[str, str | None], announce: Callable[[str], None]
    ) -> None:
        self._config = config
        self._flags = dict(flags)
        self._announce = announce
        self._living: set[Worker] = set()
        self._places: list[Worker] = []
        self._turns = [asyncio.Lock() for _ in range(config.workers)]  # of a place
        self._stopping = asyncio.Event()
        self._renewing = asyncio.Event()

    async def run(self) -> None:
        """Run them until a signal ends them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._renewing.set)
        with held_port(self._config.host, self._config.port) as port:
            self._flags["port"] = str(port)
            working = asyncio.create_task(self._work())
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (working, stopping):
                    task.cancel()
                await asyncio.wait([working, stopping])
                await self._end()
            if not working.cancelled():
                working.result()  # raises what kept them from working

    def _stop(self) -> None:
        if self._stopping.is_set():  # told twice: whoever drains shall hurry
            for worker in self._living:
                worker.signal(signal.SIGTERM)
        self._stopping.set()

    async def _work(self) -> None:
        # The first alone: it starts the store and makes the root key; and what keeps it from
        # working is told once.
        self._places.append(await self._hire(greets=True))
        others = range(1, self._config.workers)
        self._places += await asyncio.gather(*[self._hire() for _ in others])
        for worker in self._places:
            self._announce(f"hub {worker.node}: {worker.url}")
        self._announce("ready")
        async with asyncio.TaskGroup() as group:
            for place in range(self._config.workers):
                group.create_task(self._keep(place))
            group.create_task(self._renew())

    async def _hire(self, *, greets: bool = False) -> Worker:
        """Start a worker, and answer it when it serves; Unavailable says why it does not."""
        worker = await Worker.start({"flags": self._flags, "greets": greets}, self._announce)
        self._living.add(worker)
        worker.ended.add_done_callback(lambda _: self._living.discard(worker))
        await worker.ready()
        return worker

    async def _keep(self, place: int) -> None:
        """Put another one into a place whenever its worker has ended by itself."""
        tries = 0
        while True:
            worker = self._places[place]
            await asyncio.wait([worker.ended])
            async with self._turns[place]:
                if self._places[place] is not worker:
                    continue
                code = worker.ended.result()
                log.warning("hub %s ended with %d: another takes its place", worker.node, code)
                tries = 0 if worker.age_s > STEADY_S else tries + 1
                self._places[place] = await self._replace(tries)

    async def _replace(self, tries: int) -> Worker:
        while True:
            await asyncio.sleep(delay_s(tries, random.random(), AGAIN_S, AGAIN_AT_MOST_S))
            try:
                worker = await self._hire()
            except Unavailable as error:
                log.warning("a worker could not be started: %s", error.message)
                tries += 1
            else:
                log.info("hub %s serves", worker.node)
                return worker

    async def _renew(self) -> None:
        """Replace all, one by one, whenever it is asked for: never is there one less."""
        while True:
            await self._renewing.wait()
            self._renewing.clear()
            for place in range(self._config.workers):
                try:
                    await self._renew_one(place)
                except Unavailable as error:
                    log.error("a new worker could not be started, the others stay: %s", error)
                    break
            else:
                log.info("all %d workers were replaced", self._config.workers)

    async def _renew_one(self, place: int) -> None:
        async with self._turns[place]:
            successor = await self._hire()
            former, self._places[place] = self._places[place], successor
            former.retire()
        log.info("hub %s takes the place of %s", successor.node, former.node)
        await self._outlast([former])

    async def _end(self) -> None:
        """End all together."""
        leaving = list(self._living)
        for worker in leaving:
            worker.signal(signal.SIGTERM)
        await self._outlast(leaving)

    async def _outlast(self, leaving: list[Worker]) -> None:
        """Return when they have ended; they get no more time than they have to give themselves."""
        await asyncio.gather(*[worker.outlast(self._config.drain_s) for worker in leaving])


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Hold a port for the workers, a free one for 0; it must not be anybody else's."""
    family, kind, _, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind) as alone:  # among those who share it, nobody is refused
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(place)
    with socket.socket(family, kind) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(place)
        yield held.getsockname()[1]


def _command() -> list[str]:
    # A module in the current folder must not stand in for one of ours, unless that is where we are.
    path = [] if os.getcwd() in sys.path else ["-P"]
    return [sys.executable, *path, "-m", "lifesigns", "worker"]
