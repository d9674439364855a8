"""What a link tells those who listen to it, kept for a test to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Witness:
    """What a link told its listeners, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.pushes: list[list[Any]] = []

    def listeners(self) -> dict[str, Callable[[], None]]:
        return {
            "on_up": lambda: self.told.append("up"),
            "on_down": lambda: self.told.append("down"),
        }
