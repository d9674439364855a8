"""What a session has to tell the store: its news, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lifesigns.core.errors import LifesignsError
from lifesigns.core.presence import STALLED
from lifesigns.store.entry import Answer, Entry, Receipt, elapsed_ms
from lifesigns.store.lease import Lease

Done = Callable[[Receipt | LifesignsError], None]


class Desk(Protocol):
    """Who follows the news on their way."""

    def sent(self, news: News) -> None:
        """They are under way: what is said from now on is other news."""

    def judge(self, news: News, answer: Answer) -> None:
        """The store has answered."""

    def recover(self, news: News) -> bool:
        """The link broke; answer whether they are to be sent again."""

    def postpone(self, news: News) -> None:
        """The store cannot take them now."""


class News(Entry):
    """What a session has to say; later words join those that still wait.

    However old they are, they tell of the session's last sign of life: they set its lease.
    """

    __slots__ = ("_desk", "done", "hello", "lease", "loud", "said")

    def __init__(self, desk: Desk, lease: Lease) -> None:
        super().__init__(lease.beat_at)
        self._desk = desk
        self.lease = lease
        self.hello = False
        self.loud = False
        self.said: dict[str, Any] = {}  # said again if others altered the words meanwhile
        self.done: list[Done] = []

    def row(self, now: float) -> list[Any]:
        lease = self.lease
        self._desk.sent(self)
        self.at = lease.beat_at
        lease.n += 1
        # Whatever comes of it but that it is stored, the lease is loud again.
        self.loud, lease.loud = self.loud or lease.loud or self.hello, False
        if self.hello:
            lease.rev = 0
        pairs = [0, lease.own]
        if lease.stalls_at is not None:
            # 0 would mean ever, so a stall that is due this very moment is one ms old.
            pairs += [round((lease.stalls_at - self.at) * 1000) or -1, STALLED]
        return [
            "w",
            lease.agent,
            lease.instance,
            lease.session,
            elapsed_ms(self.at, now),
            lease.n,
            lease.rev,
            lease.ttl_ms,
            elapsed_ms(lease.opened_at, now) if self.hello else -1,
            -1,
            pairs,
            elapsed_ms(lease.progressed_at, self.at),
            elapsed_ms(lease.worded_at, self.at),
            lease.blob,
            0,
            lease.slots,
            0 if self.loud else 1,
        ]

    def stale(self, now: float) -> bool:
        lease = self.lease  # it came and went while the store was away
        return lease.ended and (now - lease.beat_at) * 1000 > lease.ttl_ms

    def landed(self, answer: Answer) -> None:
        self._desk.judge(self, answer)

    def failed(self, error: LifesignsError) -> None:
        self.lease.loud = True
        self._desk.sent(self)
        self.tell(error)

    def put_off(self, error: LifesignsError) -> None:
        self.lease.loud = True
        self.tell(error)
        self._desk.postpone(self)

    def adrift(self) -> bool:
        self.lease.loud = True
        return self._desk.recover(self)

    def tell(self, outcome: Receipt | LifesignsError) -> None:
        """Tell those who wait, once."""
        waiting, self.done = self.done, []
        for done in waiting:
            done(outcome)


class End(Entry):
    """A session ends: it left, or its socket broke."""

    __slots__ = ("_detail", "_done", "_verb", "lease")

    def __init__(
        self,
        lease: Lease,
        at: float,
        verb: str,
        *detail: Any,
        done: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(at)
        self._done = done
        self.lease = lease
        self._verb = verb
        self._detail = detail

    def row(self, now: float) -> list[Any]:
        lease = self.lease
        head: list[Any] = [self._verb, lease.agent, lease.instance, lease.session]
        if self._verb == "l":
            return [*head, elapsed_ms(self.at, now), *self._detail]
        # A renewal that waits is dropped with the session; that the agent was heard is not.
        heard_ms = elapsed_ms(lease.beat_at, now)
        if self._verb == "c":
            return [*head, heard_ms, *self._detail]
        return [*head, *self._detail, heard_ms]

    def landed(self, answer: Answer) -> None:
        """Whatever the answer, the session is over."""
        self._tell()

    def failed(self, error: LifesignsError) -> None:
        """Its lease runs out by itself."""
        self._tell()

    def adrift(self) -> bool:
        self._tell()
        return True

    def _tell(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()
