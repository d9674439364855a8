"""What a watch promises: one test for each of the seven, named after it, by real hubs and sockets.

The second half is what surrounds the promises: filters, details, codecs, limits, a store away.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import pytest
import redis.asyncio

from lifesigns.core.codec import JSON, MSGPACK, Codec
from lifesigns.store import keys
from tests.agent import living
from tests.hub import RunningHub, running_hub
from tests.patience import answered, until
from tests.server import Server
from tests.watcher import Watcher, differences, mirrored, truth, watching

QUICK: dict[str, Any] = {
    "min_ttl_s": 0.2,
    "grace_s": 0.5,
    "beats_per_s": 10_000,
    "messages_per_s": 10_000,
}
FLEET = 2_000
ROUNDS = 20  # of a MB each, for a reader that never reads
FLAT_BYTES = 2_000_000


@pytest.fixture
async def hubs(fresh_url: str) -> AsyncIterator[list[RunningHub]]:
    """Run two hubs on one store."""
    async with running_hub(fresh_url, **QUICK) as one, running_hub(fresh_url, **QUICK) as other:
        yield [one, other]


@pytest.fixture
async def store(fresh_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """Open that store itself."""
    async with redis.asyncio.Redis.from_url(fresh_url, protocol=2) as store:
        yield store


@pytest.fixture
async def http(hubs: list[RunningHub]) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of the first hub."""
    async with hubs[0].client() as client:
        yield client


async def beat(http: httpx.AsyncClient, agent: str, **said: Any) -> dict[str, Any]:
    answer = await http.put(f"/v1/pulse/{agent}", json=said)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def beats(http: httpx.AsyncClient, agents: list[str], **said: Any) -> None:
    for i in range(0, len(agents), 500):
        many = [{"id": agent, **said} for agent in agents[i : i + 500]]
        answer = await answered(partial(http.post, "/v1/pulse", json={"beats": many}))
        assert answer.status_code == 200, answer.text
        assert not any("error" in result for result in answer.json()["results"])


async def agrees(watcher: Watcher, http: httpx.AsyncClient) -> None:
    """Wait until an unfiltered watcher knows the truth."""
    there = await truth(http, detail=watcher.detail)
    try:
        await watcher.sees(lambda: mirrored(watcher) == there)
    except AssertionError:
        pytest.fail(str(differences(mirrored(watcher), there)))


def told(watcher: Watcher, agent: str) -> list[tuple[str, str | None]]:
    return [(c["kind"], c["status"]) for c in watcher.changes if c["id"] == agent]


# The seven.


async def test_ordered(hubs: list[RunningHub], http: httpx.AsyncClient) -> None:
    async with watching(hubs[1]) as watcher:
        for i in range(50):
            await beat(http, "a", status=f"s{i}")
            await beat(http, "b", status=f"s{i}")
        await watcher.sees(lambda: len(watcher.changes) == 100)
        for agent in "ab":
            assert [status for _, status in told(watcher, agent)] == [f"s{i}" for i in range(50)]


async def test_unique(
    hubs: list[RunningHub], http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = hubs[1].hub.feed
    heard = feed.heard

    def twice(channel: str, data: bytes) -> None:
        heard(channel, data)
        heard(channel, data)

    monkeypatch.setattr(feed, "heard", twice)
    async with watching(hubs[1]) as watcher:
        for i in range(30):
            await beat(http, "a", status=f"s{i}")
        await watcher.sees(lambda: len(watcher.changes) >= 30)
        await beat(http, "b")
        await watcher.sees(lambda: told(watcher, "b"))
        assert len(watcher.changes) == 31


async def test_gapless(
    hubs: list[RunningHub], http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the feed loses is healed from the history, and the watcher does not notice."""
    feed = hubs[1].hub.feed
    heard = feed.heard
    lost: list[str] = []

    def leaky(channel: str, data: bytes) -> None:
        if len(lost) < 5:
            lost.append(channel)
        else:
            heard(channel, data)

    async with watching(hubs[1]) as watcher:
        monkeypatch.setattr(feed, "heard", leaky)
        for i in range(12):
            await beat(http, "a", status=f"s{i}")
        await watcher.sees(lambda: len(watcher.changes) == 12)
        assert len(lost) == 5
        assert feed.healed >= 5
        assert not watcher.resyncs
        await agrees(watcher, http)


async def test_gapless_by_a_resync_if_the_history_is_gone(
    hubs: list[RunningHub],
    http: httpx.AsyncClient,
    store: redis.asyncio.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = hubs[1].hub.feed
    heard = feed.heard
    async with watching(hubs[1]) as watcher:
        monkeypatch.setattr(feed, "heard", lambda channel, data: None)
        await beat(http, "a", status="lost")
        async for log in store.scan_iter("ls:*:log:*"):
            await store.xtrim(log, maxlen=0, approximate=False)
        monkeypatch.setattr(feed, "heard", heard)
        await beat(http, "a", status="heard")
        await watcher.sees(lambda: watcher.resyncs and not watcher.mirror.loading)
        assert watcher.resyncs == ["history_trimmed"]
        await agrees(watcher, http)


async def test_gapless_by_a_resync_if_the_store_was_emptied(
    hubs: list[RunningHub], http: httpx.AsyncClient, store: redis.asyncio.Redis
) -> None:
    """Nothing was published, so watchers believed in agents that no store knew any more."""
    await beats(http, [f"agent-{i}" for i in range(40)])
    async with watching(hubs[1]) as watcher:
        assert len(watcher.mirror.agents) == 40
        await store.flushdb()
        await watcher.sees(lambda: not watcher.mirror.agents)
        assert set(watcher.resyncs) == {"epoch"}


async def test_resumable(hubs: list[RunningHub], http: httpx.AsyncClient) -> None:
    """On the other hub, it gets exactly what it missed."""
    await beat(http, "a", status="before")
    async with watching(hubs[0]) as watcher:
        await watcher.close()
        await beat(http, "a", status="meanwhile")
        await beat(http, "a", status="then")
        await beat(http, "b", status="new")
        answer = await watcher.open(hubs[1])
        assert answer["resumed"]
        await watcher.sees(lambda: len(watcher.changes) == 3)
        await beat(http, "a", status="after")
        await watcher.sees(lambda: len(watcher.changes) == 4)
        assert told(watcher, "a") == [
            ("updated", "meanwhile"),
            ("updated", "then"),
            ("updated", "after"),
        ]
        assert told(watcher, "b") == [("online", "new")]
        assert not watcher.resyncs
        assert [frame["type"] for frame in watcher.frames].count("snapshot") == 1
        await agrees(watcher, http)


async def test_exactly_one_change(hubs: list[RunningHub], http: httpx.AsyncClient) -> None:
    """Both hubs sweep, and each expiry is told once."""
    agents = [f"agent-{i}" for i in range(40)]
    async with watching(hubs[0]) as one, watching(hubs[1]) as other:
        await beats(http, agents, ttl=0.3)
        for watcher in (one, other):
            await watcher.sees(lambda w=watcher: all(len(told(w, a)) >= 2 for a in agents))
        await beat(http, "last")
        for watcher in (one, other):
            await watcher.sees(lambda w=watcher: told(w, "last"))
            for agent in agents:
                assert [kind for kind, _ in told(watcher, agent)] == ["online", "offline"]


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_bounded(codec: Codec, hubs: list[RunningHub], http: httpx.AsyncClient) -> None:
    """Whoever does not read costs no more than a snapshot, and then is told the latest."""
    agents = [f"agent-{i}" for i in range(100)]
    fast = Watcher()
    async with watching(hubs[0], codec=codec, narrow=True) as slow:
        await fast.open(hubs[0])
        slow.pause()
        tracemalloc.start()
        try:
            for i in range(ROUNDS):
                if i == ROUNDS // 2:
                    gc.collect()
                    halfway = tracemalloc.get_traced_memory()[0]
                await beats(http, agents, status="busy", metadata={"i": i, "text": "x" * 10_000})
                fast.frames.clear()
                fast.changes.clear()
                await fast.sees(lambda i=i: fast.mirror.agents["agent-99"]["metadata"]["i"] == i)
            fast.frames.clear()
            fast.changes.clear()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - halfway < FLAT_BYTES
        finally:
            tracemalloc.stop()
        assert fast.coalesced == 0
        slow.resume()
        await agrees(slow, http)
        assert slow.coalesced > 0
        assert len(slow.changes) + slow.coalesced == ROUNDS * 100
        assert not slow.resyncs
        assert slow.socket is not None
        assert slow.socket.socket.close_code is None
        await beat(http, "agent-0", status="idle")
        await slow.sees(lambda: slow.mirror.agents["agent-0"]["status"] == "idle")
    await fast.close()


async def test_prompt(hubs: list[RunningHub], http: httpx.AsyncClient) -> None:
    """Bounds that a loaded machine keeps too; benchmarks/bench_fanout.py measures the real ones."""
    async with watching(hubs[1]) as watcher:
        began = time.monotonic()
        async with living(hubs[0], "a") as socket:
            await watcher.sees(lambda: told(watcher, "a"))
            await socket.bye()
        await watcher.sees(lambda: len(told(watcher, "a")) == 2)
        async with living(hubs[0], "b"):
            await watcher.sees(lambda: told(watcher, "b"))
        await watcher.sees(lambda: len(told(watcher, "b")) == 3)
        await beat(http, "c", ttl=0.3)
        await watcher.sees(lambda: len(told(watcher, "c")) == 2)
        assert [kind for kind, _ in told(watcher, "a")] == ["online", "offline"]
        assert [kind for kind, _ in told(watcher, "b")] == ["online", "suspect", "offline"]
        assert [kind for kind, _ in told(watcher, "c")] == ["online", "offline"]
        reasons = {c["id"]: c["reason"] for c in watcher.changes if c["kind"] == "offline"}
        assert reasons == {"a": "left", "b": "disconnected", "c": "expired"}
        assert time.monotonic() - began < 10


# Filters.


async def test_who_leaves_the_filter_is_told_once_as_gone(
    hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    await beat(http, "a", status="busy", group="red")
    async with watching(hubs[1], {"state": ["busy"]}) as watcher:
        await beat(http, "a", status="idle")
        await beat(http, "a", status="ready")
        await beat(http, "a", status="busy", task="back")
        await watcher.sees(lambda: len(watcher.changes) == 2)
        left, entered = watcher.changes
        assert left["kind"] == "updated"
        assert left["was"] == "busy"
        assert left["gone"] is True
        assert "gone" not in entered
        assert entered["kind"] == "updated"
        assert entered["was"] == "available"
        assert entered["task"] == "back"
        assert entered["group"] == "red"
        assert list(watcher.mirror.agents) == ["a"]


async def test_who_leaves_while_the_watcher_is_away_is_gone_when_it_is_back(
    hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    await beat(http, "a", group="red")
    await beat(http, "b", group="blue")
    await beat(http, "c", group="blue")
    async with watching(hubs[0], {"group": ["red"]}) as watcher:
        await watcher.close()
        await beat(http, "c", group="green")  # it was not there, and is not
        for task in ("1", "2"):
            await beat(http, "a", group="blue", task=task)
        await beat(http, "b", group="red")
        assert (await watcher.open(hubs[1]))["resumed"]
        await watcher.sees(lambda: len(watcher.changes) == 2)
        assert list(watcher.mirror.agents) == ["b"]


async def test_a_cursor_of_another_filter_is_answered_by_a_resync(
    hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    await beat(http, "a", status="busy")
    await beat(http, "b", status="idle")
    async with watching(hubs[0], {"state": ["busy"]}) as watcher:
        await watcher.close()
        watcher.wanted = {"state": ["available"]}
        assert not (await watcher.open(hubs[0]))["resumed"]
        await watcher.sees(lambda: list(watcher.mirror.agents) == ["b"])
        assert watcher.resyncs == ["filter"]


async def test_a_forgotten_agent_is_dropped(
    hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    await beat(http, "a")
    async with watching(hubs[1]) as watcher:
        answer = await http.delete("/v1/pulse/a", params={"forget": "true"})
        assert answer.status_code == 200
        await watcher.sees(lambda: not watcher.mirror.agents)
        assert watcher.changes[-1]["kind"] == "forgotten"


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_lite_shows_few_fields_in_both_codecs(
    codec: Codec, hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    await beat(http, "a", status="idle", metadata={"n": 1})
    async with watching(hubs[0], detail="lite", codec=codec) as watcher:
        await beat(http, "b", status="busy")
        await agrees(watcher, http)
        assert "metadata" not in watcher.mirror.agents["a"]
        assert "metadata" not in watcher.changes[0]


async def test_counts_name_no_agent_and_follow_every_change(
    hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    await beat(http, "a", status="idle")
    await beat(http, "b", status="busy", group="red")
    counting, red = Watcher(detail="counts"), Watcher({"group": ["red"]}, detail="counts")
    for watcher in (counting, red):
        await watcher.open(hubs[1])
        await watcher.loaded()
    assert counting.mirror.counts == {"busy": 1, "available": 1}
    assert red.mirror.counts == {"busy": 1}
    await beat(http, "c", status="busy")
    await beat(http, "c", status="busy", task="which alters no count")
    await http.delete("/v1/pulse/b")
    await counting.sees(lambda: counting.mirror.counts == {"busy": 1, "available": 1, "offline": 1})
    assert counting.mirror.total == 3
    await red.sees(lambda: red.mirror.counts == {"offline": 1})
    for watcher in (counting, red):
        assert not any("agents" in frame for frame in watcher.frames)
        await watcher.close()


async def test_an_ended_watch_is_silent(hubs: list[RunningHub], http: httpx.AsyncClient) -> None:
    async with living(hubs[0], None) as socket:
        name = (await socket.ask("watch"))["watch"]
        assert (await socket.hear())["type"] == "snapshot"
        assert (await socket.ask("unwatch", watch=name))["type"] == "ok"
        await beat(http, "a")
        assert (await socket.ask("ping"))["type"] == "pong"
        assert await socket.refused("unwatch", watch=name) == ("not_found", "watch")


async def test_two_equal_watches_of_a_connection_have_two_names(
    hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    """Asked in one breath they had the same name, and both were told twice."""
    async with living(hubs[0], None) as socket:
        for ref in (1, 2, 3):
            await socket.say("watch", ref=ref)
        names = {}
        while len(names) < 3:
            frame = await socket.hear()
            if frame["type"] == "watching":
                names[frame["ref"]] = frame["watch"]
        assert len(set(names.values())) == 3


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"filter": []}, "filter"),
        ({"filter": {"colour": "red"}}, "filter.colour"),
        ({"filter": {"state": ["dead"]}}, "filter.state"),
        ({"filter": {"alive": 1}}, "filter.alive"),
        ({"filter": {"ids": [1]}}, "filter.ids"),
        ({"detail": "everything"}, "detail"),
        ({"since": "nonsense"}, "since"),
        ({"since": 5}, "since"),
    ],
    ids=str,
)
async def test_a_bad_watch_is_refused_by_field(
    fields: dict[str, Any], field: str, hubs: list[RunningHub]
) -> None:
    async with living(hubs[0], None) as socket:
        assert await socket.refused("watch", **fields) == ("bad_value", field)


async def test_a_watch_needs_a_ref(hubs: list[RunningHub]) -> None:
    async with living(hubs[0], None) as socket:
        await socket.say("watch")
        answer = await socket.hear()
        assert (answer["code"], answer["field"]) == ("bad_value", "ref")


async def test_a_connection_has_a_hundred_watches_at_most(hubs: list[RunningHub]) -> None:
    async with living(hubs[0], None) as socket:
        for i in range(101):
            await socket.say("watch", ref=i, filter={"ids": [f"agent-{i}"]})
        answers = {}
        while len(answers) < 101:
            frame = await socket.hear()
            if "ref" in frame:
                answers[frame["ref"]] = frame
        refused = [frame for frame in answers.values() if frame["type"] == "error"]
        assert [frame["code"] for frame in refused] == ["bad_request"]


# Large snapshots, and a store that is away.


async def test_a_large_snapshot_is_paged_while_changes_go_on(
    hubs: list[RunningHub], http: httpx.AsyncClient
) -> None:
    agents = [f"agent-{i}" for i in range(FLEET)]
    await beats(http, agents, status="idle", metadata={"text": "x" * 500})
    done = asyncio.Event()

    async def go_on() -> None:
        i = 0
        while not done.is_set():
            i += 1
            await beats(http, agents[i % 20 :: 20], status=f"s{i}")
            await beat(http, f"new-{i}")
            await http.delete(f"/v1/pulse/{agents[i]}", params={"forget": "true"})

    going = asyncio.create_task(go_on())
    watchers = [Watcher(codec=codec) for codec in (JSON, MSGPACK, JSON)]
    watchers.append(Watcher({"ids": ["agent-1*"]}))
    for watcher in watchers:
        await watcher.open(hubs[1])
    for watcher in watchers:
        await watcher.loaded()
    done.set()
    await going
    for watcher in watchers[:3]:
        await agrees(watcher, http)
        pages = [frame for frame in watcher.frames if frame["type"] == "snapshot"]
        assert len(pages) > 1
        assert [page["more"] for page in pages] == [True] * (len(pages) - 1) + [False]
    there = await truth(http)
    ones = {agent: shown for agent, shown in there.items() if agent.startswith("agent-1")}
    await watchers[3].sees(lambda: mirrored(watchers[3]) == ones)
    for watcher in watchers:
        await watcher.close()


async def test_a_watch_goes_on_when_the_store_was_away(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
    async with (
        running_hub(server.url, **QUICK) as hub,
        hub.client() as http,
        living(hub, "a", status="idle") as agent,
        watching(hub) as watcher,
    ):
        server.kill()
        await until(lambda: not hub.hub.link.up)
        await agent.say("beat", status="thinking")
        late = Watcher()
        opening = asyncio.create_task(late.open(hub))
        server.start()
        await opening
        await watcher.sees(lambda: watcher.mirror.agents["a"]["status"] == "thinking")
        assert watcher.resyncs
        assert set(watcher.resyncs) == {"epoch"}
        await late.sees(lambda: late.mirror.agents.get("a", {}).get("status") == "thinking")
        await agrees(watcher, http)
        await agrees(late, http)
        await late.close()


async def test_lanes_that_were_deleted_begin_anew_when_they_are_written(
    hubs: list[RunningHub], http: httpx.AsyncClient, store: redis.asyncio.Redis
) -> None:
    await beats(http, [f"agent-{i}" for i in range(40)])
    async with watching(hubs[1]) as watcher:
        assert len(watcher.mirror.agents) == 40
        for number in range(keys.PARTITIONS):
            await store.delete(*keys.lane("default", number))
        await beats(http, [f"other-{i}" for i in range(300)])
        await agrees(watcher, http)
        assert set(watcher.resyncs) == {"epoch"}
