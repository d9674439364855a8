"""Due documents are handed out once, by whichever hub is there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import Altered
from lifesigns.store import keys
from lifesigns.store.ledger import Doc, Write
from lifesigns.workers.agenda import PAGE, STEPS_IN_MS, Place
from tests.patience import SOON_S, until
from tests.station import Station, station

KIND = "errand"
LONG_MS = 3_600_000


class Errands:
    """Does errands: notes each, and that it is not due any more."""

    def __init__(self, at: Station) -> None:
        self._at = at
        self.done: list[str] = []
        at.agenda.on(KIND, self.handle)

    async def handle(self, place: Place, docs: Sequence[Doc], now_ms: int) -> None:
        await asyncio.gather(*[self._do(place, doc) for doc in docs])

    async def _do(self, place: Place, doc: Doc) -> None:
        over = Write(KIND, doc.id, doc.version, {"done": True})
        try:
            await self._at.ledger.commit(place.project, [over], home=place.number)
        except Altered:
            return
        self.done.append(doc.id)


async def plan(at: Station, *ids: str, in_ms: int = 0) -> None:
    """Make errands, each with an agent of its name."""
    for id_ in ids:
        due_ms = await now_ms(at) + in_ms
        await at.ledger.commit(DEFAULT_PROJECT, [Write(KIND, id_, 0, {}, due_ms)], home=id_)


async def look_until(at: Station, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it was not handed out"
        await at.agenda.look()


async def now_ms(at: Station) -> int:
    seconds, micros = await at.link.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def test_what_is_due_is_handed_out_and_what_is_not_is_kept(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        errands = Errands(here)
        await here.ticker.tick()
        await plan(here, "a", "b")
        await plan(here, "later", in_ms=LONG_MS)
        await here.agenda.look()
        assert sorted(errands.done) == ["a", "b"]
        await here.agenda.look()
        assert sorted(errands.done) == ["a", "b"]
        assert here.agenda.handed == 2


async def test_a_hub_that_looks_by_itself_does_all_of_it(fresh_url: str) -> None:
    async with station(fresh_url) as here, here.working():
        errands = Errands(here)
        looking = asyncio.create_task(here.agenda.run())
        await plan(here, *[f"soon-{n}" for n in range(20)], in_ms=300)
        await until(lambda: len(errands.done) == 20)
        looking.cancel()
        assert len(set(errands.done)) == 20


async def test_more_than_a_page_at_one_place_is_done_page_by_page(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        errands = Errands(here)
        await here.ticker.tick()
        due_ms = await now_ms(here)
        many = [Write(KIND, f"e{n}", 0, {}, due_ms) for n in range(PAGE + 10)]
        await here.ledger.commit(DEFAULT_PROJECT, many, home="a")
        await here.agenda.look()
        assert len(errands.done) == PAGE
        await here.agenda.look()
        assert len(set(errands.done)) == PAGE + 10


async def test_several_hubs_do_each_once_and_share_the_work(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        both = [Errands(here), Errands(there)]
        for at in (here, there, here):
            await at.ticker.tick()
        names = [f"agent-{n}" for n in range(100)]
        await plan(here, *names)
        for at in (here, there):
            await at.agenda.look()
        done = Counter(id_ for each in both for id_ in each.done)
        assert done == Counter(names)
        assert all(each.done for each in both)


async def test_two_hubs_that_look_at_the_same_moment_do_each_once(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        both = [Errands(here), Errands(there)]
        for at in (here, there):
            await at.ticker.tick()
        names = [f"agent-{n}" for n in range(50)]
        await plan(here, *names, in_ms=-STEPS_IN_MS)  # so long due that either takes all
        await asyncio.gather(here.agenda.look(), there.agenda.look())
        done = Counter(id_ for each in both for id_ in each.done)
        assert done == Counter(names)


async def test_what_a_hub_that_is_gone_left_undone_is_done_by_another(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        errands = Errands(here)
        for at in (there, here):
            await at.ticker.tick()
        await plan(here, *[f"agent-{n}" for n in range(40)])
        await here.agenda.look()
        assert 0 < len(errands.done) < 40  # the other one lives, as far as is known
        await look_until(here, lambda: len(errands.done) == 40)


async def test_a_handler_that_fails_is_called_again_and_holds_up_no_other(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with station(fresh_url) as here:
        calls = []

        async def fail(place: Place, docs: Sequence[Doc], now_ms: int) -> None:
            calls.append(docs)
            raise RuntimeError("not today")

        here.agenda.on("bad", fail)
        errands = Errands(here)
        await here.ticker.tick()
        await here.ledger.commit(DEFAULT_PROJECT, [Write("bad", "x", 0, {}, 1)], home="a")
        await plan(here, "a")
        with caplog.at_level(logging.ERROR):
            await here.agenda.look()
        assert (len(calls), errands.done) == (1, ["a"])
        assert "not today" in caplog.text
        await look_until(here, lambda: len(calls) == 2)


async def test_an_entry_without_its_document_is_cleared_away(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        Errands(here)
        await here.ticker.tick()
        number = here.store.lane(DEFAULT_PROJECT, "a").number
        member = keys.SEPARATOR.join([KIND, DEFAULT_PROJECT, "lost"])
        await here.link.ask("ZADD", keys.agenda(number), 1, member)
        await here.agenda.look()
        assert await here.link.ask("ZCARD", keys.agenda(number)) == 0


async def test_due_documents_of_a_kind_that_a_hub_does_not_know_wait(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as newer:
        errands = Errands(newer)
        await here.ticker.tick()
        await plan(here, "a", in_ms=-STEPS_IN_MS)
        await here.agenda.look()
        await newer.ticker.tick()
        await newer.agenda.look()
        assert errands.done == ["a"]
