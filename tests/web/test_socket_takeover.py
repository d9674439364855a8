"""Several sockets, hubs and HTTP for one agent: who counts, and that nobody's word is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from lifesigns.core.instant import from_text
from tests.agent import Agent, becomes, connected, living, presence, upgraded
from tests.chronicle import chronicle, kinds
from tests.hub import RunningHub, running_hub

GRACE_S = 0.5
ROUNDING_MS = 10  # the hubs' reckoning of the store's clock may differ by so much
SETTINGS = {"grace_s": GRACE_S, "fold_ms": 20, "beats_per_s": 10_000}


@pytest.fixture
async def hubs(fresh_url: str) -> AsyncIterator[tuple[RunningHub, RunningHub]]:
    """Run two hubs on one store."""
    async with running_hub(fresh_url, **SETTINGS) as one, running_hub(fresh_url, **SETTINGS) as two:
        yield one, two


@pytest.fixture
async def http(hubs: tuple[RunningHub, RunningHub]) -> AsyncIterator[httpx.AsyncClient]:
    """Ask the second of them."""
    async with hubs[1].client() as client:
        yield client


Hubs = tuple[RunningHub, RunningHub]
either = pytest.mark.parametrize("newer", [0, 1], ids=["same hub", "other hub"])


async def a_grace_passes(hub: RunningHub, http: httpx.AsyncClient) -> None:
    """Return when what broke off on this hub before now would be offline."""
    async with living(hub, "canary"):
        pass
    await becomes(http, "canary", state="offline", reason="disconnected")


async def test_hubs_on_one_store_agree(hubs: Hubs) -> None:
    one, two = hubs
    async with (
        one.client() as here,
        two.client() as there,
        living(one, "on-one", status="busy") as first,
        living(two, "on-two", status="idle") as second,
        living(one, "on-both", instance="1", capabilities=["x"]),
        living(two, "on-both", instance="2", capabilities=["y"]),
    ):
        await here.put("/v1/pulse/over-http", json={"status": "degraded"})
        await first.beat(task="t")
        await second.beat(state="draining")
        for path in ("?alive=any", "/on-both?expand=instances", "/over-http", "?detail=counts"):
            answers = [(await each.get(f"/v1/pulse{path}")).json() for each in (here, there)]
            assert answers[0] == answers[1]
        states = {
            each["id"]: each["state"] for each in (await there.get("/v1/pulse")).json()["agents"]
        }
        assert states == {
            "on-both": "available",
            "on-one": "busy",
            "on-two": "draining",
            "over-http": "degraded",
        }
        assert (await presence(there, "on-both"))["instances"] == 2


# Takeover.


@either
async def test_instance_that_connects_again_takes_its_lease_over(
    hubs: Hubs, http: httpx.AsyncClient, newer: int
) -> None:
    async with living(hubs[0], "a", instance="i", status="idle", task="old") as old:
        async with living(hubs[newer], "a", instance="i", status="busy") as new:
            assert await old.ended() == 4009
            shown = await presence(http, "a")
            assert (shown["instances"], shown["state"], shown["task"]) == (1, "busy", None)
            await new.beat(task="new")
        assert (await kinds(hubs[0].hub.link, "a"))[:2] == ["online", "updated"]


@either
@pytest.mark.parametrize("moment", ["before", "meanwhile", "after"])
async def test_late_close_of_an_old_session_never_takes_a_newer_one_offline(
    hubs: Hubs, http: httpx.AsyncClient, newer: int, moment: str
) -> None:
    async with living(hubs[0], "a", instance="i") as old, connected(hubs[newer]) as new:
        if moment == "before":
            old.abort()
        await new.say("hello", agent="a", instance="i", task="new")
        if moment == "meanwhile":
            old.abort()
        assert (await new.hear())["type"] == "welcome"
        if moment == "after":
            old.abort()
        await a_grace_passes(hubs[0], http)
        shown = await presence(http, "a")
        assert (shown["state"], shown["task"], shown["instances"]) == ("busy", "new", 1)
        await new.beat(task=None)
        written = await kinds(hubs[0].hub.link, "a")
        assert written[0] == "online"
        assert set(written[1:]) <= {"suspect", "recovered", "updated"}
        assert written.count("suspect") == written.count("recovered")


@either
async def test_superseded_socket_cannot_beat_itself_back(
    hubs: Hubs, http: httpx.AsyncClient, newer: int
) -> None:
    async with (
        upgraded(hubs[0], hello={"agent": "a", "instance": "i"}) as old,
        living(hubs[newer], "a", instance="i", task="new") as new,
    ):
        before = await presence(http, "a")
        # It takes no notice of the close, until it is cut off.
        for i in range(50):
            await old.say("beat", task=f"stale {i}")
            await asyncio.sleep(0)
        assert await old.closed() == 4009
        for i in range(50):
            await old.say("beat", task=f"staler {i}")
        ok = await new.beat()
        assert ok["seq"] == before["seq"]
        shown = await presence(http, "a")
        assert (shown["task"], shown["seq"]) == ("new", before["seq"])


async def test_chain_of_takeovers_leaves_one_instance(hubs: Hubs, http: httpx.AsyncClient) -> None:
    sockets: list[Agent] = []

    async def again(number: int) -> None:
        async with living(hubs[number % 2], "a", instance="i", task=f"{number}") as agent:
            sockets.append(agent)
            if number < 15:
                await again(number + 1)
            else:
                codes = [await older.ended() for older in sockets[:-1]]
                assert codes == [4009] * 15
                shown = await presence(http, "a")
                assert (shown["task"], shown["instances"]) == ("15", 1)
                await agent.beat(task="last")

    await again(0)
    assert "offline" not in await kinds(hubs[0].hub.link, "a")


# A beat over HTTP that speaks for the instance of a socket.


async def test_words_over_http_and_over_the_socket_are_joined(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    async with living(hubs[0], "a", ttl=300, task="t", slots=2, name="N") as agent:
        put = await http.put("/v1/pulse/a", json={"metadata": {"by": "http"}, "ttl": 1})
        assert put.json()["instances"] == 1
        await agent.beat(progress={"done": 1})
        shown = await presence(http, "a")
        assert shown["metadata"] == {"by": "http"}
        assert shown["progress"] == {"done": 1}
        assert (shown["task"], shown["slots"], shown["name"]) == ("t", 2, "N")
        lease_ms = from_text(shown["expires_at"]) - from_text(shown["last_heartbeat"])
        assert lease_ms == 300_000  # never shortened from outside
        await agent.beat(metadata=None)
        assert (await presence(http, "a"))["metadata"] is None


async def test_words_over_http_hold_until_the_socket_says_otherwise(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    async with living(hubs[0], "a", status="idle", task="mine") as agent:
        await http.put("/v1/pulse/a", json={"status": "busy", "metadata": {"a": 1}})
        for _ in range(3):
            await agent.beat()
        shown = await presence(http, "a")
        # With a status, an absent task is cleared.
        assert (shown["status"], shown["state"], shown["task"]) == ("busy", "busy", None)
        await agent.beat(task="again")
        shown = await presence(http, "a")
        assert (shown["status"], shown["task"], shown["metadata"]) == ("busy", "again", {"a": 1})


async def test_writers_at_the_same_time_lose_nothing(hubs: Hubs, http: httpx.AsyncClient) -> None:
    rounds = 40

    async def by_socket(agent: Agent) -> None:
        for i in range(rounds):
            await agent.beat(task=f"task {i}", slots=i)

    async def over_http(client: httpx.AsyncClient, name: str) -> None:
        for i in range(rounds):
            answer = await client.put("/v1/pulse/a", json={name: f"{name} {i}"})
            assert answer.status_code == 200, answer.text

    async with living(hubs[0], "a") as agent, hubs[0].client() as here:
        await asyncio.gather(by_socket(agent), over_http(http, "group"), over_http(here, "host"))
        shown = await presence(http, "a")
    last = rounds - 1
    assert (shown["task"], shown["slots"]) == (f"task {last}", last)
    assert (shown["group"], shown["host"]) == (f"group {last}", f"host {last}")
    changes = (await chronicle(hubs[0].hub.link))["a"]
    assert sorted(change.seq for change in changes) == [change.seq for change in changes]


async def test_progress_over_http_is_not_undone_by_a_beat_of_the_socket(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    """The socket's hub counted from the last progress that itself had seen."""
    async with living(hubs[0], "a", status="busy", progress_ttl=1.5) as agent:
        greeted = await presence(http, "a")
        await becomes(http, "a", state="stalled")
        await http.put("/v1/pulse/a", json={"progress": {"done": 1}})
        moved = await presence(http, "a")
        assert moved["state"] == "busy"
        assert moved["last_progress"] > greeted["last_progress"]
        await agent.beat(metadata={"a": 1})
        shown = await presence(http, "a")
        assert from_text(shown["last_progress"]) >= from_text(moved["last_progress"]) - ROUNDING_MS
        assert shown["state"] == "busy"


async def test_beat_over_http_speaks_for_itself_beside_two_sockets(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    async with living(hubs[0], "a", instance="1"), living(hubs[1], "a", instance="2"):
        shown = (await http.put("/v1/pulse/a", json={"status": "error"})).json()
        assert shown["instances"] == 3
        assert shown["instance_states"] == {"available": 2, "error": 1}
        named = {"instance": "2", "status": "busy"}
        shown = (await http.put("/v1/pulse/a", json=named)).json()
        assert shown["instance_states"] == {"available": 1, "busy": 1, "error": 1}


async def test_agent_that_was_told_to_leave_stays_away_until_it_comes_anew(
    hubs: Hubs, http: httpx.AsyncClient
) -> None:
    async with living(hubs[0], "a", instance="i") as agent:
        assert (await http.delete("/v1/pulse/a")).json()["reason"] == "left"
        assert await agent.ended() == 1000
        await a_grace_passes(hubs[0], http)
        assert (await presence(http, "a"))["state"] == "offline"
    async with living(hubs[1], "a", instance="i"):
        assert (await presence(http, "a"))["state"] == "available"
