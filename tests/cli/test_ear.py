"""What a beat tells the `lifesigns run` around it."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifesigns.cli.ear import Ear, tell_supervisor
from lifesigns.client import Agent
from tests.patience import SOON_S


@pytest.fixture
def agent() -> Agent:
    return Agent("job", "http://127.0.0.1:1", instance="one", status="thinking", task="a")


@pytest.fixture
async def ear(agent: Agent) -> AsyncIterator[str]:
    ear = Ear(agent)
    path = await ear.open()
    assert path is not None
    yield path
    ear.close()
    assert is_gone(path)


def is_gone(path: str) -> bool:
    return not os.path.exists(os.path.dirname(path))


def hello(agent: Agent) -> dict[str, object]:
    return agent._portrait.hello(0.0)


async def tell(path: str, **said: object) -> bool:
    return await asyncio.to_thread(tell_supervisor, path, "job", "one", said)


async def test_what_is_told_is_said_with_every_further_hello(ear: str, agent: Agent) -> None:
    assert await tell(ear, task="b", metadata={"n": 1})
    assert hello(agent) == {
        **{"agent": "job", "instance": "one", "status": "thinking"},
        **{"task": "b", "metadata": {"n": 1}},
    }


async def test_a_status_ends_the_work_that_was_before_it(ear: str, agent: Agent) -> None:
    assert await tell(ear, status="idle")
    assert hello(agent) == {"agent": "job", "instance": "one", "status": "idle"}


async def test_of_others_it_hears_nothing(ear: str, agent: Agent) -> None:
    for whom in (("other", "one"), ("job", "two")):
        await asyncio.to_thread(tell_supervisor, ear, *whom, {"task": "b"})
    assert hello(agent)["task"] == "a"


@pytest.mark.parametrize("bad", [{"task": 5}, {"colour": "red"}, {"status": "x" * 300_000}])
async def test_what_no_hub_would_take_is_not_heard(ear: str, agent: Agent, bad: object) -> None:
    assert not await tell(ear, **bad)  # type: ignore[arg-type]
    assert await tell(ear, task="b")
    assert hello(agent)["task"] == "b"


async def test_garbage_is_not_heard(ear: str, agent: Agent) -> None:
    for line in (b"\xff\n", b"[1]\n", b"{}\n", b'{"agent": "job"}\n', b"no end"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.setblocking(False)
            async with asyncio.timeout(SOON_S):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(link, ear)
                await loop.sock_sendall(link, line)
                link.shutdown(socket.SHUT_WR)
                assert await loop.sock_recv(link, 16) == b""
    assert await tell(ear, task="b")


async def test_only_its_user_gets_there(ear: str) -> None:
    assert stat.S_IMODE(os.stat(os.path.dirname(ear)).st_mode) == 0o700


async def test_where_nobody_listens_nothing_is_heard(tmp_path: Path) -> None:
    assert not await tell(str(tmp_path / "nothing"), task="b")


async def test_where_it_cannot_listen_the_program_runs_all_the_same(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    ear = Ear(agent)
    assert await ear.open() is None
    ear.close()
    assert list(long.iterdir()) == []
