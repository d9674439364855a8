"""One table over all dialects: whatever an agent says in one, each of the others reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from lifesigns.core.instant import from_text
from tests.hub import RunningHub, running_hub
from tests.watcher import watching

NAME = "codex"
KEY = "the-key-of-codex-alone"

Say = Callable[[httpx.AsyncClient], Awaitable[str]]


def _call(method: str, path: str, body: Mapping[str, Any] | None = None) -> Say:
    async def say(http: httpx.AsyncClient) -> str:
        answer = await http.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        # Mission Control names its agents by UUIDs of its own.
        return str(told["id"]) if path.startswith("/api/v1") else NAME

    return say


def pulse(**said: Any) -> Say:
    return _call("PUT", f"/v1/pulse/{NAME}", said)


def moltjobs(**said: Any) -> Say:
    return _call("POST", f"/agents/{NAME}/heartbeat", said)


def mission(status: str | None = None) -> Say:
    said = {"name": NAME} | ({} if status is None else {"status": status})
    return _call("POST", "/api/v1/agents/heartbeat", said)


def callboard(**said: Any) -> Say:
    body = {"runtimeId": "r", **said}

    async def say(http: httpx.AsyncClient) -> str:
        path = "/api/v2/agents/me/heartbeat"
        answer = await http.post(path, json=body, headers={"X-API-Key": KEY})
        assert answer.status_code == 200, answer.text
        return NAME

    return say


LEAVE = _call("DELETE", f"/v1/pulse/{NAME}")
CAME, WENT = "online", "offline"


@dataclass(frozen=True)
class Reading:
    """What everybody makes of it."""

    state: str
    lease_s: int | None  # None: it holds none
    seen: tuple[str, ...]  # by a watcher: the kind of each change
    pulse: str | None
    moltjobs: str
    mission_control: str
    callboard: str


def _busy(lease_s: int, word: str | None, mission: str | None = None) -> Reading:
    return Reading("busy", lease_s, (CAME,), word, "ONLINE", mission or word or "", "ONLINE")


def _available(lease_s: int, word: str | None, mission: str | None = None) -> Reading:
    return Reading("available", lease_s, (CAME,), word, "ONLINE", mission or word or "", "ONLINE")


def _gone(word: str | None) -> Reading:
    return Reading("offline", None, (CAME, WENT), word, "OFFLINE", "offline", "OFFLINE")


TABLE: Mapping[str, tuple[tuple[Say, ...], Reading]] = {
    "pulse idle": ((pulse(status="idle"),), _available(60, "idle")),
    "pulse thinking": ((pulse(status="thinking"),), _busy(60, "thinking")),
    "pulse learning": ((pulse(status="learning"),), _busy(60, "learning")),
    "pulse error": (
        (pulse(status="error"),),
        Reading("error", 60, (CAME,), "error", "ONLINE", "error", "DEGRADED"),
    ),
    "pulse draining": (
        (pulse(status="draining"),),
        Reading("draining", 60, (CAME,), "draining", "ONLINE", "draining", "DEGRADED"),
    ),
    "pulse any other": ((pulse(status="out to lunch"),), _available(60, "out to lunch")),
    "pulse any other with a task": ((pulse(status="word", task="t"),), _busy(60, "word")),
    "pulse without a status": ((pulse(),), _available(60, "idle")),
    "pulse gone": ((pulse(status="idle"), LEAVE), _gone("idle")),
    "moltjobs without a job": ((moltjobs(),), _available(1_800, None, "online")),
    "moltjobs with progress alone": (
        (moltjobs(progress="sorting"),),
        _available(1_800, None, "online"),
    ),
    "moltjobs with a job": (
        (moltjobs(jobId="j", progress="half"),),
        _busy(1_800, None, "online"),
    ),
    "moltjobs error": (
        (moltjobs(status="error"),),
        Reading("error", 1_800, (CAME,), "error", "ONLINE", "error", "DEGRADED"),
    ),
    "moltjobs gone": ((moltjobs(), LEAVE), _gone(None)),
    "mission_control without a status": ((mission(),), _available(120, "online")),
    "mission_control healthy": ((mission("healthy"),), _available(120, "healthy")),
    "mission_control online": ((mission("online"),), _available(120, "online")),
    "mission_control degraded": (
        (mission("degraded"),),
        Reading("degraded", 120, (CAME,), "degraded", "ONLINE", "degraded", "DEGRADED"),
    ),
    "mission_control busy": ((mission("busy"),), _busy(120, "busy")),
    "mission_control any other": ((mission("on watch"),), _available(120, "on watch")),
    "mission_control offline": ((mission("online"), mission("offline")), _gone("online")),
    "callboard ONLINE": ((callboard(status="ONLINE"),), _available(1_200, "ONLINE")),
    "callboard ONLINE idle": ((callboard(currentAction="idle"),), _available(1_200, "ONLINE")),
    "callboard ONLINE at work": ((callboard(currentAction="x"),), _busy(1_200, "ONLINE")),
    "callboard DEGRADED": (
        (callboard(status="DEGRADED", currentAction="x"),),
        Reading("degraded", 1_200, (CAME,), "DEGRADED", "ONLINE", "DEGRADED", "DEGRADED"),
    ),
    "callboard OFFLINE": ((callboard(), callboard(status="OFFLINE")), _gone("ONLINE")),
}


@pytest.mark.parametrize("case", TABLE)
async def test_whatever_is_said_in_one_dialect_is_read_in_all_others(
    case: str, fresh_url: str
) -> None:
    said, expected = TABLE[case]
    async with running_hub(fresh_url) as hub, hub.client() as http, watching(hub) as watcher:
        await give_key(http, NAME)
        agent = NAME
        for say in said:
            agent = await say(http)
        shown = (await http.get(f"/v1/pulse/{agent}")).json()
        assert shown["dialect"] == case.split()[0]
        asked = {"agents": [agent], "within": 60_000}
        checked = (await http.post("/v1/check", json=asked)).json()["agents"][agent]
        assert (checked["state"], checked["alive"], checked["fresh"]) == (
            expected.state,
            expected.lease_s is not None,
            True,
        )
        assert await read(hub, http, agent, shown) == expected
        await watcher.sees(lambda: len(watcher.changes) >= len(expected.seen))
        assert tuple(change["kind"] for change in watcher.changes) == expected.seen
        last = watcher.changes[-1]
        assert (last["id"], last["state"]) == (agent, expected.state)
        again = (await http.get(f"/v1/pulse/{agent}")).json()
        assert again["alive"] is shown["alive"], "a look brings nobody back"


async def give_key(http: httpx.AsyncClient, agent: str) -> None:
    key = {"scope": "agent", "agent": agent, "key": KEY}
    assert (await http.post("/v1/keys", json=key)).status_code == 201


async def read(
    hub: RunningHub, http: httpx.AsyncClient, agent: str, shown: Mapping[str, Any]
) -> Reading:
    """Ask every dialect what it makes of an agent."""
    lease_s = None
    if shown["expires_at"] is not None:
        lease_ms = from_text(shown["expires_at"]) - from_text(shown["last_heartbeat"])
        lease_s = round(lease_ms / 1000)
    molt = (await http.get(f"/agents/{agent}")).json()["data"]
    mission_read = (await http.get(f"/api/v1/agents/{agent}")).json()
    return Reading(
        state=shown["state"],
        lease_s=lease_s,
        seen=(CAME,) if shown["alive"] else (CAME, WENT),
        pulse=shown["status"],
        moltjobs=molt["status"],
        mission_control=mission_read["status"],
        callboard=await read_callboard(http, agent),
    )


async def read_callboard(http: httpx.AsyncClient, agent: str) -> str:
    key = KEY
    if agent != NAME:  # it needs a key of its own, which its dialect has not told
        key = f"{KEY}-too"
        await http.post("/v1/keys", json={"scope": "agent", "agent": agent, "key": key})
    home = (await http.get("/api/v2/home", headers={"X-API-Key": key})).json()
    return str(home["runtimePresence"]["state"])
