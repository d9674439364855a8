"""One table: what each word of each published API is to the hub, and to every other API.

A row is one heartbeat of an agent ``a``: its state, its lease, what a watcher is told, and how each
API reads that agent. Then the same for its end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx
import pytest

from tests.events import listening
from tests.hub import running_hub

HEARTBEATS = {
    "pulse": ("PUT", "/v1/pulse/a", {}),
    "mission_control": ("POST", "/api/v1/agents/heartbeat", {"name": "A"}),
    "callboard": ("POST", "/api/v2/agents/me/heartbeat", {"runtimeId": "r"}),
    "moltjobs": ("POST", "/agents/a/heartbeat", {}),
}
ENDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pulse": ("DELETE", "/v1/pulse/a", {}),
    "mission_control": ("POST", "/api/v1/agents/a/heartbeat", {"status": "offline"}),
    "callboard": ("POST", "/api/v2/agents/me/heartbeat", {"runtimeId": "r", "status": "OFFLINE"}),
    "moltjobs": ("DELETE", "/v1/pulse/a", {}),  # it has no word for it
}


class Row(NamedTuple):
    """A heartbeat, and what it comes to."""

    speaks: str
    says: dict[str, Any]
    state: str
    lease_s: int
    pulse: str | None
    mission_control: str
    callboard: str


def row(speaks: str, says: dict[str, Any], state: str, lease_s: int, *read: Any) -> Row:
    return Row(speaks, says, state, lease_s, *read)


TABLE = (
    #    what it says                         state  lease  pulse, Mission Control, Callboard read
    row("pulse", {"status": "idle"}, "available", 60, "idle", "idle", "ONLINE"),
    row("pulse", {"status": "thinking"}, "busy", 60, "thinking", "thinking", "ONLINE"),
    row("pulse", {"status": "learning"}, "busy", 60, "learning", "learning", "ONLINE"),
    row("pulse", {"status": "error"}, "error", 60, "error", "error", "DEGRADED"),
    row("pulse", {"status": "word", "task": "t"}, "busy", 60, "word", "word", "ONLINE"),
    row("pulse", {}, "available", 60, "idle", "idle", "ONLINE"),
    row("mission_control", {"status": "healthy"}, "available", 120, "healthy", "healthy", "ONLINE"),
    row("mission_control", {"status": "online"}, "available", 120, "online", "online", "ONLINE"),
    row(
        *("mission_control", {"status": "degraded"}, "degraded", 120),
        *("degraded", "degraded", "DEGRADED"),
    ),
    row("mission_control", {"status": "word"}, "available", 120, "word", "word", "ONLINE"),
    row("mission_control", {}, "available", 120, "online", "online", "ONLINE"),
    row("callboard", {"status": "ONLINE"}, "available", 1200, "ONLINE", "ONLINE", "ONLINE"),
    row(
        *("callboard", {"status": "ONLINE", "currentAction": "idle"}, "available", 1200),
        *("ONLINE", "ONLINE", "ONLINE"),
    ),
    row(
        *("callboard", {"status": "ONLINE", "currentAction": "sorting"}, "busy", 1200),
        *("ONLINE", "ONLINE", "ONLINE"),
    ),
    row("callboard", {"status": "DEGRADED"}, "degraded", 1200, "DEGRADED", "DEGRADED", "DEGRADED"),
    row("callboard", {}, "available", 1200, "ONLINE", "ONLINE", "ONLINE"),
    row("moltjobs", {}, "available", 1800, None, "online", "ONLINE"),
    row("moltjobs", {"progress": "sorting"}, "available", 1800, None, "online", "ONLINE"),
    row("moltjobs", {"jobId": "j", "progress": "x"}, "busy", 1800, None, "online", "ONLINE"),
    row("moltjobs", {"status": "error"}, "error", 1800, "error", "error", "DEGRADED"),
)


async def told(http: httpx.AsyncClient, method: str, path: str, body: Any = None) -> dict[str, Any]:
    answer = await http.request(method, path, json=body)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


async def read_by_all(root: httpx.AsyncClient, own: httpx.AsyncClient) -> tuple[Any, ...]:
    """Read the agent as each API does; the last is its own look, which is a sign of life.

    MoltJobs knows but two words, which say whether it is alive.
    """
    shown = await told(root, "GET", "/v1/pulse/a")
    record = await told(root, "GET", "/api/v1/agents/a")
    worker = await told(root, "GET", "/agents/a")
    assert worker["data"]["status"] == ("ONLINE" if shown["alive"] else "OFFLINE")
    home = await told(own, "GET", "/api/v2/home")
    return shown["status"], record["status"], home["runtimePresence"]["state"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.speaks} {row.says}")
async def test_a_word_of_one_api_is_read_by_all_as_the_table_says(row: Row, fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as root:
        wanted = {"scope": "agent", "agent": "a"}
        key = (await told(root, "POST", "/v1/keys", wanted))["key"]
        async with hub.client(key) as own, listening(hub, ids="a") as events:
            await events.begin()
            method, path, said = HEARTBEATS[row.speaks]
            await told(own, method, path, said | row.says)
            (change,) = await events.changes(1)
            assert (change["kind"], change["state"]) == ("online", row.state)
            shown = await told(root, "GET", "/v1/pulse/a?expand=instances")
            assert (shown["state"], shown["dialect"]) == (row.state, row.speaks)
            assert [each["ttl"] for each in shown["instances"]] == [row.lease_s]
            checked = await told(root, "POST", "/v1/check", {"agents": ["a"], "within": 60_000})
            assert (checked["agents"]["a"]["fresh"], checked["agents"]["a"]["alive"]) == (
                True,
                True,
            )
            assert await read_by_all(root, own) == row[4:]

            await told(own, *ENDS[row.speaks])
            (change,) = await events.changes(1)
            assert (change["kind"], change["reason"]) == ("offline", "left")
            assert await read_by_all(root, own) == (row.pulse, "offline", "OFFLINE")
            gone = await told(root, "GET", "/v1/pulse/a")
            assert not gone["alive"], "a look brings nobody back"
