"""The hub's own sign of life: its lease among the hubs, and its watermark.

A hub's watermark says: no beat that I have and have not stored belongs to a lease that ends
before. Only up to the least watermark of all hubs may leases be swept: of those that live, and of
those whose lease ran out until their agents were marked. It is taken some turns of the loop after
the clock was read: what could be read from the sockets by then has been read, however long the loop
stood still before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgpack

from lifesigns.core.errors import Unavailable
from lifesigns.store import keys, script
from lifesigns.store.clock import StoreClock
from lifesigns.store.hold import Hold
from lifesigns.store.ingest import Ingest, node_name
from lifesigns.store.link import Arg, Link, ReplyError
from lifesigns.store.registry import KEY_REVISION

log = logging.getLogger(__name__)

# A beat on an open socket is read within two, an HTTP one over a new connection has been accepted,
# read and begun within six.
TURNS = 6
RATE_S = 5.0
ARRIVING_S = 3.0
STUCK_S = 3.0  # a watermark that stands still for longer and holds up every expiry is given up,
ANSWERED_S = 1.0  # if the last tick's answer is not older than this
# An entry that nobody could mark for so long holds nobody up any more,
FORSAKEN_MS = 60_000
LONG_GONE_MS = 600_000  # and is cleared away after a while.
LONGEST_LEASE_MS = 60_000  # one that ends later is from before the store's clock went back
SLEWED_MS = 1_000  # by so much a clock may go back that is put right
NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Node:
    """A hub, as the others know it."""

    id: str
    watermark_ms: int
    lease_ms: int
    since_ms: int
    agents: int
    lag_ms: int
    beats_per_s: float

    def alive(self, now_ms: int) -> bool:
        return now_ms < self.lease_ms <= now_ms + LONGEST_LEASE_MS


class Ticker:
    """Ticks while the hub runs."""

    def __init__(
        self,
        link: Link,
        clock: StoreClock,
        ingest: Ingest,
        hold: Hold,
        *,
        tick_s: float,
        lease_ms: int,
    ) -> None:
        self._link = link
        self._clock = clock
        self._ingest = ingest
        self._hold = hold
        self._tick_s = tick_s
        self._lease_ms = lease_ms
        self._loop = asyncio.get_running_loop()
        self._since_ms = 0
        # HTTP beats that are being read: since when, and when they may have come.
        self._arrivals: dict[object, tuple[float, float]] = {}
        self.refused_at = NEVER  # since when HTTP beats were refused, the store being away
        self._beats: deque[tuple[float, int]] = deque()
        # The earliest end of a lease whose beat is not written, and since when it is that.
        self._floor: tuple[float, float] = NEVER, 0.0
        self._held_at: float | None = None  # its clock as the breaker stopped it,
        self._held_until = 0.0  # until then
        self._steady_since = 0.0
        self._heard: tuple[int, float] = 0, 0.0  # the last answer: its time, and when it came
        self._listed = False
        self._overdue: set[tuple[str, int]] = set()
        self.node = ""
        self.revision = 0  # of the keys: it moves when one ends
        self.nodes: list[Node] = []
        self.safe_ms = 0  # up to here leases may be swept
        self.lost: list[Node] = []  # hubs whose lease has run out, to be seen at two ticks
        self.lapsed_ms: int | None = None  # when this hub found that its own lease had
        self.lag_s = 0.0  # how late the latest tick was
        self.on_tick: Callable[[], None] | None = None

    async def join(self) -> str:
        """Take a number among the hubs, and tick once; answer the name."""
        while True:
            name = node_name(int(await self._link.ask("INCR", keys.NODE_COUNTER)))
            if not await self._link.ask("HEXISTS", keys.NODES, name):
                break
        self.node = name
        self._ingest.name_node(name)
        seconds, micros = await self._link.ask("TIME")
        self._since_ms = int(seconds) * 1000 + int(micros) // 1000
        self._clock.heard(self._since_ms, self._now())
        await self.tick()
        return name

    async def run(self) -> None:
        """Tick for ever."""
        due = self._now()
        while True:
            due = max(due + self._tick_s, self._now())
            await asyncio.sleep(due - self._now())
            self.lag_s = max(0.0, self._now() - due)
            try:
                await self.tick()
            except Unavailable as away:
                log.debug("no tick: %s", away)
            except ReplyError as refused:
                log.warning("the store refuses the tick: %s", refused)

    async def tick(self) -> None:
        """Say that this hub lives, and learn of the others."""
        now = self._now()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        lease_ms = 0 if self._stuck(now) else self._lease_ms
        watermark_ms, self._ingest.read_at = self._watermark_ms(now), now
        await self._tick_as(self.node, watermark_ms, lease_ms)
        if self.on_tick is not None:
            self.on_tick()

    def store_is_back(self) -> None:
        """Be in the list before anything else is said: until then nobody waits for what is here.

        What has come since the last tick may not have been read.
        """
        if self._listed:
            watermark_ms = self._watermark_ms(self._ingest.read_at)
            keys_, args = self._sign(self.node, watermark_ms, self._lease_ms)
            self._link.run(script.TICK, keys_, args, lambda _: None)  # the next tick learns of it

    async def leave(self) -> None:
        """Take this hub from the list: its watermark holds nobody any more."""
        self._listed = False
        try:
            await self._link.ask("HDEL", keys.NODES, self.node)
        except (Unavailable, ReplyError) as away:
            log.info("could not say that this hub goes: %s", away)

    @property
    def steady(self) -> bool:
        """Whether this hub has ticked without a break for longer than a hub's lease.

        After an outage, a jump of the clock or a stall of its own every other hub looks dead.
        """
        return (self._now() - self._steady_since) * 1000 > self._lease_ms

    def hold(self, until: float) -> None:
        """Stop the watermark until a moment of the loop's clock."""
        self._held_at, self._held_until = self._now(), until

    def arriving(self, token: object) -> None:
        """An HTTP beat begins to come in: nothing that ends after it came may be swept."""
        now = self._now()
        # If the loop stood still it may have lain there since it was last known that none did.
        late = now - self._ingest.read_at > 2 * self._tick_s
        self._arrivals[token] = now, self._ingest.read_at if late else now

    def arrived(self, token: object, *, refused: bool = False) -> None:
        """It is with the ingest now, or was refused, the store being away or late.

        Nothing is kept of one that was refused: until it is known that the store was away, no
        lease may end that it would have lengthened.
        """
        _, came = self._arrivals.pop(token, (0.0, self._now()))
        if refused:
            self.refused_at = min(came, self.refused_at)

    def _watermark_ms(self, now: float) -> float:
        watermark = min(self._clock.at_ms(now), self._ingest.commit.floor_ms() - 1)
        if self._held_at is not None:
            watermark = min(watermark, self._clock.at_ms(self._held_at))
            if now >= self._held_until:
                self._held_at = None
        # A body that takes longer is not a beat that came in time: it must not stop all expiry.
        for token in [t for t, (at, _) in self._arrivals.items() if at < now - ARRIVING_S]:
            del self._arrivals[token]
        oldest = min((came for _, came in self._arrivals.values()), default=NEVER)
        oldest = min(oldest, self.refused_at)
        if oldest < NEVER:
            watermark = min(watermark, self._clock.at_ms(oldest))
        return watermark

    def _stuck(self, now: float) -> bool:
        """Tell whether something cannot be written though the store answers.

        Then this hub leaves the list: it must not hold up all expiry.
        """
        floor_ms, since = self._ingest.commit.floor_ms(), self._floor[1]
        if floor_ms != self._floor[0] or now - self._heard[1] > ANSWERED_S:
            since = now
        self._floor = floor_ms, since
        if now - since < STUCK_S or self._clock.at_ms(now) - floor_ms < STUCK_S * 1000:
            return False
        if self._listed:
            log.error("beats cannot be written for %g s: they hold up expiry no longer", STUCK_S)
        return True

    def _sign(
        self, node: str, watermark_ms: float, lease_ms: int
    ) -> tuple[Sequence[Arg], Sequence[Arg]]:
        """Lay a tick out: keys and arguments."""
        shown = msgpack.packb(
            [
                self._since_ms,
                len(self._ingest.leases),
                round(self.lag_s * 1000),
                self._rate(),
                0 if self._held_at is None else self._clock.at_ms(self._held_until),
            ]
        )
        watermark = max(0, int(min(watermark_ms, 2**52)))
        return (keys.NODES, KEY_REVISION), (b"", node, watermark, lease_ms, shown)

    async def _tick_as(self, node: str, watermark_ms: float, lease_ms: int) -> None:
        sign = self._sign(node, watermark_ms, lease_ms)
        reply = await self._link.ask_script(script.TICK, *sign)
        now_ms, self.revision = reply[0], int(reply[1])
        # The answer of the tick that found it over may have been lost.
        former_ms = min(
            int((reply[2] or b"0 0").split(b" ", 2)[1]), self._heard[0] + self._lease_ms
        )
        if self._listed and former_ms <= now_ms:
            self.lapsed_ms = now_ms
        self._hear(now_ms, self._now())
        self._listed = lease_ms > 0
        self._read_nodes(now_ms, reply[3:])

    def _hear(self, now_ms: int, now: float) -> None:
        self._clock.heard(now_ms, now)
        before_ms, before = self._heard
        most_ms = self._lease_ms
        if not -SLEWED_MS < now_ms - before_ms < most_ms or (now - before) * 1000 > most_ms:
            self._steady_since = now
        self._heard = now_ms, now

    def _read_nodes(self, now_ms: int, entries: list[bytes]) -> None:
        nodes, gone = [], []
        for name, entry in zip(entries[::2], entries[1::2], strict=True):
            watermark, lease, shown = entry.split(b" ", 2)
            since_ms, agents, lag_ms, beats_per_s, held_ms = msgpack.unpackb(shown)
            node = Node(
                id=name.decode(),
                watermark_ms=int(watermark),
                lease_ms=int(lease),
                since_ms=since_ms,
                agents=agents,
                lag_ms=lag_ms,
                beats_per_s=beats_per_s,
            )
            self._hold.stop_until(held_ms, f"the breaker of hub {node.id} tripped")
            if node.lease_ms < now_ms - LONG_GONE_MS:
                gone.append(name)
            else:
                nodes.append(node)
        if gone:
            self._link.call(("HDEL", keys.NODES, *gone), lambda _: None)
        self.nodes = sorted(nodes, key=lambda node: node.id)
        held = [n.watermark_ms for n in nodes if n.lease_ms > now_ms - FORSAKEN_MS]
        self.safe_ms = min(held, default=now_ms)
        over = [node for node in self.nodes if not node.alive(now_ms) and node.id != self.node]
        seen, self._overdue = self._overdue, {(node.id, node.lease_ms) for node in over}
        self.lost = [node for node in over if (node.id, node.lease_ms) in seen]

    def _rate(self) -> float:
        """Tell how many beats a second came over the last few."""
        now, beats = self._now(), self._ingest.beats
        self._beats.append((now, beats))
        while now - self._beats[0][0] > RATE_S:
            self._beats.popleft()
        since, former = self._beats[0]
        return round((beats - former) / (now - since), 1) if now > since else 0.0

    def _now(self) -> float:
        return self._loop.time()
