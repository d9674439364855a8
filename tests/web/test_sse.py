"""The watch as Server-Sent Events, against running hubs: what a socket is told, event by event."""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import Any

import httpx
import pytest

from lifesigns.web import sse
from lifesigns.web.description.schema import SCHEMAS
from tests.agent import connected, living
from tests.events import listening
from tests.hub import HubProcess, RunningHub, hub_process, running_hub
from tests.patience import SOON_S, until
from tests.web.refusal import refused

GOODBYE_S = 10.0  # within which a hub that was told to go has gone


async def put(http: httpx.AsyncClient, agent: str, **said: Any) -> None:
    answer = await http.put(f"/v1/pulse/{agent}", json=said)
    assert answer.status_code == 200, answer.text


async def delete(http: httpx.AsyncClient, agent: str) -> None:
    answer = await http.delete(f"/v1/pulse/{agent}")
    assert answer.status_code == 200, answer.text


async def make(http: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    answer = await http.post("/v1/keys", json=wanted)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def ticket(http: httpx.AsyncClient, **wanted: Any) -> str:
    answer = await http.post("/v1/tickets", json={"for": "events", **wanted})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["ticket"])


def told(changes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["id"], each["kind"]) for each in changes]


# The same frames.


async def test_a_stream_is_told_what_a_socket_is_told(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await put(http, "there", status="idle")
    async with listening(hub) as events, living(hub, None) as socket:
        await socket.say("watch", ref=1)
        for name in ("watching", "snapshot"):
            event, frame = await events.hear(), await socket.hear()
            assert event.type == event.frame["type"] == frame["type"] == name
            drop = {"watch": None, "cursor": None}  # a name for each, and they began one by one
            assert event.frame | drop == frame | drop
        await put(http, "a", status="thinking", task="first")
        await put(http, "a", status="thinking", task="second")
        await delete(http, "a")
        changes = await events.changes(3)
        heard: list[dict[str, Any]] = []
        while len(heard) < 3:
            frame = await socket.hear()
            heard += frame["changes"]
        assert changes == heard
        assert told(changes) == [("a", "online"), ("a", "updated"), ("a", "offline")]
        assert events.last_id == frame["cursor"]


async def test_the_id_of_an_event_is_its_cursor(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with listening(hub) as events:
        watching, snapshot = await events.hear(), await events.hear()
        assert (watching.id, watching.frame["resumed"]) == (None, False)
        assert snapshot.id == snapshot.frame["cursor"] is not None
        before = snapshot.id
        for task in ("one", "two", "three"):
            await put(http, "a", task=task)
            change = await events.hear()
            assert change.frame["from"] == before
            assert change.id == change.frame["cursor"] != before
            before = change.id


async def test_what_agents_say_cannot_break_out_of_its_event(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    hostile = "x\n\nevent: changes\r\rdata: {}\n\n\u2028\u2029\x85\x00id: 7"
    async with listening(hub) as events:
        await events.begin()
        await put(http, "a", task=hostile)
        (change,) = await events.changes(1)
        assert change["task"] == hostile


async def test_a_snapshot_of_many_comes_in_pages(hub: RunningHub, http: httpx.AsyncClient) -> None:
    beats = [{"id": f"a{number:03}"} for number in range(500)]
    assert (await http.post("/v1/pulse", json={"beats": beats})).status_code == 200
    async with listening(hub, detail="lite") as events:
        agents = await events.begin()
        assert {each["id"] for each in agents} == {beat["id"] for beat in beats}
        assert len(agents) == len(beats)


# Going on.


@pytest.mark.parametrize("told_by", ["last_id", "since"])
async def test_who_comes_back_is_told_exactly_what_it_missed(
    told_by: str, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with listening(hub) as events:
        await events.begin()
        await put(http, "seen")
        await events.changes(1)
    for agent in ("a", "b", "c"):
        await put(http, agent)
    await delete(http, "b")
    async with listening(hub, **{told_by: events.last_id}) as again:
        watching = await again.hear()
        assert (watching.type, watching.frame["resumed"]) == ("watching", True)
        missed = await again.changes(4)
        assert sorted(told(missed)) == [
            ("a", "online"),
            ("b", "offline"),
            ("b", "online"),
            ("c", "online"),
        ]
        await put(http, "d")
        assert told(await again.changes(1)) == [("d", "online")]


async def test_who_comes_back_to_another_hub_is_told_exactly_what_it_missed(
    fresh_url: str,
) -> None:
    async with running_hub(fresh_url) as one, running_hub(fresh_url) as two, one.client() as http:
        async with listening(one) as events:
            await events.begin()
        for number in range(50):
            await put(http, f"a{number}")
        async with listening(two, last_id=events.last_id) as again:
            assert (await again.hear()).frame["resumed"]
            missed = await again.changes(50)
            assert {each["id"] for each in missed} == {f"a{number}" for number in range(50)}


async def test_who_missed_nothing_is_told_nothing(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with listening(hub) as events:
        await events.begin()
    async with listening(hub, last_id=events.last_id) as again:
        assert (await again.hear()).frame["resumed"]
        await put(http, "a")
        assert told(await again.changes(1)) == [("a", "online")]


async def test_the_id_of_the_last_event_counts_before_since(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    """A browser comes back to the address at which it began."""
    async with listening(hub) as events:
        await events.begin()
        first = events.last_id
        await put(http, "a")
        await events.changes(1)
    await put(http, "b")
    async with listening(hub, since=first, last_id=events.last_id) as again:
        assert (await again.hear()).frame["resumed"]
        assert told(await again.changes(1)) == [("b", "online")]


async def test_a_stream_goes_on_where_a_socket_was(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, None) as socket:
        await socket.say("watch", ref=1, filter={"group": ["g"], "metadata": {"model": "m"}})
        assert (await socket.hear())["type"] == "watching"
        cursor = (await socket.hear())["cursor"]
    await put(http, "a", group="g", metadata={"model": "m"})
    query = {"group": "g", "metadata.model": "m"}
    async with listening(hub, since=cursor, **query) as events:
        assert (await events.hear()).frame["resumed"]
        assert told(await events.changes(1)) == [("a", "online")]


async def test_a_cursor_of_another_question_begins_anew(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await put(http, "a", group="g")
    async with listening(hub) as events:
        await events.begin()
    async with listening(hub, last_id=events.last_id, group="g") as again:
        assert not (await again.hear()).frame["resumed"]
        resync = await again.hear()
        assert (resync.type, resync.frame["why"], resync.id) == ("resync", "filter", None)
        snapshot = await again.hear()
        assert [each["id"] for each in snapshot.frame["agents"]] == ["a"]


# Filters and details.


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ({}, {"busy-1", "busy-2", "idle", "left"}),
        ({"alive": "true"}, {"busy-1", "busy-2", "idle"}),
        ({"alive": "false"}, {"left"}),
        ({"state": ["busy", "offline"]}, {"busy-1", "busy-2", "left"}),
        ({"ids": ["busy-*", "left"]}, {"busy-1", "busy-2", "left"}),
        ({"capability": ["x", "y"]}, {"busy-2"}),
        ({"status": "idle", "alive": "true"}, {"idle"}),
        ({"group": "night"}, {"busy-1"}),
        ({"metadata.depth": "3"}, {"busy-2"}),
        ({"metadata.model": "m"}, {"busy-1"}),
    ],
)
async def test_a_stream_shows_those_that_are_meant(
    query: dict[str, Any], seen: set[str], hub: RunningHub, http: httpx.AsyncClient
) -> None:
    busy = {"status": "thinking", "capabilities": ["x"]}
    await put(http, "busy-1", **busy, group="night", metadata={"model": "m"})
    await put(http, "busy-2", **(busy | {"capabilities": ["x", "y"]}), metadata={"depth": 3})
    await put(http, "idle")
    await put(http, "left", status="thinking")
    await delete(http, "left")
    async with listening(hub, **query) as events:
        assert {each["id"] for each in await events.begin()} == seen


async def test_an_agent_that_does_not_match_any_more_is_gone(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with listening(hub, state="busy") as events:
        assert await events.begin() == []
        await put(http, "a", status="idle")
        await put(http, "a", status="thinking")
        (came,) = await events.changes(1)
        assert (came["kind"], came["was"], came["state"]) == ("updated", "available", "busy")
        assert "gone" not in came
        await put(http, "a", status="idle")
        (went,) = await events.changes(1)
        assert (went["kind"], went["state"], went["gone"]) == ("updated", "available", True)


async def test_detail_lite_tells_little_of_each(hub: RunningHub, http: httpx.AsyncClient) -> None:
    lite = set(SCHEMAS["Lite"]["properties"])
    await put(http, "a", task="t")
    async with listening(hub, detail="lite") as events:
        (shown,) = await events.begin()
        assert set(shown) == lite
        await put(http, "a", status="thinking")
        (change,) = await events.changes(1)
        assert set(change) == lite | {"kind", "at", "was"}


async def test_detail_counts_tells_numbers_and_nobody(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await put(http, "a")
    async with listening(hub, detail="counts") as events:
        assert (await events.hear()).type == "watching"
        wanted: dict[str, int] = {"available": 1}
        for agent, said in (("b", {"status": "thinking"}), ("a", {"status": "thinking"})):
            event = await events.hear()
            assert event.type == "snapshot"
            assert (event.frame["counts"], event.frame["total"]) == (wanted, sum(wanted.values()))
            assert "agents" not in event.frame
            await put(http, agent, **said)
            wanted = {"available": 1, "busy": 1} if agent == "b" else {"busy": 2}
        assert (await events.hear()).frame["counts"] == wanted


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("colour=red", "colour"),
        ("state=alive", "state"),
        ("detail=all", "detail"),
        ("alive=yes", "alive"),
        ("detail=lite&detail=full", "detail"),
        ("limit=3", "limit"),
        ("since=guess", "since"),
        ("since=%00", "since"),
    ],
)
async def test_a_question_that_cannot_be_is_refused(
    query: str, field: str, http: httpx.AsyncClient
) -> None:
    assert await refused(http, "GET", f"/v1/events?{query}") == (400, "bad_request", field)


async def test_who_asks_for_the_head_only_is_not_kept_waiting(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    answer = await http.head("/v1/events")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert hub.hub.fanout.watchers == 0
    assert (await http.get("/v1/pulse")).status_code == 200  # on the same connection


# Who may listen.


async def test_without_a_good_key_there_is_no_stream(hub: RunningHub) -> None:
    for key in ("", "ls_nobody_knows-this"):
        async with hub.client(key) as client:
            assert (await refused(client, "GET", "/v1/events"))[:2] == (401, "unauthorized")
    assert hub.hub.fanout.watchers == 0


async def test_a_posters_key_may_not_watch(hub: RunningHub, http: httpx.AsyncClient) -> None:
    made = await make(http, scope="poster", poster="p")
    async with hub.client(made["key"]) as client:
        assert (await refused(client, "GET", "/v1/events"))[:2] == (403, "forbidden")


async def test_a_strangers_page_may_not_listen(hub: RunningHub, http: httpx.AsyncClient) -> None:
    for origin in ("https://evil.example", "null"):
        answer = await refused(http, "GET", "/v1/events", headers={"Origin": origin})
        assert answer == (403, "forbidden", None)
    assert hub.hub.fanout.watchers == 0
    own = {"Origin": hub.url}
    async with http.stream("GET", "/v1/events", headers=own) as answer:
        assert answer.status_code == 200


async def test_a_stream_tells_of_its_own_project_only(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await http.post("/v1/projects", json={"name": "other"})
    async with hub.client(headers={"X-Lifesigns-Project": "other"}) as other:
        made = await make(other, scope="watch")
        await put(http, "a")
        async with listening(hub, key=made["key"]) as events:
            assert await events.begin() == []
            await put(http, "b")
            await put(other, "mine")
            assert told(await events.changes(1)) == [("mine", "online")]


async def test_a_ticket_opens_any_number_of_streams(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    paper = await ticket(http)
    async with listening(hub, key="", ticket=paper) as first:
        await first.begin()
        async with listening(hub, key="", ticket=paper) as second:
            await second.begin()
            await put(http, "a")
            for events in (first, second):
                assert told(await events.changes(1)) == [("a", "online")]
    async with listening(hub, key="", ticket=paper, last_id=first.last_id) as again:
        assert (await again.hear()).frame["resumed"]


async def test_a_ticket_opens_streams_until_it_ends(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    paper = await ticket(http, ttl=1)
    deadline = time.monotonic() + SOON_S
    async with hub.client("") as stranger:
        while True:
            async with stranger.stream("GET", f"/v1/events?ticket={paper}") as answer:
                if answer.status_code == 401:
                    break
                assert answer.status_code == 200
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_a_ticket_serves_its_own_purpose_only(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    paper = await ticket(http)
    async with connected(hub, key="", query=f"?ticket={paper}") as socket:
        assert await socket.ended() == 4001
    other = await ticket(http, **{"for": "connect"})
    async with hub.client("") as stranger:
        for bad in (other, "lt_guess", ""):
            answer = await refused(stranger, "GET", "/v1/events", params={"ticket": bad})
            assert answer[:2] == (401, "unauthorized")
        answer = await refused(stranger, "GET", "/v1/pulse", params={"ticket": paper})
        assert answer[:2] == (401, "unauthorized")


async def test_a_bad_key_is_not_mended_by_a_good_ticket(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    paper = await ticket(http)
    async with hub.client("ls_nobody_knows-this") as client:
        answer = await refused(client, "GET", "/v1/events", params={"ticket": paper})
        assert answer[:2] == (401, "unauthorized")


async def test_without_keys_everyone_may_listen_on_loopback(fresh_url: str) -> None:
    async with running_hub(fresh_url, auth=False, admin_key=None) as hub:
        async with listening(hub, key="") as events:
            assert await events.begin() == []
        async with hub.client("", headers={"Host": "evil.example"}) as client:
            assert (await refused(client, "GET", "/v1/events"))[0] == 403


# Its end.


@pytest.mark.parametrize("by", ["key", "ticket"])
async def test_a_revoked_key_ends_its_streams_on_every_hub(by: str, fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as two,
        one.client() as http,
    ):
        made = await make(http, scope="watch")
        shown: dict[str, Any] = {"key": made["key"]}
        if by == "ticket":
            async with one.client(made["key"]) as client:
                shown = {"key": "", "ticket": await ticket(client)}
        async with (
            listening(one, **shown) as here,
            listening(two, **shown) as there,
            listening(one) as other,
        ):
            for events in (here, there, other):
                await events.begin()
            assert (await http.delete(f"/v1/keys/{made['id']}")).status_code == 200
            await here.ended()
            await there.ended()
            await put(http, "a")
            assert told(await other.changes(1)) == [("a", "online")]
        async with two.client(shown["key"]) as client:
            query = {name: value for name, value in shown.items() if name != "key"}
            assert (await refused(client, "GET", "/v1/events", params=query))[0] == 401
        await until(lambda: one.hub.fanout.watchers == two.hub.fanout.watchers == 0)


async def test_whoever_leaves_leaves_no_watch_behind(hub: RunningHub) -> None:
    for _ in range(3):
        async with listening(hub) as events:
            await events.begin()
            assert hub.hub.fanout.watchers == 1
        await until(lambda: hub.hub.fanout.watchers == 0)
    for _ in range(20):  # at whatever moment
        async with hub.client() as client:
            asking = asyncio.create_task(client.get("/v1/events"))
            await asyncio.sleep(0.001)
            asking.cancel()
            await asyncio.wait([asking])
    await until(lambda: hub.hub.fanout.watchers == 0)
    assert not hub.hub.lobby.streams


async def test_a_full_hub_takes_no_more_streams(fresh_url: str) -> None:
    async with running_hub(fresh_url, max_connections=2) as hub, hub.client() as http:
        async with listening(hub) as events, living(hub, "a"):
            await events.begin()
            answer = await http.get("/v1/events")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        await until(lambda: not hub.hub.lobby.full)
        async with listening(hub) as events:
            await events.begin()


async def test_a_stream_with_nothing_to_tell_says_that_it_is_there(
    hub: RunningHub, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "COMMENT_S", 0.02)
    async with listening(hub) as events:
        await events.begin()
        for _ in range(3):
            assert await events.block() == ": still here"
        await put(http, "a")
        assert told(await events.changes(1)) == [("a", "online")]
        assert await events.block() == ": still here"


async def test_a_hub_that_is_told_to_go_ends_its_streams_and_goes(fresh_url: str) -> None:
    async with running_hub(fresh_url) as stays, hub_process(fresh_url) as goes:
        async with listening(goes) as first, listening(goes, detail="counts") as second:
            await first.begin()
            async with asyncio.timeout(GOODBYE_S):
                ending = asyncio.ensure_future(goes.terminate())
                await first.ended()
                await second.ended()
                assert await ending == 0
        assert "Traceback" not in goes.log
        async with listening(stays, last_id=first.last_id) as again:
            assert (await again.hear()).frame["resumed"]


# A reader that does not read.


AGENTS, BULK, ROUNDS = 50, "x" * 16_000, 60  # 48 MB of changes, 800 KB of agents
FLAT_KB = 24_000


def resident_kb(hub: HubProcess) -> int:
    shown = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(hub.pid)], capture_output=True, text=True, check=True
    )
    return int(shown.stdout)


async def flood(http: httpx.AsyncClient, number: int) -> None:
    beats = [
        {"id": f"a{each}", "task": f"round {number}", "metadata": {"bulk": BULK}}
        for each in range(AGENTS)
    ]
    answer = await http.post("/v1/pulse", json={"beats": beats})
    assert all("error" not in each for each in answer.json()["results"]), answer.text[:500]


async def test_a_reader_that_does_not_read_costs_no_memory_and_gets_the_truth(
    fresh_url: str,
) -> None:
    async with (
        hub_process(fresh_url, "--beats-per-s", "1000") as hub,
        hub.client() as http,
        listening(hub) as events,
        listening(hub, detail="lite") as good,
    ):
        await events.begin()
        await good.begin()
        for number in range(ROUNDS // 3):
            await flood(http, number)
            await good.changes(AGENTS)
        before_kb = resident_kb(hub)
        for number in range(ROUNDS // 3, ROUNDS):
            await flood(http, number)
            await good.changes(AGENTS)
        assert resident_kb(hub) - before_kb < FLAT_KB
        last: dict[str, str] = {}
        count = coalesced = 0
        while set(last.values()) != {f"round {ROUNDS - 1}"} or len(last) < AGENTS:
            frame = (await events.hear()).frame
            assert frame["type"] == "changes"
            count += len(frame["changes"])
            coalesced += frame.get("coalesced", 0)
            last |= {each["id"]: each["task"] for each in frame["changes"]}
        assert count + coalesced == AGENTS * ROUNDS
        assert coalesced > 0


async def test_a_reader_that_does_not_read_loses_its_watch_with_its_key(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "PARTING_S", 0.1)
    async with running_hub(fresh_url, beats_per_s=1000) as hub, hub.client() as http:
        made = await make(http, scope="watch")
        async with listening(hub, key=made["key"]) as events, listening(hub) as good:
            await events.begin()
            await good.begin()
            for number in range(20):
                await flood(http, number)
                await good.changes(AGENTS)
            assert hub.hub.fanout.watchers == 2
            assert (await http.delete(f"/v1/keys/{made['id']}")).status_code == 200
            await until(lambda: hub.hub.fanout.watchers == 1)
            assert len(hub.hub.lobby.streams) == 1


async def test_a_reader_that_does_not_read_does_not_keep_a_hub_from_going(fresh_url: str) -> None:
    async with hub_process(fresh_url, "--beats-per-s", "1000") as hub, hub.client() as http:
        async with listening(hub) as events, listening(hub, detail="lite") as good:
            await events.begin()
            await good.begin()
            for number in range(20):
                await flood(http, number)
                await good.changes(AGENTS)
            async with asyncio.timeout(GOODBYE_S):
                assert await hub.terminate() == 0
        assert "Traceback" not in hub.log
