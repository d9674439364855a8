"""What a hub tells of an agent's past, and to whom."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx
import pytest

from lifesigns.core.instant import from_text
from lifesigns.web.description.schema import SCHEMAS
from tests.agent import becomes, living
from tests.hub import RunningHub, running_hub
from tests.web.refusal import refused


async def history(http: httpx.AsyncClient, agent: str) -> dict[str, Any]:
    answer = await http.get(f"/v1/pulse/{agent}/history")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_the_past_has_the_shape_that_is_described(http: httpx.AsyncClient) -> None:
    await http.put("/v1/pulse/a", json={"status": "thinking", "task": "t"})
    told = await history(http, "a")
    assert set(told) == set(SCHEMAS["History"]["properties"])
    (change,) = told["changes"]
    assert set(change) == set(SCHEMAS["Passage"]["properties"]) - {"for_ms"}
    assert (told["id"], told["agent_id"]) == ("a", "a")


async def test_the_past_of_an_agent_that_stays_is_one_life(http: httpx.AsyncClient) -> None:
    shown = (await http.put("/v1/pulse/a", json={"status": "thinking"})).json()
    told = await history(http, "a")
    (change,) = told["changes"]
    assert (change["kind"], change["was"], change["state"]) == ("online", None, "busy")
    assert (change["epoch"], change["seq"]) == (shown["epoch"], shown["seq"])
    assert (told["uptime"], told["flaps"]) == (1.0, 0)
    assert [day["uptime"] for day in told["days"]] in ([1.0], [1.0, 1.0])  # or it is midnight


async def test_changes_are_told_in_the_order_in_which_they_came(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", status="idle") as agent:
        for number in range(5):
            await agent.beat(task=f"task {number}")
        await agent.bye(reason="done for today")
    await becomes(http, "a", state="offline")
    await http.put("/v1/pulse/a", json={"status": "thinking"})
    changes = (await history(http, "a"))["changes"]
    assert [each["kind"] for each in changes] == [
        "online",
        *["updated"] * 5,
        "offline",
        "online",
    ]
    assert [each["task"] for each in changes[1:6]] == [f"task {number}" for number in range(5)]
    assert (changes[6]["reason"], changes[6]["reason_text"]) == ("left", "done for today")
    assert changes[7]["downtime_ms"] >= 0
    numbers = [each["seq"] for each in changes]
    assert numbers == sorted(set(numbers))
    times = [from_text(each["at"]) for each in changes]
    assert times == sorted(times)
    for before, after in pairwise(changes):
        assert after["was"] == before["state"]


async def test_every_end_is_a_flap_and_lowers_the_uptime(http: httpx.AsyncClient) -> None:
    for _ in range(3):
        await http.put("/v1/pulse/a")
        await http.delete("/v1/pulse/a")
    told = await history(http, "a")
    assert told["flaps"] == 3
    assert 0 <= told["uptime"] <= 1
    assert told["window_s"] >= 0
    for day in told["days"]:
        assert 0 <= day["uptime"] <= 1


async def test_the_past_is_the_same_on_every_hub(hub: RunningHub, fresh_url: str) -> None:
    async with running_hub(fresh_url) as other, hub.client() as here, other.client() as there:
        await here.put("/v1/pulse/a", json={"task": "t"})
        await there.delete("/v1/pulse/a")
        told = await history(here, "a")
        assert [each["kind"] for each in told["changes"]] == ["online", "offline"]
        assert told["changes"] == (await history(there, "a"))["changes"]


async def test_who_was_never_seen_has_no_past(http: httpx.AsyncClient) -> None:
    assert await refused(http, "GET", "/v1/pulse/a/history") == (404, "not_found", None)
    await http.put("/v1/pulse/a")
    await http.delete("/v1/pulse/a?forget=true")
    assert await refused(http, "GET", "/v1/pulse/a/history") == (404, "not_found", None)


async def test_who_was_forgotten_begins_a_new_past(http: httpx.AsyncClient) -> None:
    for _ in range(2):
        await http.put("/v1/pulse/a")
        await http.delete("/v1/pulse/a")
    await http.delete("/v1/pulse/a?forget=true")
    await http.put("/v1/pulse/a")
    told = await history(http, "a")
    assert ([each["kind"] for each in told["changes"]], told["flaps"]) == (["online"], 0)


@pytest.mark.parametrize(
    ("path", "field"),
    [("a/history?days=3", "days"), ("me/history", "id"), ("a%20b/history", "id")],
)
async def test_a_past_that_cannot_be_asked_for_is_refused(
    path: str, field: str, http: httpx.AsyncClient
) -> None:
    await http.put("/v1/pulse/a")
    assert await refused(http, "GET", f"/v1/pulse/{path}") == (400, "bad_request", field)


async def test_whoever_may_watch_may_read_the_past(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await http.put("/v1/pulse/a")
    for wanted, status in (
        ({"scope": "watch"}, 200),
        ({"scope": "agent", "agent": "other"}, 200),
        ({"scope": "admin"}, 200),
        ({"scope": "poster", "poster": "p"}, 403),
    ):
        key = (await http.post("/v1/keys", json=wanted)).json()["key"]
        async with hub.client(key) as client:
            answer = await client.get("/v1/pulse/a/history")
            assert answer.status_code == status, wanted
    for key in ("", "ls_nobody_knows-this"):
        async with hub.client(key) as client:
            assert (await refused(client, "GET", "/v1/pulse/a/history"))[0] == 401


async def test_the_past_of_another_project_is_none(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await http.post("/v1/projects", json={"name": "other"})
    await http.put("/v1/pulse/a")
    async with hub.client(headers={"X-Lifesigns-Project": "other"}) as other:
        assert await refused(other, "GET", "/v1/pulse/a/history") == (404, "not_found", None)
