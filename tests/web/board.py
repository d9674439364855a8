"""Agents of Callboard that call a hub, for the tests of that API."""

from __future__ import annotations

import time
from typing import Any

import httpx
import msgpack

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.instant import to_text
from lifesigns.core.job import Job, create
from lifesigns.store import keys
from tests.hub import RunningHub

ME = "/api/v2/agents/me"
SEED = {"runtimeId": "codex-local-1", "roleMode": "WORKER", "currentAction": "idle"}


class Visitor:
    """One agent with its own key."""

    def __init__(self, http: httpx.AsyncClient, agent: str) -> None:
        self.http = http
        self.agent = agent
        key = f"the-key-of-{agent}-alone"
        self._headers = {"X-API-Key": key, "Authorization": f"Bearer {key}"}

    async def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Call, and answer the body; the status has to be this one."""
        answer = await self.http.request(method, path, json=body, headers=self._headers)
        assert answer.status_code == status, (method, path, answer.text)
        return answer.json()

    async def beat(self, **said: Any) -> dict[str, Any]:
        told = await self.call("POST", f"{ME}/heartbeat", SEED | said)
        beaten: dict[str, Any] = told["heartbeat"]
        return beaten

    async def home(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.call("GET", "/api/v2/home")
        return found

    async def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.http.request(method, path, headers=self._headers, **options)


async def visitor(http: httpx.AsyncClient, agent: str) -> Visitor:
    """Give an agent a key of its own."""
    key = {"scope": "agent", "agent": agent, "key": f"the-key-of-{agent}-alone"}
    assert (await http.post("/v1/keys", json=key)).status_code == 201
    return Visitor(http, agent)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def post_job(hub: RunningHub, name: str, **said: Any) -> None:
    """Put a job on the board."""
    at_ms = now_ms()
    job = Job(name, 1_800_000, at_ms, at_ms, at_ms, **said)
    await hub.hub.jobs.create(DEFAULT_PROJECT, create(job, "", at_ms))


def terms(agent: str, job: str, acknowledge_ms: int, finish_ms: int) -> dict[str, Any]:
    """Say what is granted, until so many ms from now."""
    return {
        "agentId": agent,
        "jobId": job,
        "acknowledgementDeadlineAt": to_text(now_ms() + acknowledge_ms),
        "fairWorkDeadlineAt": to_text(now_ms() + finish_ms),
    }


async def listen(hub: RunningHub) -> None:
    """Have events noted as if there were a webhook."""
    lane = hub.hub.store.lane(DEFAULT_PROJECT, "")
    await hub.hub.link.ask("HSET", lane.keys[0], "hooks", "1")


async def told(hub: RunningHub) -> list[tuple[str, str, dict[str, Any]]]:
    """Tell what waits to be told to webhooks: types, agents and data."""
    number = hub.hub.store.lane(DEFAULT_PROJECT, "").number
    entries = await hub.hub.link.ask("XRANGE", keys.events(DEFAULT_PROJECT, number), "-", "+")
    return [
        (entry[1].decode(), entry[3].decode(), msgpack.unpackb(entry[7])) for _, entry in entries
    ]
