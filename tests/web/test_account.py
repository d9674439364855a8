"""Keys, projects and tickets over HTTP, against a running hub: who may come in, and how far."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lifesigns.core.instant import to_text
from tests.agent import connected, living
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S

TAKEN_OVER = "sk-live 0123456789/abc+def="
SCOPES: dict[str, dict[str, Any]] = {
    "watch": {"scope": "watch"},
    "agent": {"scope": "agent"},
    "tied": {"scope": "agent", "agent": "mine"},
    "prefix": {"scope": "agent", "agent": "mine*"},
    "poster": {"scope": "poster", "poster": "p"},
    "admin": {"scope": "admin"},
    "root": {"scope": "root"},
}


async def make(http: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    answer = await http.post("/v1/keys", json=wanted)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def ticket(http: httpx.AsyncClient, **wanted: Any) -> str:
    answer = await http.post("/v1/tickets", json=wanted)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["ticket"])


async def status(http: httpx.AsyncClient, path: str = "/v1/pulse") -> int:
    return (await http.get(path)).status_code


async def turns(status_code: int, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Ask until the answer has a status."""
    deadline = time.monotonic() + SOON_S
    while (answer := await ask()).status_code != status_code:
        assert time.monotonic() < deadline, (answer.status_code, answer.text)
        await asyncio.sleep(0.02)
    return answer


def ahead(**span: float) -> str:
    return to_text(round((datetime.now(UTC) + timedelta(**span)).timestamp() * 1000))


@contextlib.asynccontextmanager
async def two_hubs(url: str) -> AsyncIterator[tuple[RunningHub, RunningHub]]:
    async with running_hub(url) as one, running_hub(url) as two:
        yield one, two


# Keys.


async def test_a_key_is_shown_once(hub: RunningHub, http: httpx.AsyncClient) -> None:
    made = await make(http, scope="agent", agent="mine", name="for the cellar")
    secret = made.pop("key")
    assert secret.startswith(f"ls_{made['id']}_")
    assert {field: made[field] for field in ("scope", "agent", "poster", "name", "project")} == {
        "scope": "agent",
        "agent": "mine",
        "poster": None,
        "name": "for the cellar",
        "project": "default",
    }
    listed = (await http.get("/v1/keys")).json()["keys"]
    assert [each["id"] for each in listed] == ["root", made["id"]]
    assert listed[1] == made == (await http.get(f"/v1/keys/{made['id']}")).json()
    assert secret not in (await http.get("/v1/keys")).text
    async with hub.client(secret) as mine:
        assert (await mine.put("/v1/pulse/mine")).status_code == 200


# What a key of each scope may do; the rest is forbidden.
ALLOWED = {
    "GET /v1/pulse": "watch agent tied prefix poster admin root",  # a poster its jobs' agents
    "GET /v1/pulse/mine": "watch agent tied prefix admin root",
    "GET /v1/stats": "watch agent tied prefix admin root",
    "GET /v1/stats/history": "watch agent tied prefix admin root",
    "GET /v1/schedules": "watch agent tied prefix admin root",
    "GET /v1/runs?agent=mine": "watch agent tied prefix admin root",
    "GET /v1/inbox?agent=mine": "agent tied prefix admin root",
    "GET /v1/inbox?agent=yours": "agent admin root",
    "GET /v1/webhooks": "admin root",
    "POST /v1/check": "watch agent tied prefix admin root",
    "PUT /v1/pulse/mine": "agent tied prefix admin root",
    "PUT /v1/pulse/mine-2": "agent prefix admin root",
    "PUT /v1/pulse/yours": "agent admin root",
    "DELETE /v1/pulse/mine": "agent tied prefix admin root",
    "DELETE /v1/pulse/yours": "agent admin root",
    "DELETE /v1/pulse/mine?forget=true": "admin root",
    "GET /v1/keys": "admin root",
    "GET /v1/keys/root": "admin root",
    "POST /v1/keys": "admin root",
    "DELETE /v1/keys/nobody": "admin root",
    "GET /v1/projects": "root",
    "POST /v1/projects": "root",
    "GET /v1/projects/default": "root",
    "DELETE /v1/projects/nowhere": "root",
}


@pytest.mark.parametrize("kind", SCOPES)
async def test_a_key_may_do_what_its_scope_says(
    kind: str, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    for agent in ("mine", "mine-2", "yours"):
        await http.put(f"/v1/pulse/{agent}")
    bodies = {
        "/v1/check": {"agents": ["mine"]},
        "/v1/keys": {"scope": "watch"},
        "/v1/projects": {"name": "p"},
    }
    async with hub.client((await make(http, **SCOPES[kind]))["key"]) as client:
        for act, kinds in ALLOWED.items():
            method, _, path = act.partition(" ")
            answer = await client.request(method, path, json=bodies.get(path))
            may = kind in kinds.split()
            assert (answer.status_code != 403) is may, (act, answer.text)
            if not may:
                assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("kind", SCOPES)
async def test_nobody_hands_out_more_than_they_have(
    kind: str, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    may = {"admin": {"watch", "agent", "tied", "prefix", "poster", "admin"}, "root": set(SCOPES)}
    async with hub.client((await make(http, **SCOPES[kind]))["key"]) as client:
        for other, wanted in SCOPES.items():
            answer = await client.post("/v1/keys", json=wanted)
            assert answer.status_code == (201 if other in may.get(kind, set()) else 403), other


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "X-Agent-Token"])
async def test_a_key_travels_in_any_of_the_headers(
    header: str, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    key = (await make(http, scope="watch"))["key"]
    value = f"Bearer {key}" if header == "Authorization" else key
    async with hub.client("", headers={header: value}) as client:
        assert await status(client) == 200


async def test_a_bad_key_is_refused_even_if_another_is_good(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    good = (await make(http, scope="watch"))["key"]
    async with hub.client("ls_nobody_nothing", headers={"X-API-Key": good}) as client:
        assert await status(client) == 401


@pytest.mark.parametrize("key", ["", "ls_root_guess", "x" * 5000, "the-root-key-of-the-test", "ä"])
async def test_without_a_good_key_nothing_is_answered(key: str, hub: RunningHub) -> None:
    headers = {"Authorization": f"Bearer {key}".encode()} if key else {}
    async with hub.client("", headers=headers) as client:
        for method, path in (
            *(("GET", "/v1/pulse"), ("GET", "/v1/pulse/a"), ("GET", "/v1/stats")),
            *(("PUT", "/v1/pulse/a"), ("DELETE", "/v1/pulse/a"), ("POST", "/v1/pulse")),
            *(("POST", "/v1/check"), ("GET", "/v1/keys"), ("POST", "/v1/keys")),
            *(("GET", "/v1/projects"), ("POST", "/v1/tickets")),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    async with hub.client() as http:
        assert (await http.get("/v1/pulse?alive=any")).json()["total"] == 0


async def test_a_token_in_use_is_taken_over(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with hub.client(TAKEN_OVER) as client:
        assert await status(client) == 401
        made = await make(http, scope="agent", key=TAKEN_OVER)
        assert made["key"] == TAKEN_OVER
        assert await status(client) == 200  # though it was refused a moment ago
        assert (await client.put("/v1/pulse/a")).status_code == 200
    again = await http.post("/v1/keys", json={"scope": "watch", "key": TAKEN_OVER})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert TAKEN_OVER not in (await http.get("/v1/keys")).text


async def test_a_revoked_key_is_none_on_any_hub(fresh_url: str) -> None:
    async with two_hubs(fresh_url) as (one, two), one.client() as http:
        made = await make(http, scope="agent")
        async with one.client(made["key"]) as here, two.client(made["key"]) as there:
            assert [await status(here), await status(there)] == [200, 200]
            async with (
                living(one, "a", key=made["key"]) as near,
                living(two, "b", key=made["key"]) as far,
            ):
                revoked = await http.delete(f"/v1/keys/{made['id']}")
                assert revoked.json() == {"ok": True}
                assert await status(here) == 401
                assert [await near.ended(), await far.ended()] == [4010, 4010]
            await turns(401, lambda: there.get("/v1/pulse"))
        for agent in ("a", "b"):
            shown = (await http.get(f"/v1/pulse/{agent}")).json()
            assert (shown["state"], shown["reason"]) == ("offline", "revoked")
        assert (await http.get(f"/v1/keys/{made['id']}")).status_code == 404
        assert (await http.delete(f"/v1/keys/{made['id']}")).status_code == 404


async def test_a_key_ends_when_it_was_said_to(hub: RunningHub, http: httpx.AsyncClient) -> None:
    made = await make(http, scope="agent", expires_at=ahead(seconds=1.5))
    async with hub.client(made["key"]) as client, living(hub, "a", key=made["key"]) as agent:
        assert await status(client) == 200
        await turns(401, lambda: client.get("/v1/pulse"))
        assert await agent.ended() == 4010


async def test_the_root_key_is_not_revoked(http: httpx.AsyncClient) -> None:
    answer = await http.delete("/v1/keys/root")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert await status(http) == 200


BAD_KEYS: list[tuple[dict[str, Any], str]] = [
    ({}, "scope"),
    ({"scope": "king"}, "scope"),
    ({"scope": ["watch"]}, "scope"),
    ({"scope": "agent", "agent": "bad id"}, "agent"),
    ({"scope": "agent", "agent": "a*b"}, "agent"),
    ({"scope": "agent", "agent": 7}, "agent"),
    ({"scope": "watch", "agent": "a"}, "agent"),
    ({"scope": "poster"}, "poster"),
    ({"scope": "poster", "poster": ""}, "poster"),
    ({"scope": "watch", "poster": "p"}, "poster"),
    ({"scope": "watch", "name": "x" * 129}, "name"),
    ({"scope": "watch", "name": {}}, "name"),
    ({"scope": "watch", "expires_at": "tomorrow"}, "expires_at"),
    ({"scope": "watch", "expires_at": 1}, "expires_at"),
    ({"scope": "watch", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({"scope": "watch", "key": "x" * 15}, "key"),
    ({"scope": "watch", "key": "x" * 257}, "key"),
    ({"scope": "watch", "key": " " + "x" * 20}, "key"),
    ({"scope": "watch", "key": "x" * 20 + "\n"}, "key"),
    ({"scope": "watch", "key": 1234567890123456}, "key"),
]


async def test_a_key_that_cannot_be_is_not_made(http: httpx.AsyncClient) -> None:
    for wanted, field in BAD_KEYS:
        answer = await http.post("/v1/keys", json=wanted)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_value"), wanted
        assert answer.json()["detail"][0]["field"] == field
    assert [each["id"] for each in (await http.get("/v1/keys")).json()["keys"]] == ["root"]


# Projects.


async def test_a_project_sees_nothing_of_the_others(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    for name, spread in (("small", "one"), ("large", "all")):
        made = await http.post("/v1/projects", json={"name": name, "spread": spread})
        assert (made.status_code, made.json()["name"]) == (201, name)
    names = [each["name"] for each in (await http.get("/v1/projects")).json()["projects"]]
    assert names == ["default", "large", "small"]
    assert (await http.get("/v1/projects/small")).json()["spread"] == 1
    uuids = set()
    for name in names:
        in_project = {"X-Lifesigns-Project": name}
        key = (await http.post("/v1/keys", json={"scope": "admin"}, headers=in_project)).json()
        assert key["project"] == name
        async with hub.client(key["key"]) as client:
            told = await client.put("/v1/pulse/a", json={"task": f"of {name}"})
            uuids.add(told.json()["uuid"])
            assert len((await client.get("/v1/keys")).json()["keys"]) == 1 + (name == "default")
            assert (await client.get("/v1/pulse/a", headers=in_project)).status_code == 200
        shown = await http.get("/v1/pulse/a", headers=in_project)
        assert shown.json()["task"] == f"of {name}"
    assert len(uuids) == 3


async def test_only_the_root_key_names_a_project(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await http.post("/v1/projects", json={"name": "p"})
    named = {"X-Lifesigns-Project": "p"}
    async with hub.client((await make(http, scope="admin"))["key"], headers=named) as admin:
        assert await status(admin) == 403
    for name in ("nowhere", "", "x" * 5000, "Ä"):
        headers = {b"X-Lifesigns-Project": name.encode()}
        answer = await http.get("/v1/pulse", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), name


async def test_a_deleted_project_takes_its_keys_and_agents_along(fresh_url: str) -> None:
    async with two_hubs(fresh_url) as (one, two), one.client() as http, two.client() as far:
        named = {"X-Lifesigns-Project": "p"}
        await http.post("/v1/projects", json={"name": "p"})
        made = (await far.post("/v1/keys", json={"scope": "agent"}, headers=named)).json()
        async with two.client(made["key"]) as member, living(two, "a", key=made["key"]) as agent:
            await member.put("/v1/pulse/b")
            assert (await http.delete("/v1/projects/p")).json() == {"ok": True}
            await turns(401, lambda: member.get("/v1/pulse"))
            assert await agent.ended() in (1000, 4010)
        for client in (http, far):
            await turns(404, lambda c=client: c.get("/v1/pulse", headers=named))  # type: ignore[misc]
        assert (await http.delete("/v1/projects/p")).status_code == 404
        await http.post("/v1/projects", json={"name": "p"})
        for client in (http, far):
            found = await client.get("/v1/pulse?alive=any", headers=named)
            assert found.json()["total"] == 0


async def test_a_project_that_is_made_anew_is_the_same_on_every_hub(fresh_url: str) -> None:
    """A hub went on looking for agents over as many partitions as the former project had."""
    async with two_hubs(fresh_url) as (one, two), one.client() as http, two.client() as far:
        named = {"X-Lifesigns-Project": "p"}
        for spread in ("one", "all"):
            await http.post("/v1/projects", json={"name": "p", "spread": spread})
            for i in range(8):
                told = await far.put(f"/v1/pulse/a{i}", headers=named)
                assert told.status_code == 200
                assert (await http.get(f"/v1/pulse/a{i}", headers=named)).status_code == 200
            await http.delete("/v1/projects/p")
            await turns(404, lambda: far.get("/v1/pulse", headers=named))


async def test_the_default_project_stays_with_its_agents(http: httpx.AsyncClient) -> None:
    await http.put("/v1/pulse/a")
    answer = await http.delete("/v1/projects/default")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert (await http.get("/v1/pulse")).json()["total"] == 1


BAD_PROJECTS: list[tuple[dict[str, Any], int, str]] = [
    ({}, 422, "name"),
    ({"name": ""}, 422, "name"),
    ({"name": "Big"}, 422, "name"),
    ({"name": "-a"}, 422, "name"),
    ({"name": "a/b"}, 422, "name"),
    ({"name": "x" * 65}, 422, "name"),
    ({"name": 1}, 422, "name"),
    ({"name": "p", "spread": "some"}, 422, "spread"),
    ({"name": "default"}, 409, "name"),
    ({"name": "taken"}, 409, "name"),
]


async def test_a_project_that_cannot_be_is_not_made(http: httpx.AsyncClient) -> None:
    await http.post("/v1/projects", json={"name": "taken"})
    for wanted, status_code, field in BAD_PROJECTS:
        answer = await http.post("/v1/projects", json=wanted)
        assert answer.status_code == status_code, wanted
        assert answer.json()["detail"][0]["field"] == field
    assert len((await http.get("/v1/projects")).json()["projects"]) == 2


# Tickets.


async def test_a_connect_ticket_opens_one_socket(hub: RunningHub, http: httpx.AsyncClient) -> None:
    key = (await make(http, scope="agent", agent="a"))["key"]
    async with hub.client(key) as client:
        paper = await ticket(client, **{"for": "connect"})
    async with connected(hub, key="", query=f"?ticket={paper}") as socket:
        assert (await socket.ask("hello", agent="a"))["type"] == "welcome"
    async with connected(hub, key="", query=f"?ticket={paper}") as socket:
        assert await socket.ended() == 4001


async def test_a_ticket_is_worth_what_its_key_is(hub: RunningHub, http: httpx.AsyncClient) -> None:
    key = (await make(http, scope="agent", agent="a"))["key"]
    async with hub.client(key) as client:
        paper = await ticket(client)
    async with connected(hub, key="", query=f"?ticket={paper}") as socket:
        await socket.say("hello", agent="b")
        assert await socket.ended() == 4003


async def test_a_login_ticket_makes_one_key_of_the_same_scope(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    admin = await make(http, scope="admin")
    async with hub.client(admin["key"]) as client, hub.client("") as stranger:
        paper = await ticket(client, **{"for": "login"})
        answer = await stranger.post("/v1/login", json={"ticket": paper})
        made = answer.json()
        assert (answer.status_code, made["scope"], made["project"]) == (200, "admin", "default")
        left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
        assert timedelta(hours=11) < left <= timedelta(hours=12)
        again = await stranger.post("/v1/login", json={"ticket": paper})
        assert (again.status_code, again.json()["code"]) == (401, "unauthorized")
        async with hub.client(made["key"]) as person:
            assert await status(person, "/v1/keys") == 200
            await http.delete(f"/v1/keys/{admin['id']}")  # and its logins with it
            await turns(401, lambda: person.get("/v1/keys"))


async def test_a_ticket_of_an_ended_key_is_none(hub: RunningHub, http: httpx.AsyncClient) -> None:
    made = await make(http, scope="watch")
    async with hub.client(made["key"]) as client, hub.client("") as stranger:
        paper = await ticket(client, **{"for": "login"})
        await http.delete(f"/v1/keys/{made['id']}")
        assert (await stranger.post("/v1/login", json={"ticket": paper})).status_code == 401


async def test_the_root_key_has_tickets_too(hub: RunningHub, http: httpx.AsyncClient) -> None:
    paper = await ticket(http, **{"for": "login"})
    async with hub.client("") as stranger:
        made = (await stranger.post("/v1/login", json={"ticket": paper})).json()
    assert made["scope"] == "root"
    async with hub.client(made["key"]) as person:
        assert await status(person, "/v1/projects") == 200


async def test_a_ticket_serves_its_own_purpose_only(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    paper = await ticket(http, **{"for": "connect"})
    async with hub.client("") as stranger:
        assert (await stranger.post("/v1/login", json={"ticket": paper})).status_code == 401
    async with connected(hub, key="", query=f"?ticket={paper}") as socket:  # it was not spent
        assert (await socket.ask("hello"))["type"] == "welcome"


async def test_a_ticket_ends(hub: RunningHub, http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/tickets", json={"for": "login", "ttl": 1})).json()
    left = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert left <= timedelta(seconds=1)
    await asyncio.sleep(1.1)
    async with hub.client("") as stranger:
        login = await stranger.post("/v1/login", json={"ticket": answer["ticket"]})
        assert login.status_code == 401


BAD_TICKETS: list[tuple[dict[str, Any], str]] = [
    ({"for": "lunch"}, "for"),
    ({"for": ["login"]}, "for"),
    ({"for": "connect", "ttl": 31}, "ttl"),
    ({"for": "login", "ttl": 901}, "ttl"),
    ({"for": "events", "ttl": 3601}, "ttl"),
    ({"for": "login", "ttl": 0}, "ttl"),
    ({"for": "login", "ttl": True}, "ttl"),
    ({"for": "login", "ttl": "60"}, "ttl"),
]


async def test_a_ticket_that_cannot_be_is_not_made(http: httpx.AsyncClient) -> None:
    for wanted, field in BAD_TICKETS:
        answer = await http.post("/v1/tickets", json=wanted)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_value"), wanted
        assert answer.json()["detail"][0]["field"] == field


BAD_LOGINS: list[tuple[dict[str, Any], int]] = [
    ({}, 422),
    ({"ticket": None}, 422),
    ({"ticket": 7}, 422),
    ({"ticket": ""}, 401),
    ({"ticket": "lt_guess"}, 401),
    ({"ticket": "x" * 10_000}, 401),
]


async def test_a_login_without_a_good_ticket_is_refused(hub: RunningHub) -> None:
    async with hub.client("") as stranger:
        for body, status_code in BAD_LOGINS:
            answer = await stranger.post("/v1/login", json=body)
            assert answer.status_code == status_code, body
