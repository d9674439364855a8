"""Schedules and their runs as documents of the ledger, each in the partition of its agent.

A judgement of ``core.schedule`` becomes one step here: the schedule, its runs, the lists in which
they stand, what is counted of them, and whether their agent sleeps. Nothing is judged here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import msgpack

from lifesigns.core import run as runs
from lifesigns.core import schedule as schedules
from lifesigns.core.instant import to_text
from lifesigns.core.model import Words
from lifesigns.core.record import pack_words
from lifesigns.core.run import ERROR, OPEN, SKIPPED, Run
from lifesigns.core.schedule import NOTIFY, Schedule, Terms, Turn
from lifesigns.store import keys
from lifesigns.store.ledger import Count, Doc, Event, Ledger, Rest, Step, Tell, Write
from lifesigns.store.link import Link
from lifesigns.store.store import Store

SCHEDULE, RUN, BOT, NOTICE = "schedule", "run", "bot", "notice"
ALL: Final = "all"  # the index of every schedule
DIALECT: Final = "boostgpt"
RUNS_RING: Final = f"{keys.SEPARATOR}runs"  # follows an agent's id, which never holds it
MOST_LISTED = 1_000  # schedules of one bot that are shown, or stopped, at a time

_NEVER_SEEN = pack_words(Words(dialect=DIALECT))


class Kept(NamedTuple):
    """A schedule as it was read."""

    version: int
    schedule: Schedule


class Begun(NamedTuple):
    """A run as it was read."""

    version: int
    run: Run


@dataclass(frozen=True, slots=True)
class Logged:
    """Which runs somebody wants to see; the narrowest that is given counts."""

    agent: str
    schedule: str | None = None
    member: Any = None
    status: str | None = None

    @property
    def index(self) -> str:
        if self.schedule is not None:
            name = f"of:{self.schedule}"
        elif self.member is not None:
            name = f"for:{self.agent}:{label(self.member)}"
        else:
            name = f"by:{self.agent}"
        return name if self.status is None else f"{name}:{self.status}"


class Schedules:
    """The schedules of all projects. Whatever asks raises ``Unavailable`` without the store."""

    def __init__(self, ledger: Ledger, store: Store, link: Link, terms: Terms) -> None:
        self.ledger = ledger
        self.terms = terms
        self._store = store
        self._link = link

    async def get(self, project: str, agent: str, id_: str) -> Kept | None:
        """Read a schedule."""
        return _kept(await self.ledger.get(project, SCHEDULE, id_, agent))

    async def read(
        self, project: str, ids: Sequence[str], home: str | int
    ) -> dict[str, Kept | None]:
        """Read many of one home."""
        found = await self.ledger.read(project, SCHEDULE, ids, home)
        return {id_: _kept(doc) for id_, doc in zip(ids, found, strict=True)}

    async def of(self, project: str, agent: str, project_id: Any, member: Any) -> Kept | None:
        """Find the schedule of a bot and a member under a label; the first, if there are more."""
        index = f"who:{agent}:{label(project_id, member)}"
        page = await self.ledger.page(project, SCHEDULE, index, agent, limit=1, newest=False)
        return _kept(page.docs[0]) if page.docs else None

    async def all(self, project: str, agent: str) -> list[Kept]:
        """Read all schedules of a bot, the oldest first."""
        found: list[Doc] = []
        while len(found) % MOST_LISTED == 0:
            page = await self.ledger.page(
                *(project, SCHEDULE, f"of:{agent}", agent),
                skip=len(found),
                limit=MOST_LISTED,
                newest=False,
            )
            if not page.docs:
                break
            found += page.docs
        return [kept for doc in found if (kept := _kept(doc)) is not None]

    async def everywhere(self, project: str, limit: int) -> tuple[list[Kept], int]:
        """Read the schedules of a project, the latest first, and how many there are."""
        page = await self.ledger.everywhere(project, SCHEDULE, ALL, limit=limit)
        return [kept for doc in page.docs if (kept := _kept(doc)) is not None], page.total

    async def bot(self, project: str, agent: str) -> Doc | None:
        """Read whether schedules are on for a bot."""
        return await self.ledger.get(project, BOT, agent, agent)

    async def run(self, project: str, run: str) -> Begun | None:
        """Read a run."""
        doc = await self.ledger.get(project, RUN, run, runs.agent_of_run(run))
        return None if doc is None else Begun(doc.version, runs.unpack(doc.body))

    async def log(
        self, project: str, logged: Logged, skip: int, limit: int
    ) -> tuple[list[Run], int]:
        """Read runs, the latest first, and how many there are."""
        page = await self.ledger.page(
            project, RUN, logged.index, logged.agent, skip=skip, limit=limit
        )
        return [runs.unpack(doc.body) for doc in page.docs], page.total

    async def open(self, project: str, agent: str, limit: int = MOST_LISTED) -> list[Run]:
        """Read the open runs of an agent, the oldest first."""
        index = Logged(agent, status=OPEN).index
        page = await self.ledger.page(project, RUN, index, agent, limit=limit, newest=False)
        return [runs.unpack(doc.body) for doc in page.docs]

    async def tallies(
        self, project: str, agent: str, days: Sequence[str]
    ) -> list[dict[str, float]]:
        """Read what was counted of a bot's runs, day by day."""
        return await self.ledger.counts(project, [f"runs:{agent}:{day}" for day in days], agent)

    # Who asks for runs.

    def note_poll(self, project: str, agent: str) -> None:
        """Somebody asks what there is to do for an agent: for a while it counts as there."""
        number = self._store.lane(project, agent).number
        kept_ms = self.terms.timeout_ms
        key = keys.polled(project, number, agent)
        self._link.call(("SET", key, 1, "PX", kept_ms), lambda _: None)

    async def polled(self, project: str, agent: str) -> bool:
        """Tell whether somebody asked lately."""
        number = self._store.lane(project, agent).number
        return bool(await self._link.ask("EXISTS", keys.polled(project, number, agent)))

    # Steps.

    def step(
        self,
        turn: Turn,
        kept: Kept | None,
        begun: Begun | None = None,
        *,
        agent: str,
        tells: Sequence[Tell] = (),
        bot: Write | None = None,
    ) -> Step:
        """Make of a judgement what is written: ``kept`` and ``begun`` are what it was made on."""
        writes = [] if bot is None else [bot]
        if turn.schedule is not None and (kept is None or turn.schedule != kept.schedule):
            writes.append(write_schedule(turn.schedule, 0 if kept is None else kept.version))
        for run in turn.runs:
            known = begun is not None and begun.run.id == run.id
            version = begun.version if begun is not None and known else 0
            writes.append(self._write_run(run, version))
        writes += _notices(turn)
        closed = [run for run in turn.runs if run.status != SKIPPED and not run.open]
        failed = closed[-1].status == ERROR if closed else None
        return Step(
            writes,
            [Event(told.type, told.agent, told.data) for told in turn.told],
            rests=[self.rest(agent, failed)],
            tells=tells,
            rings=[agent + RUNS_RING] if turn.runs else (),
            counts=[count for run in turn.runs for count in self._counts(run)],
        )

    def drop(self, kept: Kept) -> Step:
        """Make the step that drops a schedule; its runs go on, and stay in the log."""
        agent = kept.schedule.agent
        write = Write(SCHEDULE, kept.schedule.id, kept.version, None)
        return Step([write], rests=[self.rest(agent)])

    def note(self, begun: Begun, run: Run) -> Step:
        """Make the step that notes how far a run is on its way."""
        return Step([self._write_run(run, begun.version)])

    def rest(self, agent: str, failed: bool | None = None) -> Rest:
        """Have an agent sleep as its schedules tell."""
        return Rest(
            agent,
            (SCHEDULE, f"due:{agent}"),
            (RUN, Logged(agent, status=OPEN).index),
            self.terms.allowance_ms,
            failed,
            _NEVER_SEEN,
        )

    def _write_run(self, run: Run, version: int) -> Write:
        if run.open:
            due_ms = min(run.deadline_ms, run.look_ms or run.deadline_ms)
        else:
            assert run.ended_ms is not None, "what is closed has an end"
            due_ms = run.ended_ms + self.terms.kept_ms
        places = [Logged(run.agent), Logged(run.agent, schedule=run.schedule)]
        if run.member_id is not None:
            places.append(Logged(run.agent, member=run.member_id))
        places += [replace(place, status=run.status) for place in places]
        indexes = {place.index: float(run.created_ms) for place in places}
        return Write(RUN, run.id, version, runs.pack(run), due_ms, indexes)

    def _counts(self, run: Run) -> list[Count]:
        if run.open:
            return []
        name = f"runs:{run.agent}:{to_text(run.created_ms)[:10]}"
        counted: dict[str, float] = {run.status: 1, f"type:{run.type}": 1}
        if run.status != SKIPPED:
            counted |= {
                "tokens": run.tokens_used or 0,
                "credits": run.credits or 0,
                "duration_ms": run.duration_ms or 0,
            }
        return [Count(name, field, by, self.terms.kept_ms) for field, by in counted.items() if by]


def _notices(turn: Turn) -> list[Write]:
    """Write what is posted to where a schedule wants to have its notices."""
    schedule = turn.schedule
    if schedule is None or schedule.notify_url is None:
        return []
    return [
        Write(
            NOTICE,
            run.token,
            0,
            {
                "url": schedule.notify_url,
                "secret": schedule.webhook_secret,
                "at_ms": run.ended_ms,
                "tries": 0,
                "data": dict(told.data),
            },
            due_ms=run.ended_ms,
        )
        for told in turn.told
        for run in turn.runs
        if told.type == NOTIFY and told.data["run"] == run.id
    ]


def write_schedule(schedule: Schedule, version: int) -> Write:
    """Write a schedule."""
    agent, at = schedule.agent, float(schedule.created_ms)
    owner = label(schedule.project_id, schedule.member_id)
    indexes = {ALL: at, f"of:{agent}": at, f"who:{agent}:{owner}": at}
    if schedule.due_ms is not None:
        indexes[f"due:{agent}"] = float(schedule.due_ms)
    body = schedules.pack(schedule)
    return Write(SCHEDULE, schedule.id, version, body, schedule.due_ms, indexes)


def write_bot(agent: str, version: int, body: Mapping[str, Any]) -> Write:
    """Write what is known of a bot."""
    return Write(BOT, agent, version, body)


def label(*ids: Any) -> str:
    """Name ids of others in an index; 7 and "7" are the same, for a query has only texts."""
    texts = [None if each is None else str(each) for each in ids]
    return hashlib.sha256(msgpack.packb(texts)).hexdigest()[:16]


def _kept(doc: Doc | None) -> Kept | None:
    return None if doc is None else Kept(doc.version, schedules.unpack(doc.body))
