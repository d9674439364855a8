"""One project's delegation on this hub: who can be claimed, who waits, and how held claims stand.

Candidates come from the scene, as it is known here; whether one is still as it was judged, the
store says, and the answer teaches what the scene has not told yet. Of the best few one is drawn, so
that a herd of delegators on many hubs spreads; those that this hub tries already are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from lifesigns.core.claim import Candidate, Claim, Order, Tried, Won, candidate_of, standing
from lifesigns.core.errors import Internal, LifesignsError, NoMatch
from lifesigns.core.filter import Filter
from lifesigns.core.model import Presence
from lifesigns.core.presence import BUSY
from lifesigns.hub.pool import Pool, Waiter
from lifesigns.hub.scene import Scene

log = logging.getLogger(__name__)

BEST = 8  # of which one is drawn
ALONG = 7  # further candidates of the same lane, which cost no further call
LOOKED_AT = 64  # candidates among which those are sought
LATE_S = 0.5  # for so long nobody tries an agent whose lease had run out
HASTE_S = 0.5  # for so long who does not want to wait waits for what is being tried
POOLS = 100  # filters of one project that are kept
SLICE = 200  # agents judged for a new pool before others get their turn
WARM_S = 60.0

Tell = Callable[[Claim, str, bool], None]  # why it is lost, or nothing; and whether for good
Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Vault(Protocol):
    """Where claims are kept."""

    def lane_of(self, project: str, agent: str) -> int:
        """Tell in which lane an agent is."""

    async def read(self, project: str, agent: str) -> Presence | None:
        """Read an agent as it is now."""

    async def take(
        self, project: str, order: Order, candidates: Sequence[Candidate]
    ) -> tuple[Won | None, list[Tried]]:
        """Claim the first of some agents of one lane that is still as it was judged."""

    async def renew(
        self, project: str, claim: str, holder: str, ttl_ms: int | None, *, bound: bool
    ) -> Won:
        """Let a claim last longer."""

    async def release(self, project: str, claim: str, holder: str | None, why: str) -> None:
        """End a claim."""

    async def hold(self, project: str, claims: Iterable[Claim]) -> None:
        """Tell that the holders of claims are there."""


@dataclass(slots=True, eq=False)
class Held:
    """A claim that a connection of this hub holds; ``tell`` is told why it is lost or in doubt."""

    claim: Claim
    epoch: str
    seq: int  # what came before says nothing of it
    tell: Tell
    doubted: bool = False


class Market:
    """One project's delegation."""

    def __init__(
        self,
        project: str,
        scene: Scene,
        vault: Vault,
        spawn: Spawn,
        now_ms: Callable[[], int],
    ) -> None:
        self.project = project
        self._scene = scene
        self._vault = vault
        self._spawn = spawn
        self._now_ms = now_ms
        self._loop = asyncio.get_running_loop()
        self._used = self._loop.time()
        self._pools: dict[str, Pool] = {}
        self._tried: set[str] = set()  # agents that this hub is trying to claim
        self._late: set[str] = set()  # agents that are not tried for a while
        self._ahead: dict[str, Presence] = {}  # what the store answered and the scene has not told
        self._held: dict[str, dict[str, Held]] = {}  # by agent and claim
        self._pumping = False
        scene.attend(self)

    @property
    def idle(self) -> bool:
        """Whether nobody has needed it for a while."""
        needed = any(pool.needed for pool in self._pools.values())
        return not self._held and not needed and self._loop.time() > self._used + WARM_S

    @property
    def held(self) -> list[Claim]:
        """The claims of this hub's connections."""
        return [held.claim for each in self._held.values() for held in each.values()]

    @property
    def waiters(self) -> int:
        """How many wait for an agent."""
        return sum(len(pool.line) + pool.trying for pool in self._pools.values())

    def tidy(self) -> None:
        """Drop what nobody has asked for in a while."""
        old = self._loop.time() - WARM_S
        for key, pool in list(self._pools.items()):
            if not pool.needed and pool.used < old:
                del self._pools[key]

    def close(self) -> None:
        """Follow the project no more."""
        self._scene.forsake(self)

    # Who can be claimed.

    async def claim(self, order: Order, wanted: Filter, wait_s: float) -> tuple[Won, Presence]:
        """Claim one of those who match, or wait for one; NoMatch when there is none in time."""
        pool = await self._pool(wanted)
        now = self._loop.time()
        served: asyncio.Future[tuple[Won, Presence]] = self._loop.create_future()
        waiter = Waiter(order, now, now + (wait_s or HASTE_S), wait_s > 0, served)
        pool.line.append(waiter)
        timer = self._loop.call_at(waiter.until, self._pump_soon)
        self._pump_soon()
        try:
            return await served
        except asyncio.CancelledError:
            if served.done() and not served.cancelled() and served.exception() is None:
                won, _ = served.result()
                self._spawn(self._let_go(won))
            raise
        finally:
            timer.cancel()
            pool.leave(waiter)

    async def pick(self, wanted: Filter, n: int, asker: str | None) -> list[str]:
        """Name the best of those who could be claimed, more than so many, in no order."""
        pool = await self._pool(wanted)
        best = list(islice(pool.best(self._late | {asker}), max(BEST, n)))
        random.shuffle(best)
        return best

    async def _pool(self, wanted: Filter) -> Pool:
        self._used = self._loop.time()
        key = repr(wanted)
        pool = self._pools.get(key)
        if pool is None:
            self._make_room()
            pool = self._pools[key] = Pool(wanted, self._used)
            self._spawn(self._build(pool))
        pool.used = self._used
        if not pool.built.done():
            await asyncio.shield(pool.built)
            if self._pools.get(key) is not pool:  # another filter took its place at this moment
                return await self._pool(wanted)
        return pool

    def _make_room(self) -> None:
        spare = [key for key, pool in self._pools.items() if not pool.needed]
        if len(self._pools) >= POOLS and spare:
            del self._pools[min(spare, key=lambda key: self._pools[key].used)]

    async def _build(self, pool: Pool) -> None:
        members = self._scene.members()
        try:
            for at in range(0, len(members), SLICE):
                for lane, agent in members[at : at + SLICE]:
                    pool.see(agent, self._known(lane, agent))
                await asyncio.sleep(0)
        finally:
            pool.built.set_result(None)

    def _known(self, lane: int, agent: str) -> Presence | None:
        """Tell what is known of an agent, as far as it could be claimed."""
        shown = self._scene.shown(lane, agent)
        ahead = self._ahead.get(agent)
        if ahead is not None:
            if shown is not None and shown.epoch == ahead.epoch and shown.head.seq < ahead.seq:
                return ahead
            del self._ahead[agent]
        return None if shown is None or shown.rank < BUSY else shown.presence

    def _see(self, agent: str, presence: Presence | None) -> None:
        for pool in self._pools.values():
            pool.see(agent, presence)
            if pool.line:
                self._pump_soon()

    # What the scene says.

    def heard(self, lane: int, agent: str) -> None:
        """An agent has altered, or was forgotten."""
        if self._pools:
            self._see(agent, self._known(lane, agent))
        if agent in self._held:
            self._judge(lane, agent)

    def renewed(self, lane: int) -> None:
        """All agents of a lane may be others than before."""
        for member_lane, agent in self._scene.members():
            if member_lane == lane:
                self._see(agent, self._known(lane, agent))
        for pool in self._pools.values():
            for agent in list(pool.best(())):
                if self._vault.lane_of(self.project, agent) == lane:
                    self._see(agent, self._known(lane, agent))
        for agent in list(self._held):
            if self._vault.lane_of(self.project, agent) == lane:
                self._judge(lane, agent, anew=True)

    # Serving those who wait.

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        waiting = [pool for pool in self._pools.values() if pool.line]
        for pool in sorted(waiting, key=lambda pool: pool.line[0].since):
            self._serve(pool)

    def _serve(self, pool: Pool) -> None:
        for waiter in list(pool.line):
            best = list(islice(pool.best(self._tried | self._late), LOOKED_AT))
            if not best:
                break
            candidates = self._draw([each for each in best if each != waiter.order.asker])
            if not candidates:
                continue
            pool.line.remove(waiter)
            pool.trying += 1
            self._tried.add(candidates[0].agent)
            self._spawn(self._try(pool, waiter, candidates))
        now = self._loop.time()
        for waiter in list(pool.line):
            if now >= waiter.until or not (waiter.patient or pool.trying):
                pool.line.remove(waiter)
                waiter.fail(NoMatch("Nobody who matches takes work now."))

    def _draw(self, best: Sequence[str]) -> list[Candidate]:
        if not best:
            return []
        first = random.choice(best[:BEST])
        lane = self._vault.lane_of(self.project, first)
        others = (
            agent
            for agent in best
            if agent != first and self._vault.lane_of(self.project, agent) == lane
        )
        names = [first, *islice(others, ALONG)]
        known = (self._known(lane, agent) for agent in names)
        candidates = (candidate_of(presence) for presence in known if presence is not None)
        return [candidate for candidate in candidates if candidate is not None]

    async def _try(self, pool: Pool, waiter: Waiter, candidates: Sequence[Candidate]) -> None:
        try:
            won, tried = await self._vault.take(self.project, waiter.order, candidates)
            for each in tried:
                self._learn(each)
            if won is None:
                pool.line.appendleft(waiter)
            elif waiter.served.done():  # whoever asked has gone
                await self._let_go(won)
            else:
                presence = tried[-1].presence
                assert presence is not None, "who was claimed is there"
                waiter.served.set_result((won, presence))
        except LifesignsError as error:
            waiter.fail(error)
        except Exception:
            log.exception("a claim failed")
            waiter.fail(Internal())
        finally:
            pool.trying -= 1
            self._tried.discard(candidates[0].agent)
            self._pump_soon()

    async def _let_go(self, won: Won) -> None:
        with contextlib.suppress(LifesignsError):  # then it ends by itself
            await self._vault.release(self.project, won.claim.id, None, "released")

    def _learn(self, tried: Tried) -> None:
        """Take what the store says of an agent, which the scene may not have told yet."""
        agent, presence, late = tried
        if late:
            self._late.add(agent)
            self._loop.call_later(LATE_S, self._hope, agent)
        lane = self._vault.lane_of(self.project, agent)
        if presence is not None:
            self._ahead[agent] = presence
        self._see(agent, None if presence is None else self._known(lane, agent))

    def _hope(self, agent: str) -> None:
        self._late.discard(agent)
        self._pump_soon()

    # Claims that are held here.

    def keep(self, won: Won, tell: Tell) -> None:
        """Follow how a claim stands, from the number on at which it was made."""
        agent = won.claim.agent
        held = Held(won.claim, won.epoch, won.seq, tell)
        self._held.setdefault(agent, {})[won.claim.id] = held
        self._judge(self._vault.lane_of(self.project, agent), agent)

    def retime(self, claim: Claim) -> None:
        """A claim that is held here ends at another time."""
        held = self._held.get(claim.agent, {}).get(claim.id)
        if held is not None:
            held.claim = claim

    def drop(self, claim: Claim) -> None:
        """Follow a claim no more."""
        self._used = self._loop.time()
        held = self._held.get(claim.agent)
        if held is not None:
            held.pop(claim.id, None)
            if not held:
                del self._held[claim.agent]

    def _judge(self, lane: int, agent: str, *, anew: bool = False) -> None:
        place = self._scene.place(lane)
        shown = self._scene.shown(lane, agent)
        presence = None if shown is None else shown.presence
        for held in list(self._held.get(agent, {}).values()):
            if anew:
                if place.epoch != held.epoch:
                    held.epoch, held.seq = place.epoch, 0
            elif place.epoch != held.epoch:
                continue  # one of the two is of a former epoch, and the lane will be read anew
            if place.seq < held.seq:
                continue  # it was not claimed yet
            why, final = standing(held.claim, presence, self._now_ms())
            if final:
                self.drop(held.claim)
            if final or bool(why) is not held.doubted:
                held.doubted = bool(why)
                held.tell(held.claim, why, final)
