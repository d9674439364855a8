"""Delegation on this hub: claims on a named agent or on whoever matches, picks, and what is held.

It has a market for each project in which somebody here claims, for as long as that is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Protocol

from lifesigns.core.claim import Candidate, Claim, Order, Tried, Won, candidate_of, refusal
from lifesigns.core.errors import LifesignsError, NoMatch
from lifesigns.core.filter import Filter
from lifesigns.core.model import Presence
from lifesigns.hub.fanout import Fanout
from lifesigns.hub.market import WARM_S, Market, Tell, Vault

TRIES = 16  # each lost one means that the agent altered meanwhile


class Clock(Protocol):
    """The store's time."""

    def at_ms(self, moment: float) -> int:
        """Tell the store's time at a moment of the loop."""


class Delegation:
    """The way to a claim."""

    def __init__(self, vault: Vault, fanout: Fanout, clock: Clock) -> None:
        self._vault = vault
        self._fanout = fanout
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._markets: dict[str, Market] = {}

    async def claim(
        self, project: str, order: Order, agent: str | None, wanted: Filter, wait_s: float
    ) -> tuple[Won, Presence]:
        """Claim an agent, or one of those who match; wait for it if there is none now."""
        if agent is None:
            return await (await self._market(project)).claim(order, wanted, wait_s)
        began = self._loop.time()
        won = await self._claim_now(project, order, agent)
        if won is not None:
            return won
        wait_s -= self._loop.time() - began
        if wait_s > 0:
            market = await self._market(project)
            try:
                return await market.claim(order, Filter(ids=(agent,)), wait_s)
            except NoMatch:
                pass  # what is told is how it is with the agent
        raise refusal(agent, await self._vault.read(project, agent))

    async def pick(
        self, project: str, wanted: Filter, n: int, asker: str | None = None
    ) -> list[Presence]:
        """Name agents that could be claimed, as they are now, the best of them first."""
        agents = await (await self._market(project)).pick(wanted, n, asker)
        picked: list[Presence] = []
        while agents and len(picked) < n:
            drawn, agents = agents[: n - len(picked)], agents[n - len(picked) :]
            now = await asyncio.gather(*[self._vault.read(project, agent) for agent in drawn])
            picked += [each for each in now if each and candidate_of(each) and wanted.matches(each)]
        return sorted(picked, key=lambda each: (len(each.claims), each.idle_since_ms))

    async def keep(self, project: str, won: Won, tell: Tell) -> None:
        """Follow how a claim stands."""
        (await self._market(project)).keep(won, tell)

    def retime(self, project: str, claim: Claim) -> None:
        """A claim that is followed ends at another time."""
        if project in self._markets:
            self._markets[project].retime(claim)

    def drop(self, project: str, claim: Claim) -> None:
        """Follow a claim no more."""
        if project in self._markets:
            self._markets[project].drop(claim)

    @property
    def held(self) -> list[tuple[str, list[Claim]]]:
        """The claims that connections of this hub hold, by project."""
        return [(project, market.held) for project, market in self._markets.items()]

    @property
    def holds(self) -> int:
        """How many claims connections of this hub hold."""
        return sum(len(market.held) for market in self._markets.values())

    @property
    def waiters(self) -> int:
        """How many wait for an agent here."""
        return sum(market.waiters for market in self._markets.values())

    async def _claim_now(
        self, project: str, order: Order, agent: str
    ) -> tuple[Won, Presence] | None:
        presence = await self._vault.read(project, agent)
        for _ in range(TRIES):
            candidate = None if presence is None else candidate_of(presence)
            if candidate is None:
                return None
            won, tried = await self._take(project, order, candidate)
            presence = tried[-1].presence
            if won is not None and presence is not None:
                return won, presence
            if tried[-1].late:
                return None
        return None

    async def _take(
        self, project: str, order: Order, candidate: Candidate
    ) -> tuple[Won | None, list[Tried]]:
        """Try to claim; what whoever asked has left meanwhile is let go again."""
        taking = self._loop.create_task(self._vault.take(project, order, [candidate]))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self.spawn(self._let_go(project, taking))
            raise

    async def _let_go(
        self, project: str, taking: asyncio.Task[tuple[Won | None, list[Tried]]]
    ) -> None:
        with contextlib.suppress(LifesignsError):  # then it ends by itself
            won, _ = await taking
            if won is not None:
                await self._vault.release(project, won.claim.id, None, "released")

    async def _market(self, project: str) -> Market:
        market = self._markets.get(project)
        if market is None:
            scene = await self._fanout.scene(project)
            market = self._markets.get(project)  # another one may have been quicker
        if market is None:
            market = Market(project, scene, self._vault, self.spawn, self._now_ms)
            self._markets[project] = market
            self._loop.call_later(WARM_S, self._tidy, project)
        return market

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that takes an await, whoever asked for it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _now_ms(self) -> int:
        return self._clock.at_ms(self._loop.time())

    def _tidy(self, project: str) -> None:
        market = self._markets[project]
        market.tidy()
        if market.idle:
            del self._markets[project]
            market.close()
            self._fanout.rest(project)
        else:
            self._loop.call_later(WARM_S, self._tidy, project)
