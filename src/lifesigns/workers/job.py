"""Looks at jobs when time has altered them: silence, letters left behind, the end of their keeping.

A silence counts as a lease does: only up to where every hub has stored what it heard, and where
agents could not be heard for a while, a whole window from then. Any number of hubs look; what is
told of a silence is told by the one that writes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from lifesigns.core.errors import Altered
from lifesigns.core.job import DELIVERED_MS
from lifesigns.core.silence import elapse, held_due_ms, over
from lifesigns.store.job import JOB, MESSAGE, Held, Jobs, events_of, held_of
from lifesigns.store.ledger import Doc, Ledger, Step, Write
from lifesigns.workers.agenda import Agenda, Place
from lifesigns.workers.sweeper import Sweeper
from lifesigns.workers.ticker import Ticker

log = logging.getLogger(__name__)

AGAIN_MS = 100  # the watermark's step


class Foreman:
    """Sees to the jobs that are due."""

    def __init__(
        self, ledger: Ledger, jobs: Jobs, agenda: Agenda, ticker: Ticker, sweeper: Sweeper
    ) -> None:
        self._ledger = ledger
        self._jobs = jobs
        self._agenda = agenda
        self._ticker = ticker
        self._sweeper = sweeper
        agenda.on(JOB, self.see)
        agenda.on(MESSAGE, self.clear)

    async def see(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """See to what is due at a place."""
        safe_ms = min(now_ms, self._ticker.safe_ms)  # before the gap is asked for
        gap_ms = await self._sweeper.gap_ms(place.number)
        moments = (now_ms, safe_ms, gap_ms)
        await asyncio.gather(*[self._see(place.project, held_of(doc), *moments) for doc in docs])

    async def clear(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        """Drop messages that were kept for long enough."""
        steps = [Step([Write(MESSAGE, doc.id, doc.version, None)]) for doc in docs]
        await self._ledger.commit_each(place.project, steps, place.number)

    async def _see(
        self, project: str, held: Held, now_ms: int, safe_ms: float, gap_ms: int
    ) -> None:
        try:
            if held.job.letters and now_ms >= held.job.updated_ms + DELIVERED_MS:
                await self._jobs.deliver(project, held.job)
            elif over(held.job, self._jobs.terms, now_ms):
                await self._jobs.drop(project, held)
            else:
                await self._judge(project, held, now_ms, safe_ms, gap_ms)
        except Altered:
            log.debug("the job %s has moved meanwhile", held.job.id)

    async def _judge(
        self, project: str, held: Held, now_ms: int, safe_ms: float, gap_ms: int
    ) -> None:
        jobs, job = self._jobs, held.job
        due_ms = held_due_ms(job, jobs.terms, gap_ms)
        if due_ms is not None and due_ms <= safe_ms:
            turn = elapse(job, jobs.terms, now_ms)
            written = held._replace(job=turn.job)
            await self._ledger.commit(project, [jobs.write_of(written)], events_of(turn))
        elif due_ms is not None and due_ms <= now_ms:
            self._agenda.foresee(now_ms + AGAIN_MS)
        else:  # it is not silent any more, or not yet
            await self._ledger.commit(project, [jobs.write_of(held, gap_ms=gap_ms)])
