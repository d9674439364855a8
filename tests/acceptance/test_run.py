"""`lifesigns run`: real programs under it, with pipes and with terminals, with hubs and without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import Ended, environment, execute
from tests.agent import becomes, presence
from tests.hub import ROOT_KEY, HubProcess, hub_process
from tests.patience import SOON_S, until, until_told
from tests.server import free_port

# Counts its signals; ends with 42 on the second SIGTERM or SIGINT, with 0 when its stdin does.
COUNTER = """
import os, signal, sys
seen = []
def count(number, frame):
    seen.append(number)
    os.write(1, f"{signal.Signals(number).name} {len(seen)}\\n".encode())
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, count)
os.write(1, f"{[os.isatty(each) for each in range(3)]}\\n".encode())
while os.read(0, 1):
    pass
os.write(2, b"that was all\\n")
sys.exit(42)
"""


def command(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "lifesigns", "run", *words)


def surroundings(url: str, key: str = ROOT_KEY) -> dict[str, str]:
    return environment(LIFESIGNS_URL=url, LIFESIGNS_KEY=key)


async def run(url: str, *words: str, key: str = ROOT_KEY, stdin: str | None = None) -> Ended:
    return await execute(*command(*words), env=surroundings(url, key), stdin=stdin)


@contextlib.asynccontextmanager
async def running(url: str, *words: str, **streams: Any) -> AsyncIterator[Process]:
    """Run it without a terminal, as a service manager does; the block kills what is left."""
    streams = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE} | streams
    process = await asyncio.create_subprocess_exec(
        *command(*words), env=surroundings(url), start_new_session=True, **streams
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await end(process)


async def end(process: Process) -> int:
    """Close its stdin, and await its end."""
    async with asyncio.timeout(SOON_S):
        await process.communicate(b"")
    assert process.returncode is not None
    return process.returncode


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(SOON_S):
        return (await process.stdout.readline()).decode().strip()


def is_dead(pid: int) -> bool:
    """Tell whether a process has ended; where nobody collects it, what is left of it stays."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return "State:\tZ" in status


@pytest.fixture
def nowhere() -> str:
    """Give a place where no hub is: the program has to run all the same."""
    return f"http://127.0.0.1:{free_port()}"


async def test_what_goes_in_and_out_is_untouched(nowhere: str) -> None:
    every_byte = bytes(range(256)) * 4096
    both = "import os, sys; os.write(2, b'E' * 70000 + b'\\xff\\0'); d = sys.stdin.buffer.read(); "
    both += "sys.stdout.buffer.write(d); sys.exit(len(d) % 251)"
    async with running(nowhere, "job", "--", sys.executable, "-c", both) as process:
        async with asyncio.timeout(2 * SOON_S):
            out, err = await process.communicate(every_byte)
    assert out == every_byte
    assert err == b"E" * 70_000 + b"\xff\0"
    assert process.returncode == len(every_byte) % 251

    # Two streams that are one stay in their order.
    mixed = "for n in range(300): os.write(1 + n % 2, b'%d ' % n)"
    words = ("job", "--", sys.executable, "-c", f"import os\n{mixed}")
    async with running(nowhere, *words, stderr=STDOUT) as process:
        async with asyncio.timeout(SOON_S):
            out, _ = await process.communicate(b"")
    assert out.split() == [b"%d" % n for n in range(300)]


async def test_the_exit_code_is_the_programs(nowhere: str) -> None:
    cases = {
        ("--restart", "no", "--", "true"): 0,
        ("--", "sh", "-c", 'echo "$1"; exit 7', "--", "--"): 7,
        ("--", "sh", "-c", "kill -9 $$"): 137,
        ("--restart", "always", "--", "no-such-program"): 127,
        ("--", "/"): 126,
        ("--ttl", "0s", "--", "echo"): 2,
        ("--max-restarts", "x", "--", "echo"): 2,
        ("--state", "asleep", "--", "echo"): 2,
        (): 2,
    }
    all_ended = await asyncio.gather(*[run(nowhere, "job", *words) for words in cases])
    assert [each.code for each in all_ended] == list(cases.values())
    assert [each.out for each in all_ended if each.out] == ["--\n"]
    assert [each.err.count("\n") for each in all_ended[:7]] == [0, 0, 0, 1, 1, 1, 1]
    # A daemon that is left behind with our stderr keeps nobody waiting.
    ended = await run(nowhere, "job", "--", "sh", "-c", "sleep 600 >/dev/null & echo $!")
    os.kill(int(ended.out), signal.SIGKILL)
    assert ended.code == 0


async def test_signals_reach_the_program_once(nowhere: str) -> None:
    async with running(nowhere, "job", "--", sys.executable, "-c", COUNTER) as process:
        assert await line_of(process) == "[False, False, False]"
        sent = ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGTERM", "SIGINT")
        for count, name in enumerate(sent, 1):
            os.kill(process.pid, getattr(signal, name))
            assert await line_of(process) == f"{name} {count}"
        os.killpg(process.pid, signal.SIGUSR1)  # as to a whole job
        assert await line_of(process) == "SIGUSR1 6"
        os.kill(process.pid, signal.SIGUSR2)
        assert await line_of(process) == "SIGUSR2 7"  # and not one more for the last
        assert await end(process) == 42


async def test_on_a_terminal_it_is_on_that_terminal(nowhere: str) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 123))
    shown = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: shown.extend(os.read(ours, 4096)))
    # A session of its own whose terminal this is, as a window of a terminal has it.
    leader = "import os, sys, fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    leader += "os.execvp(sys.argv[1], sys.argv[1:])"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", leader, *command("job", "--", sys.executable, "-c", COUNTER)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=surroundings(nowhere),
        start_new_session=True,
    )
    try:
        await until(lambda: b"[True, True, True]\r\n" in shown)
        os.write(ours, b"\x03")
        await until(lambda: b"SIGINT 1\r\n" in shown)
        os.kill(process.pid, signal.SIGUSR1)  # what is not typed is passed on here too
        await until(lambda: b"SIGUSR1 2\r\n" in shown)
        os.write(ours, b"\x04")
        async with asyncio.timeout(SOON_S):
            assert await process.wait() == 42
        await until(lambda: b"that was all\r\n" in shown)
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
        os.close(theirs)


async def test_presence_comes_and_goes_with_the_program(hub: HubProcess) -> None:
    async with hub.client() as http:
        speaks = f"{sys.executable} -m lifesigns beat --task reading && echo told && cat"
        flags = ("--capability", "search", "--status", "thinking", "--ttl", "5")
        async with running(hub.url, "job", *flags, "--", "sh", "-c", speaks) as process:
            assert await line_of(process) == "told"
            shown = await presence(http, "job")
            assert (shown["task"], shown["status"]) == ("reading", "thinking")
            assert (shown["capabilities"], shown["instances"]) == (["search"], 1)
            assert await end(process) == 0
        shown = await presence(http, "job")
        assert (shown["state"], shown["reason"], shown["reason_text"]) == (
            *("offline", "left"),
            "exit 0",
        )
        fails = "echo first >&2; printf '\\033[31mno space left\\033[0m\\n' >&2; exit 3"
        assert (await run(hub.url, "job", "--", "sh", "-c", fails)).code == 3
        shown = await presence(http, "job")
        assert (shown["state"], shown["reason_text"]) == ("offline", "exit 3: no space left")
        changes = (await http.get("/v1/pulse/job/history")).json()["changes"]
        assert "error" in {each["state"] for each in changes}

    words = ("job", "--restart-when", "stalled", "--", "sh", "-c", "sleep 1; echo done")
    ended = await run(hub.url, *words, key="nobody-has-it")
    assert (ended.code, ended.out, ended.err.count("\n")) == (0, "done\n", 1)
    assert "unauthorized" in ended.err


async def test_what_beats_have_said_stays_when_it_moves_to_another_hub(fresh_url: str) -> None:
    """The connection said the agent whole again, as the flags had it: the task was gone."""
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    beat = f"{sys.executable} -m lifesigns beat"
    speaks = f"{beat} --status reading --task 'page 3' --metadata n=1 && echo told && read line; "
    speaks += f"{beat} --task 'page 4'; echo told $?; cat"
    words = ("job", "--status", "thinking", "--task", "none", "--group", "g")

    async def shown_by(hub: HubProcess) -> list[object]:
        async with hub.client() as http:

            async def is_there() -> bool:
                return "lifesigns_agents 1.0" in (await http.get("/metrics")).text

            await until_told(is_there)
            shown = await presence(http, "job")
        return [shown[name] for name in ("status", "task", "metadata", "group")]

    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(hub_process(fresh_url, "--port", port))
        process = await stack.enter_async_context(running(url, *words, "--", "sh", "-c", speaks))
        assert await line_of(process) == "told"
        assert await shown_by(first) == ["reading", "page 3", {"n": 1}, "g"]
        await first.terminate()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        assert await line_of(process) == "told 1"  # there is no hub: but it is not lost
        async with hub_process(fresh_url, "--port", port) as second:
            assert await shown_by(second) == ["reading", "page 4", {"n": 1}, "g"]
            assert await end(process) == 0


async def test_it_is_seen_when_there_is_a_hub_and_dies_with_us(fresh_url: str) -> None:
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    async with running(url, "job", "--ttl", "2", "--", "sh", "-c", "echo $$; exec cat") as process:
        program = int(await line_of(process))
        async with hub_process(fresh_url, "--port", port) as hub, hub.client() as http:
            await becomes(http, "job", state="available")
            process.kill()
            await until(lambda: is_dead(program))
            await becomes(http, "job", state="offline")


async def test_a_program_that_fails_is_started_again(hub: HubProcess, tmp_path: Path) -> None:
    count = tmp_path / "count"
    fails = f"echo x >> {count}; echo broken pipe >&2; exit 127"  # and was found all the same
    flags = ("--restart", "on-failure", "--max-restarts")
    async with hub.client() as http:
        ended = await run(hub.url, "job", *flags, "1/10m", "--", "sh", "-c", fails)
        assert (ended.code, count.read_text()) == (127, "x\nx\n")
        async with running(hub.url, "job", *flags, "99", "--", "sh", "-c", fails) as process:
            shown = await becomes(http, "job", state="error")
            assert shown["task"] == "exit 127: broken pipe"
            process.terminate()
            async with asyncio.timeout(SOON_S):
                # Of the wait or, just then, of the program.
                assert await process.wait() in (127, 143)
        assert (await presence(http, "job"))["state"] == "offline"

        # One that hangs: it is ended, and started again.
        hangs = "sleep 600 & trap 'kill $!; echo ended; exit 0' TERM; echo started; wait"
        flags = ("--restart-when", "stalled", "--progress-ttl", "1s")
        async with running(hub.url, "slow", *flags, "--", "sh", "-c", hangs) as process:
            assert [await line_of(process) for _ in range(3)] == ["started", "ended", "started"]
            await becomes(http, "slow", state="busy")
            process.terminate()
            async with asyncio.timeout(SOON_S):
                assert await process.wait() in (0, 143)
