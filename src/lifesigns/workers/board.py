"""Looks at slots and applications when time has altered them: deadlines, letters, their end.

A deadline counts only up to where every hub has stored what it heard; where agents could not be
heard for a while, nobody has missed one before there was time to come again. Any number of hubs
look; what is told of a deadline is told by the one that writes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from lifesigns.core import slot
from lifesigns.core.errors import Altered
from lifesigns.core.slot import Slot
from lifesigns.dialects.callboard import heartbeat
from lifesigns.store.board import APPLICATION, SLOT, Board, events_of, slot_write
from lifesigns.store.ledger import Doc, Ledger, Write
from lifesigns.workers.agenda import Agenda, Place
from lifesigns.workers.sweeper import Sweeper
from lifesigns.workers.ticker import Ticker

log = logging.getLogger(__name__)

AGAIN_MS: Final = 100  # the watermark's step


class Marshal:
    """Sees to the slots that are due."""

    def __init__(
        self, ledger: Ledger, board: Board, agenda: Agenda, ticker: Ticker, sweeper: Sweeper
    ) -> None:
        self._ledger = ledger
        self._board = board
        self._agenda = agenda
        self._ticker = ticker
        self._sweeper = sweeper
        agenda.on(SLOT, self.see)
        for kind in (APPLICATION, heartbeat.KIND):
            agenda.on(kind, partial(self.forget, kind))

    async def see(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """See to the slots that are due at a place."""
        safe_ms = min(now_ms, self._ticker.safe_ms)  # before the gap is asked for
        held_ms = slot.held_until_ms(await self._sweeper.gap_ms(place.number))
        moments = (now_ms, safe_ms, held_ms)
        await asyncio.gather(*[self._see(place.project, doc, *moments) for doc in docs])

    async def _see(self, project: str, doc: Doc, now_ms: int, safe_ms: float, held_ms: int) -> None:
        each = slot.unpack(doc.body)
        try:
            if not each.told:
                each = await self._board.tell(project, each)
            elif slot.over(each, now_ms):
                await self._ledger.commit(project, [Write(SLOT, doc.id, doc.version, None)])
            else:
                await self._judge(project, each, doc.version, now_ms, safe_ms, held_ms)
        except Altered:
            log.debug("the slot %s has moved meanwhile", doc.id)

    async def _judge(
        self, project: str, each: Slot, version: int, now_ms: int, safe_ms: float, held_ms: int
    ) -> None:
        due_ms = max(each.due_ms, held_ms)
        if due_ms > safe_ms:
            if due_ms <= now_ms:
                self._agenda.foresee(now_ms + AGAIN_MS)
            else:  # nobody could be heard: there has to be time to come again
                held = slot_write(each, version, due_ms=due_ms)
                await self._ledger.commit(project, [held])
            return
        over = await self._board.is_over(project, each)
        turn = slot.lapse(each, now_ms) if over else slot.pass_time(each, now_ms)
        await self._ledger.commit(project, [slot_write(turn.slot, version)], events_of(turn))

    async def forget(self, kind: str, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Forget what is due: applications and rows of runtimes are kept for so long."""
        for doc in docs:
            try:
                over = Write(kind, doc.id, doc.version, None)
                await self._ledger.commit(place.project, [over], home=place.number)
            except Altered:
                log.debug("%s has moved meanwhile", doc.id)
