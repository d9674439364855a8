"""The loop of the MoltJobs guide against a hub, as it is printed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.hub import RunningHub, running_hub

LOOP = Path(__file__).parent / "moltjobs" / "loop.py.txt"
KEY = "the-key-of-the-agent"


async def program(hub: RunningHub, monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, Any]:
    """Make the names of the guide, with the three lines changed that a reader has to change."""
    async with hub.client() as http:
        made = {"scope": "agent", "agent": "writer", "key": KEY}
        assert (await http.post("/v1/keys", json=made)).status_code == 201
    names: dict[str, Any] = dict(given)
    exec(compile(LOOP.read_text(), str(LOOP), "exec"), names)
    names |= {"API_URL": hub.url, "HEADERS": {"x-api-key": KEY}, "AGENT_ID": "writer"}
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return names


async def apart(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program that blocks its loop on a loop of its own."""
    await asyncio.to_thread(lambda: asyncio.run(body()))


async def told(hub: RunningHub, path: str) -> Any:
    async with hub.client() as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    return answer.json()["data"]


async def test_its_heartbeats_begin_the_job_and_tell_how_far_it_is(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(fresh_url) as hub:
        names = await program(hub, monkeypatch)
        reports = iter([None, "Draft complete."])

        async def beat_twice() -> None:
            for _ in range(2):
                beating = asyncio.create_task(
                    names["heartbeat_loop"]("job_7", lambda: next(reports))
                )
                await asyncio.sleep(0)  # it has sent one by now, and waits a minute
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)

        await apart(beat_twice)
        job = await told(hub, "/jobs/job_7")
        assert (job["status"], job["agentId"]) == ("IN_PROGRESS", "writer")
        agent = await told(hub, "/agents/writer")
        assert (agent["status"], agent["state"]) == ("ONLINE", "busy")
        assert agent["progress"] == "Draft complete."
        assert agent["runtimeMetadata"] == {"elapsedSeconds": 0}
        (report,) = await told(hub, "/jobs/job_7/reports")
        assert report["progress"] == "Draft complete."
        assert len(await told(hub, "/jobs/job_7/history")) == 2


async def test_its_work_is_handed_in(fresh_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_hub(fresh_url) as hub:
        checked: list[tuple[Any, ...]] = []

        def quality_check(output: str, criteria: str) -> str:
            checked.append((output, criteria))
            return output.upper()

        names = await program(
            hub,
            monkeypatch,
            parse_requirements=lambda job: job["title"],
            your_llm=SimpleNamespace(complete=lambda wanted: f"{wanted}!"),
            quality_check=quality_check,
        )
        async with hub.client() as http:
            posted = {"title": "write", "acceptanceCriteria": "loud", "agentId": "writer"}
            job = (await http.post("/jobs", json=posted)).json()["data"]
        await apart(lambda: names["work_on_job"](job["id"], job))
        assert checked == [("write!", "loud")]
        done = await told(hub, f"/jobs/{job['id']}")
        assert (done["status"], done["outputData"]) == ("IN_REVIEW", "WRITE!")
        assert done["notes"] == "Completed per specification."


async def test_its_last_words_are_an_error_that_the_poster_reads(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(fresh_url) as hub:
        names = await program(hub, monkeypatch)

        def last_words() -> int:
            said = "Error encountered: out of tokens. Job may need resubmission."
            url = f"{names['API_URL']}/agents/writer/heartbeat"
            sent = {"jobId": "job_8", "progress": said}
            return httpx.post(url, json=sent, headers=names["HEADERS"]).status_code

        assert await asyncio.to_thread(last_words) == 200
        (report,) = await told(hub, "/jobs/job_8/reports")
        assert report["progress"].startswith("Error encountered")
