"""The fleet over time, as a hub tells it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from lifesigns.core.instant import from_text, to_text
from lifesigns.store.sample import COARSE, DAY_MS, FINE
from lifesigns.web.capacity import HOUR_MS, POINTS, grain_of
from tests.hub import RunningHub, running_hub
from tests.patience import until_told

NOW_MS = COARSE.start_ms(1_800_000_000_000)


async def history(http: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    """Ask for what the test sampled: what the hub samples by itself lies behind it."""
    query = {"to": to_text(time.time_ns() // 1_000_000 - 30_000)} | query
    answer = await http.get("/v1/stats/history", params=query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def now_ms(hub: RunningHub) -> int:
    return hub.hub.clock.at_ms(asyncio.get_running_loop().time())


async def look(hub: RunningHub, ago_s: int) -> int:
    """Sample as of some moment before now; answer which."""
    at_ms = now_ms(hub) // 10_000 * 10_000 - ago_s * 1000
    assert await hub.hub.sampler.look(at_ms)
    return at_ms


async def beat(http: httpx.AsyncClient, agent: str, **said: Any) -> None:
    assert (await http.put(f"/v1/pulse/{agent}", json=said)).status_code == 200


async def test_a_hub_samples_by_itself(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await beat(http, "a", status="thinking", metadata={"model": "m", "queue_depth": 3})

    async def point() -> Any:
        return (await http.get("/v1/stats/history")).json()["points"]

    (first, *_) = await until_told(point)
    assert (first["total"], first["counts"]) == (1, {"busy": 1})
    assert from_text(first["at"]) % 10_000 == 0
    metrics = (await http.get("/metrics")).text
    assert "lifesigns_samples_total 0.0" not in metrics
    assert "lifesigns_look_seconds 0.0\n" not in metrics


async def test_points_tell_the_fleet_as_it_was(hub: RunningHub, http: httpx.AsyncClient) -> None:
    first_ms = await look(hub, 120)
    await beat(http, "a", status="thinking", metadata={"model": "m", "queue_depth": 3})
    second_ms = await look(hub, 110)
    await beat(http, "b", status="idle", metadata={"model": "m", "queue_depth": 6})
    await look(hub, 90)
    assert first_ms < second_ms
    told = await history(http, step="10", by="status", value="queue_depth")
    assert {"state", "status", "metadata.queue_depth"} < set(told.pop("parts"))
    assert told == {
        "step_s": 10,
        "points": [  # of the first moment nothing is known: there was no agent
            {
                "at": to_text(second_ms),
                "total": 1,
                "counts": {"thinking": 1},
                "value": {"sum": 3, "avg": 3, "min": 3, "max": 3, "n": 1},
            },
            {
                "at": to_text(second_ms + 20_000),
                "total": 2,
                "counts": {"idle": 1, "thinking": 1},
                "value": {"sum": 9, "avg": 4.5, "min": 3, "max": 6, "n": 2},
            },
        ],
    }
    by_model = await history(http, step="10", by="metadata.model")
    assert [point["counts"] for point in by_model["points"]] == [{"m": 1}, {"m": 2}]
    until = to_text(second_ms + 20_000)
    assert len((await history(http, step="10", to=until))["points"]) == 1


async def test_a_long_time_ago_is_told_in_five_minutes(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await beat(http, "a")
    await look(hub, 3 * 86_400)
    at = to_text(now_ms(hub) - 4 * DAY_MS)
    told = await history(http, **{"from": at, "step": "10"})
    assert told["step_s"] == 300
    (point,) = told["points"]
    assert from_text(point["at"]) % 300_000 == 0
    assert point["total"] == 1
    assert (await history(http, **{"from": at, "step": "86400"}))["step_s"] == 86_400
    assert (await history(http))["points"] == []


async def test_projects_do_not_see_each_other(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await http.post("/v1/projects", json={"name": "shop"})
    await beat(http, "a")
    await look(hub, 60)
    assert len((await history(http))["points"]) == 1
    async with hub.client(headers={"X-Lifesigns-Project": "shop"}) as there:
        assert (await history(there))["points"] == []


async def test_of_a_deleted_project_nothing_is_left(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await http.post("/v1/projects", json={"name": "shop"})
    async with hub.client(headers={"X-Lifesigns-Project": "shop"}) as there:
        await beat(there, "a")
        await look(hub, 60)
        assert len((await history(there))["points"]) == 1
        assert (await http.delete("/v1/projects/shop")).status_code == 200
        await http.post("/v1/projects", json={"name": "shop"})
        assert (await history(there))["points"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("by=host", "by"),
        ("by=metadata.secret", "by"),
        ("value=secret", "value"),
        ("from=yesterday", "from"),
        ("to=1", "to"),
        ("step=0", "step"),
        ("step=ten", "step"),
        ("from=2026-03-22T14:30:00Z&to=2026-03-22T14:30:00Z", "from"),
        (f"from={to_text(NOW_MS)}&to={to_text(NOW_MS + (POINTS + 1) * 10_000)}&step=10", "step"),
        ("since=24h", "since"),
    ],
)
async def test_what_cannot_be_told_is_refused_by_name(
    query: str, field: str, http: httpx.AsyncClient
) -> None:
    answer = await http.get(f"/v1/stats/history?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.json()["detail"][0]["field"] == field


async def test_which_keys_are_sampled_is_a_setting(fresh_url: str) -> None:
    async with running_hub(fresh_url, sample_keys=("tokens",)) as hub, hub.client() as http:
        await beat(http, "a", metadata={"tokens": 7, "model": "m"})
        await look(hub, 60)
        (point,) = (await history(http, value="metadata.tokens"))["points"]
        assert point["value"]["sum"] == 7
        assert (await http.get("/v1/stats/history?value=model")).status_code == 400


async def test_it_takes_a_key_that_may_watch(hub: RunningHub, http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/keys", json={"scope": "watch"})
    async with hub.client(made.json()["key"]) as watcher, hub.client("") as stranger:
        assert (await watcher.get("/v1/stats/history")).status_code == 200
        assert (await stranger.get("/v1/stats/history")).status_code == 401


@pytest.mark.parametrize(
    ("span_ms", "asked_ms", "grain", "step_ms"),
    [
        (HOUR_MS, 0, FINE, 10_000),
        (HOUR_MS, 1_000, FINE, 10_000),
        (HOUR_MS, 15_000, FINE, 20_000),
        (HOUR_MS, 300_000, COARSE, 300_000),
        (HOUR_MS, 310_000, FINE, 310_000),
        (6 * HOUR_MS, 0, FINE, 30_000),
        (DAY_MS, 0, COARSE, 300_000),
        (DAY_MS + 1, 10_000, COARSE, 300_000),
        (7 * DAY_MS, 0, COARSE, 900_000),
        (90 * DAY_MS, 0, COARSE, 21_600_000),
        (9_000 * DAY_MS, 0, COARSE, 86_400_000),
    ],
)
def test_the_finest_samples_serve_that_fit_a_chart(
    span_ms: int, asked_ms: int, grain: object, step_ms: int
) -> None:
    assert grain_of(NOW_MS - span_ms, NOW_MS, asked_ms, NOW_MS) == (grain, step_ms)
