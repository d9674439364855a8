"""All connections of a hub, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from lifesigns.core.model import Limits
from lifesigns.hub.fanout import Fanout
from lifesigns.store.clock import StoreClock
from lifesigns.store.ingest import Ingest
from lifesigns.store.store import Store
from lifesigns.web.auth import Gate
from lifesigns.web.door import Rules
from lifesigns.web.wheel import Wheel


class Connection(Protocol):
    """What the lobby knows of one."""

    @property
    def key_id(self) -> str | None: ...

    def revoked(self) -> None:
        """Its key is not good any more."""

    def shutdown(self) -> None:
        """The hub goes."""


class Stream(Protocol):
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
        clock: StoreClock,
        fanout: Fanout,
        limits: Limits,
        rules: Rules,
        max_connections: int,
    ) -> None:
        self.gate = gate
        self.store = store
        self.ingest = ingest
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

    def drain(self) -> None:
        """Send all away; their leases run on, so that they can come back elsewhere."""
        self.draining = True
        for connection in list(self.open):
            connection.shutdown()
        for stream in self.streams:
            stream.end()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that takes an await, and keep it from being collected."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
