"""A program that is an agent, and what its hub knows of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
import pytest

from lifesigns import Agent, LifesignsError
from lifesigns.core.errors import BadRequest, BadValue
from tests.agent import Agent as Socket
from tests.agent import becomes, connected, presence
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S, until
from tests.server import free_port


@pytest.mark.every_loop
async def test_an_agent_is_alive_from_entering_to_leaving(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with Agent("a1", hub.url, hub.key, capabilities=["search"], slots=2) as me:
        shown = await presence(http, "a1")
        assert (shown["state"], shown["capabilities"], shown["slots"]) == (
            "available",
            ["search"],
            2,
        )
        assert me.connected
        assert not me.closed

        assert await me.update(status="thinking", task="a question", wait=SOON_S)
        shown = await presence(http, "a1")
        assert (shown["state"], shown["status"], shown["task"]) == (
            "busy",
            "thinking",
            "a question",
        )
        await me.update(progress={"done": 1}, metadata={"model": "m"})
        await me.update(task=None)
        shown = await becomes(http, "a1", task=None, progress={"done": 1}, metadata={"model": "m"})
        assert shown["status"] == "thinking"
    shown = await presence(http, "a1")
    assert (shown["state"], shown["reason"], shown["reason_text"]) == ("offline", "left", None)


async def test_who_is_gone_without_a_word_is_found_out(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with Agent("a1", hub.url, hub.key, ttl=600) as me:
        await me.abort()
        await becomes(http, "a1", state="suspect")
        assert not await me.update(status="thinking")
    assert (await presence(http, "a1"))["state"] == "suspect", "a bye would have ended it"


async def test_who_leaves_because_of_an_error_says_which(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    with pytest.raises(ValueError, match="no more"):
        async with Agent("a1", hub.url, hub.key):
            raise ValueError("no more")
    shown = await presence(http, "a1")
    assert (shown["state"], shown["status"]) == ("offline", "error")
    assert shown["reason_text"] == "ValueError: no more"


async def test_a_program_that_is_told_to_stop_has_not_failed(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async def work() -> None:
        async with Agent("a1", hub.url, hub.key, status="busy"):
            await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    await becomes(http, "a1", alive=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    shown = await presence(http, "a1")
    assert (shown["state"], shown["status"], shown["reason_text"]) == ("offline", "busy", None)


async def test_what_is_said_while_no_hub_is_there_is_told_once_and_as_it_is_then(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    with caplog.at_level(logging.WARNING, "lifesigns.client"):
        async with Agent("a1", f"http://127.0.0.1:{port}", "", ttl=5) as me:
            assert not me.connected
            for n in range(3_000):
                await me.update(task=f"task {n}", progress={"done": n})
            await me.update(status="thinking")
            with pytest.raises(BadValue):
                await me.update(status="x" * 1000)
            async with running_hub(fresh_url, port=port, auth=False) as hub, hub.client() as http:
                shown = await becomes(http, "a1", task="task 2999", status="thinking")
                assert shown["seq"] == 1, "it has said one thing"
                assert await me.update(wait=SOON_S, task="another")
    assert len(caplog.records) < 4, "a hub that is away is not news every second"


async def test_it_goes_to_another_hub_as_the_same_instance(fresh_url: str) -> None:
    async with running_hub(fresh_url) as two:
        async with running_hub(fresh_url) as one:
            me = Agent("a1", [one.url, two.url], one.key, status="busy", metadata={"a": 1})
            await me.__aenter__()
        async with two.client() as http:
            await until(me.connected.is_set)
            shown = await presence(http, "a1")
            assert (shown["instances"], shown["metadata"]) == (1, {"a": 1})
            past = (await http.get("/v1/pulse/a1/history")).json()["changes"]
            assert {change["kind"] for change in past} <= {"online", "updated"}
            await me.leave("done")
            assert (await presence(http, "a1"))["reason_text"] == "done"


async def key_of(http: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    answer = await http.post("/v1/keys", json={"scope": "agent", **wanted})
    assert answer.status_code in (200, 201), answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_it_stops_when_it_is_told_not_to_come_back(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    made = await key_of(http, agent="a1")
    async with (
        Agent("a1", hub.url, "no key that anybody knows") as stranger,
        Agent("a2", hub.url, made["key"]) as impostor,
        Agent("a1", hub.url, hub.key, instance="i") as elder,
        Agent("a1", hub.url, hub.key, instance="i") as younger,
        Agent("a1", hub.url, made["key"]) as revoked,
    ):
        assert (await http.delete(f"/v1/keys/{made['id']}")).is_success
        ended = {4001: stranger, 4003: impostor, 4009: elder, 4010: revoked}
        async with asyncio.timeout(SOON_S):
            for code, agent in ended.items():
                await agent.closed.wait()
                assert agent.closed
                assert agent.closed.code == code
                assert agent.closed.reason
                assert not agent.connected
                with pytest.raises(LifesignsError):
                    await agent.hub.check("a1")
                await agent.update(task="in vain")
        assert younger.connected
        assert not younger.closed


async def test_a_hub_that_takes_less_than_we_say_gets_the_rest(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url, metadata_bytes=256) as hub,
        hub.client() as http,
        Agent("a1", hub.url, hub.key, metadata={"a": "x" * 1_000}, task="dig") as me,
    ):
        shown = await presence(http, "a1")
        assert (shown["metadata"], shown["task"]) == (None, "dig")
        assert await me.update(metadata={"b": "x" * 1_000}, task="fill", wait=0) is False
        await becomes(http, "a1", metadata=None, task="fill")


async def test_it_says_no_more_than_a_hub_takes(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with Agent("a1", hub.url, hub.key) as me:
        for n in range(500):
            await me.update(progress={"done": n})
            await asyncio.sleep(0)
        assert await me.update(task="the last", wait=SOON_S)
        shown = await presence(http, "a1")
        assert (shown["progress"], shown["task"]) == ({"done": 499}, "the last")
        assert shown["seq"] < 100


async def test_what_is_wrong_with_an_agent_is_told_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(BadRequest):
        Agent("no spaces")
    with pytest.raises(BadValue, match="ttl"):
        Agent("a1", ttl=0.1)
    with pytest.raises(BadValue, match="url"):
        Agent("a1", "127.0.0.1:8700")
    monkeypatch.setenv("LIFESIGNS_URL", "no url")
    with pytest.raises(BadValue, match="LIFESIGNS_URL"):
        Agent("a1")


async def test_the_hub_and_the_key_are_read_from_the_environment(
    hub: RunningHub, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFESIGNS_URL", hub.url)
    monkeypatch.setenv("LIFESIGNS_KEY", hub.key)
    async with Agent("a1"):
        assert (await presence(http, "a1"))["alive"]


async def test_a_ttl_is_kept_while_there_is_nothing_to_say(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with Agent("a1", hub.url, hub.key, ttl=1), connected(hub) as socket:
        watcher: Socket = socket
        await watcher.say("hello")
        await watcher.hear()
        first = await presence(http, "a1")
        await becomes(http, "a1", lambda shown: shown["expires_at"] > first["expires_at"])
        changes = (await http.get("/v1/pulse/a1/history")).json()["changes"]
        assert [change["kind"] for change in changes] == ["online"]
