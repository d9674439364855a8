"""The slots of work and the applications for them, on the ledger.

They lie at the one place of their project, beside its jobs, so that a grant and the application
that it answers are one step. Whatever asks raises ``Unavailable`` without the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from lifesigns.core import application, slot
from lifesigns.core.application import Application
from lifesigns.core.errors import Altered, Conflict, NotFound, Unavailable
from lifesigns.core.job import CLOSED, Job
from lifesigns.core.slot import Slot, Turn
from lifesigns.store.inbox import Inbox
from lifesigns.store.job import Jobs
from lifesigns.store.ledger import TRIES, Doc, Event, Ledger, Step, Write

SLOT: Final = "slot"
APPLICATION: Final = "application"
LETTER: Final = "slot"  # the kind of what an agent is told

ALL: Final = "all"
LISTED: Final = 1_000  # of what is looked through at once


class Slots(NamedTuple):
    """A part of a list."""

    slots: list[Slot]
    total: int


class Board:
    """The slots and applications of all projects."""

    def __init__(self, ledger: Ledger, inbox: Inbox, jobs: Jobs) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._jobs = jobs

    # Slots.

    async def slot(self, project: str, slot_id: str) -> Slot:
        """Read a slot; NotFound if there is none."""
        doc = await self._ledger.get(project, SLOT, slot_id)
        if doc is None:
            raise NotFound(f"There is no slot {slot_id[:64]!r}.")
        return slot.unpack(doc.body)

    async def slots(self, project: str, index: str, *, limit: int = LISTED, skip: int = 0) -> Slots:
        """List slots, the latest first."""
        page = await self._ledger.page(project, SLOT, index, limit=limit, skip=skip)
        return Slots([slot.unpack(doc.body) for doc in page.docs], page.total)

    async def grant(self, project: str, wanted: Slot) -> Slot:
        """Grant a slot and tell its agent; Conflict if it has one of that job, or the job is over.

        The job is written as it was read, so that of two grants at once one sees the other.
        """
        for _ in range(TRIES):
            held = await self._jobs.hold(project, wanted.job)
            if held.job.status in CLOSED:
                raise Conflict(f"The job {held.job.id!r} is {held.job.status}: it is over.")
            granted = await self._granted(project, held.job, wanted.agent)
            if granted:
                raise Conflict(f"The agent {wanted.agent!r} has a slot of this job already.")
            made = replace(wanted, application=None)
            writes = [self._jobs.write_of(held)]
            name = application.application_id(project, wanted.agent, wanted.job)
            doc = await self._ledger.get(project, APPLICATION, name)
            if doc is not None and doc.body["status"] == "PENDING":
                answered = application.granted(application.unpack(doc.body), wanted.granted_ms)
                writes.append(application_write(answered, doc.version))
                made = replace(wanted, application=name)
            turn = slot.grant(made)
            try:
                writes.append(slot_write(turn.slot, 0))
                await self._ledger.commit(project, writes, events_of(turn))
            except Altered:
                continue
            return await self.tell(project, turn.slot)
        raise Unavailable("Too many are granted slots of this job at once.")

    async def is_over(self, project: str, each: Slot) -> bool:
        """Tell whether the job of a slot is over, so that nobody can work on it any more."""
        (job,) = await self._jobs.read(project, [each.job])
        return job is None or job.status in CLOSED

    async def _granted(self, project: str, job: Job, agent: str) -> bool:
        found = await self.slots(project, open_of(agent))
        return any(each.job == job.id for each in found.slots)

    async def tell(self, project: str, granted: Slot) -> Slot:
        """Put a slot into its agent's inbox, and note that; one that fails stays due."""
        facts = slot.facts(granted)
        letter = {
            "event": "slot.granted",
            "slotId": granted.id,
            "jobId": granted.job,
            "slot": facts,
        }
        await self._inbox.add(project, granted.agent, LETTER, letter, sockets=True, stranger=True)
        return await self.change(project, granted.id, lambda each: Turn(slot.told(each)))

    async def change(self, project: str, slot_id: str, judge: Callable[[Slot], Turn]) -> Slot:
        """Change a slot as it is judged; NotFound if there is none."""
        after: list[Slot] = []

        def step(doc: Doc | None) -> Step:
            if doc is None:
                raise NotFound(f"There is no slot {slot_id[:64]!r}.")
            before = slot.unpack(doc.body)
            turn = judge(before)
            after[:] = [turn.slot]
            if turn.slot == before:
                return Step()
            return Step([slot_write(turn.slot, doc.version)], events_of(turn))

        await self._ledger.change(project, SLOT, slot_id, step)
        return after[0]

    # Applications.

    async def applications(self, project: str, index: str) -> list[Application]:
        """List applications, the latest first."""
        page = await self._ledger.page(project, APPLICATION, index, limit=LISTED)
        return [application.unpack(doc.body) for doc in page.docs]

    async def alter(
        self,
        project: str,
        application_id: str,
        judge: Callable[[Application | None], Application],
    ) -> Application:
        """Make or change an application as it is judged."""
        after: list[Application] = []

        def step(doc: Doc | None) -> Step:
            former = None if doc is None else application.unpack(doc.body)
            after[:] = [judge(former)]
            if after[0] == former:
                return Step()
            return Step([application_write(after[0], 0 if doc is None else doc.version)])

        await self._ledger.change(project, APPLICATION, application_id, step)
        return after[0]


def of_agent(agent: str) -> str:
    """Name the index of all that is an agent's."""
    return f"agent:{agent}"


def open_of(agent: str) -> str:
    """Name the index of what is an agent's and not over."""
    return f"open:{agent}"


def of_job(job: str) -> str:
    """Name the index of all that is about a job."""
    return f"job:{job}"


def handed_to(poster: str) -> str:
    """Name the index of the slots whose artifacts a poster has to look at."""
    return f"handed:{poster}"


def slot_write(each: Slot, expect: int, *, due_ms: int | None = None) -> Write:
    """Write a slot, with all lists in which it stands."""
    score = float(each.granted_ms)
    indexes = {ALL: score, of_agent(each.agent): score, of_job(each.job): score}
    if each.is_open:
        indexes[open_of(each.agent)] = score
    if each.status == "SUBMITTED" and each.poster is not None:
        indexes[handed_to(each.poster)] = score
    due_ms = each.due_ms if due_ms is None else due_ms
    return Write(SLOT, each.id, expect, slot.pack(each), due_ms, indexes)


def application_write(each: Application, expect: int) -> Write:
    """Write an application, with all lists in which it stands."""
    score = float(each.created_ms)
    indexes = {of_agent(each.agent): score, of_job(each.job): score}
    if each.status == "PENDING":
        indexes[open_of(each.agent)] = score
    body = application.pack(each)
    return Write(APPLICATION, each.id, expect, body, each.due_ms, indexes)


def events_of(turn: Turn) -> Sequence[Event]:
    """Say what webhooks tell of it."""
    return [Event(*each) for each in turn.told]
