"""The Heartbeat API where time, other callers or the settings matter; see the golden pairs, too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.agent import living
from tests.bot import Bot
from tests.hub import RunningHub, running_hub


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    async with running_hub(fresh_url) as running:
        yield running


@pytest.fixture
async def bot(hub: RunningHub) -> AsyncIterator[Bot]:
    async with hub.client() as http:
        yield Bot(http)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"interval_minutes": 5},
        {"cron_pattern": "*/15 8-18 * * mon-fri"},
        {"active_hours_start": "09:00", "active_hours_end": "17:00"},
        {"active_hours_start": "22:00", "active_hours_end": "06:00"},
        {"active_days": "1,2,3,4,5"},
        {"timezone": "Asia/Kathmandu"},
        {"credit_budget": 12.5},
        {"max_consecutive_errors": 1},
        {"member_id": "subscriber-7"},
    ],
)
async def test_a_newcomer_makes_a_schedule_of_each_kind_with_curl(
    hub: RunningHub, bot: Bot, said: dict[str, Any]
) -> None:
    await bot.switch()
    body = {**bot.place, "prompt": "Look for new tickets", "enabled": True, **said}
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-X", "POST", f"{hub.url}/v1/bot/heartbeat/configure"),
        *("-H", f"Authorization: Bearer {hub.key}", "-H", "Content-Type: application/json"),
        *("-d", json.dumps(body)),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await curl.communicate()
    made = json.loads(told)["heartbeat"]
    assert made["enabled"] == 1
    assert made["next_run_at"] is not None
    assert {name: made[name] for name in said} == said


async def test_the_same_schedule_made_at_once_on_two_hubs_is_one(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as other,
        one.client() as here,
        other.client() as there,
    ):
        bots = [Bot(here), Bot(there)]
        await bots[0].switch()
        made = await asyncio.gather(*[bot.configure() for bot in bots * 3])
        assert len({each["uuid"] for each in made}) == 1
        others = await asyncio.gather(*[bot.configure(new=True) for bot in bots])
        assert len({each["uuid"] for each in others}) == 2
        listed = await bots[1].good("GET", "heartbeat/readall")
        assert len(listed["heartbeats"]) == 3


async def test_a_hub_may_serve_no_schedules(fresh_url: str) -> None:
    async with running_hub(fresh_url, schedules=False) as hub, hub.client() as http:
        bot = Bot(http)
        for method, path, said in (
            ("PUT", "update", {"heartbeat": True}),
            ("POST", "heartbeat/configure", {"prompt": "Look"}),
            ("POST", "heartbeat/trigger", {"heartbeat_id": "x"}),
        ):
            answer = await bot.call(method, path, **said)
            assert answer.status_code == 403
            assert "plan" in answer.json()["error"]["message"]
        assert (await bot.good("GET", "heartbeat/readall")) == {"heartbeats": []}


async def test_who_calls_too_often_is_told_when_to_come_back(fresh_url: str) -> None:
    async with running_hub(fresh_url, schedule_calls_per_s=0.1) as hub, hub.client() as http:
        bot = Bot(http)
        answers = [await bot.call("GET", "heartbeat/readall") for _ in range(7)]
        assert [each.status_code for each in answers] == [200] * 6 + [429]
        left = [int(each.headers["X-RateLimit-Remaining"]) for each in answers]
        assert left == [5, 4, 3, 2, 1, 0, 0]
        last = answers[-1]
        assert last.json()["error"]["status"] == 429
        assert 1 <= int(last.headers["Retry-After"]) <= 60
        assert last.headers["X-RateLimit-Limit"] == "6"


async def test_a_trigger_is_refused_while_a_run_is_open_and_skipped_over_the_budget(
    hub: RunningHub, bot: Bot
) -> None:
    made = await bot.configure(credit_budget=5)
    async with living(hub, "bot") as agent:
        run = await bot.begin(made["uuid"])
        answer = await bot.call("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
        assert answer.status_code == 409
        await agent.hear()
        await agent.ask("done", run=run, status="success", credits=7)
    body = await bot.good("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
    assert body["result"]["status"] == "skipped"
    assert body["result"]["error_message"].endswith("is used up: 7 of 5 credits")
    stats = (await bot.good("GET", "heartbeat/stats"))["stats"]
    assert (stats["total_executions"], stats["skipped_count"]) == (2, 1)
    assert (stats["total_credits"], stats["success_rate"]) == (7, 100.0)


async def test_a_log_is_listed_by_pages_members_and_schedules(hub: RunningHub, bot: Bot) -> None:
    mine = await bot.configure(member_id="m", credit_budget=0)
    other = await bot.configure(credit_budget=0)
    for heartbeat in (mine, mine, mine, other):
        await bot.good("POST", "heartbeat/trigger", heartbeat_id=heartbeat["uuid"])
    body = await bot.good("GET", "heartbeat/logs", per_page=3)
    assert body["pagination"] == {"page": 1, "per_page": 3, "total": 4, "total_pages": 2}
    assert body["logs"][0]["heartbeat_id"] == other["uuid"]  # the latest first
    rest = await bot.log(per_page=3, page=2)
    assert [entry["heartbeat_id"] for entry in rest] == [mine["uuid"]]
    assert len(await bot.log(member_id="m")) == 3
    assert len(await bot.log(heartbeat_id=other["uuid"], status="skipped")) == 1
    assert await bot.log(heartbeat_id=other["uuid"], status="success") == []


async def test_a_run_of_a_schedule_that_was_deleted_is_reported_all_the_same(
    hub: RunningHub, bot: Bot
) -> None:
    made = await bot.configure(enabled=True, interval_minutes=60)
    async with living(hub, "bot") as agent:
        run = await bot.begin(made["uuid"])
        await agent.hear()
        await bot.good("DELETE", "heartbeat/delete", heartbeat_id=made["uuid"])
        assert (await agent.ask("done", run=run, status="success"))["type"] == "ok"
        await agent.bye()
    assert [entry["status"] for entry in await bot.log()] == ["success"]
    await bot.state("offline")
