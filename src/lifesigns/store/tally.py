"""How many beats an agent sent on each day, for the dialects that reckon with it.

A tally goes with its agent, and by itself when nothing was counted for long.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from lifesigns.store import keys, script
from lifesigns.store.link import Link
from lifesigns.store.store import Store

DAYS: Final = 90  # that are kept: as far back as uptime is
DAY_S: Final = 86_400


class Tally:
    """The tallies of all agents. Whatever asks raises ``Unavailable`` without the store."""

    def __init__(self, link: Link, store: Store) -> None:
        self._link = link
        self._store = store

    async def count(self, project: str, agent: str) -> None:
        """Count a beat."""
        await self._link.ask_script(script.TALLY, (self._key(project, agent),), (b"", DAYS))

    async def read(self, project: str, agent: str) -> dict[str, int]:
        """Tell how many there were, by date."""
        found = await self._link.ask("HGETALL", self._key(project, agent))
        counts = zip(map(int, found[::2]), map(int, found[1::2]), strict=True)
        return {_date(day): count for day, count in sorted(counts)}

    def _key(self, project: str, agent: str) -> str:
        return keys.tally(project, self._store.lane(project, agent).number, agent)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()
