"""Reading agents as they are now: many questions at once become few commands.

What is asked for in one turn of the loop is read together, each agent once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from lifesigns.core.errors import Unavailable
from lifesigns.core.model import Presence, Record
from lifesigns.core.presence import present
from lifesigns.core.record import unpack_record
from lifesigns.core.sketch import Sketch
from lifesigns.store import script
from lifesigns.store.hold import Hold
from lifesigns.store.lease import Lane
from lifesigns.store.link import Link, Script

BATCH = 256
SKETCHES = 4_096  # of some 4 KB each, once they were asked for in one codec
PAGE = 256  # records that one command scans: it must not hold the server up


class Reading(NamedTuple):
    """One agent as it was at a moment of the store's clock; None if it was never seen."""

    presence: Presence | None
    now_ms: int
    sketch: Sketch | None = None


class Page(NamedTuple):
    """Some of a lane's records; all changes up to ``seq`` are in them."""

    now_ms: int
    epoch: str
    gap_ms: int
    seq: int
    at_ms: int
    records: list[tuple[str, bytes, list[bytes | None]]]


Waiting = asyncio.Future[dict[str, Reading]]  # of all agents that are read with one


class Reader:
    """The way in which presences are read."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._wanted: dict[Lane, dict[str, Waiting]] = {}
        self._sketches: dict[tuple[str, str], Sketch] = {}
        self.hold: Hold | None = None  # what this hub knows of one

    def read(self, lane: Lane, agent: str) -> Waiting:
        """Ask for an agent; the future ends with what its batch read, or with ``Unavailable``."""
        if not self._wanted:
            self._loop.call_soon(self._send)
        agents = self._wanted.setdefault(lane, {})
        waiting = agents.get(agent)
        if waiting is None:
            if len(agents) % BATCH == 0:
                waiting = self._loop.create_future()
                waiting.add_done_callback(heed)
            else:  # there is room where the one before it is
                waiting = next(reversed(agents.values()))
            agents[agent] = waiting
        return waiting

    async def scan(self, lane: Lane) -> AsyncIterator[Presence]:
        """Go through all agents of a lane, each at least once if it is there throughout."""
        async for page in self.pages(lane):
            for agent, packed, leases in page.records:
                record = self._unpack(packed, leases, page.now_ms, page.gap_ms)
                yield present(lane.project, agent, record, epoch=page.epoch, now_ms=page.now_ms)

    async def pages(self, lane: Lane) -> AsyncIterator[Page]:
        """Go through all records of a lane as they are packed."""
        cursor = b"0"
        while True:
            reply = await self._call(script.SCAN, lane, cursor, PAGE)
            cursor = reply[3]
            yield Page(
                now_ms=reply[0],
                epoch=reply[1].decode(),
                gap_ms=int(reply[2]),
                seq=int(reply[4]),
                at_ms=int(reply[5]),
                records=[
                    (reply[i].decode(), reply[i + 1], reply[i + 2]) for i in range(6, len(reply), 3)
                ],
            )
            if cursor == b"0":
                return

    async def count(self, lane: Lane) -> dict[int, int]:
        """Count the agents of a lane by their rank."""
        reply = await self._link.ask("HMGET", lane.keys[0], *[f"r{rank}" for rank in range(9)])
        return {rank: int(n) for rank, n in enumerate(reply) if n is not None and int(n) > 0}

    def _unpack(
        self, packed: bytes, leases: Sequence[bytes | None], now_ms: int, gap_ms: int
    ) -> Record:
        stopped_ms = 0 if self.hold is None else self.hold.stopped_ms
        return unpack_record(packed, leases, now_ms=now_ms, gap_ms=gap_ms, stopped_ms=stopped_ms)

    async def _call(self, what: Script, lane: Lane, *arguments: Any) -> Any:
        return await self._link.ask_script(what, _keys(lane), (b"", *arguments))

    def _send(self) -> None:
        wanted, self._wanted = self._wanted, {}
        for lane, agents in wanted.items():
            names = list(agents)
            for i in range(0, len(names), BATCH):
                self._send_batch(lane, names[i : i + BATCH], agents[names[i]])
        self._link.flush()

    def _send_batch(self, lane: Lane, names: Sequence[str], waiting: Waiting) -> None:
        self._link.run(
            script.READ,
            _keys(lane),
            (b"", *[name.encode() for name in names]),
            lambda reply: self._answer(lane, names, waiting, reply),
        )

    def _answer(self, lane: Lane, names: Sequence[str], waiting: Waiting, reply: Any) -> None:
        if waiting.done():
            return
        if isinstance(reply, Exception):
            waiting.set_exception(Unavailable("The store is away."))
            return
        now_ms, epoch, gap_ms = reply[0], reply[1].decode(), int(reply[2])
        found = {}
        for i, name in enumerate(names):
            packed, leases = reply[3 + 2 * i], reply[4 + 2 * i]
            if packed is None:
                found[name] = Reading(None, now_ms)
                continue
            sketch = self._sketch(lane.project, name, packed, epoch, now_ms)
            presence = sketch.at(leases, now_ms)
            if presence is not None:
                found[name] = Reading(presence, now_ms, sketch)
                continue
            record = self._unpack(packed, leases, now_ms, gap_ms)
            presence = present(lane.project, name, record, epoch=epoch, now_ms=now_ms)
            found[name] = Reading(presence, now_ms)
        waiting.set_result(found)

    def _sketch(self, project: str, agent: str, packed: bytes, epoch: str, now_ms: int) -> Sketch:
        sketches, key = self._sketches, (project, agent)
        sketch = sketches.get(key)
        if sketch is None or sketch.packed != packed or sketch.epoch != epoch:
            if len(sketches) >= SKETCHES and key not in sketches:
                del sketches[next(iter(sketches))]
            sketch = sketches[key] = Sketch(project, agent, packed, epoch, now_ms)
        return sketch


def heed(waiting: asyncio.Future[Any]) -> None:
    """Whoever asked may have given up meanwhile; then nobody is there to hear of a failure."""
    if not waiting.cancelled():
        waiting.exception()


def _keys(lane: Lane) -> tuple[bytes, ...]:
    """Pick the keys that reading needs: meta, agents, live, part."""
    return (lane.keys[0], lane.keys[1], lane.keys[2], lane.keys[7])
