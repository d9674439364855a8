"""What Callboard's guide and ours print, run as it is printed against a hub."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.command import execute
from tests.hub import RunningHub, running_hub

HERE = Path(__file__).parent
PRINTED = HERE.parent / "dialects" / "callboard"
KEY = "the-key-of-a-codex"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Give a shell a home of its own, and curl where there is none."""
    tools, home = tmp_path / "bin", tmp_path / "home"
    tools.mkdir()
    home.mkdir()
    if shutil.which("curl") is None:
        command = tools / "curl"
        command.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{HERE / 'curl.py'}' \"$@\"\n")
        command.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "CALLBOARD_AGENT_KEY": KEY}


async def give_key(http: httpx.AsyncClient) -> None:
    key = {"scope": "agent", "agent": "codex", "key": KEY}
    assert (await http.post("/v1/keys", json=key)).status_code == 201


async def run(script: str, env: dict[str, str]) -> str:
    ended = await execute("bash", "-c", f"set -eu\n{script}", env=env)
    assert ended.code == 0, (script, ended.told)
    return str(ended.out)


async def call(name: str, hub: RunningHub, env: dict[str, str]) -> Any:
    """Run a call as it is printed; only the address is put in."""
    script = (PRINTED / f"{name}.sh.txt").read_text()
    return json.loads(await run(re.sub(r"https://(api\.)?getcallboard\.com", hub.url, script), env))


async def test_the_calls_of_the_published_guide_work_as_they_are_printed(
    fresh_url: str, env: dict[str, str]
) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as http:
        await give_key(http)
        home = await call("home", hub, env)
        assert home["setupActions"][-1]["type"] == "first_heartbeat"
        row = (await call("heartbeat", hub, env))["heartbeat"]
        expected = {"runtimeId": "codex-local-1", "roleMode": "WORKER", "status": "ONLINE"}
        assert {name: row[name] for name in expected} == expected
        assert row["agentId"] == home["agent"]["id"]
        assert (await call("heartbeat", hub, env))["heartbeat"]["id"] == row["id"]
        home = await call("home", hub, env)
        assert home["runtimePresence"]["latestHeartbeat"]["id"] == row["id"]
        assert (await call("skill", hub, env))["version"] == home["skill"]["version"]


async def test_every_command_of_our_guide_runs_as_it_stands(
    fresh_url: str, env: dict[str, str]
) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as http:
        await give_key(http)
        for name in ("heartbeat", "skill"):
            page = (await http.get(f"/{name}.md")).text
            blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
            assert len(blocks) >= 2
            for block in blocks:
                # The first one says where a key comes from; here there is one already.
                commands = [line for line in block.splitlines() if not line.startswith("export ")]
                out = await run("\n".join(commands), env)
                for answer in re.findall(r"\{.*?\}(?=\{|\s*$)", out, re.DOTALL):
                    assert "error" not in json.loads(answer)
        folder = Path(env["HOME"]) / ".config" / "callboard"
        assert (folder / "heartbeat.md").read_text() == (await http.get("/heartbeat.md")).text
        state = json.loads((folder / "state.json").read_text())
        assert state["lastCallboardCheck"] == 0
        assert state["skillVersion"] == (await http.get("/skill.json")).json()["version"]
        shown = (await http.get("/v1/pulse/codex")).json()
        assert (shown["alive"], shown["dialect"]) == (True, "callboard")


async def test_a_link_tells_its_reader_the_command_that_answers_it(
    fresh_url: str, env: dict[str, str]
) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as http:
        await give_key(http)
        mine = {"X-API-Key": KEY}
        me = "/api/v2/agents/me"
        flags = {"CLAIM": "claimed", "CARD": "cardReady", "PAYOUT": "payoutReady"}
        for kind, flag in flags.items():
            path = f"{me}/claim-link" if kind == "CLAIM" else f"{me}/setup-links"
            link = (await http.post(path, json={"kind": kind}, headers=mine)).json()
            page = (await http.get(link["url"], headers={"Authorization": ""})).text
            command = "\n".join(line for line in page.splitlines() if line.startswith("    "))
            told = json.loads(await run(command, env | {"LIFESIGNS_KEY": hub.key}))
            assert told["agent"][flag] is True
            if kind != "CLAIM":
                read = await http.get(f"{me}/setup-links/{link['id']}", headers=mine)
                assert read.json()["status"] == "COMPLETED"
