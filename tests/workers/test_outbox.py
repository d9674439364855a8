"""What was noted becomes messages, each once, whoever is at it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.webhook import Webhook
from lifesigns.store import keys
from lifesigns.store.ledger import Event
from lifesigns.store.put import HttpBeat
from lifesigns.store.webhook import Webhooks
from lifesigns.workers.agenda import Place
from lifesigns.workers.outbox import Outbox
from tests.station import Station, station

HOUR_MS = 3_600_000
HOME = "a"


def outbox(at: Station) -> tuple[Webhooks, Outbox]:
    webhooks = Webhooks(at.ledger, at.link, at.store, kept_ms=HOUR_MS, kept=10_000)
    return webhooks, Outbox(at.link, at.store, at.ledger, webhooks, at.agenda)


async def note(at: Station, jobs: Sequence[int], agent: str = HOME) -> Place:
    """Have something happen to jobs of an agent; answer where it was noted."""
    events = [Event("job.assigned", agent, {"jobId": str(job)}) for job in jobs]
    await at.ledger.commit(DEFAULT_PROJECT, [], events, home=agent)
    return Place(DEFAULT_PROJECT, at.store.lane(DEFAULT_PROJECT, agent).number)


async def made(webhooks: Webhooks, id_: str = "w") -> int:
    return (await webhooks.deliveries(DEFAULT_PROJECT, id_, None, 1))[1]


async def test_several_hubs_at_one_outbox_make_each_message_once(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        webhooks, mine = outbox(here)
        _, theirs = outbox(there)
        await webhooks.create(DEFAULT_PROJECT, Webhook("w", "https://h/", ""))
        place = await note(here, range(150))
        for _ in range(5):
            await asyncio.gather(*[each.take(place) for each in (mine, theirs, mine, theirs)])
        assert await made(webhooks) == 150
        assert not await here.link.ask("XLEN", keys.events(*place))
        assert not await here.link.ask(
            "ZSCORE", keys.agenda(place.number), f"outbox\x1f{DEFAULT_PROJECT}\x1f"
        )


async def test_a_line_that_moves_on_meanwhile_costs_no_message(fresh_url: str) -> None:
    """A courier alters lines between their being read and their being written."""

    class Meddled(Webhooks):
        async def find(self, project: str, ids: Sequence[str]) -> dict[str, Webhook]:
            if meddles:
                meddles.pop()
                await at.link.ask("HDEL", keys.documents(*place, "line"), f"w {HOME}")
            return dict(await super().find(project, ids))

    meddles: list[int] = []
    async with station(fresh_url) as at:
        webhooks = Meddled(at.ledger, at.link, at.store, kept_ms=HOUR_MS, kept=10_000)
        box = Outbox(at.link, at.store, at.ledger, webhooks, at.agenda)
        await webhooks.create(DEFAULT_PROJECT, Webhook("w", "https://h/", ""))
        place = await note(at, [1])
        assert not await box.take(place)
        place = await note(at, range(2, 9))
        meddles += [1]
        while await box.take(place):
            pass
        assert await made(webhooks) == 8


async def test_what_cannot_be_read_keeps_nothing_back(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with station(fresh_url) as at:
        webhooks, box = outbox(at)
        await webhooks.create(DEFAULT_PROJECT, Webhook("w", "https://h/", ""))
        place = Place(DEFAULT_PROJECT, at.store.lane(DEFAULT_PROJECT, HOME).number)
        for fields in (("x", "y"), ("type", "", "agent", HOME, "at", "1", "data", "\xff")):
            await at.link.ask("XADD", keys.events(*place), "*", *fields)
        await note(at, [1])
        assert not await box.take(place)
        assert await made(webhooks) == 1
        assert caplog.text.count("cannot be read: not told") == 2


async def test_that_an_error_is_over_is_no_message(fresh_url: str) -> None:
    """A webhook of all events was sent one without a type."""
    async with station(fresh_url) as at:
        webhooks, box = outbox(at)
        await webhooks.create(DEFAULT_PROJECT, Webhook("w", "https://h/", ""))
        for status in ("error", "idle"):
            beat = HttpBeat(HOME, None, None, {"status": status})
            await at.store.put(DEFAULT_PROJECT, beat, asyncio.get_running_loop().time())
        while await box.take(Place(DEFAULT_PROJECT, at.store.lane(DEFAULT_PROJECT, HOME).number)):
            pass
        told, _ = await webhooks.deliveries(DEFAULT_PROJECT, "w", None, 10)
        assert sorted(each.type for each in told) == ["agent.error", "agent.online"]


async def test_what_nobody_wants_any_more_is_dropped(fresh_url: str) -> None:
    async with station(fresh_url) as at:
        webhooks, box = outbox(at)
        await webhooks.create(DEFAULT_PROJECT, Webhook("w", "https://h/", ""))
        place = await note(at, [1, 2])
        await webhooks.drop(DEFAULT_PROJECT, "w")
        assert not await box.take(place)
        assert not await at.link.ask("XLEN", keys.events(*place))
        assert await made(webhooks) == 0


async def test_an_outbox_that_was_never_opened_is_left_alone(fresh_url: str) -> None:
    async with station(fresh_url) as at:
        _, box = outbox(at)
        assert not await box.take(Place(DEFAULT_PROJECT, 0))
