"""Programs of the pulse API against a hub: the published client as it is, and ours."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import agenttool
import pytest

import lifesigns.pulse
from lifesigns.core.errors import LifesignsError
from tests.hub import RunningHub, running_hub

HERE = Path(__file__).parent


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    async with running_hub(fresh_url) as hub:
        yield hub


async def test_the_published_client_runs_unchanged(hub: RunningHub) -> None:
    def program() -> None:
        with agenttool.AgentTool(api_key=hub.key, base_url=hub.url) as at:
            metadata = {"model": "claude-opus-4-6", "queue_depth": 3}
            told = at.pulse.heartbeat(
                "my-agent", "thinking", task="processing user query", metadata=metadata, did="did:x"
            )
            assert told["ok"] is True
            assert (told["agent_id"], told["alive"]) == ("my-agent", True)
            state = at.pulse.get("my-agent")
            assert (state["status"], state["task"]) == ("thinking", "processing user query")
            assert (state["metadata"], state["did"]) == (metadata, "did:x")
            assert state["last_seen"] == state["last_pulse"] == told["last_heartbeat"]
            at.pulse.heartbeat("search-agent", "idle")
            assert [agent["id"] for agent in at.pulse.list()] == ["my-agent", "search-agent"]
            with pytest.raises(agenttool.AgentToolError, match="agent not found"):
                at.pulse.get("nobody")
        with agenttool.AgentTool(api_key="wrong", base_url=hub.url) as stranger:
            for call in (stranger.pulse.list, lambda: stranger.pulse.heartbeat("a", "idle")):
                with pytest.raises(agenttool.AgentToolError, match="401"):
                    call()

    await asyncio.to_thread(program)


async def test_ours_answers_with_maps_that_have_attributes(hub: RunningHub) -> None:
    def program() -> None:
        at = lifesigns.pulse.AgentTool(hub.key, base_url=hub.url + "/")
        beaten = at.pulse.heartbeat("a", "idle", task="x", metadata={"at": {"page": 3}}, ttl=90)
        assert beaten.ok is beaten["ok"] is True
        state = at.pulse.get("a")
        assert isinstance(state, dict)
        assert state.metadata.at.page == state["metadata"]["at"]["page"] == 3
        assert not hasattr(state, "nothing")
        assert at.pulse.heartbeat("a").task == "x", "without a status nothing is cleared"
        fleet = at.pulse.list()
        assert isinstance(fleet, list)
        assert fleet.agents is fleet
        assert [agent.id for agent in fleet.agents] == ["a"]
        with pytest.raises(LifesignsError, match="nobody") as refusal:
            at.pulse.get("nobody")
        assert refusal.value.code == "not_found"
        with pytest.raises(LifesignsError) as refusal:
            at.pulse.heartbeat("a b", "idle")
        assert (refusal.value.code, refusal.value.field) == ("bad_request", "id")
        with pytest.raises(LifesignsError) as refusal:
            lifesigns.pulse.AgentTool("wrong", base_url=hub.url).pulse.list()
        assert refusal.value.code == "unauthorized"
        with pytest.raises(LifesignsError) as refusal:
            lifesigns.pulse.AgentTool("x", base_url="http://127.0.0.1:1").pulse.list()
        assert refusal.value.code == "unavailable"

    await asyncio.to_thread(program)


async def test_the_programs_of_the_published_reference_run_as_they_are_printed(
    hub: RunningHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AT_API_KEY", hub.key)
    monkeypatch.setenv("AT_BASE_URL", hub.url)
    monkeypatch.setitem(sys.modules, "agenttool", lifesigns.pulse)
    program = (HERE / "pulse" / "reference.py.txt").read_text()
    await asyncio.to_thread(exec, compile(program, "reference", "exec"), {})
    assert capsys.readouterr().out == "thinking processing user query\nmy-agent: thinking\n"
