"""Documents on a real store: judged and written once, listed, and gone with their project."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.errors import Altered, Unavailable
from lifesigns.store import keys
from lifesigns.store.ledger import ANY, Doc, Event, Ledger, Step, Write
from tests.station import Station, station

KIND = "errand"


def write(id_: str, expect: int = 0, /, *, due_ms: int | None = None, **said: Any) -> Write:
    indexes = {"all": float(said["n"])} if "n" in said else {}
    return Write(KIND, id_, expect, said, due_ms, indexes)


async def read(at: Ledger, id_: str, home: str = "") -> Doc:
    doc = await at.get(DEFAULT_PROJECT, KIND, id_, home)
    assert doc is not None
    return doc


async def listed(at: Ledger, **how: Any) -> list[str]:
    return [doc.id for doc in (await at.page(DEFAULT_PROJECT, KIND, "all", **how)).docs]


async def told(at: Station, home: str = "") -> list[tuple[str, str, Any]]:
    """Tell what waits to be told to webhooks."""
    key = keys.events(DEFAULT_PROJECT, at.store.lane(DEFAULT_PROJECT, home).number)
    return [
        (entry[1].decode(), entry[3].decode(), msgpack.unpackb(entry[7]))
        for _, entry in await at.link.ask("XRANGE", key, "-", "+")
    ]


async def listen(at: Station, home: str = "") -> None:
    """As if there were a webhook."""
    await at.link.ask("HSET", at.store.lane(DEFAULT_PROJECT, home).keys[0], "hooks", "1")


async def test_a_document_comes_back_as_it_was_written(fresh_url: str) -> None:
    body = {"text": "größer", "n": 2**53, "part": [1, None, {"x": 1.5}], "no": False}
    async with station(fresh_url) as here, station(fresh_url) as there:
        versions = await here.ledger.commit(DEFAULT_PROJECT, [Write(KIND, "a:1", 0, body)])
        assert await read(there.ledger, "a:1") == Doc("a:1", versions[0], body)
        assert await there.ledger.read(DEFAULT_PROJECT, KIND, ["b", "a:1"]) == [
            None,
            Doc("a:1", versions[0], body),
        ]
        assert await there.ledger.read(DEFAULT_PROJECT, "other", ["a:1"]) == [None]
        assert await there.ledger.read(DEFAULT_PROJECT, KIND, []) == []


async def test_who_judged_on_an_older_version_has_done_nothing(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await listen(here)
        ledger, project = here.ledger, DEFAULT_PROJECT
        (version,) = await ledger.commit(project, [write("a", n=1)])
        (later,) = await ledger.commit(project, [write("a", version, n=2)])
        assert later > version
        for stale in (0, version):
            with pytest.raises(Altered):
                await ledger.commit(
                    project,
                    [write("b", n=9), write("a", stale, n=3)],
                    [Event("errand.done", "", {})],
                )
        assert (await read(ledger, "a")).body == {"n": 2}
        assert await ledger.get(project, KIND, "b") is None
        assert await listed(ledger) == ["a"]
        assert await told(here) == []
        await ledger.commit(project, [write("a", ANY, n=4)])
        assert (await read(ledger, "a")).body == {"n": 4}


async def test_a_document_that_came_again_is_another_one(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        ledger, project = here.ledger, DEFAULT_PROJECT
        (version,) = await ledger.commit(project, [write("a", n=1)])
        await ledger.commit(project, [Write(KIND, "a", version, None)])
        assert await ledger.get(project, KIND, "a") is None
        while (await ledger.commit(project, [write("a", n=1)]))[0] == version:
            await ledger.commit(project, [Write(KIND, "a", ANY, None)])  # within one ms
        with pytest.raises(Altered):
            await ledger.commit(project, [write("a", version, n=2)])


async def test_one_of_many_hubs_makes_a_document(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:

        def create(at: Station, n: int) -> Any:
            return at.ledger.commit(DEFAULT_PROJECT, [write("a", n=n)])

        tries = [create(at, n) for n, at in enumerate([here, there] * 10)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        made = [n for n, each in enumerate(outcomes) if not isinstance(each, Altered)]
        assert len(made) == 1
        assert (await read(here.ledger, "a")).body == {"n": made[0]}


async def test_everybody_who_changes_a_document_is_heard(fresh_url: str) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:

        def count(doc: Doc | None) -> Step:
            if doc is None:
                return Step([write("a", n=1)])
            return Step([write("a", doc.version, n=doc.body["n"] + 1)])

        counts = [at.ledger.change(DEFAULT_PROJECT, KIND, "a", count) for at in [here, there] * 3]
        await asyncio.gather(*counts)
        assert (await read(here.ledger, "a")).body == {"n": 6}


async def test_who_never_wins_gives_up(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        with pytest.raises(Unavailable):
            await here.ledger.change(
                DEFAULT_PROJECT, KIND, "a", lambda doc: Step([write("a", 7, n=1)])
            )


async def test_nothing_to_do_is_nothing_done(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        step = await here.ledger.change(DEFAULT_PROJECT, KIND, "a", lambda doc: Step())
        assert step == Step()
        assert await here.ledger.get(DEFAULT_PROJECT, KIND, "a") is None


async def test_events_are_noted_with_the_change_where_somebody_listens(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        event = Event("errand.done", "a", {"why": "it was late"})
        await here.ledger.commit(DEFAULT_PROJECT, [write("a", n=1)], [event])
        assert await told(here) == []
        await listen(here)
        await here.ledger.commit(DEFAULT_PROJECT, [write("b", n=1)], [event, event])
        await here.ledger.commit(DEFAULT_PROJECT, [], [event])
        assert await told(here) == [("errand.done", "a", {"why": "it was late"})] * 3


async def test_documents_are_listed_by_their_score(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        await here.ledger.commit(
            DEFAULT_PROJECT, [write(f"e{n}", n=1_700_000_000_000 + n) for n in range(5)]
        )
        assert await listed(here.ledger) == ["e4", "e3", "e2", "e1", "e0"]
        assert await listed(here.ledger, newest=False, limit=2) == ["e0", "e1"]
        assert await listed(here.ledger, after="e3", limit=2) == ["e2", "e1"]
        assert await listed(here.ledger, skip=3) == ["e1", "e0"]
        assert await listed(here.ledger, after="never") == []
        assert (await here.ledger.page(DEFAULT_PROJECT, KIND, "all", limit=1)).total == 5
        assert (await here.ledger.page(DEFAULT_PROJECT, KIND, "none")).total == 0


async def test_a_document_leaves_the_lists_that_it_does_not_name_any_more(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        ledger, project = here.ledger, DEFAULT_PROJECT
        await ledger.commit(project, [Write(KIND, "a", 0, {}, None, {"open": 1, "all": 1})])
        await ledger.commit(project, [Write(KIND, "a", ANY, {}, None, {"all": 2})])
        assert (await ledger.page(project, KIND, "open")).total == 0
        assert await listed(ledger) == ["a"]
        await ledger.commit(project, [Write(KIND, "a", ANY, None)])
        assert (await ledger.page(project, KIND, "all")).total == 0


async def test_documents_lie_with_their_agents(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        ledger, agents = here.ledger, [f"agent-{n}" for n in range(40)]
        for n, agent in enumerate(agents):
            await ledger.commit(DEFAULT_PROJECT, [write(agent, n=n)], home=agent)
        assert (await read(ledger, "agent-7", "agent-7")).body == {"n": 7}
        page = await ledger.everywhere(DEFAULT_PROJECT, KIND, "all", limit=3)
        assert ([doc.id for doc in page.docs], page.total) == (agents[:-4:-1], 40)


async def test_a_project_takes_its_documents_along(fresh_url: str) -> None:
    async with station(fresh_url) as here:
        ledger = here.ledger
        before = set(await here.link.ask("KEYS", "*"))
        await listen(here)
        for n in range(250):
            await ledger.commit(
                DEFAULT_PROJECT,
                [write(f"e{n}", due_ms=2**45, n=n)],
                [Event("errand.begun", "", {})],
                home=f"agent-{n}" if n % 2 else "",
            )
        await ledger.drop(DEFAULT_PROJECT)
        left = {
            key for key in set(await here.link.ask("KEYS", "*")) - before if b":meta:" not in key
        }
        assert left == set()
