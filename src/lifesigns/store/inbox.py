"""The inboxes of agents: what they were told, kept until they acknowledge it.

A letter lies in its agent's stream for a day at most; who reads does not take it away. Whoever
waits for one is woken by a bell, which is published on any hub; the bell carries nothing, and a
subscription that was confirmed rings as well, so that nobody has to ask the store in a loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import msgpack

from lifesigns.core.claim import spell_told
from lifesigns.core.codec import JSON
from lifesigns.core.errors import NotFound
from lifesigns.core.letter import Letter, read_id
from lifesigns.store import keys, script
from lifesigns.store.clock import StoreClock
from lifesigns.store.ingest import Ingest
from lifesigns.store.link import Link
from lifesigns.store.store import Store

T = TypeVar("T")

TELL = "tell"  # what a hub is told that has a socket of the agent

KEPT = 1_000
KEPT_MS = 86_400_000
PAGE = 100  # letters that one answer carries: 1.6 MB of the largest


class Bell:
    """Wakes one who waits."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.ended = False

    def end(self) -> None:
        """Wait no longer."""
        self.ended = True
        self.rung.set()


class Inbox:
    """The inboxes of all agents. Whatever asks raises ``Unavailable`` without the store."""

    def __init__(
        self, store: Store, link: Link, feed: Link, clock: StoreClock, ingest: Ingest
    ) -> None:
        self._store = store
        self._link = link
        self._feed = feed  # the link that subscribes
        self._clock = clock
        self._ingest = ingest
        self._loop = asyncio.get_running_loop()
        self._bells: dict[str, dict[bytes, set[Bell]]] = {}  # by channel, and agent as it rings

    async def add(
        self,
        project: str,
        agent: str,
        kind: str,
        body: Mapping[str, Any],
        *,
        sockets: bool = False,
        stranger: bool = False,
    ) -> Letter:
        """Put a letter into an agent's inbox; with ``sockets`` those that it has are told too.

        Raises NotFound for an agent that was never seen, unless it may be a ``stranger``.
        """
        lane = self._store.lane(project, agent)
        database = self._link.address.db
        number = await self._link.ask_script(
            script.INBOX_ADD,
            (keys.letters(project, lane.number, agent), lane.keys[1]),
            (
                *(b"", agent, kind, JSON.encode(body), KEPT, KEPT_MS),
                keys.bell(project, lane.number, database),
                keys.inbox(database) if sockets else b"",
                int(stranger),
            ),
        )
        if number is None:
            raise NotFound(f"No agent {agent!r} was ever seen.")
        return Letter(agent, number.decode(), kind, body)

    async def read(self, project: str, agent: str, after: str | None = None) -> list[Letter]:
        """Read what is not acknowledged, the oldest first; ``after`` is a letter's number."""
        oldest_ms = self._clock.at_ms(self._loop.time()) - KEPT_MS
        since = f"{oldest_ms}-0"
        if after is not None and int(after.partition("-")[0]) >= oldest_ms:
            since = f"({after}"
        number = self._store.lane(project, agent).number
        found = await self._link.ask(
            *("XRANGE", keys.letters(project, number, agent), since, "+", "COUNT", PAGE)
        )
        return [_letter(agent, name.decode(), fields) for name, fields in found]

    async def count(self, project: str, agent: str) -> int:
        """Count what is not acknowledged."""
        number = self._store.lane(project, agent).number
        return int(await self._link.ask("XLEN", keys.letters(project, number, agent)))

    async def ack(self, project: str, letter_id: str) -> bool:
        """Take a letter away; answer whether it was there."""
        agent, name = read_id(letter_id)
        number = self._store.lane(project, agent).number
        return bool(await self._link.ask("XDEL", keys.letters(project, number, agent), name))

    async def wait(
        self, project: str, agent: str, after: str | None, wait_s: float, bell: Bell
    ) -> list[Letter]:
        """Read, and if there is nothing wait for it; nothing when the time or ``bell`` ended."""

        async def look() -> list[Letter]:
            return await self.read(project, agent, after)

        return await self.await_ring(project, agent, agent, look, wait_s, bell) or []

    async def await_ring(
        self,
        project: str,
        agent: str,
        name: str,
        look: Callable[[], Awaitable[T | None]],
        wait_s: float,
        bell: Bell,
    ) -> T | None:
        """Look, and if there is nothing look again whenever it is rung for ``name``.

        It rings in the agent's partition; None when the time or ``bell`` ended.
        """
        deadline = self._loop.time() + wait_s
        with self._listening(project, agent, name, bell):
            while True:
                bell.rung.clear()
                found = await look()
                left_s = deadline - self._loop.time()
                if found or bell.ended or left_s <= 0:
                    return found
                try:
                    async with asyncio.timeout(left_s):
                        await bell.rung.wait()
                except TimeoutError:
                    pass  # a last look: while the feed was away no bell could be heard

    # What the channels say.

    def heard(self, channel: str, data: bytes) -> None:
        """A message came on a channel."""
        for bell in self._bells.get(channel, {}).get(data, ()):
            bell.rung.set()

    def confirmed(self, channel: str) -> None:
        """A subscription was confirmed: what rang before was not heard."""
        for bells in self._bells.get(channel, {}).values():
            for bell in bells:
                bell.rung.set()

    def told(self, agent: str, number: str, kind: str, body: str, session: str) -> None:
        """A letter came for an agent that has a socket here."""
        lease = self._ingest.leases.get(session)
        if lease is not None and lease.epoch:  # its welcome comes first
            lease.holder.tell(Letter(agent, number, kind, JSON.decode(body.encode())).frame())

    @contextmanager
    def _listening(self, project: str, agent: str, who: str, bell: Bell) -> Iterator[None]:
        number = self._store.lane(project, agent).number
        channel = keys.bell(project, number, self._link.address.db)
        agents, name = self._bells.setdefault(channel, {}), who.encode()
        if not agents:
            self._feed.subscribe(channel)
        agents.setdefault(name, set()).add(bell)
        try:
            yield
        finally:
            agents[name].discard(bell)
            if not agents[name]:
                del agents[name]
            if not agents:
                del self._bells[channel]
                self._feed.unsubscribe(channel)


def _letter(agent: str, number: str, fields: list[bytes]) -> Letter:
    _, name, form, packed = fields
    kind = name.decode()
    if form == b"body":
        return Letter(agent, number, kind, JSON.decode(packed))
    return Letter(agent, number, kind, spell_told(kind, msgpack.unpackb(packed)))
