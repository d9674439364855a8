"""The operator's word over HTTP, against running hubs: on one agent, and on all of a prefix."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from lifesigns.core.instant import to_text
from lifesigns.store.operator import STANDING
from tests.agent import becomes, living, presence
from tests.hub import RunningHub, running_hub
from tests.watcher import watching
from tests.web.refusal import refused

DRAINING = {"state": "draining", "why": "a new disk"}


async def say(http: httpx.AsyncClient, name: str, **override: Any) -> dict[str, Any]:
    answer = await http.put(f"/v1/pulse/{name}/override", json=override)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def unsay(http: httpx.AsyncClient, name: str) -> dict[str, Any]:
    answer = await http.delete(f"/v1/pulse/{name}/override")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def put(http: httpx.AsyncClient, agent: str, **said: Any) -> dict[str, Any]:
    answer = await http.put(f"/v1/pulse/{agent}", json=said)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def states(http: httpx.AsyncClient) -> dict[str, str]:
    answer = await http.get("/v1/pulse", params={"alive": "any"})
    return {each["id"]: each["state"] for each in answer.json()["agents"]}


def in_ms(hub: RunningHub, ms: int) -> str:
    return to_text(hub.hub.clock.at_ms(hub.hub.lobby.loop.time()) + ms)


async def test_it_counts_before_the_agent_s_own_word_until_it_is_taken_back(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a", status="busy") as agent, watching(hub) as watcher:
        told = await say(http, "a", **DRAINING)
        shown = {"state": "draining", "why": "a new disk", "until": None}
        assert (told["state"], told["override"], told["status"]) == ("draining", shown, "busy")
        await agent.beat(status="idle")  # whatever it says
        seen = await presence(http, "a")
        assert (seen["state"], seen["override"], seen["free_slots"]) == ("draining", shown, 0)
        assert (await http.get("/v1/pulse/a/override")).json() == {"id": "a", "override": shown}
        told = await say(http, "a", state="error")
        assert (told["state"], told["override"]["why"]) == ("error", None)
        told = await unsay(http, "a")
        assert (told["state"], told["override"]) == ("available", None)
        assert await unsay(http, "a") == told  # again is no change
        await watcher.sees(lambda: len(watcher.changes) == 4)
        assert [each["state"] for each in watcher.changes] == [
            *("draining", "draining", "error", "available"),
        ]
    assert await refused(http, "GET", "/v1/pulse/a/override") == (404, "not_found", None)


async def test_it_ends_by_itself(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await put(http, "a")
    until = in_ms(hub, 600)
    told = await say(http, "a", state="draining", until=until)
    assert (told["state"], told["override"]["until"]) == ("draining", until)
    await becomes(http, "a", state="available", override=None)


async def test_an_agent_that_is_away_comes_back_overridden(http: httpx.AsyncClient) -> None:
    await put(http, "a")
    await http.delete("/v1/pulse/a")
    assert (await say(http, "a", **DRAINING))["state"] == "offline"
    assert (await put(http, "a"))["state"] == "draining"


async def test_a_prefix_means_all_who_are_there_and_all_who_come(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as two,
        one.client() as http,
        living(one, "rack7-0"),
        living(one, "rack8-0"),
    ):
        beats = [{"id": f"rack7-{number}"} for number in range(1, 40)]
        assert (await http.post("/v1/pulse", json={"beats": beats})).status_code == 200
        told = await say(http, "rack7-*", **DRAINING)
        assert told == {
            "id": "rack7-*",
            "override": {"state": "draining", "why": "a new disk", "until": None},
            "agents": 40,
        }
        async with living(two, "rack7-new", status="busy"), living(two, "rack8-new"):
            await put(http, "rack7-posted")
            by_state = await states(http)
            drained = {agent for agent, state in by_state.items() if state == "draining"}
            assert drained == {agent for agent in by_state if agent.startswith("rack7-")}
            assert len(drained) == 42
            standing = await http.get("/v1/pulse/rack7-*/override")
            assert standing.json() == {"id": "rack7-*", "override": told["override"]}
            assert (await unsay(http, "rack7-*"))["agents"] == 42
            await put(http, "rack7-later")
            assert set((await states(http)).values()) == {"available", "busy"}
        assert (await refused(http, "GET", "/v1/pulse/rack7-*/override"))[0] == 404


async def test_the_longest_prefix_counts_and_one_agent_may_be_let_out(
    http: httpx.AsyncClient,
) -> None:
    await say(http, "*", **DRAINING)
    await say(http, "gpu-*", state="error")
    assert (await put(http, "gpu-1"))["state"] == "error"
    assert (await put(http, "cpu-1"))["state"] == "draining"
    assert (await unsay(http, "gpu-1"))["state"] == "available"
    assert (await put(http, "gpu-1"))["state"] == "available"


async def test_a_standing_one_ends_by_itself_too(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await put(http, "x-1")
    ends = in_ms(hub, 600)
    await say(http, "x-*", state="draining", until=ends)
    assert (await put(http, "x-2"))["override"]["until"] == ends
    for agent in ("x-1", "x-2"):
        await becomes(http, agent, state="available")
    assert (await put(http, "x-3"))["state"] == "available"


async def test_what_was_said_of_prefixes_ends_with_the_project(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    """Agents of a project that was made anew under the same name were drained from the start."""
    for name in ("p*", "*"):
        await http.post("/v1/projects", json={"name": "again"})
        async with hub.client(headers={"X-Lifesigns-Project": "again"}) as project:
            assert (await put(project, "p1"))["override"] is None
            await say(project, name, state="draining")
            assert (await put(project, "p1"))["state"] == "draining"
        await http.delete("/v1/projects/again")


async def test_prefixes_have_a_bound(http: httpx.AsyncClient) -> None:
    for number in range(STANDING):
        await say(http, f"p{number}-*", **DRAINING)
    await say(http, "p0-*", state="error")  # said anew, it takes no other place
    answer = await refused(http, "PUT", "/v1/pulse/more-*/override", json=DRAINING)
    assert answer == (409, "conflict", None)


async def test_only_an_admin_overrides_and_whoever_watches_sees_it(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await put(http, "a")
    await say(http, "a", **DRAINING)
    for scope in ("watch", "agent"):
        made = (await http.post("/v1/keys", json={"scope": scope})).json()
        async with hub.client(made["key"]) as other:
            for method in ("PUT", "DELETE"):
                answer = await refused(other, method, "/v1/pulse/a/override")
                assert answer[:2] == (403, "forbidden")
            assert (await other.get("/v1/pulse/a/override")).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "state"),
        ({"state": "busy"}, "state"),
        ({"state": ["error"]}, "state"),
        ({"state": "error", "why": 7}, "why"),
        ({"state": "error", "why": "x" * 1025}, "why"),
        ({"state": "error", "until": "soon"}, "until"),
        ({"state": "error", "until": 7}, "until"),
        ({"state": "error", "until": "2020-01-01T00:00:00.000Z"}, "until"),
    ],
)
async def test_bad_ones_are_refused_by_their_field(
    http: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    await put(http, "a")
    answer = await refused(http, "PUT", "/v1/pulse/a/override", json=body)
    assert answer == (422, "bad_value", field)
    assert (await presence(http, "a"))["override"] is None


async def test_who_is_not_there_cannot_be_overridden(http: httpx.AsyncClient) -> None:
    for method in ("PUT", "DELETE"):
        body = {"json": DRAINING} if method == "PUT" else {}
        answer = await refused(http, method, "/v1/pulse/never/override", **body)
        assert answer == (404, "not_found", None)
        answer = await refused(http, method, "/v1/pulse/a*b/override", **body)
        assert answer == (400, "bad_request", "id")
