"""What operators ask, against a running hub: is it up, how is it, what does it count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.agent import living
from tests.hub import RunningHub, hub_process, running_hub
from tests.patience import SOON_S
from tests.server import Server


async def stats(http: httpx.AsyncClient, query: str = "") -> dict[str, Any]:
    answer = await http.get(f"/v1/stats{query}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def beat(http: httpx.AsyncClient, *beats: dict[str, Any]) -> None:
    answer = await http.post("/v1/pulse", json={"beats": beats})
    assert all("error" not in each for each in answer.json()["results"]), answer.text


# Up, ready, well.


async def test_a_hub_that_is_well_says_so_to_anybody(hub: RunningHub) -> None:
    async with hub.client("") as stranger:
        live, ready, well = [
            await stranger.get(f"/{each}") for each in ("livez", "readyz", "health")
        ]
    assert (live.status_code, live.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert (well.status_code, well.json()["status"]) == (200, "ok")
    assert well.json()["service"] == "lifesigns"


async def test_a_hub_without_its_store_lives_and_takes_no_work(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with running_hub(server.url) as hub, hub.client("") as stranger:
        server.kill()
        live, ready, well = [
            await stranger.get(f"/{each}") for each in ("livez", "readyz", "health")
        ]
        assert live.status_code == 200
        assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
        assert (well.status_code, well.json()["status"]) == (503, "degraded")
        assert ready.headers["Retry-After"] == well.headers["Retry-After"] == "1"


async def test_a_hub_that_is_drained_is_not_ready(hub: RunningHub) -> None:
    async with hub.client("") as stranger:
        await hub.hub.lobby.drain()
        ready = await stranger.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
        assert (await stranger.get("/livez")).status_code == 200


# Stats.


async def test_stats_count_the_fleet(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await beat(
        http,
        {"id": "a", "status": "busy"},
        {"id": "b", "status": "busy"},
        {"id": "c", "status": "error"},
        {"id": "d"},
    )
    await http.delete("/v1/pulse/d")
    async with living(hub, "e"):
        told = await stats(http)
        (node,) = told["nodes"]
    assert (told["alive"], told["total"]) == (4, 5)
    assert told["states"] == {"offline": 1, "error": 1, "busy": 2, "available": 1}
    assert told["dialects"] == {"pulse": 4}
    assert (told["claims"], told["watchers"], told["held_until"]) == (0, 0, None)
    assert told["beats_per_s"] >= 0 <= told["changes_per_s"]
    assert told["store"]["ok"] is True
    assert told["store"]["ping_ms"] > 0
    assert set(node) == {"id", "agents", "lag_ms", "since"}
    assert node["id"] == hub.hub.ticker.node


async def test_stats_of_an_empty_project_are_nothing(http: httpx.AsyncClient) -> None:
    told = await stats(http, "?by=status&value=depth")
    assert (told["alive"], told["total"], told["states"], told["counts"]) == (0, 0, {}, {})
    assert told["value"] == {"sum": 0, "avg": None, "min": None, "max": None, "n": 0}


HEAPS: list[tuple[str, dict[str, int]]] = [
    ("state", {"busy": 2, "available": 1}),
    ("status", {"thinking": 1, "busy": 1, "idle": 1}),
    ("dialect", {"pulse": 3}),
    ("group", {"night": 2, "": 1}),
    ("host", {"h1": 1, "": 2}),
    ("version", {"": 3}),
    ("metadata.model", {"large": 1, "small": 1, "": 1}),
    ("metadata.gpu", {"true": 1, "1": 1, "": 1}),
    ("metadata.none", {"": 3}),
]


async def test_stats_count_by_what_agents_say(http: httpx.AsyncClient) -> None:
    large = {"model": "large", "gpu": True}
    await beat(
        http,
        {"id": "a", "status": "thinking", "group": "night", "host": "h1", "metadata": large},
        {"id": "b", "status": "busy", "group": "night", "metadata": {"model": "small", "gpu": 1}},
        {"id": "c", "status": "idle"},
        {"id": "gone", "status": "busy", "group": "night", "metadata": large},
    )
    await http.delete("/v1/pulse/gone")
    for by, counts in HEAPS:
        assert (await stats(http, f"?by={by}"))["counts"] == counts, by


@pytest.mark.parametrize("name", ["depth", "metadata.depth"])
async def test_stats_add_up_a_number(name: str, http: httpx.AsyncClient) -> None:
    values = [3, 4.5, -1, "7", True, None, [1]]
    await beat(http, *({"id": f"a{i}", "metadata": {"depth": v}} for i, v in enumerate(values)))
    told = await stats(http, f"?value={name}")
    assert told["value"] == {"sum": 6.5, "avg": 6.5 / 3, "min": -1, "max": 4.5, "n": 3}


async def test_numbers_that_add_up_to_more_than_there_is_have_no_sum(
    http: httpx.AsyncClient,
) -> None:
    """The sum became infinite, which no JSON can carry, and the answer was 500."""
    await beat(http, *({"id": f"a{i}", "metadata": {"depth": 1.7e308}} for i in range(2)))
    told = await stats(http, "?value=depth")
    assert told["value"] == {"sum": None, "avg": None, "min": 1.7e308, "max": 1.7e308, "n": 2}


@pytest.mark.parametrize(("query", "field"), [("by=colour", "by"), ("since=1h", "since")])
async def test_stats_that_are_asked_for_wrongly_are_refused(
    query: str, field: str, http: httpx.AsyncClient
) -> None:
    answer = await http.get(f"/v1/stats?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.json()["detail"][0]["field"] == field


async def test_hubs_on_one_store_tell_the_same(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as one,
        hub_process(fresh_url) as two,
        one.client() as here,
        two.client() as there,
    ):
        await beat(here, {"id": "a"}, {"id": "b"})
        await beat(there, {"id": "c", "status": "busy"})
        near, far = await stats(here), await stats(there)
        for field in ("alive", "total", "states", "dialects"):
            assert near[field] == far[field], field
        assert near["states"] == {"busy": 1, "available": 2}
        for http in (here, there):  # they hear of each other with their ticks
            deadline = time.monotonic() + SOON_S
            while len((await stats(http))["nodes"]) < 2:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)


# Metrics and the description.


async def test_metrics_speak_prometheus_and_name_no_agent(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await beat(http, {"id": "secretive-agent", "group": "secretive-group", "host": "secretive"})
    async with living(hub, "secretive-agent-2", instance="secretive-copy"):
        answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = dict(line.split() for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(samples["lifesigns_connections"]) == 1
    assert float(samples["lifesigns_agents"]) == 1
    assert float(samples["lifesigns_store_up"]) == 1
    assert float(samples["lifesigns_nodes"]) == 1
    assert float(samples["lifesigns_beats_total"]) >= 2
    assert "secretive" not in answer.text
    for name in samples:
        bare = name.partition("{")[0].removesuffix("_total")
        assert f"# HELP {bare}" in answer.text
        assert f"# TYPE {bare}" in answer.text


async def test_metrics_go_on_without_the_store(valkey_server: Callable[..., Server]) -> None:
    server = valkey_server()
    async with running_hub(server.url) as hub, hub.client() as http:
        server.kill()
        await http.get("/readyz")
        answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert "lifesigns_store_up 0.0" in answer.text


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json"])
async def test_what_is_open_on_loopback_needs_a_key_elsewhere(path: str, fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub, hub.client("") as stranger:
        assert (await stranger.get(path)).status_code == 200
    async with running_hub(fresh_url, host="192.0.2.1") as hub, hub.client() as http:
        assert (await http.get(path)).status_code == 200
        watch = (await http.post("/v1/keys", json={"scope": "watch"})).json()["key"]
        poster = {"scope": "poster", "poster": "p"}
        other = (await http.post("/v1/keys", json=poster)).json()["key"]
        for key, status_code in ((watch, 200), (other, 403), ("", 401)):
            async with hub.client(key) as client:
                assert (await client.get(path)).status_code == status_code
