"""What an operator says of agents: of one, or of all whose ids begin alike.

Of a prefix it stands in every lane of the project first, so that an agent that comes at the same
time is told of; then those who are there already are gone through.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgpack

from lifesigns.core.access import covers
from lifesigns.core.errors import Conflict, NotFound
from lifesigns.core.model import Override
from lifesigns.store import script
from lifesigns.store.link import Link
from lifesigns.store.store import STANDING_WORDS, Store

STANDING = 100  # prefixes of a project: each newcomer is compared with all
AT_ONCE = 500  # agents; their acts leave in a few calls


class Operator:
    """The way in which overrides of many agents are said."""

    def __init__(self, store: Store, link: Link) -> None:
        self._store = store
        self._link = link

    async def override(self, project: str, prefix: str, override: Override | None) -> int:
        """Say it of all agents of a prefix (with its ``*``), those to come too; count the others.

        None takes back whatever was said of any of them.
        """
        rank, why, until_ms = override or (-1, "", None)
        args = (b"", prefix[:-1], rank, why, until_ms or 0, STANDING)
        lanes = self._store.lanes(project)
        taken = await self._link.ask_scripts(
            script.STANDING, [(lane.keys[:1], args) for lane in lanes]
        )
        if not all(taken):
            raise Conflict(f"At most {STANDING} prefixes may be overridden at once.")
        count = 0
        async for agents in self._agents(project, prefix):
            said = [self._say(project, agent, override) for agent in agents]
            count += sum(await asyncio.gather(*said))
        return count

    async def standing(self, project: str, prefix: str) -> Override | None:
        """Read what stands for a prefix."""
        meta = self._store.lanes(project)[0].keys[0]
        packed = await self._link.ask("HGET", meta, STANDING_WORDS)
        for name, rank, why, until_ms in msgpack.unpackb(packed) if packed else ():
            if name == prefix[:-1]:
                return Override(rank, why, until_ms or None)
        return None

    async def _say(self, project: str, agent: str, override: Override | None) -> bool:
        try:
            await self._store.rule(project, agent, override)
        except NotFound:
            return False  # it was forgotten meanwhile
        return True

    async def _agents(self, project: str, prefix: str) -> AsyncIterator[list[str]]:
        for lane in self._store.lanes(project):
            found: set[str] = set()  # a page may tell of one again
            async for page in self._store.reader.pages(lane):
                found.update(agent for agent, _, _ in page.records if covers(prefix, agent))
            names = list(found)
            for start in range(0, len(names), AT_ONCE):
                yield names[start : start + AT_ONCE]
