"""Jobs and their agents over HTTP: what silence does, who sees what, what a poster's move shows."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import pytest
from standardwebhooks import Webhook
from starlette.requests import Request

from lifesigns.core.instant import from_text
from lifesigns.web.moltjobs import DIALECT
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S, until
from tests.receiver import receiver

POSTER, OTHER, AGENT, SECOND = (
    "the-key-of-the-poster",
    "the-key-of-another-poster",
    "the-key-of-the-agent-a",
    "the-key-of-the-agent-b",
)
KEYS = (
    {"key": POSTER, "scope": "poster", "poster": "p"},
    {"key": OTHER, "scope": "poster", "poster": "q"},
    {"key": AGENT, "scope": "agent", "agent": "a"},
    {"key": SECOND, "scope": "agent", "agent": "b"},
)


class Party:
    """Somebody with a key."""

    def __init__(self, hub: RunningHub, key: str) -> None:
        self._hub = hub
        self._key = key

    async def ask(self, call: str, body: Any = None, *, status: int = 200) -> Any:
        method, path = call.split(" ", 1)
        async with self._hub.client("", headers={"X-API-Key": self._key}) as http:
            answer = await http.request(method, path, json=body)
        assert answer.status_code == status, (call, answer.text)
        return answer.json()

    async def data(self, call: str, body: Any = None, *, status: int = 200) -> Any:
        return (await self.ask(call, body, status=status))["data"]

    async def until(self, call: str, condition: Callable[[Any], object]) -> Any:
        deadline = time.monotonic() + SOON_S
        while not condition(shown := await self.data(call)):
            assert time.monotonic() < deadline, f"{call} did not become so: {shown}"
        return shown


class Trade:
    """A hub, a poster, and two agents."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self.root, self.poster, self.other, self.agent, self.second = (
            Party(hub, key) for key in (hub.key, POSTER, OTHER, AGENT, SECOND)
        )


@contextlib.asynccontextmanager
async def trade(url: str, **settings: Any) -> AsyncIterator[Trade]:
    async with running_hub(url, **settings) as hub:
        async with hub.client() as http:
            for each in KEYS:
                made = await http.post("/v1/keys", json=each)
                assert made.status_code in (201, 409)
        yield Trade(hub)


def beat(job: str | None = None, progress: str | None = None, **more: Any) -> dict[str, Any]:
    return {"jobId": job, "progress": progress, **more}


class TestSilence:
    async def test_a_job_whose_agent_is_silent_is_taken_from_it_and_the_agent_learns_so(
        self, fresh_url: str
    ) -> None:
        async with trade(fresh_url, dispute_delay_s=0) as here:
            posted = {"id": "j", "agentId": "a", "windowSeconds": 1}
            await here.poster.data("POST /jobs", posted, status=201)
            await here.agent.ask("POST /agents/a/heartbeat", beat("j"))
            refused = await here.poster.ask("POST /jobs/j/reclaim", status=409)
            assert "not disputable" in refused["message"]
            shown = await here.poster.until("GET /jobs/j", lambda job: job["disputable"])
            assert shown["inactive"] is True
            assert shown["inactiveSince"] <= shown["disputableAt"]
            back = await here.agent.ask("POST /agents/a/heartbeat", beat("j", "sorry"))
            assert back["ok"] is True
            shown = await here.poster.data("GET /jobs/j")
            assert (shown["inactive"], shown["inactiveSince"], shown["disputable"]) == (
                False,
                None,
                False,
            )
            await here.poster.until("GET /jobs/j", lambda job: job["disputable"])
            free = await here.poster.data("POST /jobs/j/reclaim")
            assert (free["status"], free["agentId"], free["inactive"]) == ("OPEN", None, False)
            refused = await here.agent.ask("POST /agents/a/heartbeat", beat("j"), status=409)
            assert "is with nobody now" in refused["message"]
            await here.poster.data("POST /jobs/j/assign", {"agentId": "b"})
            refused = await here.agent.ask("POST /agents/a/heartbeat", beat("j"), status=409)
            assert "is with 'b'" in refused["message"]
            agent = await here.agent.data("GET /agents/me")
            assert (agent["status"], agent["state"]) == ("ONLINE", "available")
            kinds = [step["type"] for step in await here.poster.data("GET /jobs/j/events")]
            assert kinds.count("job.heartbeat_missed") == kinds.count("job.disputable") == 2
            assert kinds.count("job.recovered") == 1
            letters = [each["type"] for each in await here.agent.data("GET /agents/a/mail")]
            assert letters == ["job.assigned", "job.reclaimed"]

    async def test_who_beats_for_one_job_is_silent_on_another(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here, running_hub(fresh_url) as there:
            for id_, window in (("one", 3_600), ("two", 1)):
                posted = {"id": id_, "agentId": "a", "windowSeconds": window}
                await here.poster.data("POST /jobs", posted, status=201)
            await Party(there, AGENT).ask("POST /agents/a/heartbeat", beat("one"))
            await here.poster.until("GET /jobs/two", lambda job: job["inactive"])
            assert (await here.poster.data("GET /jobs/one"))["inactive"] is False
            assert (await here.agent.data("GET /agents/me"))["status"] == "ONLINE"
            steps = await here.poster.data("GET /jobs/two/events")
            assert [step["type"] for step in steps][2:] == ["job.heartbeat_missed"]

    async def test_a_dispute_for_silence_stands_until_the_job_is_reclaimed(
        self, fresh_url: str
    ) -> None:
        async with trade(fresh_url, dispute_delay_s=0) as here:
            posted = {"id": "j", "agentId": "a", "windowSeconds": 1}
            await here.poster.data("POST /jobs", posted, status=201)
            await here.poster.ask("POST /jobs/j/dispute", {"reason": "x"}, status=409)
            await here.poster.until("GET /jobs/j", lambda job: job["disputable"])
            shown = await here.poster.data("PATCH /jobs/j/dispute", {"reason": "silent"})
            assert (shown["status"], shown["reason"]) == ("DISPUTED", "silent")
            assert (await here.poster.data("POST /jobs/j/reclaim"))["status"] == "OPEN"

    async def test_an_unknown_job_begins_with_its_beat_unless_that_is_forbidden(
        self, fresh_url: str
    ) -> None:
        async with trade(fresh_url, strict_jobs=True) as here:
            refused = await here.agent.ask("POST /agents/a/heartbeat", beat("j"), status=404)
            assert refused["code"] == "NOT_FOUND"
            assert (await here.agent.data("GET /agents/me"))["status"] == "ONLINE"
            await here.root.ask("GET /jobs/j", status=404)
        async with trade(fresh_url) as here:
            await here.agent.ask("POST /agents/a/heartbeat", beat("j"))
            shown = await here.root.data("GET /jobs/j")
            assert (shown["status"], shown["agentId"], shown["posterId"]) == (
                "IN_PROGRESS",
                "a",
                None,
            )


class TestPresence:
    async def test_the_next_beat_is_expected_one_window_later(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here:
            posted = {"id": "j", "agentId": "a", "windowSeconds": 4_000}
            await here.poster.data("POST /jobs", posted, status=201)
            for said, window_ms in ((beat(), 4_000_000), (beat("j"), 4_000_000)):
                told = await here.agent.ask("POST /agents/a/heartbeat", said)
                span = from_text(told["nextExpectedBefore"]) - from_text(told["receivedAt"])
                assert span == window_ms
            told = await here.second.ask("POST /agents/b/heartbeat", beat())
            span = from_text(told["nextExpectedBefore"]) - from_text(told["receivedAt"])
            assert span == 1_800_000
            agent = await here.second.data("GET /agents/me")
            span = from_text(agent["nextExpectedBefore"]) - from_text(agent["lastHeartbeatAt"])
            assert span == 1_800_000

    async def test_what_its_poster_does_with_a_job_shows_on_the_agent_at_once(
        self, fresh_url: str
    ) -> None:
        async with trade(fresh_url) as here:
            await here.agent.ask("POST /agents/a/heartbeat", beat())
            first = await here.agent.data("GET /agents/me")
            await here.poster.data("POST /jobs", {"id": "j", "title": "Write"}, status=201)
            await here.poster.data("POST /jobs/j/assign", {"agentId": "a"})
            shown = await here.agent.data("GET /agents/me")
            assert (shown["state"], shown["task"]) == ("busy", "Write")
            assert shown["lastHeartbeatAt"] == first["lastHeartbeatAt"], (
                "that was no sign of its life"
            )
            assert shown["nextExpectedBefore"] == first["nextExpectedBefore"]
            await here.poster.data("PATCH /jobs/j", {"title": "Write it"})
            assert (await here.agent.data("GET /agents/me"))["task"] == "Write it"
            await here.agent.data("POST /jobs/j/submit", {"output": 1})
            shown = await here.agent.data("GET /agents/me")
            assert (shown["state"], shown["task"]) == ("available", None)
            await here.poster.data("POST /jobs/j/reject", {"reason": "no"})
            assert (await here.agent.data("GET /agents/me"))["state"] == "busy"
            await here.poster.data("POST /jobs/j/cancel")
            assert (await here.agent.data("GET /agents/me"))["state"] == "available"

    async def test_an_agent_that_speaks_otherwise_says_itself_what_it_does(
        self, fresh_url: str
    ) -> None:
        async with trade(fresh_url) as here:
            await here.root.ask("PUT /v1/pulse/a", {"status": "idle", "task": "mine"})
            await here.poster.data("POST /jobs", {"id": "j", "agentId": "a"}, status=201)
            assert (await here.root.ask("GET /v1/pulse/a"))["task"] == "mine"

    async def test_unknown_fields_are_kept_and_all_dialects_see_them(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here:
            said = beat("j", "half", runtimeMetadata={"n": 1}, region="eu", status="error")
            await here.agent.ask("POST /v1/agents/a/heartbeat", said)
            shown = await here.root.ask("GET /v1/pulse/a")
            assert shown["metadata"] == {"region": "eu", "n": 1}
            assert (shown["state"], shown["status"], shown["dialect"]) == (
                "error",
                "error",
                "moltjobs",
            )
            assert (shown["task"], shown["progress"]) == ("j", {"note": "half"})

    async def test_who_beats_too_often_is_told_so_and_lives(self, fresh_url: str) -> None:
        async with trade(fresh_url, beats_per_s=0.1, burst_s=11.0) as here:
            for _ in range(2):
                await here.agent.ask("POST /agents/a/heartbeat", beat())
            refused = await here.agent.ask("POST /agents/a/heartbeat", beat(), status=429)
            assert (refused["code"], refused["status"]) == ("RATE_LIMITED", 429)
            assert (await here.agent.data("GET /agents/me"))["status"] == "ONLINE"


class TestPosters:
    READINGS = (
        "GET /jobs",
        "GET /jobs/j",
        "GET /jobs/j/reports",
        "GET /jobs/j/history",
        "GET /jobs/j/events",
        "GET /jobs/j/messages",
        "GET /agents/a",
        "GET /agents/a/jobs",
        "GET /v1/pulse",
        "GET /v1/pulse?expand=instances",
        "GET /v1/pulse/a",
        "GET /v1/pulse/a?expand=instances",
    )

    async def test_a_poster_reads_reports_and_never_the_runtime(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here:
            await here.poster.data("POST /jobs", {"id": "j", "agentId": "a"}, status=201)
            said = beat("j", "visible", runtimeMetadata={"note": "hidden"}, region="hidden")
            await here.agent.ask("POST /agents/a/heartbeat", said)
            submitted = {"output": 1, "runtimeMetadata": {"note": "hidden"}}
            await here.agent.data("POST /jobs/j/submit", submitted)
            for call in self.READINGS:
                assert "hidden" not in str(await here.poster.ask(call)), call
            assert "visible" in str(await here.poster.ask("GET /jobs/j/reports"))
            for call in ("GET /jobs/j/history", "GET /agents/a/heartbeats", "GET /agents/me"):
                assert "hidden" in str(await here.agent.ask(call)), call

    async def test_a_poster_sees_its_own_jobs_and_their_agents_alone(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here:
            await here.poster.data("POST /jobs", {"id": "j", "agentId": "a"}, status=201)
            await here.other.data("POST /jobs", {"id": "k", "agentId": "b"}, status=201)
            await here.agent.ask("POST /agents/a/heartbeat", beat())
            await here.second.ask("POST /agents/b/heartbeat", beat())
            assert [job["id"] for job in await here.other.data("GET /jobs")] == ["k"]
            assert await here.other.data("GET /agents/a/jobs") == []
            for call in self.READINGS[1:7] + self.READINGS[10:]:
                await here.other.ask(call, status=403)
            agents = (await here.other.ask("GET /v1/pulse"))["agents"]
            assert [each["id"] for each in agents] == ["b"]


class TestLists:
    async def test_every_list_goes_on_with_its_cursor(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here:
            for n in range(3):
                await here.poster.data("POST /jobs", {"id": str(n), "agentId": "a"}, status=201)
                said = beat("0", f"step {n}")
                await here.agent.ask("POST /agents/a/heartbeat", said)
                told = {"content": f"word {n}"}
                await here.poster.data("POST /jobs/0/messages", told, status=201)
            for call, count in (
                ("GET /jobs", 3),
                ("GET /agents/a/jobs?status=ASSIGNED,IN_PROGRESS", 3),
                ("GET /agents/a/heartbeats", 3),
                ("GET /jobs/0/reports", 3),
                ("GET /jobs/0/history", 3),
                ("GET /jobs/0/messages", 3),
                ("GET /agents/a/mail", 6),
            ):
                whole = (await here.root.ask(call))["data"]
                assert len(whole) == count, call
                found, cursor = [], ""
                while cursor is not None:
                    mark = "&" if "?" in call else "?"
                    page = await here.root.ask(f"{call}{mark}limit=2&cursor={cursor}")
                    assert page["meta"]["total"] == count, call
                    found += page["data"]
                    cursor = page["meta"]["nextCursor"]
                assert found == whole, call

    async def test_reports_of_all_who_had_a_job_are_in_one_list(self, fresh_url: str) -> None:
        async with trade(fresh_url, dispute_delay_s=0) as here:
            posted = {"id": "j", "agentId": "a", "windowSeconds": 1}
            await here.poster.data("POST /jobs", posted, status=201)
            await here.agent.ask("POST /agents/a/heartbeat", beat("j", "first"))
            await here.poster.until("GET /jobs/j", lambda job: job["disputable"])
            await here.poster.data("POST /jobs/j/reclaim")
            await here.poster.data("POST /jobs/j/assign", {"agentId": "b"})
            await here.second.ask("POST /agents/b/heartbeat", beat("j", "second"))
            reports = await here.poster.data("GET /jobs/j/reports")
            assert [(each["agentId"], each["progress"]) for each in reports] == [
                ("b", "second"),
                ("a", "first"),
            ]


@pytest.mark.parametrize("id_", ["job 7", "größe?#%&=+", "a%2Fb", "~", "...", "x" * 128])
async def test_a_job_may_be_called_what_has_to_be_escaped(id_: str, fresh_url: str) -> None:
    async with trade(fresh_url) as here:
        await here.agent.ask("POST /agents/a/heartbeat", beat(id_, "on it"))
        path = f"/jobs/{quote(id_, safe='')}"
        assert (await here.root.data(f"GET {path}"))["id"] == id_
        assert len(await here.root.data(f"GET {path}/reports")) == 1
        assert (await here.agent.data(f"POST {path}/submit"))["status"] == "IN_REVIEW"


async def test_messages_reach_the_other_side(fresh_url: str) -> None:
    async with trade(fresh_url) as here:
        await here.poster.data("POST /jobs", {"id": "j", "agentId": "a"}, status=201)
        await here.poster.data("POST /jobs/j/messages", {"content": "How far?"}, status=201)
        await here.agent.data("POST /jobs/j/messages", {"content": "Half"}, status=201)
        seen = await here.poster.data("GET /jobs/j/messages")
        assert [(each["from"], each["content"]) for each in seen] == [
            ("agent", "Half"),
            ("poster", "How far?"),
        ]
        letters = await here.agent.data("GET /agents/me/mail")
        assert [each["type"] for each in letters] == ["job.assigned", "job.message"]
        assert letters[1]["content"] == "How far?"
        acked = await here.agent.ask(f"POST /v1/inbox/{letters[0]['id']}/ack")
        assert acked == {"ok": True}
        assert len(await here.agent.data("GET /agents/me/mail")) == 1


async def test_a_key_in_the_address_is_good_for_one_call_alone(fresh_url: str) -> None:
    async with trade(fresh_url) as here, here.hub.client("") as http:
        assert (await http.get(f"/agents/heartbeat?apiKey={AGENT}")).status_code == 200
        assert (await http.get(f"/agents/me?apiKey={AGENT}")).status_code == 401
        assert (await http.post(f"/agents/heartbeat?apiKey={AGENT}")).status_code == 401
        bad = {"X-API-Key": "a-key-that-nobody-has"}
        answer = await http.get(f"/agents/heartbeat?apiKey={AGENT}", headers=bad)
        assert answer.status_code == 401


async def test_the_page_of_a_stranger_sends_no_heartbeat_with_a_key_in_the_address(
    fresh_url: str,
) -> None:
    """It is a GET that writes, and only what is no GET was looked at for where it came from."""
    async with trade(fresh_url) as here, here.hub.client("") as http:
        path = f"/agents/heartbeat?apiKey={AGENT}"
        for origin, status in (("https://stranger.example", 403), (here.hub.url, 200)):
            answer = await http.get(path, headers={"Origin": origin})
            assert answer.status_code == status, origin


async def test_an_answer_carries_the_id_of_its_request(fresh_url: str) -> None:
    async with trade(fresh_url) as here, here.hub.client() as http:
        answer = await http.get("/jobs/none", headers={"X-Request-Id": "r-7"})
        assert (answer.json()["requestId"], answer.headers["x-request-id"]) == ("r-7", "r-7")


@pytest.mark.parametrize(
    ("path", "beats"),
    [
        ("/agents/a/heartbeat", True),
        ("/v1/agents/heartbeat", True),
        ("/jobs/j/start", True),
        ("/v1/jobs/j/submit", True),
        ("/agents/a/heartbeats", False),
        ("/jobs/j/approve", False),
    ],
)
def test_no_lease_ends_while_a_sign_of_life_comes_in(path: str, beats: bool) -> None:
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    assert DIALECT.owns(path)
    assert DIALECT.beats(Request(scope | {"server": ("h", 1), "scheme": "http"})) is beats


class TestWebhooks:
    async def test_the_receiver_of_a_job_is_told_what_becomes_of_it(self, fresh_url: str) -> None:
        async with trade(fresh_url, dispute_delay_s=0) as here, receiver() as there:
            posted = {"id": "j", "agentId": "a", "windowSeconds": 1, "webhookUrl": there.url}
            made = await here.poster.data("POST /jobs", posted, status=201)
            assert made["webhookUrl"] == there.url
            secret = made["webhookSecret"]
            for call in ("GET /jobs/j", "GET /jobs", "GET /jobs/j/events"):
                shown = str(await here.poster.ask(call))
                assert secret not in shown
                assert there.url not in shown
            said = beat("j", "visible", runtimeMetadata={"note": "hidden"})
            await here.agent.ask("POST /agents/a/heartbeat", said)
            await until(lambda: "job.disputable" in there.types())
            await here.agent.ask("POST /agents/a/heartbeat", beat("j"))
            await here.agent.data("POST /jobs/j/submit", {"output": 1})
            await here.poster.data("POST /jobs/j/approve")
            await until(lambda: "job.approved" in there.types())
            assert there.types() == [
                "job.assigned",
                "job.heartbeat_missed",
                "job.disputable",
                "job.recovered",
                "job.submitted",
                "job.approved",
            ]
            for got in there.got:
                assert b"hidden" not in got.body
                Webhook(secret).verify(got.body, got.headers)
                signed = got.headers["moltjobs-signature"]
                moment = signed.removeprefix("t=").partition(",")[0]
                text = moment.encode() + b"." + got.body
                mac = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
                assert signed == f"t={moment},v1={mac}"
                assert got.headers["moltjobs-event"] == got.json["type"]
                assert got.json["data"]["jobId"] == "j"

    async def test_a_jobs_receiver_may_be_another_one_or_none(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here, receiver() as there:
            await here.poster.data("POST /jobs", {"id": "j"}, status=201)
            bad = {"webhookUrl": "ftp://h/"}
            refused = await here.poster.ask("PATCH /jobs/j", bad, status=422)
            assert refused["error"]["field"] == "webhookUrl"
            first = await here.poster.data("PATCH /jobs/j", {"webhookUrl": there.url})
            again = await here.poster.data("PATCH /jobs/j", {"webhookUrl": f"{there.url}/2"})
            assert first["webhookSecret"] != again["webhookSecret"]
            kept = await here.poster.data("PATCH /jobs/j", {"title": "t"})
            assert kept["webhookUrl"] == f"{there.url}/2"
            assert "webhookSecret" not in kept
            await here.poster.data("POST /jobs/j/assign", {"agentId": "a"})
            await until(lambda: there.got)
            assert there.got[0].target.endswith("/2")
            gone = await here.poster.data("PATCH /jobs/j", {"webhookUrl": None})
            assert "webhookUrl" not in gone

    async def test_an_agent_is_told_of_its_own_jobs_alone(self, fresh_url: str) -> None:
        async with trade(fresh_url) as here, receiver() as there:
            await here.agent.ask("POST /agents/a/webhook/test", status=404)
            await here.second.ask("POST /agents/a/webhook", {"url": there.url}, status=403)
            await here.agent.ask("POST /agents/a/webhook", {}, status=422)
            await here.agent.data("POST /agents/a/webhook", {"url": f"{there.url}/1"}, status=201)
            hook = await here.agent.data("POST /agents/me/webhook", {"url": there.url}, status=201)
            sent = await here.agent.data("POST /v1/agents/a/webhook/test")
            assert sent["state"] == "delivered"
            for job, agent in (("j", "a"), ("k", "b")):
                posted = {"id": job, "agentId": agent}
                await here.poster.data("POST /jobs", posted, status=201)
            await here.poster.data("POST /jobs/j/cancel")
            await until(lambda: "job.cancelled" in there.types())
            told = [(got.json["type"], got.json["data"].get("jobId")) for got in there.got]
            assert told == [
                ("webhook.test", None),
                ("job.assigned", "j"),
                ("job.cancelled", "j"),
            ]
            for got in there.got:
                Webhook(hook["secret"]).verify(got.body, got.headers)
            assert await here.agent.ask("DELETE /agents/a/webhook") == {"ok": True}
            await here.agent.ask("DELETE /agents/a/webhook", status=404)
