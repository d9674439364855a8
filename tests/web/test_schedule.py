"""The schedules of a project, all at once."""

from __future__ import annotations

import httpx

from tests.bot import Bot
from tests.hub import RunningHub


async def test_all_schedules_of_a_project_are_listed_and_those_of_one_agent(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    assert (await http.get("/v1/schedules")).json() == {"schedules": [], "total": 0}
    made = [await Bot(http, name).configure(prompt=f"for {name}") for name in ("a", "b", "c")]
    told = (await http.get("/v1/schedules")).json()
    assert told["total"] == 3
    assert {each["uuid"] for each in told["schedules"]} == {each["uuid"] for each in made}
    assert {each["agent"]: each["prompt"] for each in told["schedules"]} == {
        name: f"for {name}" for name in ("a", "b", "c")
    }
    one = (await http.get("/v1/schedules", params={"agent": "b"})).json()
    assert [each["uuid"] for each in one["schedules"]] == [made[1]["uuid"]]
    few = (await http.get("/v1/schedules", params={"limit": "2"})).json()
    assert (len(few["schedules"]), few["total"]) == (2, 3)
    await Bot(http, "b").good("DELETE", "heartbeat/delete", heartbeat_id=made[1]["uuid"])
    assert (await http.get("/v1/schedules")).json()["total"] == 2


async def test_the_list_is_for_whoever_may_watch_and_its_query_is_checked(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    watcher = (await http.post("/v1/keys", json={"scope": "watch"})).json()["key"]
    async with hub.client(watcher) as client:
        assert (await client.get("/v1/schedules")).status_code == 200
    async with hub.client("") as stranger:
        assert (await stranger.get("/v1/schedules")).status_code == 401
    for query in ({"limit": "0"}, {"agent": "no id"}, {"unknown": "1"}):
        assert (await http.get("/v1/schedules", params=query)).status_code == 400
