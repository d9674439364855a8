"""What was reported with beats, for the dialects that list it again.

A presence tells what is; a diary tells what was said, of one agent in one *book* (a dialect's) and
on one *topic* (perhaps a job). An agent that says the same all the time is noted now and then.
Diaries end by themselves: each keeps its last entries only, and none for longer than is set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lifesigns.core.codec import JSON
from lifesigns.store import keys, script
from lifesigns.store.clock import StoreClock
from lifesigns.store.link import Link
from lifesigns.store.store import Store

SCANNED = 1_000  # members that are looked at in one call


@dataclass(frozen=True, slots=True)
class Upkeep:
    """How much is kept, and for how long."""

    entries: int  # of an agent on a topic
    keep_ms: int
    gap_ms: int  # how soon the same is not noted again


class Entry(NamedTuple):
    """What was reported once."""

    agent: str
    topic: str
    number: str  # of the entry in its diary: the moment, and a count
    report: Mapping[str, Any]

    @property
    def at_ms(self) -> int:
        return int(self.number.partition("-")[0])


class Page(NamedTuple):
    """Entries, the latest first, and how many there are in all."""

    entries: list[Entry]
    total: int


class Diary:
    """The diaries of all agents. Whatever asks raises ``Unavailable`` without the store."""

    def __init__(self, link: Link, store: Store, clock: StoreClock, upkeep: Upkeep) -> None:
        self._link = link
        self._store = store
        self._clock = clock
        self._upkeep = upkeep
        self._loop = asyncio.get_running_loop()

    async def note(
        self, project: str, agent: str, book: str, report: Mapping[str, Any], topic: str = ""
    ) -> bool:
        """Note what was reported; answer whether it was, and not the same a moment ago."""
        number = self._store.lane(project, agent).number
        member = keys.leaf(agent, topic)
        noted = await self._link.ask_script(
            script.DIARY_NOTE,
            (
                keys.diary(project, number, book, member),
                keys.diaries(project, number, book),
                keys.books(project, number),
            ),
            (
                *(b"", member, book, JSON.encode(dict(sorted(report.items())))),
                *(self._upkeep.gap_ms, self._upkeep.entries, self._upkeep.keep_ms),
            ),
        )
        return bool(noted)

    async def read(
        self,
        project: str,
        agent: str,
        book: str,
        topic: str = "",
        *,
        limit: int = 50,
        before: str | None = None,
    ) -> Page:
        """Read a diary; ``before`` is the number of the last entry of the page before."""
        oldest_ms = self._clock.at_ms(self._loop.time()) - self._upkeep.keep_ms
        number = self._store.lane(project, agent).number
        name = keys.diary(project, number, book, keys.leaf(agent, topic))
        last = "+" if before is None else f"({before}"
        await self._link.ask("XTRIM", name, "MINID", max(0, oldest_ms))
        total, found = await asyncio.gather(
            self._link.ask("XLEN", name),
            self._link.ask("XREVRANGE", name, last, "-", "COUNT", limit),
        )
        entries = [_entry(agent, topic, entry, fields[1]) for entry, fields in found]
        return Page(entries, total)

    async def latest(self, project: str, book: str, *, skip: int = 0, limit: int = 50) -> Page:
        """Read what all agents reported last, whatever the topic."""
        replies: Sequence[Any] = await self._link.ask_scripts(
            script.DIARY_LATEST,
            [
                (
                    (keys.diaries(project, lane.number, book),),
                    (
                        *(b"", keys.diary(project, lane.number, book, "")),
                        *(skip + limit, self._upkeep.keep_ms),
                    ),
                )
                for lane in self._store.lanes(project)
            ],
        )
        found = [
            _entry(*_parts(member), entry, report)
            for _, *flat in replies
            for member, entry, report in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]
        found.sort(key=_moment, reverse=True)
        return Page(found[skip : skip + limit], sum(total for total, *_ in replies))

    async def forget(self, project: str, agent: str) -> None:
        """Drop all diaries of an agent."""
        number = self._store.lane(project, agent).number
        for each in await self._link.ask("SMEMBERS", keys.books(project, number)):
            book = each.decode()
            index, cursor = keys.diaries(project, number, book), b"0"
            while True:
                cursor, found = await self._link.ask(
                    *("ZSCAN", index, cursor, "MATCH", keys.leaf(agent, "*"), "COUNT", SCANNED)
                )
                for member in found[::2]:
                    name = keys.diary(project, number, book, member.decode())
                    await self._link.ask("DEL", name)
                    await self._link.ask("ZREM", index, member)
                if cursor == b"0":
                    break

    async def drop(self, project: str) -> None:
        """Drop the diaries of a project."""
        for lane in self._store.lanes(project):
            shelf = keys.books(project, lane.number)
            for each in await self._link.ask("SMEMBERS", shelf):
                book = each.decode()
                index = keys.diaries(project, lane.number, book)
                for member in await self._link.ask("ZRANGE", index, 0, -1):
                    name = keys.diary(project, lane.number, book, member.decode())
                    await self._link.ask("DEL", name)
                await self._link.ask("DEL", index)
            await self._link.ask("DEL", shelf)


def _entry(agent: str, topic: str, number: bytes, report: bytes) -> Entry:
    return Entry(agent, topic, number.decode(), JSON.decode(report))


def _parts(member: bytes) -> tuple[str, str]:
    agent, _, topic = member.decode().partition(keys.SEPARATOR)
    return agent, topic


def _moment(entry: Entry) -> tuple[int, int]:
    ms, _, count = entry.number.partition("-")
    return int(ms), int(count)
