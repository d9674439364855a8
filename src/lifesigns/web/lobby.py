"""All connections of a hub, and what they share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from lifesigns.core.model import Limits
from lifesigns.hub.delegation import Delegation
from lifesigns.hub.fanout import Fanout
from lifesigns.store.claim import Claims
from lifesigns.store.clock import StoreClock
from lifesigns.store.inbox import Inbox
from lifesigns.store.ingest import Ingest
from lifesigns.store.operator import Operator
from lifesigns.store.probe import Probe
from lifesigns.store.store import Store
from lifesigns.web.auth import Gate
from lifesigns.web.door import Rules
from lifesigns.web.wheel import Wheel
from lifesigns.workers.breaker import Breaker
from lifesigns.workers.scheduler import Scheduler

RESERVE = 0.4  # of the time of a drain: for the last beats, and for leaving the store
CLOSES_PER_S = 1_000  # each is a handshake and a hello at another hub a moment later
BACK_WITHIN_MS = 1_000  # a few agents come back within this
TOLD_AT_ONCE = 200  # one turn of the loop tells so many, a few ms
CLOSE_WAIT_S = 2.0  # how long a peer may take to answer a close
GOING_AWAY = 1001
STEP_S = 0.01  # how soon a hub that waits sees that all have gone


class Visitor(Protocol):
    """Whoever is sent away when the hub goes."""

    def forewarn(self, reconnect_in_ms: int) -> None:
        """Say that the hub goes, and when to come back to another."""

    def send_away(self) -> None:
        """End it in order; it comes back by itself."""


class Connection(Visitor, Protocol):
    """What the lobby knows of a socket."""

    @property
    def key_id(self) -> str | None: ...

    def revoked(self) -> None:
        """Its key is not good any more."""

    def shutdown(self) -> None:
        """End it now, whatever the peer does."""


class Stream(Visitor, Protocol):
    """What the lobby knows of an event stream."""

    def end(self) -> None:
        """End it; its reader comes back by itself."""


class Lobby:
    """All connections of a hub, and what they share."""

    def __init__(
        self,
        *,
        gate: Gate,
        store: Store,
        ingest: Ingest,
        probe: Probe,
        breaker: Breaker,
        claims: Claims,
        delegation: Delegation,
        inbox: Inbox,
        operator: Operator,
        scheduler: Scheduler,
        clock: StoreClock,
        fanout: Fanout,
        limits: Limits,
        rules: Rules,
        max_connections: int,
        drain_s: float,
        drain_window_s: float,
    ) -> None:
        self.gate = gate
        self.store = store
        self.ingest = ingest
        self.probe = probe
        self.breaker = breaker
        self.claims = claims
        self.delegation = delegation
        self.inbox = inbox
        self.operator = operator
        self.scheduler = scheduler
        self.clock = clock
        self.fanout = fanout
        self.limits = limits
        self.rules = rules
        self.max_connections = max_connections
        self.node = ""
        self.loop = asyncio.get_running_loop()
        self.wheel = Wheel(self.loop)
        self.open: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.streams: dict[Stream, str] = {}  # and whose key each was opened with
        self.draining = False
        self.gone_by = float("inf")  # when a hub that goes has to be gone
        self._drain_s = drain_s
        self._drain_window_s = drain_window_s
        self._drained: asyncio.Task[None] | None = None
        self._hurried = asyncio.Event()
        self.shown_limits = {
            "message_bytes": limits.message_bytes,
            "check_message_bytes": limits.check_message_bytes,
            "metadata_bytes": limits.metadata_bytes,
            "metadata_depth": limits.metadata_depth,
            "messages_per_s": limits.messages_per_s,
            "min_ttl": limits.min_ttl_s,
            "max_ttl": limits.max_ttl_s,
            "check_agents": limits.check_agents,
        }

    @property
    def full(self) -> bool:
        """Whether another connection is refused."""
        return self.draining or len(self.open) + len(self.streams) >= self.max_connections

    def revoke(self, key_ids: frozenset[str]) -> None:
        """Close the sockets of keys that are not good any more."""
        for connection in [c for c in self.open if c.key_id in key_ids]:
            connection.revoked()
        for stream, key_id in self.streams.items():
            if key_id in key_ids:
                stream.end()

    async def recheck(self) -> None:
        """Catch up with the registry: keys may have ended, and projects gone or come anew."""
        former = self.gate.revision
        self.revoke(await self.gate.recheck())
        if self.gate.revision != former:
            await self.store.relearn()

    def close(self) -> None:
        """Take nobody any more: from here on the hub goes."""
        if not self.draining:
            self.draining = True
            self.gone_by = self.loop.time() + self._drain_s

    def hurry(self) -> None:
        """Whoever is still here is cut off: somebody does not want to wait."""
        self._hurried.set()

    async def drain(self) -> None:
        """Send all away, once, and return when they are gone.

        Their leases run on, so that they can come back elsewhere. All are told at once, and closed
        one after another: thousands must not come back in the same moment.
        """
        self.close()
        if self._drained is None:
            self._drained = self.loop.create_task(self._send_all_away())
        await asyncio.shield(self._drained)

    async def _send_all_away(self) -> None:
        visitors: list[Visitor] = [*self.open, *self.streams]
        random.shuffle(visitors)
        window_s = min(self._drain_window_s, len(visitors) / CLOSES_PER_S)
        for i, visitor in enumerate(visitors):
            visitor.forewarn(random.randrange(max(BACK_WITHIN_MS, round(window_s * 1000))))
            if i % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)
        began = self.loop.time()
        for i, visitor in enumerate(visitors):
            due = began + window_s * i / len(visitors)
            await self.until(lambda: False, most_s=due - self.loop.time())
            visitor.send_away()
        await self.until(lambda: not self.open and not self.streams)
        for connection in list(self.open):
            connection.shutdown()

    async def until(self, done: Callable[[], bool], most_s: float = float("inf")) -> None:
        """Wait for the end of something, as long as the hub that goes can wait for its visitors."""
        give_up = min(self.loop.time() + most_s, self.gone_by - RESERVE * self._drain_s)
        while not done() and not self._hurried.is_set() and self.loop.time() < give_up:
            with suppress(TimeoutError):
                async with asyncio.timeout(STEP_S):
                    await self._hurried.wait()

    def left_s(self, reserve: float) -> float:
        """Tell how long the hub may stay if this share of its time is kept for what comes after."""
        return self.gone_by - reserve * self._drain_s - self.loop.time()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that takes an await, and keep it from being collected."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
