"""Stops expiry before agents are declared dead that only the network keeps silent.

Looks at the sockets that this hub has pinged and that have not answered: they are overdue by half a
beat, and none of their leases has ended. Where the other end is silent, its kernel still
acknowledges the ping; where nothing is acknowledged, the network is cut. If that is so for a good
part of all sockets, the watermark stands still for one lease, and not again for a while. HTTP
agents and sockets that closed are none of its business. Costs nothing while everybody answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct
from typing import NamedTuple

from lifesigns.core.session import ServerSession
from lifesigns.store.hold import Hold
from lifesigns.store.ingest import Ingest
from lifesigns.store.lease import Lease
from lifesigns.workers.ticker import Ticker

log = logging.getLogger(__name__)

SHARE, LEAST = 0.15, 20  # of the open sockets, and that many; fewer are their own accidents
# The kernel sends again what was not acknowledged for 0.2 s: a round trip takes less.
ROUND_S = 0.2
AGAIN_S = 1.0  # how often it looks when nobody else was pinged
SAMPLE = 200  # sockets whose kernel is asked
LONGEST_S = 60.0  # a longer lease does not end while the network is mended
REST_S = 600.0  # then the world is as it seems
TCP_INFO = getattr(socket, "TCP_INFO", None)  # where there is none, nothing trips
UNACKED = struct.Struct("=24xI")  # how many segments are on their way, in what TCP_INFO answers


class Line(NamedTuple):
    """A socket that was pinged."""

    lease: Lease
    session: ServerSession
    transport: asyncio.Transport


class Breaker:
    """One hub's."""

    def __init__(self, ticker: Ticker, hold: Hold, ingest: Ingest, *, enabled: bool) -> None:
        self._ticker = ticker
        self._hold = hold
        self._ingest = ingest
        self._enabled = enabled and TCP_INFO is not None
        self._loop = asyncio.get_running_loop()
        self._lines: list[Line] = []
        self._fresh = False
        self._looked_at = 0.0
        self._rests_until = 0.0
        self.trips = 0  # so far

    def pinged(self, lease: Lease, session: ServerSession, transport: asyncio.Transport) -> None:
        """Take note of a socket that was silent for half its lease."""
        if self._enabled:
            self._lines.append(Line(lease, session, transport))
            self._fresh = True
            if len(self._lines) > 2 * len(self._ingest.leases) + LEAST:  # nobody looks: no tick
                self._drop_answered()

    def look(self) -> None:
        """Trip if so many are cut off."""
        now = self._loop.time()
        if not self._lines or not (self._fresh or now >= self._looked_at + AGAIN_S):
            return
        self._fresh, self._looked_at = False, now
        self._drop_answered()
        sockets, least = len(self._ingest.leases), max(LEAST, SHARE * len(self._ingest.leases))
        if len(self._lines) < least or now < self._rests_until:
            return
        overdue = [line for line in self._lines if now - (_awaited_since(line) or now) >= ROUND_S]
        # Some are too young to tell: they are looked at again.
        self._fresh = len(overdue) < len(self._lines)
        if len(overdue) < least:
            return
        sample = random.sample(overdue, min(SAMPLE, len(overdue)))
        cut = [line for line in sample if _unacknowledged(line.transport)]
        estimated = len(overdue) * len(cut) // len(sample)
        if estimated >= least:
            self._trip(now, cut, f"{estimated} of {sockets} open sockets are cut off")

    def _drop_answered(self) -> None:
        self._lines = [line for line in self._lines if _awaited_since(line) is not None]

    def _trip(self, now: float, cut: list[Line], why: str) -> None:
        hold_s = min(LONGEST_S, max(line.lease.ttl_ms for line in cut) / 1000)
        self.trips += 1
        self._rests_until = now + REST_S
        log.warning("the breaker trips: %s", why)
        self._ticker.hold(now + hold_s)
        self._hold.stop(hold_s, why)


def _awaited_since(line: Line) -> float | None:
    """Tell since when an answer is awaited; None if it came, or never will."""
    return None if line.lease.ended else line.session.awaited_since


def _unacknowledged(transport: asyncio.Transport) -> bool:
    """Tell whether the other end's kernel owes an acknowledgement."""
    line = transport.get_extra_info("socket")
    if line is None or TCP_INFO is None or transport.is_closing():
        return False
    try:
        info = line.getsockopt(socket.IPPROTO_TCP, TCP_INFO, UNACKED.size)
    except OSError:  # it is closed, or no TCP socket
        return False
    return bool(len(info) == UNACKED.size and UNACKED.unpack(info)[0])
