"""Presence over HTTP, of many at once: the list with its filters and pages, and beats in bulk."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from lifesigns.web.description.schema import SCHEMAS
from tests.agent import presence
from tests.hub import RunningHub, running_hub

LITE = set(SCHEMAS["Lite"]["properties"])
FLEET: list[dict[str, Any]] = [
    {
        "id": "crawl-1",
        "status": "thinking",
        "group": "night",
        "host": "h1",
        "capabilities": ["fetch", "search"],
        "metadata": {"depth": 3, "version": "1.10", "ready": True},
    },
    {
        "id": "crawl-2",
        "status": "idle",
        "group": "night",
        "host": "h2",
        "capabilities": ["fetch"],
        "metadata": {"depth": 3.5, "version": "1.1", "ready": False},
    },
    {
        "id": "plan-1",
        "status": "error",
        "group": "day",
        "name": "Ann",
        "did": "did:web:plan",
        "metadata": {"depth": "3", "version": None, "ready": 1},
    },
    {"id": "plan-2", "status": "whatever", "group": "night watch & co"},
]


async def bulk(http: httpx.AsyncClient, *beats: Any) -> list[dict[str, Any]]:
    answer = await http.post("/v1/pulse", json={"beats": beats})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def listed(http: httpx.AsyncClient, query: str = "") -> dict[str, Any]:
    answer = await http.get(f"/v1/pulse{query}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def ids(http: httpx.AsyncClient, query: str = "") -> list[str]:
    return [each["id"] for each in (await listed(http, query))["agents"]]


@pytest.fixture
async def fleet(http: httpx.AsyncClient) -> httpx.AsyncClient:
    """Make four living agents and one that left."""
    await bulk(http, *FLEET, {"id": "gone", "group": "night", "status": "idle"})
    await http.delete("/v1/pulse/gone")
    return http


# The list.


async def test_the_list_shows_the_living_by_id(fleet: httpx.AsyncClient) -> None:
    page = await listed(fleet)
    assert [each["id"] for each in page["agents"]] == ["crawl-1", "crawl-2", "plan-1", "plan-2"]
    assert (page["count"], page["total"], page["next"]) == (4, 4, None)
    assert page["agents"][0] == await presence(fleet, "crawl-1")


async def test_an_empty_list_is_one(http: httpx.AsyncClient) -> None:
    assert await listed(http) == {"agents": [], "count": 0, "total": 0, "next": None}


QUERIES = [
    ("alive=true", "crawl-1 crawl-2 plan-1 plan-2"),
    ("alive=false", "gone"),
    ("alive=any", "crawl-1 crawl-2 gone plan-1 plan-2"),
    ("ids=plan-1", "plan-1"),
    ("ids=crawl-*&ids=plan-2", "crawl-1 crawl-2 plan-2"),
    ("ids=*&alive=any", "crawl-1 crawl-2 gone plan-1 plan-2"),
    ("ids=craw", ""),
    ("state=busy", "crawl-1"),
    ("state=available&state=error", "crawl-2 plan-1 plan-2"),
    ("state=offline", "gone"),
    ("state=offline&state=busy", "crawl-1 gone"),
    ("state=offline&alive=true", ""),
    ("status=thinking&status=whatever", "crawl-1 plan-2"),
    ("status=THINKING", ""),
    ("dialect=pulse", "crawl-1 crawl-2 plan-1 plan-2"),
    ("dialect=other", ""),
    ("group=night", "crawl-1 crawl-2"),
    ("group=night&alive=any", "crawl-1 crawl-2 gone"),
    ("group=night+watch+%26+co", "plan-2"),
    ("name=Ann", "plan-1"),
    ("host=h1&host=h2", "crawl-1 crawl-2"),
    ("did=did:web:plan", "plan-1"),
    ("capability=fetch", "crawl-1 crawl-2"),
    ("capability=fetch&capability=search", "crawl-1"),
    ("capability=none", ""),
    ("metadata.depth=3", "crawl-1 plan-1"),  # the number, and the text
    ("metadata.depth=3.5", "crawl-2"),
    ("metadata.depth=3&metadata.depth=3.5", "crawl-1 crawl-2 plan-1"),
    ("metadata.version=1.10", "crawl-1"),
    ("metadata.version=null", "plan-1 plan-2"),
    ("metadata.ready=true", "crawl-1"),
    ("metadata.ready=1", "plan-1"),
    ("metadata.ready=true&metadata.depth=3", "crawl-1"),
    ("group=night&state=busy&capability=search&metadata.depth=3", "crawl-1"),
    ("group=day&state=busy", ""),
]


async def test_the_list_keeps_what_fits_all_that_is_asked(fleet: httpx.AsyncClient) -> None:
    for query, expected in QUERIES:
        assert await ids(fleet, f"?{query}") == expected.split(), query


async def test_pages_follow_each_other_and_skip_nobody(fleet: httpx.AsyncClient) -> None:
    seen, after = [], ""
    for _ in range(3):
        page = await listed(fleet, f"?alive=any&limit=2&after={after}")
        assert (page["count"], page["total"]) == (len(page["agents"]), 5)
        seen += [each["id"] for each in page["agents"]]
        after = page["next"]
    assert seen == ["crawl-1", "crawl-2", "gone", "plan-1", "plan-2"]
    assert after is None
    assert await ids(fleet, "?after=crawl-1&limit=1") == ["crawl-2"]
    assert await ids(fleet, "?after=crawl-15") == ["crawl-2", "plan-1", "plan-2"]
    assert await ids(fleet, "?after=z") == []


async def test_a_page_that_ends_with_the_last_has_no_next(fleet: httpx.AsyncClient) -> None:
    assert (await listed(fleet, "?limit=4"))["next"] is None
    assert (await listed(fleet, "?limit=3"))["next"] == "plan-1"


async def test_the_list_tells_in_the_detail_that_is_asked_for(fleet: httpx.AsyncClient) -> None:
    (lite,) = (await listed(fleet, "?ids=plan-1&detail=lite"))["agents"]
    assert set(lite) == LITE
    (full,) = (await listed(fleet, "?ids=plan-1&expand=instances"))["agents"]
    assert [each["instance"] for each in full["instances"]] == ["-"]
    assert await listed(fleet, "?detail=counts&alive=any&group=night") == {
        "counts": {"busy": 1, "available": 1, "offline": 1},
        "total": 3,
    }


BAD_QUERIES = [
    ("colour=red", "colour"),
    ("metadata.=1", "metadata."),
    ("alive=maybe", "alive"),
    ("state=tired", "state"),
    ("detail=everything", "detail"),
    ("expand=claims", "expand"),
    ("limit=0", "limit"),
    ("limit=10001", "limit"),
    ("limit=-1", "limit"),
    ("limit=1.5", "limit"),
    ("limit=many", "limit"),
    ("limit=", "limit"),
    (f"limit={'9' * 5000}", "limit"),
    ("limit=1&limit=2", "limit"),
    ("alive=any&alive=any", "alive"),
]


async def test_a_list_that_is_asked_for_wrongly_is_refused(http: httpx.AsyncClient) -> None:
    for query, field in BAD_QUERIES:
        answer = await http.get(f"/v1/pulse?{query}")
        body = answer.json()
        assert (answer.status_code, body["code"]) == (400, "bad_request"), query
        assert body["detail"] == [{"field": field, "message": body["error"]}]


async def test_a_long_list_is_told_whole(http: httpx.AsyncClient) -> None:
    names = [f"agent-{i:04}" for i in range(1200)]
    for start in (0, 600):
        await bulk(http, *({"id": name, "task": "x"} for name in names[start : start + 600]))
    page = await listed(http)
    assert [each["id"] for each in page["agents"]] == names
    assert (page["count"], page["total"], page["next"]) == (1200, 1200, None)
    assert {each["task"] for each in page["agents"]} == {"x"}


async def test_two_hubs_list_the_same(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as two,
        one.client() as here,
        two.client() as there,
    ):
        await bulk(here, *FLEET[:2])
        await bulk(there, *FLEET[2:])
        await here.delete("/v1/pulse/plan-1")
        assert await listed(here, "?alive=any") == await listed(there, "?alive=any")
        assert await ids(there) == ["crawl-1", "crawl-2", "plan-2"]


# Bulk.


async def test_each_beat_of_a_bulk_has_its_result_in_its_place(http: httpx.AsyncClient) -> None:
    results = await bulk(http, *FLEET)
    assert [each["id"] for each in results] == [each["id"] for each in FLEET]
    assert all(set(each) == LITE for each in results)
    assert [each["state"] for each in results] == ["busy", "available", "error", "available"]
    shown = await presence(http, "crawl-1")
    assert {field: shown[field] for field in LITE} == results[0]
    assert shown["metadata"] == FLEET[0]["metadata"]


async def test_bad_beats_harm_no_other(http: httpx.AsyncClient) -> None:
    results = await bulk(
        http,
        {"id": "a", "status": "busy"},
        {"id": "b", "status": 7},
        {"id": "bad id"},
        {"status": "busy"},
        "no map",
        None,
        {"id": "me"},
        {"id": "c", "ttl": 0.5},
        {"id": "d", "context": "x" * 70_000},
        {"id": "e", "metadata": {"deep": {"in": 2**63 - 1}}},
        {"id": ["a", "list"]},
        {"id": "a", "task": "x"},
    )
    told = [(each.get("code"), each.get("field")) for each in results]
    assert told == [
        (None, None),
        ("bad_value", "status"),
        ("bad_request", "id"),
        ("bad_request", "id"),
        ("bad_value", None),
        ("bad_value", None),
        ("bad_request", "id"),
        ("bad_value", "ttl"),
        ("bad_value", None),
        (None, None),
        ("bad_request", "id"),
        (None, None),
    ]
    assert [each["id"] for each in results[1:4]] == ["b", "bad id", None]
    assert all("error" in each for each in results if "code" in each)
    assert await ids(http, "?alive=any") == ["a", "e"]
    shown = await presence(http, "a")
    assert (shown["status"], shown["task"]) == ("busy", "x")


async def test_a_bulk_is_stored_in_its_order(http: httpx.AsyncClient) -> None:
    await bulk(http, *({"id": "a", "task": f"task {i}", "ttl": 10 + i} for i in range(15)))
    assert (await presence(http, "a"))["task"] == "task 14"


async def test_a_bulk_speaks_for_whom_its_key_may(hub: RunningHub, http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/keys", json={"scope": "agent", "agent": "mine-*"})
    async with hub.client(made.json()["key"]) as tied:
        results = await bulk(tied, {"id": "mine-1"}, {"id": "yours"}, {"id": "mine-2"})
    assert [each.get("code") for each in results] == [None, "forbidden", None]
    assert await ids(http) == ["mine-1", "mine-2"]


async def test_a_bulk_takes_a_thousand_beats_and_no_more(http: httpx.AsyncClient) -> None:
    beats = [{"id": f"a{i}", "metadata": {"m": "x" * 3000}} for i in range(1001)]
    results = await bulk(http, *beats[:1000])
    assert [each["alive"] for each in results] == [True] * 1000
    answer = await http.post("/v1/pulse", json={"beats": [{"id": f"b{i}"} for i in range(1001)]})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_value")
    assert (await listed(http, "?detail=counts"))["total"] == 1000


@pytest.mark.parametrize("body", [{}, {"beats": None}, {"beats": {"id": "a"}}, {"beats": "a"}])
async def test_a_bulk_is_a_list_of_beats(body: dict[str, Any], http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/pulse", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_value")
    assert answer.json()["detail"][0]["field"] == "beats"


async def test_an_empty_bulk_has_no_results(http: httpx.AsyncClient) -> None:
    assert await bulk(http) == []


async def test_who_beats_too_often_in_a_bulk_is_told_and_keeps_its_lease(fresh_url: str) -> None:
    async with running_hub(fresh_url, beats_per_s=0.1, burst_s=11.0) as hub, hub.client() as http:
        beats = [{"id": "a", "task": f"task {i}"} for i in range(4)]
        results = await bulk(http, *beats, {"id": "b"})
        told = [each.get("code") for each in results]
        assert told == [None, None, "rate_limited", "rate_limited", None]
        assert (await presence(http, "a"))["task"] == "task 1"
