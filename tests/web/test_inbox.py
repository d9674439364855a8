"""Inboxes over HTTP, and what sockets are told, against running hubs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from tests.agent import living
from tests.hub import RunningHub, running_hub
from tests.patience import until
from tests.server import Server
from tests.web.refusal import refused, told

MakeServer = Callable[..., Server]

LONG_S = 60  # nobody waits for so long who is told


async def put(http: httpx.AsyncClient, agent: str) -> None:
    answer = await http.put(f"/v1/pulse/{agent}", json={})
    assert answer.status_code == 200, answer.text


async def tell(http: httpx.AsyncClient, agent: str, body: Any) -> dict[str, Any]:
    answer = await http.post(f"/v1/pulse/{agent}/tell", json=body)
    assert answer.status_code == 201, answer.text
    letter: dict[str, Any] = answer.json()
    return letter


async def read(http: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await http.get("/v1/inbox", params=query)
    assert answer.status_code == 200, answer.text
    letters: list[dict[str, Any]] = answer.json()["messages"]
    return letters


async def make(hub: RunningHub, http: httpx.AsyncClient, **wanted: Any) -> httpx.AsyncClient:
    answer = await http.post("/v1/keys", json=wanted)
    assert answer.status_code == 201, answer.text
    return hub.client(answer.json()["key"])


async def waiting(hub: RunningHub, polls: int = 1) -> None:
    """Await that so many calls wait."""
    await until(lambda: len(hub.hub.lobby.streams) == polls)


async def test_what_an_agent_is_told_lies_in_its_inbox_until_it_is_acknowledged(
    http: httpx.AsyncClient,
) -> None:
    await put(http, "a")
    first = await tell(http, "a", {"message": {"do": "this"}, "unknown": 1})
    second = await tell(http, "a", {"do": "that"})
    third = await tell(http, "a", {"message": None})
    assert [first["message"], second["message"], third["message"]] == [
        {"do": "this"},
        {"do": "that"},
        None,
    ]
    assert {first["kind"], first["type"]} == {"tell"}
    answer = (await http.get("/v1/inbox", params={"agent": "a"})).json()
    assert answer == {"messages": [first, second, third], "next": third["id"]}
    assert await read(http, agent="a", after=first["id"]) == [second, third]
    taken = await http.post(f"/v1/inbox/{second['id']}/ack")
    assert (taken.status_code, taken.json()) == (200, {"ok": True})
    assert told(await http.post(f"/v1/inbox/{second['id']}/ack"))[:2] == (404, "not_found")
    assert await read(http, agent="a") == [first, third]
    empty = await http.get("/v1/inbox", params={"agent": "a", "after": third["id"]})
    assert empty.json() == {"messages": [], "next": third["id"]}


async def test_who_waits_is_told_at_once_whichever_hub_was_asked(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as two,
        one.client(timeout=LONG_S) as here,
        two.client() as there,
    ):
        await put(here, "a")
        asked = asyncio.create_task(read(here, agent="a", wait=LONG_S))
        await waiting(one)
        began = time.monotonic()
        letter = await tell(there, "a", {"message": "now"})
        assert await asked == [letter]
        assert time.monotonic() - began < LONG_S / 2
        await waiting(one, 0)


async def test_who_waits_in_vain_is_told_nothing(http: httpx.AsyncClient) -> None:
    began = time.monotonic()
    assert await read(http, agent="a", wait=1) == []
    assert time.monotonic() - began >= 0.9


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_a_socket_is_told_too_on_any_hub(fresh_url: str, codec: Codec) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as two,
        two.client() as http,
        living(one, "a", codec=codec) as agent,
    ):
        letter = await tell(http, "a", {"message": {"n": [1, None, "ü"]}})
        del letter["kind"]
        assert await agent.hear() == letter
        assert [each["id"] for each in await read(http, agent="a")] == [letter["id"]]


async def test_with_an_agent_its_inbox_is_forgotten(http: httpx.AsyncClient) -> None:
    await put(http, "a")
    await tell(http, "a", {"message": 1})
    assert (await http.delete("/v1/pulse/a?forget=true")).status_code == 200
    assert await read(http, agent="a") == []
    assert await refused(http, "POST", "/v1/pulse/a/tell", json={"message": 1}) == (
        *(404, "not_found"),
        None,
    )


async def test_an_agent_without_a_socket_is_told_of_its_claims(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await put(http, "a")
    asked = asyncio.create_task(read(http, agent="a", wait=LONG_S))
    await waiting(hub)
    answer = await http.post("/v1/claims", json={"agent": "a", "note": "ünter «two»"})
    assert answer.status_code == 201, answer.text
    claim = answer.json()
    (assigned,) = await asked
    assert (assigned["kind"], assigned["claim"]) == ("assigned", claim["claim"])
    assert (assigned["note"], assigned["fence"]) == ("ünter «two»", claim["fence"])
    asked = asyncio.create_task(read(http, agent="a", after=assigned["id"], wait=LONG_S))
    assert (await http.delete(f"/v1/claims/{claim['claim']}")).status_code == 200
    (unassigned,) = await asked
    assert (unassigned["kind"], unassigned["claim"]) == ("unassigned", claim["claim"])
    assert unassigned["why"]


async def test_an_agent_with_a_socket_is_told_of_its_claims_there(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a") as agent:
        claim = (await http.post("/v1/claims", json={"agent": "a"})).json()
        assert (await agent.hear())["claim"] == claim["claim"]
        assert await read(http, agent="a") == []


class TestScopes:
    async def test_an_agent_key_has_its_own_inbox_and_no_other(
        self, hub: RunningHub, http: httpx.AsyncClient
    ) -> None:
        await put(http, "a")
        await put(http, "b")
        other = await tell(http, "b", {"message": 1})
        async with await make(hub, http, scope="agent", agent="a") as own:
            letter = await tell(own, "a", {"message": 2})
            assert await read(own) == await read(own, agent="a") == [letter]
            for method, path in (
                ("GET", "/v1/inbox?agent=b"),
                ("POST", f"/v1/inbox/{other['id']}/ack"),
                ("POST", "/v1/pulse/b/tell"),
            ):
                body = {"json": {"message": 1}} if method == "POST" else {}
                assert (await refused(own, method, path, **body))[:2] == (403, "forbidden")
        async with await make(hub, http, scope="agent", agent="a*") as tied:
            assert (await refused(tied, "GET", "/v1/inbox"))[0] == 403  # it has no `me`
            assert await read(tied, agent="a") == [letter]

    async def test_who_only_watches_reads_nobody_s_inbox(
        self, hub: RunningHub, http: httpx.AsyncClient
    ) -> None:
        await put(http, "a")
        letter = await tell(http, "a", {"message": 1})
        async with await make(hub, http, scope="watch") as watch:
            for method, path in (
                ("GET", "/v1/inbox?agent=a"),
                ("POST", f"/v1/inbox/{letter['id']}/ack"),
                ("POST", "/v1/pulse/a/tell"),
            ):
                assert (await refused(watch, method, path))[:2] == (403, "forbidden")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "agent"),
        ({"agent": "no spaces"}, "agent"),
        ({"agent": "a", "wait": "61"}, "wait"),
        ({"agent": "a", "wait": "-1"}, "wait"),
        ({"agent": "a", "after": "yesterday"}, "after"),
        ({"agent": "a", "after": "1-0-b"}, "after"),
        ({"agent": "a", "status": "open"}, "status"),
    ],
)
async def test_a_bad_query_is_refused_by_its_field(
    http: httpx.AsyncClient, query: dict[str, str], field: str
) -> None:
    answer = await refused(http, "GET", "/v1/inbox", params=query)
    assert answer == (400, "bad_request", field)


async def test_what_cannot_be_told_is_refused(http: httpx.AsyncClient) -> None:
    await put(http, "a")
    for body, field in (
        ({}, "message"),
        ({"message": "x" * 20_000}, "message"),
        ({"message": {"x": 2**64}}, "x"),
    ):
        status, code, named = await refused(http, "POST", "/v1/pulse/a/tell", json=body)
        assert (status, code) == (422, "bad_value")
        assert field in str(named)
    assert await read(http, agent="a") == []


class TestTheEndOfAWait:
    async def test_when_the_hub_goes(self, fresh_url: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with running_hub(fresh_url) as hub:
                http = await stack.enter_async_context(hub.client(timeout=LONG_S))
                asked = asyncio.create_task(read(http, agent="a", wait=LONG_S))
                await waiting(hub)
                began = time.monotonic()
            assert await asked == []
            assert time.monotonic() - began < LONG_S / 2

    async def test_when_its_key_does(self, hub: RunningHub, http: httpx.AsyncClient) -> None:
        made = (await http.post("/v1/keys", json={"scope": "agent", "agent": "a"})).json()
        async with hub.client(made["key"], timeout=LONG_S) as own:
            asked = asyncio.create_task(refused(own, "GET", f"/v1/inbox?wait={LONG_S}"))
            await waiting(hub)
            assert (await http.delete(f"/v1/keys/{made['id']}")).status_code == 200
            assert (await asked)[:2] == (401, "unauthorized")

    async def test_when_whoever_called_has_left(
        self, hub: RunningHub, http: httpx.AsyncClient
    ) -> None:
        asked = asyncio.create_task(read(http, agent="a", wait=LONG_S))
        await waiting(hub)
        asked.cancel()
        await waiting(hub, 0)

    async def test_not_when_the_feed_breaks_off(self, valkey_server: MakeServer) -> None:
        """What was told while no bell could be heard is found when the subscription is back."""
        server = valkey_server()
        async with (
            running_hub(server.url) as one,
            running_hub(server.url) as two,
            one.client(timeout=LONG_S) as here,
            two.client() as there,
        ):
            await put(here, "a")
            asked = asyncio.create_task(read(here, agent="a", wait=LONG_S))
            await waiting(one)
            server.ask("CLIENT KILL TYPE pubsub")
            letter = await tell(there, "a", {"message": "meanwhile"})
            assert await asked == [letter]


async def test_a_call_that_waits_outlives_its_store_or_is_told_when_to_come_again(
    valkey_server: MakeServer,
) -> None:
    server = valkey_server()
    async with running_hub(server.url) as hub, hub.client(timeout=LONG_S) as http:
        asked = asyncio.create_task(http.get(f"/v1/inbox?agent=a&wait={LONG_S}"))
        await waiting(hub)
        server.kill()
        await until(lambda: not hub.hub.link.up)
        server.start()
        await until(lambda: hub.hub.link.up)
        await put(http, "a")
        letter = await tell(http, "a", {"message": "after it"})
        answer = await asked
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "1"
        else:
            assert answer.json()["messages"] == [letter]


async def test_calls_that_wait_count_as_connections(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url, max_connections=2) as hub,
        hub.client(timeout=LONG_S) as http,
    ):
        await put(http, "a")
        asked = [asyncio.create_task(read(http, agent="a", wait=LONG_S)) for _ in range(2)]
        await waiting(hub, 2)
        answer = await http.get("/v1/inbox?agent=a&wait=1")
        assert told(answer)[:2] == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert await read(http, agent="a") == []  # who does not wait takes no place
        letter = await tell(http, "a", {"message": 1})
        assert await asyncio.gather(*asked) == [[letter]] * 2


async def test_while_the_store_is_away_it_is_said_when_to_come_again(
    valkey_server: MakeServer,
) -> None:
    server = valkey_server()
    async with running_hub(server.url) as hub, hub.client(timeout=LONG_S) as http:
        await put(http, "a")
        server.kill()
        await until(lambda: not hub.hub.link.up)
        for path in ("/v1/inbox?agent=a&wait=60", "/v1/inbox?agent=a"):
            answer = await http.get(path)
            assert told(answer)[:2] == (503, "unavailable")
            assert answer.headers["retry-after"] == "1"
        server.start()
        await until(lambda: hub.hub.link.up)
        assert await read(http, agent="a") == []
