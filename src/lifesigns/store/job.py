"""The jobs of all projects, on the ledger: one store for every dialect that knows work.

They lie at the one place of their project, so that a job and what else hangs on it can be altered
in one step: ``write_of`` and ``events_of`` are for those who do so. Whatever asks raises
``Unavailable`` without the store.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from lifesigns.core import circuit, webhook
from lifesigns.core.errors import Conflict, NotFound, Unavailable
from lifesigns.core.job import MESSAGE as MESSAGE_TYPE
from lifesigns.core.job import (
    WORKED,
    Job,
    Message,
    Terms,
    Turn,
    brief,
    pack,
    spell_message,
    tell,
    unpack,
)
from lifesigns.core.silence import look_ms
from lifesigns.core.webhook import bound_id
from lifesigns.store import keys
from lifesigns.store.inbox import Inbox
from lifesigns.store.ledger import ANY, Doc, Event, Ledger, Step, Write

log = logging.getLogger(__name__)

HOOK_KINDS: Final = (webhook.KIND, circuit.KIND)
JOB: Final = "job"  # the kind of the documents, and of what an agent is told
MESSAGE: Final = "job_message"
AT_WORK: Final = "WORKED"  # in the place of a status: those of which an agent has to be heard
SCANNED: Final = 100  # documents that are looked through at a time

Judge = Callable[[Job | None], Turn]


class Held(NamedTuple):
    """A job as it was read, and the version on which it is judged; 0: it is new."""

    job: Job
    version: int


class Wanted(NamedTuple):
    """Which jobs a list is of; what is empty is any."""

    statuses: tuple[str, ...] = ()
    agent: str = ""
    poster: str = ""

    def matches(self, job: Job) -> bool:
        return (
            (not self.statuses or job.status in self.statuses)
            and self.agent in ("", job.agent)
            and self.poster in ("", job.poster)
        )


class Page(NamedTuple):
    """A part of a list, the newest first; the cursor leads to the next one, if there is one."""

    jobs: list[Job]
    total: int
    cursor: str | None


class Jobs:
    """All jobs."""

    def __init__(self, ledger: Ledger, inbox: Inbox, terms: Terms) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self.terms = terms

    async def get(self, project: str, job_id: str) -> Job:
        """Read a job; NotFound if there is none."""
        return (await self.hold(project, job_id)).job

    async def hold(self, project: str, job_id: str) -> Held:
        """Read a job to judge it; NotFound if there is none."""
        doc = await self._ledger.get(project, JOB, job_id)
        if doc is None:
            raise _unknown(job_id)
        return held_of(doc)

    async def read(self, project: str, ids: Sequence[str]) -> list[Job | None]:
        """Read many jobs, in the order of their ids; None where there is none."""
        docs = await self._ledger.read(project, JOB, ids)
        return [None if doc is None else unpack(doc.body) for doc in docs]

    async def create(self, project: str, turn: Turn, *besides: Write) -> Job:
        """Keep a new job; Conflict if there is one of its name.

        What hangs on it is written ``besides``, in the same step; here and below.
        """

        def judge(job: Job | None) -> Turn:
            if job is not None:
                raise Conflict(f"There is a job {job.id!r} already.", field="id")
            return turn

        return await self.change(project, turn.job.id, judge, *besides)

    async def change(self, project: str, job_id: str, judge: Judge, *besides: Write) -> Job:
        """Alter a job as it is judged; ``judge`` gets None if there is none."""
        after: list[Job] = []

        def step(doc: Doc | None) -> Step:
            before = None if doc is None else unpack(doc.body)
            turn = judge(before)
            after[:] = [turn.job]
            if turn.job == before and not turn.told and not besides:
                return Step()
            held = Held(turn.job, 0 if doc is None else doc.version)
            return Step([self.write_of(held), *besides], events_of(turn))

        await self._ledger.change(project, JOB, job_id, step)
        (job,) = after
        if not job.letters:
            return job
        try:
            return await self.deliver(project, job)
        except Unavailable as away:  # what was done is done; some hub tells of it later
            log.info("the letters about the job %s wait: %s", job.id, away)
            return job

    async def move(
        self, project: str, job_id: str, judge: Callable[[Job], Turn], *besides: Write
    ) -> Job:
        """Alter a job that there is; NotFound if there is none."""

        def known(job: Job | None) -> Turn:
            if job is None:
                raise _unknown(job_id)
            return judge(job)

        return await self.change(project, job_id, known, *besides)

    async def deliver(self, project: str, job: Job) -> Job:
        """Put what a job's agents have to be told into their inboxes, and note that."""
        for type_, agent in job.letters:
            told = {"event": type_, "jobId": job.id, "job": brief(job)}
            await self._inbox.add(project, agent, JOB, told, sockets=True, stranger=True)
        done = job.letters

        def judge(now: Job | None) -> Turn:
            if now is None:
                raise _unknown(job.id)
            return Turn(replace(now, letters=tuple(e for e in now.letters if e not in done)))

        return await self.change(project, job.id, judge)

    async def drop(self, project: str, held: Held) -> None:
        """Forget a job, and its own webhook."""
        drops = [Write(JOB, held.job.id, held.version, None)]
        if held.job.webhook is not None:
            drops += [Write(each, bound_id(held.job.id), ANY, None) for each in HOOK_KINDS]
        await self._ledger.commit(project, drops)

    async def page(self, project: str, wanted: Wanted, *, after: str = "", limit: int = 20) -> Page:
        """List jobs, the newest first; ``after`` is the last job of the page before."""
        indexes = [
            index_of(status, wanted.agent, wanted.poster) for status in wanted.statuses or ("",)
        ]
        heads = await asyncio.gather(
            *[
                self._ledger.page(project, JOB, index, after=after, limit=limit + 1)
                for index in indexes
            ]
        )
        found = [unpack(doc.body) for doc in heads[0].docs]
        if len(heads) > 1 or (after and not found):
            # Lists of several, and one whose last job is not in it any more.
            found = await self._scan(project, wanted, after, limit + 1)
        page = found[:limit]
        cursor = page[-1].id if len(found) > limit else None
        return Page(page, sum(head.total for head in heads), cursor)

    async def worked_on(self, project: str, agent: str) -> list[Job]:
        """Read what an agent works on now, or will."""
        page = await self._ledger.page(project, JOB, index_of(AT_WORK, agent), limit=SCANNED)
        return [unpack(doc.body) for doc in page.docs]

    async def works_for(self, project: str, agent: str, poster: str) -> bool:
        """Tell whether an agent has, or has had, a job of a poster."""
        return bool((await self.page(project, Wanted((), agent, poster), limit=1)).total)

    async def post(self, project: str, job: Job, message: Message) -> dict[str, Any]:
        """Keep a message about a job, and tell the other side of it."""
        message_id = f"{message.at_ms:015d}-{secrets.token_hex(4)}"
        shown = spell_message(message_id, message)
        kept = Write(
            MESSAGE,
            message_id,
            0,
            message._asdict(),
            message.at_ms + self.terms.kept_ms,
            {job.id: float(message.at_ms)},
        )
        told = tell(job, MESSAGE_TYPE, {"message": shown})
        await self._ledger.commit(project, [kept], [Event(*told)])
        if job.agent is not None and not message.from_agent:
            letter = {"event": MESSAGE_TYPE, "jobId": job.id, "message": shown}
            letter["content"] = message.content
            await self._inbox.add(project, job.agent, JOB, letter, sockets=True, stranger=True)
        return shown

    async def messages(
        self, project: str, job_id: str, *, after: str = "", limit: int = 20
    ) -> tuple[list[dict[str, Any]], int]:
        """List the messages about a job, the newest first, and count them."""
        page = await self._ledger.page(project, MESSAGE, job_id, after=after, limit=limit)
        shown = [spell_message(doc.id, Message(**doc.body)) for doc in page.docs]
        return shown, page.total

    def write_of(self, held: Held, *, gap_ms: int = 0) -> Write:
        """Write a job, with all lists in which it stands."""
        job = held.job
        indexes = {
            index_of(status, agent, poster): float(job.created_ms)
            for status in ("", job.status)
            for agent in {"", job.agent or ""}
            for poster in {"", job.poster or ""}
        }
        if job.status in WORKED and job.agent is not None:
            indexes[index_of(AT_WORK, job.agent)] = float(job.created_ms)
        due_ms = look_ms(job, self.terms, gap_ms)
        return Write(JOB, job.id, held.version, pack(job), due_ms, indexes)

    async def _scan(self, project: str, wanted: Wanted, after: str, limit: int) -> list[Job]:
        """Look through all jobs for those that are wanted."""
        found: list[Job] = []
        while True:
            page = await self._ledger.page(project, JOB, index_of(), after=after, limit=SCANNED)
            jobs = [unpack(doc.body) for doc in page.docs]
            found += [job for job in jobs if wanted.matches(job)]
            if len(jobs) < SCANNED or len(found) >= limit:
                return found[:limit]
            after = jobs[-1].id


def held_of(doc: Doc) -> Held:
    """Read a job that the ledger has handed out."""
    return Held(unpack(doc.body), doc.version)


def index_of(status: str = "", agent: str = "", poster: str = "") -> str:
    """Name the list of the jobs of a status, an agent, a poster; what is empty is any."""
    return keys.SEPARATOR.join((status, agent, poster))


def events_of(turn: Turn) -> list[Event]:
    """Say what webhooks tell of it."""
    return [Event(*each) for each in turn.told]


def _unknown(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id[:64]!r}.")
