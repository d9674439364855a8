"""What a hub needs of the machine: Python and packages, open files, a private data folder."""

from __future__ import annotations

import os
import platform
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lifesigns.cli import descriptor
from lifesigns.cli.doctor.finding import Finding, note, ok, wrong
from lifesigns.cli.extra import INSTALL, SPEED, missing
from lifesigns.config import Config

OLDEST_PYTHON = (3, 11)


def check_python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield wrong("python", f"{version} is too old: 3.11 or newer is needed")
    else:
        yield ok("python", version)


def check_packages(*, serves: bool) -> Iterator[Finding]:
    """Look for the extra `hub`; a machine that only speaks to another's hub does without."""
    if absent := missing():
        tell = wrong if serves else note
        yield tell("packages", f"no hub runs here without {', '.join(absent)}: {INSTALL}")
        return
    yield ok("packages", "all that a hub needs is installed")
    if slow := missing(SPEED):
        yield note("packages", f"a hub is faster with {' and '.join(slow)}: {INSTALL}")


def check_files(config: Config) -> Iterator[Finding]:
    wanted = descriptor.needed(config.max_connections)
    soft, hard = descriptor.limits()
    if hard < wanted:
        yield wrong(
            "files",
            f"{hard} open files are allowed, and max_connections {config.max_connections} needs "
            f"{wanted}: raise the limit (ulimit -Hn {wanted}, or LimitNOFILE= of the service), or "
            f"set --max-connections {max(1, hard - descriptor.RESERVE)}",
        )
    elif soft < wanted:
        yield ok("files", f"{soft} may be open; serve raises that to the {wanted} that it needs")
    else:
        yield ok("files", f"{soft} may be open, {wanted} are needed")


def check_folder(config: Config) -> Iterator[Finding]:
    folder = config.data_dir
    if not folder.exists():
        yield _check_parent(folder)
        return
    if not folder.is_dir():
        yield wrong("data", f"{folder} is no folder: choose another --data-dir")
        return
    found = folder.stat()
    if found.st_uid != os.geteuid():
        yield wrong("data", f"{folder} belongs to another user: chown it, or run as its owner")
    elif not _writable(folder):
        yield wrong("data", f"{folder} cannot be written to: chmod u+rwx {folder}")
    else:
        yield ok("data", f"{folder} is ours and can be written to")
    if mode := stat.S_IMODE(found.st_mode) & 0o077:
        yield wrong(
            "data",
            f"{folder} is open to others (mode {stat.S_IMODE(found.st_mode):04o}, of that "
            f"{mode:04o} too much), and the root key lies in it: chmod 700 {folder}",
        )


def _check_parent(folder: Path) -> Finding:
    parent = next(each for each in folder.parents if each.exists())
    if parent.is_dir() and _writable(parent):
        return ok("data", f"{folder} does not exist yet; the first start makes it")
    return wrong("data", f"{folder} cannot be made, as {parent} cannot be written to")


def _writable(folder: Path) -> bool:
    """Try it: what mode bits say is not all that counts (read-only mounts, quotas, root)."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError:
        return False
    return True
