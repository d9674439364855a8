"""The clock of progress against a running hub: what stalls, what brings it back, by either way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.agent import becomes, living, presence
from tests.hub import RunningHub
from tests.watcher import watching

Say = Callable[..., Awaitable[Any]]

SOON_S = 0.2  # a progress_ttl that is over at once
NEVER_S = 3_600


@contextlib.asynccontextmanager
async def by_socket(hub: RunningHub, **said: Any) -> AsyncIterator[Say]:
    async with living(hub, "a", **said) as agent:
        yield agent.beat


@contextlib.asynccontextmanager
async def by_request(hub: RunningHub, **said: Any) -> AsyncIterator[Say]:
    async with hub.client() as http:

        async def put(**more: Any) -> None:
            answer = await http.put("/v1/pulse/a", json=more)
            assert answer.status_code == 200, answer.text

        await put(**said)
        yield put


both_ways = pytest.mark.parametrize("way", [by_socket, by_request], ids=["socket", "request"])


async def told(http: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Tell the kinds and the states of all changes so far."""
    changes = (await http.get("/v1/pulse/a/history")).json()["changes"]
    return [(each["kind"], each["state"]) for each in changes]


@both_ways
async def test_what_shows_progress_ends_the_stall_and_what_does_not_leaves_it(
    way: Any, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with way(hub, state="busy", task="t", progress_ttl=SOON_S) as say, watching(hub) as seen:
        for progress in ({"progress": "half"}, {"task": "another"}):
            await becomes(http, "a", state="stalled")
            for idle in ({}, {"metadata": {"n": len(progress)}}, {"progress": None}):
                await say(**idle)
            await say(task=(await presence(http, "a"))["task"])  # the same one
            assert (await presence(http, "a"))["state"] == "stalled"
            before = (await presence(http, "a"))["last_progress"]
            await say(**progress)
            assert (await presence(http, "a"))["last_progress"] > before
        await seen.sees(lambda: sum(each["kind"] == "recovered" for each in seen.changes) == 2)
        recovered = [each for each in seen.changes if each["kind"] == "recovered"]
        assert {(each["was"], each["state"]) for each in recovered} == {("stalled", "busy")}
        assert all(each["for_ms"] >= 0 for each in recovered)


@both_ways
async def test_a_quiet_phase_ends_a_stall_and_puts_it_off(
    way: Any, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with way(hub, state="busy", progress_ttl=SOON_S) as say:
        await becomes(http, "a", state="stalled")
        await say(busy_for=NEVER_S)
        shown = await presence(http, "a")
        assert (shown["state"], shown["busy_until"] is not None) == ("busy", True)
        await asyncio.sleep(2 * SOON_S)
        assert (await presence(http, "a"))["state"] == "busy"
        await say(busy_until=None)
        shown = await becomes(http, "a", state="stalled")
        assert shown["busy_until"] is None
    kinds = [kind for kind, _ in await told(http) if kind not in ("offline", "suspect")]
    assert kinds == ["online", "stalled", "recovered", "stalled"]


@both_ways
async def test_only_who_works_stalls_and_each_spell_of_work_counts_anew(
    way: Any, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with way(hub, state="degraded", progress_ttl=SOON_S) as say:
        await becomes(http, "a", state="stalled")
        for state in ("available", "draining", "error"):
            await say(state=state)
            assert (await presence(http, "a"))["state"] == state
        await asyncio.sleep(2 * SOON_S)  # long enough, had it been at work
        assert (await presence(http, "a"))["state"] == "error"
        await say(state="busy")  # from here on it counts
        assert ("updated", "busy") in await told(http)
        await becomes(http, "a", state="stalled")
        await say(progress_ttl=None)
        assert (await presence(http, "a"))["state"] == "busy"


async def test_an_agent_is_as_well_as_its_best_instance(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    stuck = {"status": "busy", "progress_ttl": SOON_S, "slots": 3}
    async with living(hub, "a", instance="stuck", **stuck):
        await becomes(http, "a", state="stalled", slots=0, free_slots=0)
        async with living(hub, "a", instance="well", status="idle") as well:
            shown = await presence(http, "a")
            assert (shown["state"], shown["slots"]) == ("available", 1)
            assert shown["instance_states"] == {"stalled": 1, "available": 1}
            await well.bye()
        await becomes(http, "a", state="stalled", instances=1)
