"""The command line as people type it: one process from its start to its end."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.hub import SOURCE
from tests.patience import SOON_S


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int | None
    out: str
    err: str

    @property
    def told(self) -> str:
        return self.out + self.err


def environment(**named: str | None) -> dict[str, str]:
    """Answer this process's environment with no setting of whoever runs the tests; None drops."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIFESIGNS_")}
    wanted = {**kept, "PYTHONPATH": str(SOURCE), **named}
    return {name: value for name, value in wanted.items() if value is not None}


async def execute(
    *command: str,
    env: Mapping[str, str],
    stdin: str | None = None,
    cwd: Path | None = None,
) -> Ended:
    """Run a program to its end, which must come soon."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL if stdin is None else PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,  # Ctrl-C is for pytest
    )
    try:
        async with asyncio.timeout(2 * SOON_S):
            out, err = await process.communicate(None if stdin is None else stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode, out.decode(), err.decode())


async def lifesigns(*args: str, stdin: str | None = None, **variables: str | None) -> Ended:
    """Run ``lifesigns`` to its end: ``lifesigns("keys", "list", LIFESIGNS_KEY=key)``.

    The default data folder is one that does not exist, unless XDG_DATA_HOME is named.
    """
    env = environment(**{"XDG_DATA_HOME": "/nonexistent", **variables})
    return await execute(sys.executable, "-m", "lifesigns", *args, env=env, stdin=stdin)


def content(folder: Path) -> list[Path]:
    """List everything below a folder."""
    return sorted(folder.rglob("*"))
