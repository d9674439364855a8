"""The ground truth: what really became of every agent, written down by the agents themselves.

A *sign* is something that an agent said and a living hub answered; it counts from when it was said.
Between two signs lies a *gap*. An agent may be declared dead in a gap and nowhere else, and there
only from the moment on when its lease can have ended:

```
 signs   │ │ │ │ │                          │ │ │
                 └ lease ───┤               │
 may be declared dead       ├───────────────┤
```

A broken socket brings that moment forward to the end of the grace, a bye to the bye itself. What
the service did to itself never counts against an agent: an *outage* puts the moment off, to a whole
lease after the store came back, to ten seconds after a hub was lost.

All times are those of this machine's clock, in ms, which is the store's too.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

GRACE_MS = 5_000  # the default of `grace_s`
LOST_MS = 10_000  # the least that the agents of a lost hub have to come back; else a ttl, up to
LOST_AT_MOST_MS = 60_000
BLUR_MS = 5  # two processes round the same clock

BYE, BROKEN, SILENT = "bye", "broken", "silent"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Outage:
    """What the service did to itself: the store was away, or a hub was."""

    what: str
    since_ms: int
    hub: str | None = None  # the one that was away; None: the store
    until_ms: float = math.inf

    def concerns(self, gap: Gap) -> bool:
        if self.hub is not None and self.hub not in gap.hubs:
            return False
        return gap.how != BYE and gap.since_ms <= self.until_ms and gap.until_ms >= self.since_ms

    def shields_until_ms(self, ttl_ms: int) -> float:
        """Tell until when nobody may be declared dead for it."""
        if self.hub is None:
            return self.until_ms + ttl_ms
        return self.since_ms + lost_ms(ttl_ms)


@dataclass(slots=True)
class Gap:
    """A time without a sign."""

    since_ms: int  # the last sign
    ends_ms: float  # the lease's end, if nothing else happens
    how: str
    hubs: frozenset[str]  # which the agent was at
    until_ms: float = math.inf  # the next sign


@dataclass(slots=True)
class Life:
    """What became of one agent."""

    agent: str
    ttl_ms: int
    hub: str | None = None  # where its socket is; None: it posts
    heard_ms: int | None = None  # its last sign
    gap: Gap | None = None  # the one that is open
    gaps: list[Gap] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    wanted: bool = True  # it means to be there

    def note(self, text: str) -> None:
        self.notes.append((now_ms(), text))

    def sign(self, at_ms: int, hub: str | None = None) -> None:
        """It said something at that time, and was answered."""
        if self.heard_ms is not None and at_ms - self.heard_ms >= self.ttl_ms:
            self.silent()
        if self.gap is not None:
            self.gap.until_ms, self.gap = now_ms(), None
        self.heard_ms, self.hub = at_ms, hub

    def silent(self) -> None:
        """It says nothing more, and its socket stays as it is."""
        self._open(SILENT, math.inf)

    def broke(self) -> None:
        """Its socket broke, or was broken off."""
        self._open(BROKEN, now_ms() + min(GRACE_MS, self.ttl_ms))

    def bye(self) -> None:
        self._open(BYE, now_ms())

    def may_end(self, at_ms: float, outages: list[Outage]) -> bool:
        """Tell whether it may have been declared dead at that time."""
        return any(
            may_end_ms(gap, self.ttl_ms, outages) <= at_ms + BLUR_MS
            and at_ms <= gap.until_ms + BLUR_MS
            for gap in self.gaps
        )

    def must_have_ended_by_ms(self, outages: list[Outage]) -> float:
        """Tell when at last it has to be declared dead, if it stays as it is; inf: it is there."""
        return math.inf if self.gap is None else self.must_end_by_ms(self.gap, outages)

    def must_end_by_ms(self, gap: Gap, outages: list[Outage]) -> float:
        """Tell when at last a gap has to be noticed."""
        latest = [max(gap.ends_ms, gap.since_ms + self.ttl_ms)]
        latest += [
            outage.until_ms + max(self.ttl_ms, lost_ms(self.ttl_ms))
            for outage in outages
            if outage.since_ms <= gap.until_ms and outage.until_ms >= gap.since_ms - LOST_MS
        ]
        return max(latest)

    def _open(self, how: str, ends_ms: float) -> None:
        if self.heard_ms is None:
            return
        here = frozenset() if self.hub is None else frozenset({self.hub})
        lease_ms = self.heard_ms + self.ttl_ms
        if self.gap is None:
            self.gap = Gap(self.heard_ms, min(ends_ms, lease_ms), how, here)
            self.gaps.append(self.gap)
        else:
            self.gap.ends_ms = min(self.gap.ends_ms, ends_ms)
            self.gap.how = how if how == BYE else self.gap.how
            self.gap.hubs |= here


def lost_ms(ttl_ms: int) -> int:
    """Tell how long the agents of a lost hub have to come back."""
    return max(LOST_MS, min(ttl_ms, LOST_AT_MOST_MS))


def may_end_ms(gap: Gap, ttl_ms: int, outages: list[Outage]) -> float:
    """Tell from when on an agent may be declared dead in a gap."""
    shields = [
        outage.shields_until_ms(ttl_ms)
        for outage in outages
        if outage.since_ms <= gap.ends_ms and outage.concerns(gap)
    ]
    return max(gap.ends_ms, *shields, 0)


class Truth:
    """The lives of all agents, and the outages of the service."""

    def __init__(self) -> None:
        self.began_ms = now_ms()
        self.lives: dict[str, Life] = {}
        self.outages: list[Outage] = []

    def born(self, agent: str, ttl_s: float) -> Life:
        life = self.lives[agent] = Life(agent, round(ttl_s * 1000))
        return life

    @contextlib.contextmanager
    def outage(self, what: str, hub: str | None = None) -> Iterator[None]:
        """The service is away, by its own fault, while the block lasts."""
        outage = Outage(what, now_ms(), hub)
        self.outages.append(outage)
        try:
            yield
        finally:
            outage.until_ms = now_ms()
