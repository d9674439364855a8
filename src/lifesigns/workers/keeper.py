"""Tells the store, every few seconds, that the holders of this hub's claims are there.

A claim ends when that was not said for a while: its holder, this hub or the way between them is
gone, and nobody has to find out which.
"""

from __future__ import annotations

import asyncio
import logging

from lifesigns.core.claim import HELD_MS
from lifesigns.core.errors import LifesignsError
from lifesigns.hub.delegation import Delegation
from lifesigns.store.claim import Claims

log = logging.getLogger(__name__)

EVERY_S = HELD_MS / 4000  # two may be lost on the way


class Keeper:
    """Holds claims on."""

    def __init__(self, claims: Claims, delegation: Delegation) -> None:
        self._claims = claims
        self._delegation = delegation

    async def run(self) -> None:
        """Hold on what is held, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.keep()

    async def keep(self) -> None:
        """Hold all claims of this hub's connections on."""
        for project, held in self._delegation.held:
            try:
                await self._claims.hold(project, held)
            except LifesignsError as away:
                log.info("claims cannot be held on now: %s", away)
