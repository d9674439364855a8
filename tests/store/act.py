"""Acts of a test's own on their way to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import LifesignsError
from lifesigns.store.commit import NEVER
from lifesigns.store.entry import Answer, Entry
from tests.station import Station


class Act(Entry):
    """An act of the test's own, and what became of it."""

    __slots__ = ("_row", "became")

    def __init__(self, at: float, row: Callable[[], list[Any]]) -> None:
        super().__init__(at)
        self._row = row
        self.became: list[str] = []

    def row(self, now: float) -> list[Any]:
        return self._row()

    def landed(self, answer: Answer) -> None:
        self.became.append(f"landed {answer.code}")

    def failed(self, error: LifesignsError) -> None:
        self.became.append("failed")

    def adrift(self) -> bool:
        self.became.append("adrift")
        return True


def hello(agent: str, session: str = "zzaaaa") -> list[Any]:
    return ["w", agent, "i", session, 0, 1, 0, 30_000, 0, -1, [0, 8], 0, 0, b"\x90", 0]


def bye(agent: str, text: str) -> list[Any]:
    return ["l", agent, "i", "zzaaaa", 0, "left", text, 0]


def add(at: Station, agent: str, row: Callable[[], list[Any]]) -> Act:
    act = Act(asyncio.get_running_loop().time(), row)
    at.commit.add(at.store.lane(DEFAULT_PROJECT, agent), act, NEVER)
    return act
