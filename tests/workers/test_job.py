"""A silence is found by one of many hubs, and by none while agents could not be heard."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lifesigns.core.access import DEFAULT_PROJECT as PROJECT
from lifesigns.core.errors import NotFound
from lifesigns.core.job import ASSIGNED, CANCELLED, IN_PROGRESS, Act, Job, Terms, create, move
from lifesigns.core.silence import beat
from lifesigns.store import keys
from lifesigns.store.job import Held, Jobs, Wanted
from lifesigns.workers.job import Foreman
from tests.patience import SOON_S
from tests.station import Station, station
from tests.store.test_ledger import listen, told

TERMS = Terms(window_ms=1_000, dispute_ms=200)
FLEETING = Terms(window_ms=1_000, dispute_ms=200, kept_ms=100)


class Office:
    """A hub that looks at jobs."""

    def __init__(self, at: Station, terms: Terms = TERMS) -> None:
        self.at = at
        self.jobs = Jobs(at.ledger, at.letters, terms)
        self.foreman = Foreman(at.ledger, self.jobs, at.agenda, at.ticker, at.sweeper)

    async def now_ms(self) -> int:
        seconds, micros = await self.at.link.ask("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def post(self, id_: str, status: str = IN_PROGRESS, **given: Any) -> Job:
        now = await self.now_ms()
        posted = Job(id_, given.pop("window_ms", 1_000), now, now, now, status, "a", **given)
        return await self.jobs.create(PROJECT, create(posted, "p", now))

    async def beat(self, id_: str) -> Job:
        now = await self.now_ms()
        return await self.jobs.move(PROJECT, id_, lambda job: beat(job, "a", None, now))

    async def becomes(self, id_: str, condition: Callable[[Job], object]) -> Job:
        deadline = time.monotonic() + SOON_S
        while not condition(job := await self.jobs.get(PROJECT, id_)):
            assert time.monotonic() < deadline, "it did not become so"
        return job

    async def events(self) -> list[tuple[str, str]]:
        """Tell what webhooks would, but for who got which job."""
        entries = [(type_, data["jobId"]) for type_, _, data in await told(self.at)]
        return [each for each in entries if each[0] != "job.assigned"]


@contextlib.asynccontextmanager
async def offices(url: str, count: int, terms: Terms = TERMS) -> AsyncIterator[list[Office]]:
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            at = await stack.enter_async_context(station(url))
            await stack.enter_async_context(at.working())
            made.append(Office(at, terms))
            looking = asyncio.create_task(at.agenda.run())
            stack.callback(looking.cancel)
        await listen(made[0].at)
        yield made


async def test_silence_is_told_once_by_two_hubs_and_each_job_has_its_own(fresh_url: str) -> None:
    async with offices(fresh_url, 2) as (here, there):
        await here.post("silent")
        await there.post("untouched", ASSIGNED)
        await there.post("long", window_ms=3_600_000)
        flagged = await here.becomes("silent", lambda job: job.inactive_ms)
        assert flagged.inactive_ms is not None
        assert flagged.inactive_ms >= flagged.since_ms + 1_000
        await here.becomes("silent", lambda job: job.disputable)
        await there.becomes("untouched", lambda job: job.disputable)
        assert sorted(await here.events()) == [
            ("job.disputable", "silent"),
            ("job.disputable", "untouched"),
            ("job.heartbeat_missed", "silent"),
            ("job.heartbeat_missed", "untouched"),
        ]
        back = await there.beat("silent")
        assert (back.inactive_ms, back.disputable) == (None, False)
        assert (await here.events())[4] == ("job.recovered", "silent")
        await here.becomes("silent", lambda job: job.inactive_ms)
        assert (await here.jobs.get(PROJECT, "long")).inactive_ms is None


async def test_who_beats_in_time_is_never_silent(fresh_url: str) -> None:
    async with offices(fresh_url, 2) as (here, there):
        await here.post("kept")
        await there.post("lost")
        while (await here.jobs.get(PROJECT, "lost")).inactive_ms is None:
            await here.beat("kept")
        assert await here.events() == [("job.heartbeat_missed", "lost")]


async def test_no_silence_is_found_before_all_hubs_have_stored_what_they_heard(
    fresh_url: str,
) -> None:
    async with offices(fresh_url, 1) as (here,), station(fresh_url) as deaf:
        # It is alive, and says that it has not stored what came since it began.
        token = object()
        deaf.ticker.arriving(token)
        await deaf.ticker.tick()
        job = await here.post("j")
        due_ms = job.since_ms + 1_000
        while await here.now_ms() < due_ms + 500:
            await deaf.ticker.tick()
            assert (await here.jobs.get(PROJECT, "j")).inactive_ms is None
            await asyncio.sleep(0.02)
        deaf.ticker.arrived(token)
        await deaf.ticker.tick()
        await here.becomes("j", lambda job: job.inactive_ms)


async def test_a_window_is_held_where_nobody_could_be_heard(fresh_url: str) -> None:
    async with offices(fresh_url, 1) as (here,):
        at = here.at
        await here.post("j")
        number = at.store.lane(PROJECT, "").number
        # As a service finds it that was away: the gap ends now.
        gap_ms = await here.now_ms() + 700
        await at.link.ask("HSET", keys.part(number), "gap", gap_ms)
        flagged = await here.becomes("j", lambda job: job.inactive_ms)
        assert flagged.inactive_ms is not None
        assert flagged.inactive_ms >= gap_ms + 1_000


async def test_letters_that_a_hub_left_behind_are_delivered(fresh_url: str) -> None:
    async with offices(fresh_url, 1, Terms()) as (here,):
        now = await here.now_ms()
        posted = Job("j", 1_000_000, now, now, now, ASSIGNED, "a")
        write = here.jobs.write_of(Held(create(posted, "p", now).job, 0))
        await here.at.ledger.commit(PROJECT, [write])
        await here.becomes("j", lambda job: not job.letters)
        (letter,) = await here.at.letters.read(PROJECT, "a")
        assert letter.body["event"] == "job.assigned"


async def test_a_closed_job_is_forgotten_in_time(fresh_url: str) -> None:
    async with offices(fresh_url, 1, FLEETING) as (here,):
        await here.post("j")
        now = await here.now_ms()
        closed = await here.jobs.move(PROJECT, "j", lambda job: move(job, Act("cancel", "p"), now))
        assert closed.status == CANCELLED
        with pytest.raises(NotFound):
            await here.becomes("j", lambda job: False)
        assert not (await here.jobs.page(PROJECT, Wanted())).total
