"""`lifesigns serve` in processes of its own: what it tells, how it ends, what it leaves behind."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.command import content, lifesigns
from tests.agent import becomes, living, presence
from tests.hub import ROOT_KEY, HubProcess, hub_process
from tests.patience import SOON_S, until
from tests.server import Server
from tests.store.peer import Peer
from tests.store.process import servers

MakeServer = Callable[..., Server]

# An empty variable counts as not set, so that such a hub makes a root key of its own.
OWN_KEY = {"LIFESIGNS_ADMIN_KEY": ""}
PASSWORD = "correct-horse-battery-staple"
HUBS = 6


def root_keys(told: str) -> list[str]:
    return re.findall(r"\bls_root_\w+", told)


def ticket(told: str) -> str:
    (found,) = re.findall(r"\blt_\w+", told)
    return str(found)


def line_of(told: str, part: str) -> int:
    """Say on which line a part stands; it must stand on one."""
    (number,) = [i for i, line in enumerate(told.splitlines()) if part in line]
    return number


async def test_first_start_tells_store_key_ticket_and_ready_and_the_second_no_key(
    folder: Path,
) -> None:
    async with hub_process(folder, env=OWN_KEY) as hub:
        told = hub.output
        (key,) = root_keys(told)
        assert f"store: an embedded Valkey in {folder}" in told
        address = f"{hub.url}/#ticket={ticket(told)}"  # of the dashboard
        parts = ("store: ", key, address, "hub 01: ")
        lines = [line_of(told, part) for part in parts]
        assert lines == sorted(lines)
        assert told.splitlines()[-1] == "ready"
        kept = folder / "admin.key"
        assert kept.read_text().strip() == key
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        async with hub.client(key) as http:
            assert (await http.get("/v1/projects")).status_code == 200
    async with hub_process(folder, env=OWN_KEY) as again, again.client(key) as http:
        assert root_keys(again.output + again.log) == []
        assert (await http.get("/v1/projects")).status_code == 200


async def test_root_key_of_the_operator_is_taken_and_not_told(folder: Path) -> None:
    async with hub_process(folder) as hub:
        assert ROOT_KEY not in hub.output + hub.log
        assert root_keys(hub.output) == []
        async with hub.client() as http:
            assert (await http.get("/v1/projects")).status_code == 200


async def test_login_ticket_is_good_once_for_a_root_key_of_12_hours(folder: Path) -> None:
    async with hub_process(folder) as hub, hub.client("") as stranger:
        body = {"ticket": ticket(hub.output)}
        first = await stranger.post("/v1/login", json=body)
        assert first.status_code == 200
        made = first.json()
        assert (made["scope"], made["project"]) == ("root", "default")
        async with hub.client(made["key"]) as http:
            assert (await http.get("/v1/projects")).status_code == 200
        assert (await stranger.post("/v1/login", json=body)).status_code == 401


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_hub_that_is_told_to_go_ends_with_0_and_its_store_with_it(
    folder: Path, number: signal.Signals
) -> None:
    async with hub_process(folder) as hub:
        assert len(servers(folder)) == 1
        async with living(hub, "stays", ttl=60) as agent:
            hub.process.send_signal(number)
            farewell = await agent.hear()
            assert farewell["type"] == "goaway"
            assert 0 <= farewell["reconnect_in_ms"] <= 1000
            assert await agent.ended() == 1001
            async with asyncio.timeout(SOON_S):
                assert await hub.process.wait() == 0
        assert servers(folder) == []
        assert "Traceback" not in hub.log
    async with hub_process(folder) as hub, hub.client() as http:
        shown = await presence(http, "stays")
        assert (shown["alive"], shown["state"]) == (True, "available")


async def test_hub_that_is_told_twice_ends_as_well_as_one_that_is_told_once(folder: Path) -> None:
    async with hub_process(folder) as hub:
        hub.process.send_signal(signal.SIGINT)
        hub.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SOON_S):
            assert await hub.process.wait() == 0
        assert servers(folder) == []


async def test_port_that_is_taken_is_one_line_and_leaves_nothing_running(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await lifesigns("serve", "--port", str(port), "--data-dir", str(folder))
    assert ended.code == 1
    assert ended.err == f"lifesigns: 127.0.0.1:{port} is taken: choose another --port\n"
    assert "ready" not in ended.out
    assert servers(folder) == []
    assert content(folder) == []


async def test_hub_without_keys_is_refused_where_others_reach_it(folder: Path) -> None:
    ended = await lifesigns(
        *("serve", "--auth", "off", "--host", "0.0.0.0", "--port", "0"),
        *("--data-dir", str(folder)),
    )
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert "auth is off, so host must be a loopback one" in ended.err
    assert content(folder) == []


async def test_hub_without_keys_tells_none_and_asks_for_none(folder: Path) -> None:
    async with hub_process(folder, "--auth", "off", env=OWN_KEY) as hub:
        assert not re.search(r"\b(ls|lt)_\w+", hub.output)
        async with hub.client("") as http:
            beat = await http.put("/v1/pulse/somebody", json={"status": "idle"})
            assert beat.status_code == 200
            named = await http.get("/v1/pulse", headers={"Host": "hub.example"})
            assert named.status_code == 403


# The store that --redis names.


async def test_store_that_cannot_be_reached_is_named_without_its_password() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{nobody.getsockname()[1]}"
        ended = await lifesigns("serve", "--port", "0", "--redis", f"redis://:{PASSWORD}@{place}")
    assert ended.code == 1
    assert ended.err.startswith(f"lifesigns: The store at redis://:***@{place} cannot be reached")
    assert ended.err.count("\n") == 1
    assert PASSWORD not in ended.told


async def test_store_that_is_too_old_is_named_with_its_version() -> None:
    def old(words: list[bytes]) -> bytes:
        info = b"# Server\r\nredis_version:6.2.14\r\nrun_id:abc\r\n"
        return b"$%d\r\n%b\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n"

    async with Peer(old) as peer:
        ended = await lifesigns("serve", "--port", "0", "--redis", peer.url)
    assert ended.code == 1
    assert f"{peer.url} is Redis 6.2.14: Redis 7.0 or newer, or Valkey, is needed" in ended.err
    assert ended.err.count("\n") == 1


async def test_hub_serves_from_a_store_on_a_unix_socket_and_starts_none(
    valkey_server: MakeServer, folder: Path
) -> None:
    url = valkey_server().url
    assert url.startswith("unix://")
    async with hub_process(url, "--data-dir", str(folder)) as hub, hub.client() as http:
        assert f"store: {url}\n" in hub.output
        assert (await http.put("/v1/pulse/somebody")).status_code == 200
        assert servers(folder) == []


async def test_store_with_a_password_serves_and_the_password_is_not_told(
    valkey_server: MakeServer, folder: Path
) -> None:
    server = valkey_server("--requirepass", PASSWORD, tcp=True)
    place = f"127.0.0.1:{server.port}"
    env = {"LIFESIGNS_REDIS": f"redis://:{PASSWORD}@{place}"}
    wrong = await lifesigns("serve", "--port", "0", "--redis", f"redis://:not-{PASSWORD}@{place}")
    assert wrong.code == 1
    assert "refuses the password" in wrong.err
    async with hub_process(env["LIFESIGNS_REDIS"]) as hub:
        async with hub.client() as http:
            assert (await http.put("/v1/pulse/somebody")).status_code == 200
        server.restart()
        await until(lambda: "is back" in hub.log)
        assert await hub.terminate() == 0
        assert f"store: redis://:***@{place}\n" in hub.output
        assert PASSWORD not in wrong.told + hub.output + hub.log


# Several hubs.


async def test_killed_hub_takes_neither_its_store_nor_its_neighbour_along(folder: Path) -> None:
    async with hub_process(folder) as first, hub_process(folder) as second:
        async with first.client() as http:
            assert (await http.put("/v1/pulse/poster", json={"ttl": 600})).status_code == 200
        async with living(first, "held", ttl=600, task="reading"), second.client() as http:
            assert (await presence(http, "held"))["task"] == "reading"
            (server,) = servers(folder)
            assert await first.kill() == -signal.SIGKILL
            assert servers(folder) == [server]
            assert (await presence(http, "poster"))["alive"]
            assert (await presence(http, "held"))["alive"], "its lease still runs"
            await http.put("/v1/pulse/poster", json={"status": "thinking"})
            await becomes(http, "poster", state="busy")
        assert await second.terminate() == 0
        assert servers(folder) == []


async def test_hub_after_a_killed_one_adopts_the_store_with_everything_in_it(folder: Path) -> None:
    async with hub_process(folder, env=OWN_KEY) as first:
        (key,) = root_keys(first.output)
        async with living(first, "held", ttl=600, key=key, task="reading", metadata={"n": 1}):
            await first.kill()
        found = servers(folder)
        async with hub_process(folder, env=OWN_KEY) as second, second.client(key) as http:
            assert servers(folder) == found
            shown = await presence(http, "held")
            assert (shown["alive"], shown["task"], shown["metadata"]) == (True, "reading", {"n": 1})
            assert root_keys(second.output) == []


@asynccontextmanager
async def hubs(folder: Path, count: int) -> AsyncIterator[list[HubProcess]]:
    """Start hubs on one data folder at the same moment."""
    async with AsyncExitStack() as stack:
        starting = [hub_process(folder, env=OWN_KEY) for _ in range(count)]
        started = await asyncio.gather(
            *map(stack.enter_async_context, starting), return_exceptions=True
        )
        running = []
        for each in started:
            if isinstance(each, BaseException):
                raise each
            running.append(each)
        yield running


async def nodes(http: httpx.AsyncClient, count: int) -> int:
    """Answer how many hubs a hub knows of, once they are so many or time is up."""
    deadline = time.monotonic() + SOON_S
    while True:
        known = len((await http.get("/v1/stats")).json()["nodes"])
        if known == count or time.monotonic() > deadline:
            return known
        await asyncio.sleep(0.05)


async def test_six_hubs_that_start_at_once_share_one_store_and_one_root_key(folder: Path) -> None:
    async with hubs(folder, HUBS) as running:
        assert len(servers(folder)) == 1
        (key,) = root_keys("".join(hub.output for hub in running))
        assert (folder / "admin.key").read_text().strip() == key
        async with AsyncExitStack() as stack:
            https = [await stack.enter_async_context(hub.client(key)) for hub in running]
            for i, http in enumerate(https):
                assert (await http.put(f"/v1/pulse/agent-{i}")).status_code == 200
            for http in https:
                listed = (await http.get("/v1/pulse")).json()
                assert [each["id"] for each in listed["agents"]] == [
                    f"agent-{i}" for i in range(HUBS)
                ]
            assert await nodes(https[0], HUBS) == HUBS
        assert await asyncio.gather(*[hub.terminate() for hub in running]) == [0] * HUBS
        assert servers(folder) == []
        assert not any("Traceback" in hub.log for hub in running)
