"""One act on one agent on its way to the store, as ``lua/beat.lua`` wants it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

from lifesigns.core.errors import LifesignsError

WRITTEN, OLDER, NOT_HERE, STORED_BEFORE, ALTERED, TOO_MANY = range(6)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the store confirmed."""

    seq: int
    epoch: str
    expires_at_ms: int
    claimed: bool = False  # whether somebody holds a claim on the agent


class Answer(NamedTuple):
    """What the script said of one act."""

    code: int
    seq: int
    record: bytes
    epoch: str
    store_ms: int
    sent_at: float


class Entry(ABC):
    """Whatever may stand in a lane."""

    __slots__ = ("at", "since", "tries")

    def __init__(self, at: float) -> None:
        self.at = at  # when its cause arrived: ages count from here
        self.since: float | None = None  # when it was first sent over a link that lasted since,
        self.tries = 0  # and how often it came back

    def stale(self, now: float) -> bool:
        """Tell whether it has waited for so long that nobody needs it any more."""
        return False

    @abstractmethod
    def row(self, now: float) -> list[Any]:
        """Lay the act out for the script; called anew whenever it is sent."""

    @abstractmethod
    def landed(self, answer: Answer) -> None:
        """The store has judged it."""

    @abstractmethod
    def failed(self, error: LifesignsError) -> None:
        """The store refused it, and would again."""

    def put_off(self, error: LifesignsError) -> None:
        """The store cannot now, and has done nothing."""
        self.failed(error)

    @abstractmethod
    def adrift(self) -> bool:
        """The link broke under way, so that it arrived or did not; answer whether to repeat it."""


def elapsed_ms(since: float, now: float) -> int:
    """Tell an age in whole milliseconds, never below zero."""
    return max(0, round((now - since) * 1000))
