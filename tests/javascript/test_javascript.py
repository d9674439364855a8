"""The JavaScript client under Node, against real hubs and the vectors that its reducer shares.

Each scenario is a file of its own beside this one, which asserts what it sees. It asks for what
only the test can do by a line that begins with ``please``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from tests.chaos.proxy import Proxy
from tests.hub import ROOT_KEY, hub_process, running_hub
from tests.patience import SOON_S

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "src" / "lifesigns" / "javascript"


@contextlib.asynccontextmanager
async def running(
    program: Path, *urls: str, module: Path = PACKAGE / "lifesigns.js", key: str = ROOT_KEY
) -> AsyncIterator[Process]:
    """Run a program under Node for as long as the block lasts."""
    node = shutil.which("node")
    assert node is not None, "the JavaScript client is tested with Node 20 or newer"
    given = {"MODULE": module.as_uri(), "LIFESIGNS_URL": urls[0] if urls else ""}
    process = await asyncio.create_subprocess_exec(
        *(node, str(program), *urls),
        env={"PATH": os.environ["PATH"], "LIFESIGNS_KEY": key, **given},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def playing(
    scenario: str, *urls: str, module: Path = PACKAGE / "lifesigns.js", key: str = ROOT_KEY
) -> AsyncIterator[Process]:
    """Run a scenario; when the block is left it must have ended well."""
    program = HERE / f"{scenario}.mjs"
    async with running(program, *urls, module=module, key=key) as process:
        yield process
        async with asyncio.timeout(2 * SOON_S):
            out, err = await process.communicate()
        assert process.returncode == 0, (out + err).decode()


async def line_of(process: Process) -> str:
    """Wait for the next line of a program."""
    assert process.stdout is not None
    async with asyncio.timeout(SOON_S):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def asked(process: Process) -> str:
    """Wait for what the scenario asks for."""
    while line := await line_of(process):
        if line.startswith("please "):
            return line.removeprefix("please ")
    return "nothing any more"


async def test_its_reducer_does_what_ours_does() -> None:
    async with playing("vectors", str(HERE.parent / "vectors" / "roster.json")):
        pass


async def test_a_thousand_who_lost_one_hub_do_not_return_in_one_burst() -> None:
    async with playing("delay"):
        pass


async def test_an_agent_lives_from_its_making_to_its_close(fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub, playing("life", hub.url):
        pass


async def test_the_module_that_a_hub_serves_is_the_package(fresh_url: str, tmp_path: Path) -> None:
    async with running_hub(fresh_url) as hub:
        async with hub.client(key="") as client:
            answer = await client.get("/lifesigns.js")
            again = await client.get(
                "/lifesigns.js", headers={"If-None-Match": answer.headers["ETag"]}
            )
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert again.status_code == 304
        module = tmp_path / "lifesigns.mjs"
        module.write_bytes(answer.content)
        async with playing("life", hub.url, module=module):
            pass


async def test_a_claim_is_reserved_doubted_regained_and_lost(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as one,
        running_hub(fresh_url) as other,
        playing("claim", one.url, other.url),
    ):
        pass


async def test_it_comes_back_to_another_hub_and_misses_nothing(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as witness,
        hub_process(fresh_url) as first,
        playing("return", first.url, witness.url) as process,
    ):
        assert await asked(process) == "kill the first hub"
        await first.kill()


async def test_where_no_socket_passes_an_observer_goes_on_over_event_streams(
    fresh_url: str,
) -> None:
    def deaf(data: bytes) -> bytes:
        return data.replace(b"Upgrade: websocket", b"Upgrade: something")

    async with running_hub(fresh_url) as hub:
        port = int(hub.url.rpartition(":")[2])
        target = partial(asyncio.open_connection, "127.0.0.1", port)
        async with (
            Proxy(target, lambda: deaf) as proxy,
            playing("stream", f"http://127.0.0.1:{proxy.port}", hub.url) as process,
        ):
            assert await asked(process) == "reset the line"
            proxy.reset()


async def test_who_is_turned_away_is_told_and_stays_away(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as hub,
        playing("refused", hub.url, key="a-key-that-nobody-has"),
    ):
        pass


async def test_whatever_api_refuses_it_is_an_error_with_our_code(fresh_url: str) -> None:
    async with running_hub(fresh_url) as hub, playing("tongue", hub.url):
        pass


async def test_programs_of_the_pulse_api_run_as_they_are_printed(
    fresh_url: str, tmp_path: Path
) -> None:
    printed = HERE.parent / "dialects" / "pulse"
    programs = [str(printed / f"{name}.js.txt") for name in ("first", "state", "list", "whole")]
    async with (
        running_hub(fresh_url) as hub,
        playing("reference", hub.url, str(tmp_path), *programs),
    ):
        pass


async def test_the_dashboard_in_thirty_lines_draws_what_changes(
    fresh_url: str, tmp_path: Path
) -> None:
    """With the package where npm would put it."""
    program = tmp_path / "dashboard.mjs"
    program.write_bytes((HERE.parents[1] / "docs" / "examples" / program.name).read_bytes())
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "lifesigns").symlink_to(PACKAGE)
    async with (
        running_hub(fresh_url) as hub,
        hub.client() as client,
        running(program, hub.url) as process,
    ):
        assert await line_of(process) == "nobody"
        await client.put("/v1/pulse/a", json={"status": "idle"})
        assert await line_of(process) == "1 available"
        assert await line_of(process) == "  a online: nothing -> available"
        await client.delete("/v1/pulse/a")
        assert await line_of(process) == "1 offline"
