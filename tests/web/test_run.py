"""Runs of schedules, handed over sockets and to whoever polls, and what is reported of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lifesigns.core.codec import JSON, MSGPACK, Codec
from tests.agent import Agent, connected, living
from tests.bot import Bot
from tests.hub import RunningHub, running_hub
from tests.patience import until, until_told
from tests.web.refusal import told

OFTEN = {"interval_minutes": 1 / 60, "enabled": True}  # once a second


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    async with running_hub(fresh_url, run_interval_s=1.0) as running:
        yield running


@pytest.fixture
async def bot(hub: RunningHub) -> AsyncIterator[Bot]:
    async with hub.client() as http:
        yield Bot(http)


async def next_run(agent: Agent) -> dict[str, Any]:
    frame = await agent.hear()
    assert frame["type"] == "run", frame
    return frame


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
async def test_a_run_goes_to_the_socket_and_its_report_ends_it(
    hub: RunningHub, bot: Bot, codec: Codec
) -> None:
    made = await bot.configure(member_id=7)
    async with living(hub, "bot", codec=codec) as agent:
        triggered = bot.triggered(made["uuid"])
        run = await next_run(agent)
        assert run == {
            "type": "run",
            "run": run["run"],
            "schedule": made["uuid"],
            "agent": "bot",
            "prompt": "Look around",
            "member_id": 7,
            "deadline": run["deadline"],
        }
        said = {"run": run["run"], "status": "success", "response": "all quiet"}
        answer = await agent.ask("done", **said, tokens_used=12, credits=0.5)
        assert (answer["type"], answer["run"]) == ("ok", run["run"])
    answer = await triggered
    assert answer.status_code == 200
    result = answer.json()["result"]
    assert (result["status"], result["response"]) == ("success", "all quiet")
    assert (result["tokens_used"], result["credits_charged"]) == (12, 0.5)
    assert result["duration_ms"] >= 0
    (entry,) = await bot.log()
    assert (entry["type"], entry["status"], entry["prompt"]) == ("manual", "success", "Look around")
    assert (await bot.read(made["uuid"]))["credits_used"] == 0.5


async def test_a_schedule_wakes_its_agent_each_time_it_is_due(hub: RunningHub, bot: Bot) -> None:
    async with living(hub, "bot") as agent:
        made = await bot.configure(**OFTEN)
        for _ in range(2):
            run = await next_run(agent)
            assert (await agent.ask("done", run=run["run"], status="success"))["type"] == "ok"
        await bot.good("POST", "heartbeat/disable", heartbeat_id=made["uuid"])
        entries = await bot.log(status="success")
        assert {entry["type"] for entry in entries} == {"heartbeat"}
    shown = await bot.read(made["uuid"])
    assert (shown["enabled"], shown["next_run_at"], shown["last_status"]) == (0, None, "success")
    assert shown["execution_count"] == len(entries) >= 2


async def test_a_report_that_comes_again_late_or_from_elsewhere(hub: RunningHub, bot: Bot) -> None:
    made = await bot.configure()
    said: dict[str, Any] = {"status": "success", "response": "all quiet"}
    async with living(hub, "bot") as agent, living(hub, "other") as other:
        run = await bot.begin(made["uuid"])
        await next_run(agent)
        assert await other.refused("done", run=run, **said) == ("forbidden", None)
        assert await agent.refused("done", run=run, status=5) == ("bad_value", "status")
        assert await agent.refused("done", run=run, **said, credits="x") == ("bad_value", "credits")
        assert await agent.refused("done", run="nothing", **said) == ("bad_request", "run")
        assert await agent.refused("done", run="none@bot", **said) == ("not_found", "run")
        assert await agent.refused("done", **said) == ("bad_value", "run")
        for _ in range(2):  # twice the same is the same
            assert (await agent.ask("done", run=run, **said))["type"] == "ok"
        assert await agent.refused("done", run=run, status="error") == ("conflict", None)
        assert await agent.refused("done", run=run, status="success") == ("conflict", None)
    (entry,) = await bot.log()
    assert (entry["status"], entry["response"]) == ("success", "all quiet")
    assert (await bot.read(made["uuid"]))["execution_count"] == 1


async def test_a_run_that_is_not_reported_in_time_fails_and_stays_so(fresh_url: str) -> None:
    async with running_hub(fresh_url, run_timeout_s=1.0) as hub, hub.client() as http:
        bot = Bot(http)
        made = await bot.configure()
        async with living(hub, "bot") as agent:
            run = await bot.begin(made["uuid"])
            await next_run(agent)
            entry = await bot.logged("error")
            assert entry["error_message"] == "no answer in time"
            assert await agent.refused("done", run=run, status="success") == ("conflict", None)
        assert (await bot.read(made["uuid"]))["consecutive_errors"] == 1


async def test_a_run_goes_to_the_instance_that_was_idle_longest(hub: RunningHub, bot: Bot) -> None:
    made = await bot.configure()
    async with (
        living(hub, "bot", instance="busy", status="busy") as busy,
        living(hub, "bot", instance="first") as first,
        living(hub, "bot", instance="second") as second,
    ):
        run = await bot.begin(made["uuid"])
        assert (await next_run(first))["run"] == run
        await first.ask("done", run=run, status="success")
        await first.beat(status="busy")
        await first.beat(status="idle")
        await bot.begin(made["uuid"])
        run = (await next_run(second))["run"]
        await second.ask("done", run=run, status="success")
        assert (await busy.ask("ping"))["type"] == "pong"  # and nothing before it


async def test_a_run_is_sent_anew_if_its_socket_ends_before_it_was_read(
    hub: RunningHub, bot: Bot
) -> None:
    made = await bot.configure()
    async with connected(hub) as deaf:
        await deaf.say("hello", agent="bot", instance="i")
        deaf.welcome = await deaf.hear()
        deaf.socket.transport.pause_reading()  # it answers no ping
        run = await bot.begin(made["uuid"])
        async with living(hub, "bot", instance="i") as agent:
            assert (await next_run(agent))["run"] == run
            assert (await agent.ask("done", run=run, status="success"))["type"] == "ok"
    (entry,) = await bot.log()
    assert entry["status"] == "success"


async def test_a_run_that_was_read_is_not_sent_again_to_who_comes_back(
    hub: RunningHub, bot: Bot
) -> None:
    made = await bot.configure()
    async with living(hub, "bot", instance="i") as agent:
        run = await bot.begin(made["uuid"])
        await next_run(agent)

        async def received() -> bool:
            begun = await hub.hub.schedules.run("default", run)
            return begun is not None and begun.run.received

        await until_told(received)
    async with living(hub, "bot", instance="i") as agent:
        assert (await agent.ask("ping"))["type"] == "pong"
        assert (await agent.ask("done", run=run, status="success"))["type"] == "ok"


async def test_a_run_waits_for_an_instance_that_takes_work(hub: RunningHub, bot: Bot) -> None:
    made = await bot.configure()
    async with living(hub, "bot", status="draining") as agent:
        run = await bot.begin(made["uuid"])
        await agent.beat(status="idle")
        assert (await next_run(agent))["run"] == run


async def test_an_agent_that_polls_is_handed_its_runs(hub: RunningHub, bot: Bot) -> None:
    made = await bot.configure()
    asked = asyncio.create_task(bot.http.get("/v1/runs", params={"agent": "bot", "wait": 60}))
    await until(lambda: hub.hub.lobby.streams)
    await polled(hub)
    run = await bot.begin(made["uuid"])
    (found,) = (await asked).json()["runs"]
    assert (found["run"], found["prompt"], found["status"]) == (run, "Look around", "open")
    assert found["via"] == "poll"
    answer = await bot.http.post(f"/v1/runs/{run}/done", json={"status": "error"})
    assert answer.status_code == 200
    assert answer.json()["error_message"] == "the agent reported an error"
    assert (await bot.http.get("/v1/runs", params={"agent": "bot"})).json() == {"runs": []}
    answer = await bot.http.get("/v1/runs", params={"agent": "bot", "status": "error"})
    assert [each["run"] for each in answer.json()["runs"]] == [run]
    assert (await bot.http.get(f"/v1/runs/{run}")).json()["status"] == "error"


async def polled(hub: RunningHub) -> None:
    async def noted() -> bool:
        return await hub.hub.schedules.polled("default", "bot")

    await until_told(noted)


async def test_a_run_for_who_polls_lies_in_the_inbox_too(hub: RunningHub, bot: Bot) -> None:
    await bot.http.put("/v1/pulse/bot", json={})
    made = await bot.configure()
    await bot.http.get("/v1/inbox", params={"agent": "bot"})
    await polled(hub)
    run = await bot.begin(made["uuid"])
    answer = await bot.http.get("/v1/inbox", params={"agent": "bot", "wait": 60})
    (letter,) = answer.json()["messages"]
    assert (letter["kind"], letter["run"], letter["prompt"]) == ("run", run, "Look around")


async def test_a_run_of_an_agent_that_is_not_there_fails_at_once(bot: Bot) -> None:
    made = await bot.configure()
    body = await bot.good("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
    assert body["result"]["status"] == "error"
    assert body["result"]["error_message"] == "agent is not connected"


async def test_who_may_not_speak_for_an_agent_neither_asks_nor_reports(
    hub: RunningHub, bot: Bot
) -> None:
    made = await bot.configure()
    keys = {}
    for scope, agent in (("agent", "bot"), ("agent", "other"), ("watch", None)):
        wanted = {"scope": scope, **({"agent": agent} if agent else {})}
        keys[scope, agent] = (await bot.http.post("/v1/keys", json=wanted)).json()["key"]
    async with living(hub, "bot"):
        run = await bot.begin(made["uuid"])
        for who in (("agent", "other"), ("watch", None)):
            async with hub.client(keys[who]) as http:
                answer = await http.post(f"/v1/runs/{run}/done", json={"status": "success"})
                assert told(answer) == (403, "forbidden", None)
        async with hub.client(keys["agent", "other"]) as http:
            answer = await http.get("/v1/runs", params={"agent": "bot"})
            assert told(answer) == (403, "forbidden", None)
        async with hub.client(keys["watch", None]) as http:
            listed = (await http.get("/v1/runs", params={"agent": "bot"})).json()
            assert [each["run"] for each in listed["runs"]] == [run]
        async with hub.client(keys["agent", "bot"]) as http:
            answer = await http.get("/v1/runs")
            assert [each["run"] for each in answer.json()["runs"]] == [run]
            answer = await http.post(f"/v1/runs/{run}/done", json={"status": "success"})
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "agent"),
        ({"agent": "a b"}, "agent"),
        ({"agent": "bot", "status": "done"}, "status"),
        ({"agent": "bot", "wait": 61}, "wait"),
        ({"agent": "bot", "limit": 0}, "limit"),
        ({"agent": "bot", "more": 1}, "more"),
    ],
)
async def test_a_bad_question_for_runs_is_refused(
    bot: Bot, query: dict[str, Any], field: str
) -> None:
    answer = await bot.http.get("/v1/runs", params=query)
    assert told(answer) == (400, "bad_request", field)


async def test_a_report_of_no_run_is_refused(bot: Bot) -> None:
    said = {"status": "success"}
    for run, body, refusal in (
        ("x", said, (400, "bad_request", "run")),
        ("x@bot", said, (404, "not_found", "run")),
        ("x@bot", {}, (422, "bad_value", "status")),
    ):
        assert told(await bot.http.post(f"/v1/runs/{run}/done", json=body)) == refusal
    assert told(await bot.http.get("/v1/runs/x@bot")) == (404, "not_found", "run")


async def test_an_agent_sleeps_between_its_runs_and_not_after_one_that_failed(
    hub: RunningHub, bot: Bot
) -> None:
    made = await bot.configure(enabled=True, interval_minutes=60)
    shown = await bot.presence()
    assert (shown["state"], shown["next_active_at"]) == ("sleeping", made["next_run_at"])
    async with living(hub, "bot") as agent:
        assert (await bot.presence())["state"] == "available"
        await agent.bye()
    await bot.state("sleeping")
    assert (await bot.presence())["reason"] == "left"
    body = await bot.good("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
    assert body["result"]["status"] == "error"
    assert (await bot.presence())["state"] == "offline"
    async with living(hub, "bot") as agent:
        run = await bot.begin(made["uuid"])
        await agent.hear()
        await agent.ask("done", run=run, status="success")
        await agent.bye()
    await bot.state("sleeping")
    await bot.switch(False)
    shown = await bot.presence()
    assert (shown["state"], shown["next_active_at"]) == ("offline", None)
    await bot.switch(True)
    assert (await bot.presence())["state"] == "sleeping"
