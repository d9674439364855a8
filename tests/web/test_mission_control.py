"""The agents API of Mission Control on running hubs: who is enrolled, lives, and may do what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifesigns.core.presence import agent_uuid
from tests.agent import connected
from tests.hub import RunningHub, running_hub
from tests.patience import until_told
from tests.server import Server

AGENTS = "/api/v1/agents"
BEAT = f"{AGENTS}/heartbeat"


async def beat(http: httpx.AsyncClient, name: str, **said: Any) -> dict[str, Any]:
    return await told(http, "POST", BEAT, {"name": name, **said})


async def told(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> dict[str, Any]:
    answer = await http.request(method, path, json=body)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def make_key(http: httpx.AsyncClient, **wanted: Any) -> str:
    return str((await told(http, "POST", "/v1/keys", wanted))["key"])


def shows(key: str) -> dict[str, str]:
    return {"X-Agent-Token": key}


def token_in(text: str) -> str:
    (line,) = [each for each in text.splitlines() if each.startswith("AGENT_TOKEN=")]
    return line.removeprefix("AGENT_TOKEN=")


def folders(place: Path) -> list[str]:
    return sorted(each.name for each in place.glob("workspace-mc-*"))


def read(place: Path, agent: str, name: str = "TOOLS.md") -> str:
    return (place / f"workspace-mc-{agent}" / name).read_text()


# The first heartbeat.


async def test_hubs_that_get_the_same_first_heartbeat_make_one_agent(
    fresh_url: str, tmp_path: Path
) -> None:
    async with (
        running_hub(fresh_url, data_dir=tmp_path) as here,
        running_hub(fresh_url, data_dir=tmp_path) as there,
        here.client() as one,
        there.client() as two,
    ):
        name = "One of a Kind"
        said = {"status": "healthy"}
        made = await asyncio.gather(*[beat((one, two)[i % 2], name, **said) for i in range(16)])
        (agent,) = {each["id"] for each in made}
        assert len({each["gateway_agent_id"] for each in made}) == 1
        assert folders(tmp_path) == [f"workspace-mc-{agent}"]
        keys = (await told(one, "GET", "/v1/keys"))["keys"]
        assert [each["agent"] for each in keys if each["scope"] == "agent"] == [agent]
        assert (await told(two, "GET", AGENTS))["total"] == 1
        token = token_in(read(tmp_path, agent))
        answer = await two.post("/api/v1/agent/heartbeat", headers=shows(token))
        assert (answer.status_code, answer.json()["id"]) == (200, agent)


async def test_the_key_of_a_new_agent_is_told_once_by_any_hub_to_who_enrolled_it(
    fresh_url: str, tmp_path: Path
) -> None:
    async with (
        running_hub(fresh_url, data_dir=tmp_path) as here,
        running_hub(fresh_url) as there,
        here.client() as http,
    ):
        agents_key = await make_key(http, scope="agent")
        async with there.client(agents_key) as own, there.client() as root:
            agent = (await beat(http, "Roots"))["id"]
            mine = (await beat(own, "Mine"))["id"]
            path = f"{AGENTS}/{mine}/files/TOOLS.md"
            assert token_in((await root.get(path)).text) == ""
            assert (await own.head(path)).status_code == 200
            first = await own.get(path)
            assert first.headers["content-type"].startswith("text/markdown")
            assert first.headers["cache-control"] == "no-store"
            token = token_in(first.text)
            assert token_in((await own.get(path)).text) == ""
            assert f"HUB_URL={there.url}\n" in first.text
            async with here.client(token) as agents_own:
                assert (await told(agents_own, "GET", "/api/v1/agent/healthz"))["agent_id"] == mine
                assert token_in((await agents_own.get(path)).text) == ""
                other = await agents_own.get(f"{AGENTS}/{agent}/files/TOOLS.md")
                assert other.status_code == 403
            assert token_in((await root.get(f"{AGENTS}/{agent}/files/TOOLS.md")).text)
        assert folders(tmp_path) == [f"workspace-mc-{agent}"]


async def test_a_workspace_leads_to_the_hub_as_it_was_called_through_a_proxy_too(
    fresh_url: str, tmp_path: Path
) -> None:
    async with running_hub(fresh_url, data_dir=tmp_path) as hub, hub.client() as http:
        proxied = {"Host": "hub.example", "X-Forwarded-Proto": "https"}
        named = {"a": {}, "b": proxied, "c": {"Host": "a`id`"}}
        found = {}
        for name, headers in named.items():
            agent = (await http.post(BEAT, json={"name": name}, headers=headers)).json()["id"]
            (found[name],) = [
                line for line in read(tmp_path, agent).splitlines() if line.startswith("HUB_URL=")
            ]
        assert found == {
            "a": f"HUB_URL={hub.url}",
            "b": "HUB_URL=https://hub.example",
            "c": f"HUB_URL={hub.url}",
        }


async def test_the_agents_own_key_speaks_for_it_everywhere_and_for_nobody_else(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    agent = (await told(http, "POST", AGENTS, {"name": "Worker"}))["id"]
    other = (await beat(http, "Other"))["id"]
    token = (await told(http, "POST", f"{AGENTS}/{agent}/token"))["token"]
    async with hub.client(token) as own:
        assert (await own.put(f"/v1/pulse/{other}")).status_code == 403
        assert (await own.post(f"{AGENTS}/{other}/heartbeat")).status_code == 403
    async with connected(hub, key=token) as socket:
        await socket.say("hello", agent=agent)
        assert (await socket.hear())["agent"] == agent
        answer = await told(http, "POST", f"{AGENTS}/{agent}/heartbeat", {"status": "busy"})
        assert answer["status"] == "busy"
        shown = await told(http, "GET", f"/v1/pulse/{agent}?expand=instances")
        assert [each["status"] for each in shown["instances"]] == ["busy"], "it is the socket's"
        assert (shown["name"], shown["dialect"]) == ("Worker", "mission_control")
        await told(http, "POST", f"{AGENTS}/{agent}/token")
        assert await socket.ended() == 4010, "its key has ended"


async def test_a_key_for_one_id_enrols_that_agent_under_its_name(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    key = await make_key(http, scope="agent", agent="worker-7")
    uuid = agent_uuid("default", "worker-7")
    async with hub.client(key) as own:
        assert (await told(own, "POST", "/api/v1/agent/heartbeat"))["is_mc_agent"] is False
        made = await beat(own, "Worker Seven", status="healthy")
        assert (made["id"], made["name"], made["is_mc_agent"]) == (uuid, "Worker Seven", True)
        for path in ("worker-7", uuid, uuid.upper(), uuid.replace("-", "")):
            assert (await told(own, "POST", f"{AGENTS}/{path}/heartbeat"))["id"] == uuid
    shown = await told(http, "GET", "/v1/pulse/worker-7")
    assert (shown["uuid"], shown["name"]) == (uuid, "Worker Seven")
    assert (await told(http, "GET", AGENTS))["total"] == 1
    await told(http, "DELETE", f"{AGENTS}/{uuid}")
    assert (await told(http, "GET", AGENTS))["total"] == 0


async def test_where_no_keys_are_asked_for_a_token_is_the_agent(
    fresh_url: str, tmp_path: Path
) -> None:
    async with (
        running_hub(fresh_url, auth=False, data_dir=tmp_path) as hub,
        hub.client("") as http,
    ):
        answers = [
            await http.post(BEAT, json={"name": name}, headers=shows(token))
            for token, name in (("token-a", "A"), ("token-b", "B"), ("token-a", "B"), ("", "C"))
        ]
        assert [each.status_code for each in answers] == [200, 200, 403, 200]
        own = await http.post("/api/v1/agent/heartbeat", headers=shows("token-a"))
        assert own.json()["name"] == "A"
        token = token_in(read(tmp_path, own.json()["id"]))
        same = await http.post("/api/v1/agent/heartbeat", headers=shows(token))
        assert same.json()["id"] == own.json()["id"]


async def test_projects_have_agents_of_their_own(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await told(http, "POST", "/v1/projects", {"name": "p"})
    here = await beat(http, "Worker")
    async with hub.client(headers={"X-Lifesigns-Project": "p"}) as project:
        there = await beat(project, "Worker")
        assert there["id"] != here["id"]
        assert there["gateway_id"] != here["gateway_id"]
        assert (await project.get(f"{AGENTS}/{here['id']}")).status_code == 404
        assert (await told(project, "GET", AGENTS))["total"] == 1
        assert (await told(project, "GET", "/api/v1/activity"))["total"] == 1
    await told(http, "DELETE", "/v1/projects/p")
    assert (await told(http, "GET", AGENTS))["total"] == 1


async def test_a_deleted_project_takes_the_workspaces_of_its_agents_along(
    fresh_url: str, tmp_path: Path
) -> None:
    """What had been written for its agents stayed in the data folder, a key of each in it."""
    async with running_hub(fresh_url, data_dir=tmp_path) as hub, hub.client() as http:
        kept = await beat(http, "Worker")
        await told(http, "POST", "/v1/projects", {"name": "p"})
        async with hub.client(headers={"X-Lifesigns-Project": "p"}) as project:
            for n in range(3):
                await beat(project, f"Worker {n}")
        assert len(folders(tmp_path)) == 4
        await told(http, "DELETE", "/v1/projects/p")
        assert folders(tmp_path) == [f"workspace-mc-{kept['id']}"]


# Life and death.


async def test_an_agent_is_offline_when_its_tolerance_is_over_and_back_with_its_next_beat(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    usual = await beat(http, "Usual")
    lease = await told(http, "GET", f"/v1/pulse/{usual['id']}?expand=instances")
    assert lease["instances"][0]["ttl"] == 120
    terms = {"missing_tolerance": 1, "interval_seconds": 1}
    await told(http, "POST", AGENTS, {"name": "Brief", "heartbeat_config": terms})
    agent = await beat(http, "Brief", status="degraded")
    path = f"{AGENTS}/{agent['id']}"

    async def gone() -> dict[str, Any] | None:
        read = await told(http, "GET", path)
        return read if read["status"] == "offline" else None

    read = await until_told(gone)
    assert read is not None
    assert read["last_seen_at"] == agent["last_seen_at"]
    assert (await told(http, "GET", "/api/v1/agents"))["items"][0]["status"] == "offline"
    shown = await told(http, "GET", f"/v1/pulse/{agent['id']}")
    assert (shown["state"], shown["reason"]) == ("offline", "expired")
    assert (await told(http, "POST", f"{path}/heartbeat"))["status"] == "degraded"


async def test_who_says_offline_twice_is_seen_later_and_changes_nothing(
    http: httpx.AsyncClient,
) -> None:
    agent = (await beat(http, "Worker"))["id"]
    path = f"{AGENTS}/{agent}/heartbeat"
    first = await told(http, "POST", path, {"status": "offline"})
    before = await told(http, "GET", f"/v1/pulse/{agent}")
    second = await told(http, "POST", path, {"status": "offline"})
    assert second["last_seen_at"] > first["last_seen_at"]
    assert await told(http, "GET", f"/v1/pulse/{agent}") == before


async def test_an_agent_that_was_forgotten_is_offline_and_comes_back_as_itself(
    http: httpx.AsyncClient,
) -> None:
    agent = await beat(http, "Worker")
    await told(http, "DELETE", f"/v1/pulse/{agent['id']}?forget=true")
    gone = await told(http, "GET", f"{AGENTS}/{agent['id']}")
    assert (gone["status"], gone["created_at"]) == ("offline", agent["created_at"])
    assert (await beat(http, "Worker"))["id"] == agent["id"]


async def test_who_beats_too_often_is_told_so_and_lives(fresh_url: str) -> None:
    async with running_hub(fresh_url, beats_per_s=1, burst_s=1) as hub, hub.client() as http:
        await beat(http, "Worker")
        agent = await beat(http, "Worker")
        refused = await http.post(BEAT, json={"name": "Worker"})
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
        assert refused.json()["detail"] == "At most 1 beats a second."
        later = await told(http, "GET", f"{AGENTS}/{agent['id']}")
        assert later["last_seen_at"] > agent["last_seen_at"]


async def test_the_same_is_kept_once_in_its_time_and_what_differs_at_once(
    fresh_url: str,
) -> None:
    async with running_hub(fresh_url, diary_gap_s=0) as hub, hub.client() as http:
        for _ in range(3):
            await beat(http, "Worker", status="healthy")
        assert (await told(http, "GET", "/api/v1/activity"))["total"] == 3


async def test_without_the_store_it_is_said_in_this_apis_own_way(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with running_hub(server.url, store_timeout_s=0.5) as hub, hub.client() as http:
        agent = (await beat(http, "Worker"))["id"]
        server.pause()
        for method, path in (
            ("POST", BEAT),
            ("POST", f"{AGENTS}/{agent}/heartbeat"),
            ("GET", AGENTS),
            ("GET", "/api/v1/activity"),
            ("GET", f"{AGENTS}/{agent}/files/TOOLS.md"),
        ):
            body = {"name": "Worker"} if method == "POST" else None
            answer = await http.request(method, path, json=body)
            assert answer.status_code == 503, path
            assert answer.json().keys() == {"detail", "request_id"}
            assert int(answer.headers["Retry-After"]) >= 1
        server.resume()


# Lists.


async def test_a_list_goes_through_all_agents_in_pages_whoever_they_are(
    http: httpx.AsyncClient,
) -> None:
    for n in range(4):
        await beat(http, f"enrolled-{n}")
    beats = [{"id": f"native-{n}"} for n in range(4)]
    await told(http, "POST", "/v1/pulse", {"beats": beats})
    whole = (await told(http, "GET", AGENTS))["items"]
    created = [each["created_at"] for each in whole]
    assert created == sorted(created, reverse=True)
    pages = [await told(http, "GET", f"{AGENTS}?limit=3&offset={n}") for n in (0, 3, 6, 9)]
    assert [each["id"] for page in pages for each in page["items"]] == [
        each["id"] for each in whole
    ]
    assert {page["total"] for page in pages} == {8}
    assert (await told(http, "GET", "/api/v1/agent/agents"))["items"] == whole


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("healthy", "available"),
        ("online", "available"),
        ("degraded", "degraded"),
        ("busy", "busy"),
        ("error", "error"),
        ("draining", "draining"),
        ("some word", "available"),
    ],
)
async def test_a_status_is_a_state_for_whoever_asks_in_our_own_words(
    status: str, state: str, http: httpx.AsyncClient
) -> None:
    agent = await beat(http, "Worker", status=status)
    assert agent["status"] == status
    checked = await told(http, "POST", "/v1/check", {"agents": [agent["id"]]})
    assert checked["agents"][agent["id"]]["state"] == state
    claim = await http.post("/v1/claims", json={"agent": agent["id"]})
    assert claim.status_code == (201 if state == "available" else 409)


async def test_answers_carry_the_requests_own_id(http: httpx.AsyncClient) -> None:
    answer = await http.get(AGENTS, headers={"X-Request-Id": "a-request/7"})
    assert answer.headers["X-Request-Id"] == "a-request/7"
    odd = await http.get(f"{AGENTS}/nobody", headers={"X-Request-Id": "x" * 200})
    assert odd.headers["X-Request-Id"] == odd.json()["request_id"] != "x" * 200
    assert "X-Request-Id" not in (await http.get("/v1/pulse")).headers
