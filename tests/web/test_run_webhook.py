"""Runs that go to an agent's webhook, and notices that go to where they are wanted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.agent import living
from tests.bot import Bot
from tests.hub import RunningHub, running_hub
from tests.patience import until
from tests.receiver import Receiver, answer, receiver


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    async with running_hub(fresh_url) as running:
        yield running


@pytest.fixture
async def bot(hub: RunningHub) -> AsyncIterator[Bot]:
    async with hub.client() as http:
        yield Bot(http)


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as running:
        yield running


def says(**report: Any) -> bytes:
    return answer(200, json.dumps(report).encode())


async def test_a_run_goes_to_the_webhook_whose_answer_is_the_report(
    bot: Bot, there: Receiver
) -> None:
    there.always = says(status="success", response="all quiet", tokens_used=3)
    made = await bot.configure(webhook_url=there.url)
    body = await bot.good("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
    assert (body["result"]["status"], body["result"]["response"]) == ("success", "all quiet")
    (got,) = there.got
    assert (got.json["type"], got.json["prompt"]) == ("run", "Look around")
    assert got.json["run"] == body["result"]["run"]
    Webhook(made["webhook_secret"]).verify(got.body, got.headers)
    assert "webhook_secret" not in await bot.read(made["uuid"])
    assert "webhook_secret" not in await bot.configure(prompt="Look again")


async def test_an_answer_without_a_report_means_that_it_comes_later(
    bot: Bot, there: Receiver
) -> None:
    there.always = answer(202)
    made = await bot.configure(webhook_url=there.url)
    run = await bot.begin(made["uuid"])
    await until(lambda: there.got)
    answered = await bot.http.post(f"/v1/runs/{run}/done", json={"status": "success"})
    assert answered.status_code == 200
    assert (await bot.logged("success"))["uuid"] == run.partition("@")[0]


async def test_a_call_that_fails_is_made_again(bot: Bot, there: Receiver) -> None:
    there.answers = [answer(500)]
    there.always = says(status="success")
    made = await bot.configure(webhook_url=there.url)
    body = await bot.good("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
    assert body["result"]["status"] == "success"
    first, second = there.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert second.at - first.at >= 4.5


@pytest.mark.parametrize("body", [b'{"status": "fine"}', b"not JSON"])
async def test_an_answer_that_is_no_report_ends_the_run(
    bot: Bot, there: Receiver, body: bytes
) -> None:
    there.always = answer(200, body)
    made = await bot.configure(webhook_url=there.url)
    told = await bot.good("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
    assert told["result"]["status"] == "error"
    assert told["result"]["error_message"].startswith("webhook: ")


async def test_an_agent_with_a_socket_is_not_called(
    hub: RunningHub, bot: Bot, there: Receiver
) -> None:
    made = await bot.configure(webhook_url=there.url)
    async with living(hub, "bot") as agent:
        run = await bot.begin(made["uuid"])
        assert (await agent.hear())["run"] == run
        await agent.ask("done", run=run, status="success")
    assert there.got == []


async def test_a_notice_goes_to_where_it_is_wanted_until_it_is_taken(
    hub: RunningHub, bot: Bot, there: Receiver
) -> None:
    there.answers = [answer(500)]
    made = await bot.configure(notify_url=there.url)
    async with living(hub, "bot") as agent:
        run = await bot.begin(made["uuid"])
        await agent.hear()
        await agent.ask("done", run=run, status="success", notify={"text": "3 tickets"})
        await until(lambda: len(there.got) == 2)
    first, second = there.got
    assert first.json == second.json
    assert (first.json["type"], first.json["data"]["run"]) == ("run.notify", run)
    assert first.json["data"]["notify"] == {"text": "3 tickets"}
    Webhook(made["webhook_secret"]).verify(second.body, second.headers)


@pytest.mark.parametrize("name", ["webhook_url", "notify_url"])
async def test_an_address_where_nothing_is_sent_is_refused_at_once(bot: Bot, name: str) -> None:
    """It was taken, and every run that should go there failed."""
    await bot.configure()
    told = await bot.call("POST", "heartbeat/configure", prompt="p", **{name: "http://10.1.1.1/"})
    assert (told.status_code, told.json()["error"]["field"]) == (400, name)


async def test_webhooks_are_told_of_a_run(hub: RunningHub, bot: Bot, there: Receiver) -> None:
    hook = {"url": there.url, "events": ["run.*", "schedule.*"]}
    assert (await bot.http.post("/v1/webhooks", json=hook)).status_code == 201
    made = await bot.configure(max_consecutive_errors=1, enabled=True)
    async with living(hub, "bot") as agent:
        run = await bot.begin(made["uuid"])
        await agent.hear()
        await agent.ask("done", run=run, status="error", error_message="no network", notify="!")
    wanted = {"run.started", "run.failed", "run.notify", "schedule.paused"}
    await until(lambda: {each.json["type"] for each in there.got} == wanted)
    (paused,) = [each.json for each in there.got if each.json["type"] == "schedule.paused"]
    assert paused["data"]["schedule"] == made["uuid"]
    shown = await bot.read(made["uuid"])
    assert (shown["enabled"], shown["next_run_at"]) == (0, None)
    assert shown["paused_reason"] == "1 failed in a row, the last: no network"
    assert (await bot.presence())["state"] in ("available", "suspect")
