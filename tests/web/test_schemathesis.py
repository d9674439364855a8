"""The description against a running hub: whatever may be sent gets an answer that it tells of.

Every operation is called with what its description allows and with what it forbids, at random but
the same in every run; what must be named to be found is mostly something that exists.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi import checks

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.instant import to_text
from lifesigns.core.job import Job, create
from lifesigns.web.description import DESCRIPTION
from tests.bot import Bot
from tests.hub import RunningHub

EXAMPLES = 20

BOARD = "/api/v2/"
WORKER_KEY = "the-key-of-a-worker"
BULK = "POST /v1/pulse"  # takes a bad beat as well, and answers what is wrong with it

# Without its ways in: which key is shown is not left to chance.
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION | {"security": []})
ALL = [operation.ok() for operation in SCHEMA.get_all_operations()]
# Event streams have no end to wait for.
STREAMS = ("/v1/events", "/api/v1/agents/stream")
# What stands at two addresses is called at the shorter one.
TWICE = ("/v1/jobs", "/v1/agents")
OPERATIONS = {
    each.label: each for each in ALL if each.path not in STREAMS and not each.path.startswith(TWICE)
}
CHECKS: list[CheckFunction] = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize("label", OPERATIONS)
async def test_every_answer_is_as_described(label: str, hub: RunningHub) -> None:
    async with hub.client() as http:
        known = await furnish(http)
        if BOARD in label:
            known |= await furnish_board(hub, http)
    await asyncio.to_thread(explore, label, hub, known)


async def furnish(http: httpx.AsyncClient) -> dict[str, str | dict[str, str]]:
    """Make one of each thing that addresses name; answer their names by path."""
    beat = {"status": "thinking", "progress": {"done": 1}, "metadata": {"depth": 3}}
    await http.put("/v1/pulse/a", json=beat)
    await http.post("/v1/projects", json={"name": "p"})
    key = await http.post("/v1/keys", json={"scope": "watch"})
    letter = await http.post("/v1/pulse/a/tell", json={"message": "m"})
    await http.put("/v1/pulse/b", json={"slots": 1_000})
    claim = await http.post("/v1/claims", json={"agent": "b"})
    enrolled = await http.post("/api/v1/agents/heartbeat", json={"name": "c"})
    agent = enrolled.json()["id"]
    hook = await http.post("/v1/webhooks", json={"url": f"{http.base_url}/livez", "hold_s": 1})
    webhook = hook.json()["id"]
    sent = (await http.post(f"/v1/webhooks/{webhook}/test")).json()["id"]
    run = await begin_run(Bot(http, "d"))
    await http.post("/jobs", json={"id": "j", "agentId": "a"})
    await http.post("/agents/a/heartbeat", json={"jobId": "j", "progress": "half"})
    molt = {
        path: "j" if "/jobs/{id}" in path else "a"
        for path in DESCRIPTION["paths"]
        if "{id}" in path and path.removeprefix("/v1").startswith(("/jobs", "/agents"))
    }
    return molt | {
        "/v1/webhooks/{id}": webhook,
        "/v1/webhooks/{id}/rotate": webhook,
        "/v1/webhooks/{id}/test": webhook,
        "/v1/webhooks/{id}/deliveries": webhook,
        "/v1/webhooks/{id}/deliveries/{delivery}": {"id": webhook, "delivery": sent},
        "/v1/webhooks/{id}/deliveries/{delivery}/resend": {"id": webhook, "delivery": sent},
        "/api/v1/agents/{agent_id}": agent,
        "/api/v1/agents/{agent_id}/files/{name}": {"agent_id": agent, "name": "TOOLS.md"},
        "/api/v1/agents/{agent_id}/heartbeat": agent,
        "/api/v1/agents/{agent_id}/token": agent,
        "/v1/claims/{id}": claim.json()["claim"],
        "/v1/pulse/{id}": "a",
        "/v1/pulse/{id}/history": "a",
        "/v1/pulse/{id}/override": "a",
        "/v1/pulse/{id}/tell": "a",
        "/v1/runs/{run}": run,
        "/v1/runs/{run}/done": run,
        "/v1/inbox/{id}/ack": letter.json()["id"],
        "/v1/projects/{name}": "p",
        "/v1/keys/{id}": key.json()["id"],
    }


async def furnish_board(hub: RunningHub, http: httpx.AsyncClient) -> dict[str, str]:
    """Make jobs and what hangs on them, of the agent ``worker`` whose key is ``WORKER_KEY``."""
    await http.post("/v1/keys", json={"scope": "agent", "agent": "worker", "key": WORKER_KEY})
    mine = {"X-API-Key": WORKER_KEY}
    await http.post("/api/v2/agents/me/heartbeat", json={"runtimeId": "r"}, headers=mine)
    links = "/api/v2/agents/me/setup-links"
    link = await http.post(links, json={"kind": "CARD"}, headers=mine)
    now_ms = time.time_ns() // 1_000_000
    for name in ("granted", "open"):
        made = create(Job(name, 1_800_000, now_ms, now_ms, now_ms, poster="worker"), "", now_ms)
        await hub.hub.jobs.create(DEFAULT_PROJECT, made)
    until = {"acknowledgementDeadlineAt": to_text(now_ms + 3_600_000)}
    until |= {"fairWorkDeadlineAt": to_text(now_ms + 7_200_000)}
    granted = {"agentId": "worker", "jobId": "granted"} | until
    slot = (await http.post("/api/v2/slots", json=granted)).json()["slot"]["id"]
    acts = ("", "/acknowledge", "/submit", "/withdraw")
    return {
        "/api/v2/agents/{id}": "worker",
        f"{links}/{{id}}": link.json()["id"],
        **{f"/api/v2/{name}/{{id}}": "granted" for name in ("bounties", "jobs")},
        **{f"/api/v2/{name}/{{id}}/apply": "open" for name in ("bounties", "jobs")},
        **{f"/api/v2/slots/{{id}}{act}": slot for act in acts},
    }


async def begin_run(bot: Bot) -> str:
    """Have a run skipped: one that is in the log, and closed."""
    made = await bot.configure(credit_budget=0)
    body = await bot.good("POST", "heartbeat/trigger", heartbeat_id=made["uuid"])
    return str(body["result"]["run"])


def explore(label: str, hub: RunningHub, known: dict[str, str | dict[str, str]]) -> None:
    """Call one operation with many cases; its thread is not the hub's."""
    operation = OPERATIONS[label]
    cases = [operation.as_strategy(mode) for mode in GenerationMode]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of(cases),
        aimed=st.sampled_from([True, True, True, False]),
        key=st.sampled_from([WORKER_KEY, hub.key] if BOARD in label else [hub.key]),
    )
    def call(case: Any, aimed: bool, key: str) -> None:
        if aimed:
            case.headers.pop("X-Lifesigns-Project", None)
            if case.path in known:
                names = known[case.path]
                one = isinstance(names, str)
                case.path_parameters = dict.fromkeys(case.path_parameters, names) if one else names
        if str(case.query.get("wait", "")).isdecimal():  # nobody will write to these inboxes
            case.query["wait"] = 0
        wait = case.body.get("wait") if isinstance(case.body, dict) else None
        if isinstance(wait, int | float) and 0 < wait <= 60:
            case.body["wait"] = 0
        response = case.call(base_url=hub.url, headers={"Authorization": f"Bearer {key}"})
        assert response.status_code < 500, (case.as_curl_command(), response.text)
        whole = [] if aimed or label == BULK else [checks.negative_data_rejection]
        case.validate_response(response, checks=CHECKS + whole)

    call()
