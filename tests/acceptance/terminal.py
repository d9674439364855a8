"""A terminal for tests: a pty with a program on it, and the screen as somebody would see it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import termios
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from tests.patience import until

TOKEN = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|([^\x1b]+)")


class Terminal:
    """What a program on it has drawn; it knows as little of escapes as we use."""

    def __init__(self, ours: int, size: tuple[int, int]) -> None:
        self._ours = ours
        self.columns, self.lines = size
        self._cells: list[list[str]] = []
        self._row = self._column = 0
        self._rest = ""
        self.modes: set[str] = set()  # 1049: another screen; 25: its cursor
        self.resize(size)
        asyncio.get_running_loop().add_reader(ours, self._read)

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self._cells)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def resize(self, size: tuple[int, int]) -> None:
        """Give it another size, and tell the program: the kernel does."""
        self.columns, self.lines = size
        self._clear()
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", *reversed(size), 0, 0))

    def settings(self) -> list[object]:
        """Answer how keys are treated."""
        return termios.tcgetattr(self._ours)[:4]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)

    def _clear(self) -> None:
        self._cells = [[" "] * self.columns for _ in range(self.lines)]

    def _read(self) -> None:
        with suppress(OSError):  # the program has closed its end
            self._feed(os.read(self._ours, 65_536).decode("utf-8", "replace"))

    def _feed(self, text: str) -> None:
        text = self._rest + text
        cut = text.rfind("\x1b")
        whole = cut < 0 or TOKEN.match(text, cut) is not None
        self._rest = "" if whole else text[cut:]
        for mode, numbers, letter, plain in TOKEN.findall(text if whole else text[:cut]):
            if plain:
                self._put(plain)
            elif mode:
                (self.modes.add if letter == "h" else self.modes.discard)(numbers)
            elif letter == "H":
                row, column = (int(each) - 1 for each in (numbers or "1;1").split(";"))
                self._row, self._column = row, column
            elif letter == "K" and self._row < self.lines:
                rest = self.columns - self._column
                self._cells[self._row][self._column :] = [" "] * max(0, rest)
            elif letter == "J":
                self._clear()

    def _put(self, plain: str) -> None:
        for each in plain:
            if each == "\r":
                self._column = 0
            elif each == "\n":
                self._row += 1
            elif self._row < self.lines and self._column < self.columns:
                self._cells[self._row][self._column] = each
                self._column += 1


@asynccontextmanager
async def terminal(
    *command: str, env: Mapping[str, str], size: tuple[int, int] = (100, 24)
) -> AsyncIterator[tuple[Terminal, Process]]:
    """Run a program on a terminal of its own."""
    ours, theirs = os.openpty()
    shown = Terminal(ours, size)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**env, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        try:
            yield shown, process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()
    finally:
        shown.close()
        os.close(theirs)


async def seen(shown: Terminal, *texts: str) -> None:
    """Wait until all of these are on the screen."""
    try:
        await until(lambda: all(text in shown.text for text in texts))
    except AssertionError:
        raise AssertionError(f"{texts} not on\n{shown.text}") from None
