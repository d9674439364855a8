"""What a benchmark needs of other processes: start them, read what they used, end them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifesigns.store.embedded import socket_path

TICKS = os.sysconf("SC_CLK_TCK")
START_S = 30.0
HERE = Path(__file__).parent


def cpu_s(pid: int) -> float:
    """Tell how many seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_bytes(pid: int) -> int:
    """Tell how much memory a process holds now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise LookupError(pid)


@dataclass
class HubProcess:
    """A hub that was started for the measurement, with its embedded store."""

    process: subprocess.Popen[str]
    folder: Path
    host: str
    port: int
    key: str

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def store_socket(self) -> Path:
        return socket_path(self.folder.resolve())


@contextmanager
def hub(*flags: str, beside: HubProcess | None = None) -> Iterator[HubProcess]:
    """Run a hub in a scratch folder, or beside another one on its store."""
    if beside is None:
        folder = Path(tempfile.mkdtemp(prefix="lifesigns-bench-"))
        key = "ls_root_" + secrets.token_hex(16)
    else:
        folder, key = beside.folder, beside.key
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "lifesigns", "serve", "--port", "0"),
            *("--data-dir", str(folder), "--log-level", "warning", *flags),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"LIFESIGNS_ADMIN_KEY": key},
    )
    try:
        address = _await_ready(process)
        host, _, port = address.removeprefix("http://").rpartition(":")
        yield HubProcess(process, folder, host, int(port), key)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if beside is None:
            shutil.rmtree(folder, ignore_errors=True)


def _await_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    address, until = "", time.monotonic() + START_S
    for line in process.stdout:
        if "http://" in line:
            address = line.split()[-1]
        if line.strip() == "ready":
            return address
        if time.monotonic() > until:
            break
    raise SystemExit("the hub did not start")


class Generators:
    """The load generators, each a process of its own."""

    def __init__(self, count: int, script: str = "generator.py") -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(HERE / script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]

    def __len__(self) -> int:
        return len(self._processes)

    def order(self, orders: list[dict[str, Any]]) -> None:
        """Give each its order; they begin at once."""
        for number, order in enumerate(orders):
            self.order_one(number, order)

    def order_one(self, number: int, order: dict[str, Any]) -> None:
        """Give one its order."""
        pipe = self._processes[number].stdin
        assert pipe is not None
        pipe.write(json.dumps(order) + "\n")
        pipe.flush()

    def answers(self) -> list[dict[str, Any]]:
        """Await what they say when they are done."""
        return [self.answer_of(number) for number in range(len(self))]

    def answer_of(self, number: int) -> dict[str, Any]:
        """Await what one says when it is done."""
        pipe = self._processes[number].stdout
        assert pipe is not None
        line = pipe.readline()
        if not line:
            raise SystemExit("a load generator ended too soon")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def show_budgets(result: dict[str, Any], budgets: Iterable[tuple[str, float, str]]) -> None:
    """Say of each budget whether it was kept."""
    for name, bound, how in budgets:
        value = result[name]
        kept = value is not None and (value <= bound if how == "at most" else value >= bound)
        print(f"budget: {name} {how} {bound:g}: {value} {'kept' if kept else 'MISSED'}")


class Bar:
    """A line that says how far it is."""

    def __init__(self, what: str, seconds: float) -> None:
        self._what = what
        self._seconds = seconds
        self._began = time.monotonic()

    def show(self) -> None:
        done = min(1.0, (time.monotonic() - self._began) / self._seconds)
        if sys.stderr.isatty():
            bar = "#" * int(done * 30)
            print(f"\r{self._what:28} [{bar:30}] {done:4.0%}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print(f"\r{self._what:28} [{'#' * 30}] done", file=sys.stderr)
