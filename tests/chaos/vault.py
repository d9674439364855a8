"""A store server whose file survives it, whole or not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.server import Server

DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec")


class Vault(Server):
    """A server that writes every command to its file."""

    def __init__(self) -> None:
        super().__init__(*DURABLE)

    def mark(self) -> int:
        """Tell how far the file reaches now."""
        return self._file.stat().st_size

    def lose_since(self, mark: int) -> None:
        """Drop what was written to the file of the dead server since then."""
        os.truncate(self._file, mark)

    def lose_all(self) -> None:
        """Drop the dead server's file."""
        shutil.rmtree(self._files)

    @property
    def _files(self) -> Path:
        return self.folder / "appendonlydir"

    @property
    def _file(self) -> Path:
        (file,) = self._files.glob("*.incr.aof")
        return file
