"""Watchers that write down all that they are told, and come back with their cursor.

Each has a home, the hub at which it watches whenever that can be had; while it cannot, it watches
at any other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lifesigns.core.instant import from_text
from tests.chaos.line import Ended, line_to
from tests.chaos.member import Door
from tests.chaos.truth import now_ms
from tests.watcher import Watcher

SILENCE_S = 2.0  # a hub that answers nothing for so long is left
RETRY_S = 0.2
IN_PASSING = frozenset({"welcome", "notice", "goaway", "pong", "ok"})


@dataclass(frozen=True, slots=True)
class Told:
    """One change, as a witness heard it or as the store's log has it."""

    agent: str
    epoch: str
    seq: int
    kind: str
    was: str | None
    state: str
    at_ms: int

    @property
    def number(self) -> tuple[str, str, int]:
        return self.agent, self.epoch, self.seq

    def __str__(self) -> str:
        return f"{self.kind}: {self.was} -> {self.state} ({self.epoch}, {self.seq})"


@dataclass(frozen=True, slots=True)
class Fresh:
    """A snapshot that replaced everything: who was in which state."""

    at_ms: int
    states: Mapping[str, str]


class Witness(Watcher):
    """One watch of everything, for as long as it runs."""

    def __init__(self, name: str, home: Door, others: Sequence[Door]) -> None:
        super().__init__()
        self.name = name
        self.account: list[Told | Fresh] = []
        self.at: Door | None = None
        self._home = home
        self._doors = [home, *others]
        self._leaves = False

    @property
    def settled(self) -> bool:
        """Whether it watches at home, and knows all that was known when it began to."""
        return self.at is self._home and not self.mirror.loading

    def go_home(self) -> None:
        """Watch at home, as soon as it says so."""
        self._leaves = self.at is not self._home

    def forget(self) -> None:
        """What it was told so far was judged: begin the account anew, from what it knows."""
        self.account = [self._fresh()]
        self.changes.clear()
        self.coalesced = 0

    def kinds(self) -> Counter[str]:
        """Count what it was told, by kind."""
        return Counter(entry.kind for entry in self.account if isinstance(entry, Told))

    async def run(self) -> None:
        while True:
            for door in self._doors:
                try:
                    await self._watch_at(door)
                except (Ended, TimeoutError):
                    self.at = None
            await asyncio.sleep(RETRY_S)

    async def _watch_at(self, door: Door) -> None:
        async with line_to(door, SILENCE_S) as line:
            line.say("hello")
            since = {"since": self.mirror.cursor} if self.mirror.cursor else {}
            line.say("watch", ref="watch", **since)
            self._leaves = False
            while not self._leaves:
                try:
                    frame = await line.hear(SILENCE_S / 2)
                except TimeoutError:
                    line.say("ping")
                    frame = await line.hear(SILENCE_S)
                if frame["type"] == "error":
                    raise Ended(1006)
                if frame["type"] in IN_PASSING:
                    continue
                self._take(frame)
                self.at = door

    def _take(self, frame: dict[str, Any]) -> None:
        super()._take(frame)
        if frame["type"] == "snapshot" and not self.mirror.loading:
            self.account.append(self._fresh())

    def _fresh(self) -> Fresh:
        states = {agent: shown["state"] for agent, shown in self.mirror.agents.items()}
        return Fresh(now_ms(), states)

    def _check(self, change: dict[str, Any]) -> None:
        super()._check(change)
        self.account.append(told(change))


def told(change: Mapping[str, Any]) -> Told:
    """Read a change as watchers are told it."""
    return Told(
        change["id"],
        change["epoch"],
        change["seq"],
        change["kind"],
        change["was"],
        change["state"],
        from_text(change["at"]),
    )
