"""Runs that the hub hands to an agent: done one after another, and each reported once.

Runs are told over the connection, and everything here lives on its loop. A handler that is a
coroutine function works on the program's loop, any other one in a thread of its own: neither the
program nor its beats wait for it. A report is sent again until a hub has taken it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
import random
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lifesigns.client.connection import Connection
from lifesigns.client.run import ERROR, Run
from lifesigns.core.backoff import delay_s
from lifesigns.core.caller import Received
from lifesigns.core.errors import BadValue, LifesignsError, Unavailable
from lifesigns.core.instant import from_text

log = logging.getLogger("lifesigns.client")

Handler = Callable[[Run], Awaitable[object] | object]

KNOWN = 1_000  # runs that are told again after a reconnect, and not done again
HANDLER_S = 5.0  # a program that is being set up says soon who does its runs
REPORT_S = 600.0  # that a report is tried for at least, beyond its run's deadline
AGAIN_S, LONGEST_AGAIN_S = 1.0, 30.0
LAST_S = 2.0  # that a program which leaves waits for its last reports
NOBODY = "This program does no runs: it has no handler for them."
LEFT = "The agent left before it was done."
# Which run somebody is at, whatever loop or thread the work has led to.
_doing: contextvars.ContextVar[str | None] = contextvars.ContextVar("lifesigns_run", default=None)


class Work:
    """The runs of one agent."""

    def __init__(self, connection: Connection) -> None:
        self.home: asyncio.AbstractEventLoop | None = None  # the program's loop
        self._connection = connection
        self._handler: Handler | None = None
        self._at_once = 1
        self._waiting: deque[tuple[Run, float]] = deque()  # each with when its time is over
        self._working: dict[asyncio.Task[None], Run] = {}
        self._reporting: set[asyncio.Task[None]] = set()
        self._known: dict[str, None] = {}
        self._ahead_s = 0.0  # by so much the hub's clock is ahead of the loop's
        self._leaving = False

    def handle(self, handler: Handler, at_once: int) -> None:
        """Take whoever does the runs; any thread may call it."""
        if at_once < 1:
            raise ValueError("at least one run is done at once")
        self._handler, self._at_once = handler, at_once

    def begin(self) -> None:
        """Begin with what waits for a handler."""
        while self._waiting and not self._leaving:
            if self._handler is None or len(self._working) >= self._at_once:
                return
            run, until = self._waiting.popleft()
            task = asyncio.create_task(self._do(self._handler, run, until), name="lifesigns run")
            self._working[task] = run
            task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Give up what is not done, and report that."""
        self._leaving = True
        for run, until in self._waiting:
            self._report(run, run.given_up(LEFT), until)
        self._waiting.clear()
        # A handler that has the agent leave is not ended by that.
        working = [task for task, run in self._working.items() if run.id != _doing.get()]
        for task in working:
            task.cancel()
        if working:
            await asyncio.wait(working, timeout=LAST_S)
        if self._reporting and self._connection.is_open:
            await asyncio.wait(self._reporting, timeout=LAST_S)
        for task in self._reporting:
            task.cancel()

    # What comes over the connection.

    def opened(self) -> None:
        """What is open is told again."""

    def broke(self) -> None:
        """The work goes on, and is reported over the next one."""

    def ended(self, error: LifesignsError | None) -> None:
        """Nobody takes a report any more: those that wait find out."""

    def receive(self, received: Received) -> None:
        if received.type == "welcome" and "time" in received.body:
            self._ahead_s = from_text(received.body["time"]) / 1000 - self._now
        elif received.type == "run":
            self._take(received.body)

    def _take(self, told: Mapping[str, Any]) -> None:
        run = Run(told)
        if run.id in self._known or self._leaving:
            return
        self._known[run.id] = None
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        self._waiting.append((run, run.deadline_ms / 1000 - self._ahead_s))
        self.begin()
        if self._handler is None:
            asyncio.get_running_loop().call_later(HANDLER_S, self._look_for_handler)

    def _look_for_handler(self) -> None:
        if self._handler is None and self._waiting:
            run, until = self._waiting.popleft()
            self._report(run, run.given_up(NOBODY), until)
        self.begin()

    # The work.

    async def _do(self, handler: Handler, run: Run, until: float) -> None:
        if self._now >= until:
            log.warning("the run %s was to be done by %s: not begun", run.id, run.deadline)
            return
        _doing.set(run.id)
        try:
            report = run.done(await self._call(handler, run))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._leaving and task is not None and task.cancelling():
                raise  # the loop ends
            report = run.given_up(LEFT) if self._leaving else run.failed(error)
        except Exception as error:
            log.exception("the run %s failed", run.id)
            report = run.failed(error)
        self._report(run, report, until)

    async def _call(self, handler: Handler, run: Run) -> object:
        if inspect.iscoroutinefunction(handler):
            return await self._at_home(handler(run))
        result = await _aside(handler, run)
        return await self._at_home(result) if inspect.iscoroutine(result) else result

    async def _at_home(self, work: Any) -> object:
        home = self.home
        if home is None or home is asyncio.get_running_loop():
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, home))

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._working[task]
        self.begin()

    def _report(self, run: Run, report: dict[str, Any], until: float) -> None:
        task = asyncio.create_task(self._tell(run, report, until), name="lifesigns report")
        self._reporting.add(task)
        task.add_done_callback(self._reporting.discard)

    async def _tell(self, run: Run, report: dict[str, Any], until: float) -> None:
        tries, until = 0, max(until, self._now) + REPORT_S
        while True:
            try:
                await self._connection.ask("done", until - self._now, run=run.id, **report)
                return
            except Unavailable as away:
                if self._connection.error is not None or self._now >= until:
                    log.warning("of the run %s nothing could be reported: %s", run.id, away)
                    return
            except LifesignsError as refused:
                log.warning("the report of the run %s was not taken: %s", run.id, refused)
                if not isinstance(refused, BadValue) or report["status"] == ERROR:
                    return
                report = run.refused(refused.message)
                continue
            await asyncio.sleep(delay_s(tries, random.random(), AGAIN_S, LONGEST_AGAIN_S))
            tries += 1

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _aside(handler: Handler, run: Run) -> object:
    """Call a handler in a thread of its own, which keeps no program from ending."""
    done: concurrent.futures.Future[object] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()

    context = contextvars.copy_context()

    def work() -> None:
        try:
            done.set_result(context.run(handler, run))
        except StopIteration as error:  # no future takes it
            done.set_exception(RuntimeError(f"StopIteration: {error}"))
        except BaseException as error:
            done.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    threading.Thread(target=work, name="lifesigns run", daemon=True).start()
    return await asyncio.wrap_future(done)
