"""The file in the data folder that keeps the root key which the hub made itself.

Readable by its owner only, and whole at every moment: it is written beside its place and then
linked there, so that of several hubs that start at once one wins and the others read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

NAME: Final = "admin.key"
_MODE = 0o600


def path(data_dir: Path) -> Path:
    """Say where the root key of a data folder lies."""
    return data_dir / NAME


def keep(data_dir: Path, offered: str) -> str:
    """Answer the key that the folder keeps; the offered one, if there was none."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = data_dir / f".{NAME}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(offered + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path(data_dir))  # unlike a rename, it never replaces
    finally:
        draft.unlink()
    kept = read(data_dir)
    return offered if kept is None else kept


def read(data_dir: Path) -> str | None:
    """Read the key, and shut the file to others if it stands open to them."""
    try:
        with path(data_dir).open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                os.fchmod(file.fileno(), _MODE)
            return file.read().strip()
    except FileNotFoundError:
        return None


def drop(data_dir: Path, token: str) -> None:
    """Remove the key if it is still this one: another hub's became the root key."""
    if read(data_dir) == token:
        path(data_dir).unlink(missing_ok=True)
