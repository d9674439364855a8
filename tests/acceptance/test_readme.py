"""The README and the pages, taken at their word.

Blocks of ``sh`` and ``python`` are run as they are printed, in their order, by somebody whose home
holds the data folder; only the hub's address is put in. Blocks of ``shell`` start something that
stays, and are compared with what there is to start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifesigns.config import ClientConfig
from tests.acceptance.command import Ended, environment, execute
from tests.hub import HubProcess, hub_process
from tests.patience import SOON_S, until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
ADDRESS = ClientConfig().url
CURL = Path(__file__).with_name("curl.py")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Cut one section out of the README."""
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"the README has no section {title!r}"
    return found[1]


class Newcomer:
    """Somebody at a shell who has just started a hub."""

    def __init__(self, hub: HubProcess, home: Path) -> None:
        self.home = home
        (home / "bin").mkdir()
        self._install("lifesigns", "-m lifesigns")
        if shutil.which("curl") is None:
            self._install("curl", f"'{CURL}'")
        self.env = environment(
            HOME=str(home),
            XDG_DATA_HOME=None,
            LIFESIGNS_PORT=hub.url.rpartition(":")[2],
            no_proxy="*",
        )
        self.env["PATH"] = f"{home / 'bin'}:{self.env['PATH']}"
        (self._exports,) = blocks(section("Start a hub"), "sh")
        self._exports = self._exports.replace(ADDRESS, hub.url)

    def _install(self, name: str, program: str) -> None:
        command = self.home / "bin" / name
        command.write_text(f"#!/bin/sh\nexec '{sys.executable}' {program} \"$@\"\n")
        command.chmod(0o755)

    async def types(self, script: str) -> str:
        """Run a block in the shell that has the exports."""
        return await self._run("sh", "-eu", "-c", self._exports + script)

    async def runs(self, program: str) -> str:
        """Run a Python program from that shell."""
        (self.home / "program.py").write_text(program)
        return await self.types(f'"{sys.executable}" program.py\n')

    @contextlib.asynccontextmanager
    async def leaves_running(self, script: str) -> AsyncIterator[Path]:
        """Run a block until Ctrl-C; give the file of its output."""
        told = self.home / "told"
        with told.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-eu", "-c", f"{self._exports}exec {script}"),
                stdout=out,
                env=self.env,
                cwd=self.home,
                start_new_session=True,
            )
        try:
            yield told
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(SOON_S):
                assert await process.wait() == 130
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _run(self, *command: str) -> str:
        ended: Ended = await execute(*command, env=self.env, cwd=self.home)
        assert ended.code == 0, ended.told
        return ended.out


def answers(out: str) -> list[dict[str, Any]]:
    """Read JSON answers that stand one after the other."""
    decoder, found = json.JSONDecoder(), []
    while out := out.strip():
        answer, end = decoder.raw_decode(out)
        found.append(answer)
        out = out[end:]
    return found


async def test_readme_runs_as_it_is_printed(folder: Path) -> None:
    data = folder / ".local" / "share" / "lifesigns"
    async with hub_process(data, env={"LIFESIGNS_ADMIN_KEY": ""}) as hub:
        newcomer = Newcomer(hub, folder)
        (beat,) = blocks(section("The first heartbeat"), "sh")
        (stored,) = answers(await newcomer.types(beat))
        (printed,) = blocks(section("The first heartbeat"), "json")
        for name, value in json.loads(printed).items():
            if isinstance(value, str) and TIME.fullmatch(value):
                assert TIME.fullmatch(stored[name])
            else:
                assert stored[name] == value

        (client,) = blocks(section("In Python"), "python")
        claimed, watched = (await newcomer.runs(client)).splitlines()
        assert claimed == "digger is mine, lost: False"
        assert watched == "digger present available"

        (wrapped,) = blocks(section("Any program"), "sh")
        told = await newcomer.types(wrapped)
        assert re.search(r"^nightly +offline .*left: exit 0", told, re.MULTILINE)
        assert told.startswith("packing\n")
        assert told.endswith("nightly is not there any more\n")

        (program,) = blocks(section("A socket instead"), "python")
        (watch,) = blocks(section("Or be told"), "shell")
        async with newcomer.leaves_running(watch) as seen:
            welcome, ok, checked = answers(await newcomer.runs(program))
            await until(lambda: "all found" in seen.read_text())
        assert (welcome["type"], welcome["agent"]) == ("welcome", "search-agent")
        assert (ok["type"], ok["ref"]) == ("ok", 1)
        assert checked["agents"]["crawler"]["state"] == "busy"
        assert checked["agents"]["crawler"]["fresh"] is True

        asked = blocks(section("Ask"), "sh")
        listed, gone, both = [each for ask in asked for each in answers(await newcomer.types(ask))]
        assert [each["id"] for each in listed["agents"]] == ["crawler"]
        assert (gone["state"], gone["reason_text"]) == ("offline", "all found")
        assert {name: each["alive"] for name, each in both["agents"].items()} == {
            "crawler": True,
            "nobody": False,
        }
        for field in re.findall(r"`(\w+_m?s|fresh)`", section("Ask")):
            assert field in both["agents"]["crawler"]

        (keys,) = blocks(section("Keys"), "sh")
        made = await newcomer.types(keys)
        assert re.search(r"^key +ls_\w+$", made, re.MULTILINE)
        assert "search fleet" in made
        assert "Nothing is wrong." in await newcomer.types("lifesigns doctor\n")


def test_readme_starts_what_there_is_to_start() -> None:
    make, install = blocks(section("Start a hub"), "shell")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text())
    assert make == "make run\n"
    assert set(named) <= set(targets)
    project = (ROOT / "pyproject.toml").read_text()
    assert install == "pip install 'lifesigns[hub]'\nlifesigns serve\n"
    assert 'lifesigns = "lifesigns.cli.main:main"' in project


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+\.\w+)`", page.read_text())
    named += [f"src/lifesigns/{each}" for each in _modules(page)]
    missing = [each for each in named if not (ROOT / each).exists()]
    assert missing == []


def _modules(page: Path) -> list[str]:
    """Find modules that are named from the package on, as in the page on architecture."""
    rooms = "core|store|hub|web|workers|cli|client"
    return re.findall(rf"`((?:{rooms})/[\w./]+\.(?:py|lua))`", page.read_text())


def test_readme_says_of_every_promise_which_test_holds_it() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section("What you can rely on"), re.MULTILINE)
    promises = [row for row in rows if row[0] not in ("promise", "---")]
    assert len(promises) >= 8
    for promise, proof in promises:
        files = re.findall(r"\]\((tests/[\w/.]+)\)", proof)
        assert files, f"{promise} is held by nothing"
        for name in re.findall(r"::(\w+)", proof):
            assert f"def {name}(" in (ROOT / files[0]).read_text(), f"{files[0]} has no {name}"
