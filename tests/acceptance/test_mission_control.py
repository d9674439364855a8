"""Agents of Mission Control as they are: curl calls of its reference, and what a workspace tells
them to run, in a real shell against a real hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.command import environment, execute
from tests.hub import HubProcess, RunningHub, hub_process, running_hub
from tests.patience import SOON_S, until, until_told

HERE = Path(__file__).parent
PRINTED = HERE.parent / "dialects" / "mission_control"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEAT = "/api/v1/agents/heartbeat"
PATIENT = "1000000"  # a load that no machine has


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Answer what a shell finds around it; curl is ours if the machine has none."""
    tools = tmp_path / "bin"
    tools.mkdir()
    if shutil.which("curl") is None:
        command = tools / "curl"
        command.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{HERE / 'curl.py'}' \"$@\"\n")
        command.chmod(0o755)
    found = environment(no_proxy="*", LOAD_LIMIT=PATIENT)
    return {**found, "PATH": f"{tools}:{found['PATH']}"}


async def call(name: str, url: str, env: dict[str, str]) -> dict[str, Any]:
    """Run a call as it is printed; only the address is put in."""
    script = (PRINTED / f"{name}.sh.txt").read_text().replace("https://api.example.com", url)
    ended = await execute("bash", "-c", script, env=env)
    assert ended.code == 0, ended.told
    answer: dict[str, Any] = json.loads(ended.out)
    return answer


async def test_the_calls_of_the_published_reference_work_as_they_are_printed(
    fresh_url: str, env: dict[str, str]
) -> None:
    async with running_hub(fresh_url, auth=False) as hub:
        lead = await call("existing", hub.url, env)
        assert (lead["name"], lead["status"]) == ("Financial Operations Lead", "healthy")
        again = await call("existing", hub.url, env)
        assert again["id"] == lead["id"]
        assert again["last_seen_at"] > lead["last_seen_at"]
        worker = await call("new", hub.url, env)
        assert worker["board_id"] == "550e8400-e29b-41d4-a716-446655440000"
        own = await call("own", hub.url, env)
        assert (own["id"], own["status"]) == (lead["id"], "healthy")
        template = await call("template", hub.url, env)
        assert template["detail"][0]["loc"] == ["body", "board_id"]
        fields = {"id", "gateway_id", "gateway_agent_id", "workspace_path", "openclaw_session_id"}
        assert all(lead[name] for name in fields)
        assert lead["workspace_path"].endswith(f"/workspace-mc-{lead['id']}")


async def test_a_token_that_was_in_use_elsewhere_is_taken_over_as_it_is(
    fresh_url: str, env: dict[str, str]
) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as http:
        refused = await call("existing", hub.url, env)
        assert refused["detail"] == "Unauthorized"
        wanted = {"scope": "agent", "agent": "lead", "key": "agent-token-from-tools-md"}
        assert (await http.post("/v1/keys", json=wanted)).status_code == 201
        lead = await call("existing", hub.url, env)
        assert (await call("own", hub.url, env))["id"] == lead["id"]
        assert (await http.get("/v1/pulse/lead")).json()["name"] == "Financial Operations Lead"


class Workspace:
    """A folder that the hub has made, and somebody in it."""

    def __init__(self, hub: HubProcess, agent: dict[str, Any], env: dict[str, str]) -> None:
        self.hub = hub
        self.agent = agent
        self.folder = Path(agent["workspace_path"])
        self.env = env
        text = (self.folder / "HEARTBEAT.md").read_text()
        self.once, self.loop, self.end = BLOCK.findall(text)

    @property
    def failures(self) -> str:
        log = self.folder / "heartbeat-failures.log"
        return log.read_text() if log.exists() else ""

    async def shown(self) -> dict[str, Any]:
        async with self.hub.client() as http:
            answer = await http.get(f"/api/v1/agents/{self.agent['id']}")
        shown: dict[str, Any] = answer.json()
        return shown

    async def becomes(self, status: str) -> dict[str, Any]:
        return await self._until(lambda shown: shown["status"] == status)

    async def is_heard_after(self, moment: str) -> None:
        await self._until(lambda shown: shown["last_seen_at"] > moment)

    async def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            shown = await self.shown()
            return shown if wanted(shown) else None

        found = await until_told(look)
        assert found is not None
        return found

    @contextlib.asynccontextmanager
    async def beating(self, **named: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Leave the loop running, from a folder that is not its own."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", self.loop),
            env={**self.env, **named},
            cwd="/",
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def enrolled(http: httpx.AsyncClient, **terms: float) -> dict[str, Any]:
    wanted = {"name": "It's $(a) `worker`", "heartbeat_config": terms}
    assert (await http.post("/api/v1/agents", json=wanted)).status_code == 200
    agent: dict[str, Any] = (await http.post(BEAT, json={"name": wanted["name"]})).json()
    return agent


@contextlib.asynccontextmanager
async def workspace(place: Path, env: dict[str, str], **terms: float) -> AsyncIterator[Workspace]:
    async with hub_process(place) as hub, hub.client() as http:
        yield Workspace(hub, await enrolled(http, **terms), env)


async def test_the_commands_of_a_workspace_run_as_they_stand(
    folder: Path, env: dict[str, str]
) -> None:
    async with workspace(folder / "a data folder's", env) as here:
        for script, status in ((here.once, "healthy"), (here.end, "offline")):
            before = (await here.shown())["last_seen_at"]
            ended = await execute("bash", "-c", script, env=env, cwd=Path("/"))
            assert ended.code == 0, ended.told
            assert json.loads(ended.out)["status"] == status
            after = await here.shown()
            assert after["status"] == status
            assert after["last_seen_at"] > before
        assert "$(a)" in here.agent["name"], "and no name is run with them"


async def test_the_loop_beats_until_it_is_ended_and_then_says_so(
    folder: Path, env: dict[str, str]
) -> None:
    async with workspace(folder, env, interval_seconds=0.2, missing_tolerance=60) as here:
        async with here.beating() as process:
            first = await here.becomes("healthy")
            await here.is_heard_after(first["last_seen_at"])
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(SOON_S):
                assert await process.wait() == 0
            assert (await here.shown())["status"] == "offline"
        async with here.beating(LOAD_LIMIT="0") as process:
            await here.becomes("degraded")
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(SOON_S):
                await process.wait()
        assert here.failures == ""


async def test_the_loop_outlives_a_hub_that_is_away_and_notes_what_failed(
    folder: Path, env: dict[str, str]
) -> None:
    async with hub_process(folder) as hub, hub.client() as http:
        agent = await enrolled(http, interval_seconds=1)
        port = hub.url.rpartition(":")[2]
        here = Workspace(hub, agent, env)
        async with here.beating():
            await here.becomes("healthy")
            last = await here.shown()
            await hub.terminate()
            await until(lambda: here.failures.count("\n") >= 2)
            assert re.fullmatch(
                r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ healthy was not taken: HTTP 000\n)+",
                here.failures,
            )
            async with hub_process(folder, "--port", port) as later:
                await Workspace(later, agent, env).is_heard_after(last["last_seen_at"])


async def test_the_loop_gives_up_when_its_key_is_not_good_any_more(
    folder: Path, env: dict[str, str]
) -> None:
    async with workspace(folder, env, interval_seconds=0.2) as here, here.hub.client() as http:
        async with here.beating() as process:
            await here.becomes("healthy")
            path = f"/api/v1/agents/{here.agent['id']}/token"
            assert (await http.post(path)).status_code == 200
            async with asyncio.timeout(SOON_S):
                assert await process.wait() == 1
            assert process.stderr is not None
            assert b"the hub refuses this agent: HTTP 401" in await process.stderr.read()
        ended = await execute("bash", "-c", here.once, env=env, cwd=Path("/"))
        assert json.loads(ended.out)["status"] == "healthy", "the folder has the new key"


async def test_a_workspace_that_was_fetched_runs_where_it_was_saved(
    hub: RunningHub, env: dict[str, str], tmp_path: Path
) -> None:
    async with hub.client() as http:
        agent = (await http.post(BEAT, json={"name": "Far Away"})).json()
        place = tmp_path / "elsewhere"
        place.mkdir()
        for name in ("TOOLS.md", "HEARTBEAT.md"):
            text = (await http.get(f"/api/v1/agents/{agent['id']}/files/{name}")).text
            (place / name).write_text(text)
        shutil.rmtree(agent["workspace_path"])
        once, _, _ = BLOCK.findall((place / "HEARTBEAT.md").read_text())
        ended = await execute("bash", "-c", once, env=env, cwd=place)
        assert json.loads(ended.out)["id"] == agent["id"]
