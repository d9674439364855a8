"""The whole terminal for a while: keys as they are typed, lines as they alter, and all put back."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"  # another screen, without a cursor
LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
UNKNOWN = (80, 24)  # a serial line tells no size


class Screen:
    """Has the terminal while its block runs."""

    def __init__(self) -> None:
        self.keyboard = sys.stdin.fileno()
        self._former: list[Any] = []
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        self._former = termios.tcgetattr(self.keyboard)
        tty.setcbreak(self.keyboard)
        self._write(ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, termios.error):  # the terminal may be gone, and then needs nothing
            self._write(LEAVE)
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, self._former)

    @property
    def size(self) -> tuple[int, int]:
        """Ask the terminal itself: what the environment says does not follow its window."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return (columns, lines) if columns and lines else UNKNOWN

    def typed(self) -> bytes:
        """Take what was typed; nothing, if the terminal is gone."""
        try:
            return os.read(self.keyboard, 1024)
        except OSError:
            return b""

    def show(self, lines: Sequence[str]) -> None:
        """Draw the lines that are not there yet."""
        former = self._lines if len(self._lines) == len(lines) else [""] * len(lines)
        if former is not self._lines:
            self._write("\x1b[2J")
        altered = (
            f"\x1b[{number};1H{line}\x1b[K"
            for number, (line, before) in enumerate(zip(lines, former, strict=True), 1)
            if line != before
        )
        self._write("".join(altered))
        self._lines = list(lines)

    def forget(self) -> None:
        """What is there may not be what was drawn."""
        self._lines = []

    def suspend(self) -> None:
        """Stop this process, as Ctrl-Z asks for, and go on when it is woken."""
        self.__exit__()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.__enter__()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
