"""Counting agents by a part of what they say, and adding one of their numbers up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

from lifesigns.core.codec import JSON
from lifesigns.core.model import Words
from lifesigns.core.presence import STATES

METADATA = "metadata."
PARTS: dict[str, Callable[[int, Words], str | None]] = {
    "state": lambda rank, words: STATES[rank],
    "status": lambda rank, words: words.status,
    "dialect": lambda rank, words: words.dialect,
    "group": lambda rank, words: words.group,
    "host": lambda rank, words: words.host,
    "version": lambda rank, words: words.version,
}


def part_of(rank: int, words: Words, by: str) -> str:
    """Say in which heap an agent falls; what it does not say is the heap without a name."""
    if by.startswith(METADATA):
        value = (words.metadata or {}).get(by.removeprefix(METADATA))
        return "" if value is None else value if isinstance(value, str) else _spelt(value)
    return PARTS[by](rank, words) or ""


def number_of(words: Words, key: str) -> int | float | None:
    """Tell the number that an agent has at a key of its metadata, if it is one."""
    value = (words.metadata or {}).get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None


@dataclass(slots=True)
class Numbers:
    """Numbers that were added up."""

    n: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None

    def add(self, number: float) -> None:
        self.join(Numbers(1, number, number, number))

    def join(self, others: Numbers) -> None:
        """Add all of others."""
        self.n += others.n
        self.total += others.total
        if others.least is not None and (self.least is None or others.least < self.least):
            self.least = others.least
        if others.most is not None and (self.most is None or others.most > self.most):
            self.most = others.most

    def spell(self, looks: int = 1) -> dict[str, Any]:
        """Spell them out; of several looks, as they were on average."""
        # The largest numbers add up to more than any wire can carry.
        total = self.total if isfinite(self.total) else None
        return {
            "sum": None if total is None else mean(total, looks),
            "avg": total / self.n if self.n and total is not None else None,
            "min": self.least,
            "max": self.most,
            "n": mean(self.n, looks),
        }


def mean(total: float, looks: int) -> float:
    """Tell what something was on average; of one look, as it was found."""
    return total if looks == 1 else round(total / looks, 3)


def _spelt(value: Any) -> str:
    return JSON.encode(value).decode()
