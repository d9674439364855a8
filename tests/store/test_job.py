"""Jobs on a real store: kept, listed, moved by one of many, and told of."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from lifesigns.core.access import DEFAULT_PROJECT as PROJECT
from lifesigns.core.errors import Conflict, NotFound, Unavailable
from lifesigns.core.job import (
    ASSIGNED,
    COMPLETED,
    IN_PROGRESS,
    OPEN,
    Act,
    Job,
    Terms,
    Turn,
    create,
    move,
)
from lifesigns.core.letter import Letter
from lifesigns.store.inbox import Inbox
from lifesigns.store.job import SCANNED, Jobs, Wanted
from tests.station import Station, station
from tests.store.test_ledger import listen, told

NOW = 1_774_189_800_000


def jobs_of(at: Station) -> Jobs:
    return Jobs(at.ledger, at.letters, Terms())


def job(id_: str, status: str = OPEN, **given: Any) -> Job:
    return Job(id_, 1_800_000, NOW, NOW, NOW, status, **given)


async def post(jobs: Jobs, *posted: Job) -> None:
    for each in posted:
        await jobs.create(PROJECT, create(each, "boss", each.created_ms))


def assigned(to: Job, *, agent: str) -> Turn:
    return move(to, Act("assign", "p", agent=agent), NOW)


async def listed(jobs: Jobs, *statuses: str, **how: Any) -> tuple[list[str], int, str | None]:
    paging = {name: how.pop(name) for name in ("after", "limit") if name in how}
    page = await jobs.page(PROJECT, Wanted(statuses, **how), **paging)
    return [each.id for each in page.jobs], page.total, page.cursor


async def test_a_job_is_there_on_every_hub_once_it_is_made(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        await post(jobs_of(here), job("j 1", title="größer", input_data={"x": [1, None]}))
        found = await jobs_of(there).get(PROJECT, "j 1")
        assert (found.title, found.input_data) == ("größer", {"x": [1, None]})
        with pytest.raises(Conflict, match="already"):
            await post(jobs_of(there), job("j 1"))
        with pytest.raises(NotFound):
            await jobs_of(there).get(PROJECT, "other")
        with pytest.raises(NotFound):
            await jobs_of(there).move(PROJECT, "other", lambda each: Turn(each))
        (first, none) = await jobs_of(there).read(PROJECT, ["j 1", "other"])
        assert first == found
        assert none is None


async def test_jobs_are_listed_by_what_they_are_and_whose(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        jobs = jobs_of(here)
        await post(
            jobs,
            job("1", poster="p"),
            job("2", ASSIGNED, agent="a", poster="p"),
            job("3", IN_PROGRESS, agent="a", poster="q"),
            job("4", IN_PROGRESS, agent="b"),
        )
        assert await listed(jobs) == (["4", "3", "2", "1"], 4, None)
        assert await listed(jobs, OPEN) == (["1"], 1, None)
        assert await listed(jobs, OPEN, IN_PROGRESS) == (["4", "3", "1"], 3, None)
        assert await listed(jobs, agent="a") == (["3", "2"], 2, None)
        assert await listed(jobs, IN_PROGRESS, agent="a", poster="q") == (["3"], 1, None)
        assert await listed(jobs, COMPLETED) == ([], 0, None)
        assert {each.id for each in await jobs.worked_on(PROJECT, "a")} == {"2", "3"}
        assert await jobs.works_for(PROJECT, "a", "q")
        assert not await jobs.works_for(PROJECT, "b", "q")


async def test_a_list_goes_on_where_its_last_page_ended_whatever_became_of_that(
    fresh_url: str,
) -> None:
    async with station(fresh_url) as here:
        jobs = jobs_of(here)
        await post(jobs, *[job(str(n), poster="p") for n in range(1, 6)])
        assert await listed(jobs, OPEN, limit=2) == (["5", "4"], 5, "4")
        await jobs.move(PROJECT, "4", lambda each: move(each, Act("cancel", "p"), NOW))
        assert await listed(jobs, OPEN, after="4", limit=2) == (["3", "2"], 4, "2")
        assert await listed(jobs, OPEN, after="2", limit=2) == (["1"], 4, None)
        assert await listed(jobs, OPEN, "CANCELLED", after="5", limit=2) == (["4", "3"], 5, "3")


async def test_a_list_looks_as_far_as_it_has_to(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        jobs = jobs_of(here)
        await post(jobs, job("0", poster="p"))
        await post(jobs, *[job(f"1{n:04}", ASSIGNED, agent="a") for n in range(SCANNED + 1)])
        assert await listed(jobs, OPEN, COMPLETED) == (["0"], 1, None)


async def test_of_two_who_move_a_job_at_once_one_does(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        await listen(here)
        await post(jobs_of(here), job("j", poster="p"))
        outcomes = await asyncio.gather(
            *[
                jobs_of(at).move(PROJECT, "j", partial(assigned, agent=agent))
                for at, agent in ((here, "a"), (there, "b"))
            ],
            return_exceptions=True,
        )
        (won,) = [each for each in outcomes if isinstance(each, Job)]
        (lost,) = [each for each in outcomes if isinstance(each, Conflict)]
        assert "is ASSIGNED" in lost.message
        assert (await jobs_of(there).get(PROJECT, "j")).agent == won.agent
        ((type_, agent, data),) = await told(here)
        assert (type_, agent, data["jobId"]) == ("job.assigned", won.agent, "j")


async def test_who_gets_a_job_has_a_letter_even_if_it_was_never_there(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        jobs = jobs_of(here)
        await post(jobs, job("j", ASSIGNED, agent="a", title="Write"))
        (letter,) = await here.letters.read(PROJECT, "a")
        assert (letter.kind, letter.body["event"]) == ("job", "job.assigned")
        assert letter.body["job"]["title"] == "Write"
        await jobs.move(PROJECT, "j", lambda each: move(each, Act("cancel", "p"), NOW))
        assert [each.body["event"] for each in await here.letters.read(PROJECT, "a")] == [
            "job.assigned",
            "job.cancelled",
        ]
        assert (await jobs.get(PROJECT, "j")).letters == ()


class FullInbox(Inbox):
    """Takes nothing now."""

    async def add(self, *letter: Any, **how: Any) -> Letter:
        raise Unavailable("It is full.")


async def test_a_move_is_made_though_its_letter_has_to_wait(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        full = FullInbox(here.store, here.link, here.inbox, here.clock, here.ingest)
        jobs = Jobs(here.ledger, full, Terms())
        await post(jobs, job("j", ASSIGNED, agent="a"))
        waiting = await jobs.get(PROJECT, "j")
        assert (waiting.status, waiting.letters) == (ASSIGNED, (("job.assigned", "a"),))
        assert (await jobs_of(here).deliver(PROJECT, waiting)).letters == ()
        assert len(await here.letters.read(PROJECT, "a")) == 1


async def test_a_job_that_is_not_altered_is_not_written(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        jobs = jobs_of(here)
        await post(jobs, job("j"))
        before = await jobs.hold(PROJECT, "j")
        await jobs.move(PROJECT, "j", lambda each: Turn(each))
        assert await jobs.hold(PROJECT, "j") == before
