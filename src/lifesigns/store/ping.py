"""The sockets of this hub that were asked for a sign of life, and who waits for it.

Must not know who asks, nor why.
"""

from __future__ import annotations

from typing import Protocol

from lifesigns.store.lease import Lease


class Waiter(Protocol):
    """Who waits for signs of life."""

    def heard(self, session: str, now: float) -> None:
        """A frame came; nothing more is told of this session."""

    def gone(self, session: str) -> None:
        """None will come: the socket is not here, or not any more."""


class Pings:
    """Asks sockets, each once however many wait for it."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: dict[str, list[Waiter]] = {}  # by session

    def call(self, lease: Lease, waiter: Waiter) -> None:
        """Ask a socket. One that was asked and did not answer yet is not asked again."""
        waiters = self.waiting.setdefault(lease.session, [])
        waiters.append(waiter)
        if len(waiters) == 1:
            lease.holder.ping()

    def dismiss(self, session: str, waiter: Waiter) -> None:
        """Wait no longer."""
        waiters = self.waiting.get(session, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self.waiting[session]

    def heard(self, session: str, now: float) -> None:
        """Take a sign of life of any session."""
        for waiter in self.waiting.pop(session, ()):
            waiter.heard(session, now)

    def gone(self, session: str) -> None:
        """A session has ended."""
        for waiter in self.waiting.pop(session, ()):
            waiter.gone(session)
