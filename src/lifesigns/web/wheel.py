"""One timing wheel for all connections, in place of a timer each.

A connection stands in the slot of its deadline. When the slot comes round it is asked again: most
have heard from their peer meanwhile and only take a later place, so that a frame that comes in
never touches the wheel. It wakes for slots in which somebody stands, and for no others.
"""

from __future__ import annotations

import asyncio
import logging
from heapq import heappop, heappush
from typing import Protocol

log = logging.getLogger(__name__)

STEP_S = 0.1  # the shortest silence after which a peer is pinged is 0.5 s, and its lease 1 s
TICK_S = 0.001  # what a loop counts in: without it a timer may come a moment before its slot
LATE_S = 0.5  # a loop that is later than this stood still, and has yet to read what came meanwhile


class Timed(Protocol):
    """What may stand on the wheel."""

    slot: int

    def tick(self, now: float) -> float | None:
        """Do what is due; answer the next deadline, None to leave the wheel."""


class Wheel:
    """Calls ``tick`` at the deadlines, late by at most a step."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, set[Timed]] = {}
        self._order: list[int] = []  # a heap of the slots
        self._turned = int(loop.time() / STEP_S)
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._waits = False  # until what came during a stall is read

    def place(self, timed: Timed, deadline: float) -> None:
        """Put a connection at its deadline."""
        slot = max(int(deadline / STEP_S) + 1, self._turned + 1)
        timed.slot = slot
        members = self._slots.get(slot)
        if members is None:
            members = self._slots[slot] = set()
            heappush(self._order, slot)
            if self._order[0] == slot:
                self._wind()
        members.add(timed)

    def remove(self, timed: Timed) -> None:
        """Take a connection that has ended off the wheel."""
        members = self._slots.get(timed.slot)
        if members is not None:
            members.discard(timed)

    def stop(self) -> None:
        """Turn no more."""
        self._stopped = True
        self._wind()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._order and not self._stopped:
            self._timer = self._loop.call_at(self._order[0] * STEP_S + TICK_S, self._turn)

    def _turn(self) -> None:
        now = self._loop.time()
        self._waits = not self._waits and now - self._order[0] * STEP_S > LATE_S
        if self._waits:
            self._timer = self._loop.call_later(STEP_S, self._turn)
            return
        self._turned = int(now / STEP_S)
        while self._order and self._order[0] <= self._turned:
            for timed in self._slots.pop(heappop(self._order)):
                self._ask(timed, now)
        self._wind()

    def _ask(self, timed: Timed, now: float) -> None:
        try:
            deadline = timed.tick(now)
        except Exception:
            # An error in one must not end the timeouts of all others.
            log.exception("a deadline could not be kept")
        else:
            if deadline is not None:
                self.place(timed, deadline)
