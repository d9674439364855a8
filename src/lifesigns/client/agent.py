"""An agent: a program that is seen, and that sees its peers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypedDict, TypeVar, Unpack, overload

from lifesigns.client.hub import Hub
from lifesigns.client.line import Line
from lifesigns.client.run import Run
from lifesigns.client.signal import Closed, Signal
from lifesigns.client.work import Work
from lifesigns.core.caller import Received
from lifesigns.core.errors import LifesignsError
from lifesigns.core.model import Limits
from lifesigns.core.portrait import Portrait

log = logging.getLogger("lifesigns.client")

Handler = Callable[[dict[str, Any]], Awaitable[object] | object]
H = TypeVar("H", bound=Callable[[Run], Any])

LONGEST_REASON = Limits().text_length


class Said(TypedDict, total=False):
    """What an agent says of itself. None clears a field."""

    status: str | None
    state: str | None  # available, busy, draining, degraded or error, whatever the status
    task: str | None
    progress: Mapping[str, Any] | str | None
    progress_ttl: float | None  # seconds without progress after which it counts as stalled
    busy_until: str | None
    busy_for: float | None  # seconds in which it is not stalled
    metadata: Mapping[str, Any] | None
    context: Any
    capabilities: Iterable[str] | None
    slots: int | None  # how much it takes on at once
    ttl: float | None  # seconds that it counts as alive after its last sign
    did: str | None
    name: str | None  # for people
    group: str | None
    host: str | None
    version: str | None


class Agent:
    """An agent that is alive while its block runs.

    Nothing that it does waits for the network, but for entering and leaving, some seconds at most.
    With ``thread`` its beats come from a thread of its own: a program that blocks its loop stays
    alive, and is found out by its ``progress_ttl``. ``on_assigned``, ``on_unassigned`` and
    ``on_tell`` are called with the hub's message, on the loop that entered the block. Runs of its
    schedules are done by the function under ``@me.on_run``.
    """

    def __init__(
        self,
        agent: str,
        /,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        instance: str | None = None,
        thread: bool = False,
        on_assigned: Handler | None = None,
        on_unassigned: Handler | None = None,
        on_tell: Handler | None = None,
        **said: Unpack[Said],
    ) -> None:
        self._portrait = Portrait(agent, instance or secrets.token_hex(6))
        self._portrait.say(said, time.monotonic())
        self._line = Line(url, key, self._portrait, thread=thread)
        handlers = {"assigned": on_assigned, "unassigned": on_unassigned, "tell": on_tell}
        self._mail = Mail({type_: each for type_, each in handlers.items() if each is not None})
        self._work = Work(self._line.connection)
        self._line.connection.listeners += [self._mail, self._work]
        self.hub = Hub.on(self._line)

    @property
    def id(self) -> str:
        return self._portrait.agent

    @property
    def instance(self) -> str:
        """The name of this running copy; it stays the same over all connections."""
        return self._portrait.instance

    @property
    def connected(self) -> Signal:
        """Set while there is a hub that has welcomed us."""
        return self._line.connected

    @property
    def closed(self) -> Closed:
        """Set when the hub has told us not to come back; has its ``code`` and ``reason``."""
        return self._line.closed

    async def __aenter__(self) -> Agent:
        self._mail.home = self._work.home = asyncio.get_running_loop()
        await self._line.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        reason = None
        if isinstance(error, Exception):  # and not because it was told to stop
            reason = f"{type(error).__name__}: {error}"[:LONGEST_REASON]
            await self.update(status="error")
        await self.leave(reason)

    async def leave(self, reason: str | None = None) -> None:
        """Say bye, with a reason for people; there is no coming back.

        A run that is not done is given up, and reported as that.
        """
        if self._line.started and not self._line.stopped:
            await self._line.run(self._work.end())
        await self._line.stop(reason)

    async def abort(self) -> None:
        """End as a program does that is killed, for a rehearsal: nothing is said any more."""
        await self._line.abort()

    @overload
    def on_run(self, handler: H) -> H: ...

    @overload
    def on_run(self, *, at_once: int = 1) -> Callable[[H], H]: ...

    def on_run(self, handler: Any = None, *, at_once: int = 1) -> Any:
        """Have the runs of this agent's schedules done by a function: ``@me.on_run``.

        It is called with each ``Run``, one after another or ``at_once`` so many. What it returns is
        the response, what it raises the error. A coroutine function works on the loop that entered
        the block, any other in a thread of its own.
        """

        def take(handler: H) -> H:
            self._work.handle(handler, at_once)
            self._line.runtime.tell(self._work.begin)
            return handler

        return take if handler is None else take(handler)

    async def update(self, *, wait: float = 0, **said: Unpack[Said]) -> bool:
        """Say something of the agent; what is not named stays as it is.

        It is told as soon as there is a hub; until then the latest value of each field counts.
        Waits for nothing, or up to ``wait`` seconds; answers whether everybody can see it by then.
        """
        if self._line.stopped:
            return False
        if not self._line.started:
            self._portrait.say(said, time.monotonic())
            return False
        return await self._line.run(self._say(said, wait))

    async def _say(self, said: Said, wait_s: float) -> bool:
        number = self._line.connection.update(said)
        return wait_s > 0 and await self._line.connection.confirmed(number, wait_s)


class Mail:
    """What the hub has to say to an agent, given to those who handle it."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.home: asyncio.AbstractEventLoop | None = None
        self._handlers = handlers
        self._assigned: set[str] = set()  # claims that the program was told of
        self._working: set[asyncio.Future[object]] = set()

    def opened(self) -> None:
        """The hub tells again what still counts."""

    def broke(self) -> None:
        """Nothing is lost: see opened."""

    def ended(self, error: LifesignsError | None) -> None:
        """Nothing more comes."""

    def receive(self, received: Received) -> None:
        body = dict(received.body)
        if received.type == "welcome" and "assigned" in body:
            self._compare(body["assigned"])
        elif received.type == "assigned":
            self._assign(body)
        elif received.type == "unassigned":
            self._assigned.discard(body["claim"])
            self._deliver(body)
        elif received.type == "tell":
            self._deliver(body)

    def _compare(self, assigned: Sequence[Mapping[str, Any]]) -> None:
        """Tell what has come and gone while the hub could not be reached."""
        for claim in self._assigned - {each["claim"] for each in assigned}:
            self._assigned.discard(claim)
            self._deliver({"type": "unassigned", "claim": claim, "why": "away"})
        for each in assigned:
            self._assign({"type": "assigned", **each})

    def _assign(self, message: dict[str, Any]) -> None:
        if message["claim"] not in self._assigned:
            self._assigned.add(message["claim"])
            self._deliver(message)

    def _deliver(self, message: dict[str, Any]) -> None:
        handler = self._handlers.get(message["type"])
        if handler is not None and self.home is not None and not self.home.is_closed():
            self.home.call_soon_threadsafe(self._handle, handler, message)

    def _handle(self, handler: Handler, message: dict[str, Any]) -> None:
        try:
            result = handler(message)
        except Exception:
            log.exception("a handler of %s failed", message["type"])
            return
        if inspect.isawaitable(result):
            work = asyncio.ensure_future(result)
            self._working.add(work)
            work.add_done_callback(self._handled)

    def _handled(self, work: asyncio.Future[object]) -> None:
        self._working.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            log.error("a handler failed", exc_info=error)
