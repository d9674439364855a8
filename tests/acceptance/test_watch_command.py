"""`lifesigns watch` in a process of its own, against hubs in processes of theirs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
import redis

from tests.acceptance.command import environment, lifesigns
from tests.hub import ROOT_KEY, HubProcess, hub_process
from tests.patience import SOON_S, until
from tests.server import Server, free_port

TIME = r"\d\d:\d\d:\d\d\.\d\d\d"


class Watching:
    """A `lifesigns watch` that runs."""

    def __init__(self, process: Process, told: Path) -> None:
        self.process = process
        self._told = told

    async def line(self) -> str:
        """Take the next line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SOON_S):
            line = (await self.process.stdout.readline()).decode()
        assert line.endswith("\n"), f"it has ended: {line!r} {self.said}"
        return line[:-1]

    async def lines(self, count: int) -> list[str]:
        return [await self.line() for _ in range(count)]

    async def change(self) -> dict[str, Any]:
        """Take the next line, as JSON."""
        change: dict[str, Any] = json.loads(await self.line())
        return change

    @property
    def said(self) -> str:
        """What it has said on stderr so far."""
        return self._told.read_text()

    async def interrupt(self) -> int:
        """Press Ctrl-C; answer its exit code."""
        self.process.send_signal(signal.SIGINT)
        return await self.ended()

    async def ended(self) -> int:
        """Await its end, passing over what it still prints; answer its exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SOON_S):
            await self.process.stdout.read()
            return await self.process.wait()


@contextlib.asynccontextmanager
async def watching(url: str, *flags: str, key: str = ROOT_KEY) -> AsyncIterator[Watching]:
    """Run `lifesigns watch`; it ends with the block."""
    with TemporaryDirectory(prefix="ls-watch-") as name, (Path(name) / "told").open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lifesigns", "watch", *flags),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=told,
            env=environment(LIFESIGNS_URL=url, LIFESIGNS_KEY=key),
            start_new_session=True,
        )
        watch = Watching(process, Path(told.name))
        try:
            yield watch
            assert "Traceback" not in watch.said
        finally:
            if process.returncode is None:
                process.kill()
            await watch.ended()


async def put(http: httpx.AsyncClient, agent: str, **said: Any) -> None:
    answer = await http.put(f"/v1/pulse/{agent}", json=said)
    assert answer.status_code == 200, answer.text


def port_of(hub: HubProcess) -> str:
    return hub.url.rpartition(":")[2]


async def test_who_is_there_comes_first_and_then_every_change(hub: HubProcess) -> None:
    async with hub.client() as http:
        await put(http, "a", status="thinking", task="reading")
        async with watching(hub.url) as watch:
            line = await watch.line()
            assert re.fullmatch(TIME + " a present: busy thinking - reading", line)
            await put(http, "b", status="idle")
            await put(http, "a", status="idle")
            await http.delete("/v1/pulse/b")
            online, updated, offline = await watch.lines(3)
            assert re.fullmatch(TIME + " b online: available idle", online)
            assert re.fullmatch(TIME + " a updated: busy -> available idle", updated)
            assert re.fullmatch(TIME + r" b offline: available -> offline idle \(left\)", offline)
            assert watch.said == ""
            assert await watch.interrupt() == 130


async def test_with_json_every_line_is_a_change(hub: HubProcess) -> None:
    async with hub.client() as http:
        await put(http, "a", status="thinking", metadata={"n": [1, None, "é"]})
        async with watching(hub.url, "--json") as watch:
            there = await watch.change()
            assert (there["kind"], there["was"], there["id"]) == ("present", None, "a")
            assert there["metadata"] == {"n": [1, None, "é"]}
            await put(http, "a", task="u")
            change = await watch.change()
            assert (change["kind"], change["was"], change["task"]) == ("updated", "busy", "u")
            shown = (await http.get("/v1/pulse/a")).json()
            assert (change["epoch"], change["seq"]) == (shown["epoch"], shown["seq"])


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        (["b*"], {"b1", "b2"}),
        (["a", "b2"], {"a", "b2"}),
        (["--state", "busy"], {"b1", "b2"}),
        (["--state", "busy", "--state", "offline"], {"b1", "b2", "c"}),
        (["--capability", "x", "--capability", "y"], {"b2"}),
        (["--group", "g", "--state", "busy"], {"b1"}),
    ],
)
async def test_it_shows_those_that_are_meant(
    flags: list[str], seen: set[str], hub: HubProcess
) -> None:
    async with hub.client() as http:
        await put(http, "a", group="g")
        await put(http, "b1", status="thinking", capabilities=["x"], group="g")
        await put(http, "b2", status="thinking", capabilities=["x", "y"])
        await put(http, "c")
        await http.delete("/v1/pulse/c")
        async with watching(hub.url, "--json", *flags) as watch:
            assert {(await watch.change())["id"] for _ in seen} == seen
            await put(http, "other", name="nobody asked for it")
            last = sorted(seen)[-1]
            await put(http, last, name="mine", status="thinking")
            change = await watch.change()
            assert (change["id"], change["name"]) == (last, "mine")


async def test_an_agent_that_is_not_meant_any_more_is_told_once(hub: HubProcess) -> None:
    async with hub.client() as http:
        await put(http, "a", status="thinking")
        async with watching(hub.url, "--state", "busy") as watch:
            await watch.line()
            await put(http, "a", status="idle")
            await put(http, "a", task="nobody is told")
            await put(http, "a", status="idle", name="nobody is told")
            line = await watch.line()
            assert line.endswith("a updated: busy -> available (not among these any more) idle")


async def test_hostile_words_do_nothing_to_a_terminal(hub: HubProcess) -> None:
    hostile = "x\x1b[2J\x07\r\nb offline: \x9b31m\u202e\u2028\x7f"
    async with hub.client() as http:
        await put(http, "a", status=hostile, task=hostile)
    async with watching(hub.url) as people, watching(hub.url, "--json") as program:
        line = await people.line()
        assert line.isprintable()
        assert r"x\x1b[2J\x07\r\nb offline: \x9b31m" in line
        shown = await program.line()
        assert shown.isascii()
        assert shown.isprintable()
        assert json.loads(shown)["task"] == hostile


# When hubs come and go.


async def test_it_goes_on_from_where_it_was_when_its_hub_is_killed(fresh_url: str) -> None:
    async with hub_process(fresh_url) as stays, stays.client() as http:
        await put(http, "a")
        async with contextlib.AsyncExitStack() as stack:
            killed = await stack.enter_async_context(hub_process(fresh_url))
            watch = await stack.enter_async_context(watching(killed.url, "--json"))
            assert (await watch.change())["kind"] == "present"
            await put(http, "b")
            assert (await watch.change())["id"] == "b"
            await killed.kill()
            for number in range(20):
                await put(http, f"missed-{number}")
            await until(lambda: "no hub answers at" in watch.said)
            port = port_of(killed)
            again = await stack.enter_async_context(hub_process(fresh_url, "--port", port))
            assert again.url == killed.url
            missed = [await watch.change() for _ in range(20)]
            assert {each["kind"] for each in missed} == {"online"}
            assert {each["id"] for each in missed} == {f"missed-{n}" for n in range(20)}
            await put(http, "c")
            assert (await watch.change())["id"] == "c"
            assert watch.said.count("\n") == 1  # said once, however often it tried
            assert await watch.interrupt() == 130


async def test_it_goes_on_when_its_hub_is_stopped_and_started_again(folder: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(hub_process(folder))
        watch = await stack.enter_async_context(watching(hub.url, "--json"))
        async with hub.client() as http:
            await put(http, "a")
        assert (await watch.change())["id"] == "a"
        assert await hub.terminate() == 0
        hub = await stack.enter_async_context(hub_process(folder, "--port", port_of(hub)))
        # The embedded store went with the hub: what was told counts no more, and is told anew.
        assert await watch.change() == {"kind": "resync", "why": "epoch"}
        there = await watch.change()
        assert (there["kind"], there["id"]) == ("present", "a")


async def test_a_store_that_lost_everything_is_said_to_people_too(fresh_url: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(hub_process(fresh_url))
        watch = await stack.enter_async_context(watching(hub.url))
        async with hub.client() as http:
            await put(http, "a")
            await watch.line()
        await hub.terminate()
        with redis.Redis.from_url(fresh_url, protocol=2) as store:
            store.flushdb()
        hub = await stack.enter_async_context(hub_process(fresh_url, "--port", port_of(hub)))
        line = await watch.line()
        assert line == "all that was told before is void (epoch); this is who is there:"
        async with hub.client() as http:
            await put(http, "b")
        assert " b online: " in await watch.line()


async def test_people_are_told_that_the_store_is_away_and_back(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", "always")
    async with hub_process(server.url) as hub, hub.client() as http:
        await put(http, "a")
        async with watching(hub.url) as watch:
            await watch.line()
            server.kill()
            await until(lambda: "the hub has lost its store" in watch.said)
            server.start()
            await until(lambda: "the hub has its store again" in watch.said)


async def test_it_waits_for_a_hub_that_is_not_there_yet(fresh_url: str) -> None:
    port = free_port()
    async with watching(f"http://127.0.0.1:{port}", "--json") as watch:
        await until(lambda: "no hub answers at" in watch.said)
        async with hub_process(fresh_url, "--port", str(port)) as hub, hub.client() as http:
            await put(http, "a")
            assert (await watch.change())["id"] == "a"


# Its end.


async def test_ctrl_c_ends_it_while_it_waits_too() -> None:
    async with watching(f"http://127.0.0.1:{free_port()}") as watch:
        await until(lambda: "no hub answers at" in watch.said)
        assert await watch.interrupt() == 130


@pytest.mark.parametrize("key", ["ls_nobody_knows-this", "", "né pas ça"])
async def test_without_a_good_key_it_says_so_and_ends(key: str, hub: HubProcess) -> None:
    ended = await lifesigns("watch", LIFESIGNS_URL=hub.url, LIFESIGNS_KEY=key or None)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("lifesigns: the hub does not know this key. Set LIFESIGNS_KEY")
    assert ended.err.count("\n") == 1


async def test_a_key_that_is_revoked_ends_it(hub: HubProcess) -> None:
    async with hub.client() as http:
        await put(http, "a")
        made = (await http.post("/v1/keys", json={"scope": "watch"})).json()
        async with watching(hub.url, key=made["key"]) as watch:
            await watch.line()
            await http.delete(f"/v1/keys/{made['id']}")
            assert await watch.ended() == 1
            assert watch.said == "lifesigns: the hub closed the connection: revoked\n"


async def test_a_state_that_cannot_be_is_refused_before_anything_is_asked() -> None:
    ended = await lifesigns("watch", "--state", "alive")
    assert (ended.code, ended.out) == (2, "")
    assert "invalid choice: 'alive'" in ended.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://a..b:1", f"http://{'a' * 70}.x"])
async def test_an_address_that_cannot_be_ends_it(url: str) -> None:
    ended = await lifesigns("watch", LIFESIGNS_URL=url, LIFESIGNS_KEY=ROOT_KEY)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"lifesigns: no hub can be reached at {url}: ")
    assert ended.err.count("\n") == 1


async def test_whatever_is_no_hub_is_told_apart_from_one_that_is_away() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ended = await lifesigns("watch", LIFESIGNS_URL=url, LIFESIGNS_KEY=ROOT_KEY)
    assert ended.code == 1
    assert ended.err == f"lifesigns: {url} refuses a WebSocket (HTTP 404)\n"


# What is done about changes.


async def test_a_command_is_run_for_the_changes_that_are_meant(
    hub: HubProcess, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    # One for `slow` hangs until it is let go; the others must not wait for it.
    command = (
        f'cat > "{tmp_path}/$LIFESIGNS_CHANGE_ID.json"; '
        f'[ "$LIFESIGNS_CHANGE_ID" != slow ] || until [ -e "{tmp_path}/go" ]; do sleep 0.05; done; '
        f'echo "$LIFESIGNS_CHANGE_ID $LIFESIGNS_CHANGE_KIND $LIFESIGNS_CHANGE_STATE '
        f'$LIFESIGNS_CHANGE_WAS" >> "{told}"; [ "$LIFESIGNS_CHANGE_ID" != bad ] || exit 3'
    )
    flags = ("--on", "offline,error", "--at-once", "2", "--exec", command)
    async with hub.client() as http, watching(hub.url, *flags) as watch:
        while not told.exists():  # it has not begun to watch yet
            await put(http, "early")  # is not meant, but its end is
            await http.delete("/v1/pulse/early")
            await asyncio.sleep(0.05)
        await put(http, "slow", task="$(touch /nonexistent) \x00 '\"`")
        await http.delete("/v1/pulse/slow")
        await put(http, "bad", status="failed")
        for number in range(20):
            await put(http, f"a{number}")
            await http.delete(f"/v1/pulse/a{number}")
        await until(lambda: told.exists() and told.read_text().count("\na") == 20)
        lines = told.read_text().splitlines()
        assert "bad online error" in [line.strip() for line in lines]
        assert "a7 offline offline available" in lines
        assert not [line for line in lines if line.startswith("slow") or "online available" in line]
        assert "the command for bad (online) ended with 3" in watch.said
        (tmp_path / "go").touch()
        await until(lambda: "slow offline offline" in told.read_text())
        change = json.loads((tmp_path / "slow.json").read_text())
        assert (change["kind"], change["task"]) == ("offline", "$(touch /nonexistent) \x00 '\"`")
        assert await watch.interrupt() == 130
    for flags, what in ((("--on", "nonsense"), "--on"), (("--at-once", "0"), "--at-once")):
        ended = await lifesigns("watch", *flags, LIFESIGNS_URL=hub.url)
        assert ended.code == 2
        assert what in ended.err
