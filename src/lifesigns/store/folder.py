"""Workspaces on disk: folders that only the hub's own user can read, whole at every moment."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files by their names, each in one step; others in the folder stay as they are."""
    folder.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    for name, text in files.items():
        draft = folder / f".{name}.{secrets.token_hex(8)}"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / name)
        finally:
            draft.unlink(missing_ok=True)


def drop(folder: Path, names: Iterable[str]) -> None:
    """Remove files, and the folder if nobody else put anything into it."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty, or not there
        folder.rmdir()
