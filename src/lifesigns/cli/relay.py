"""Passes on what a program writes to stderr, byte for byte as it comes, and keeps the last line.

A program that would have written to a terminal writes to one here too. Where stdout and stderr are
one pipe or one file, both take this way: else their order could change.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import termios
import threading
import tty
from contextlib import suppress

from lifesigns.cli.terminal import printable

STDOUT, STDERR = 1, 2
CHUNK = 65_536
LEFT_OVER = 16 * CHUNK  # what a program may have left in a pipe when it ended, at the very most
KEPT = 4_096  # bytes in which a last line is looked for
LONGEST_LINE = 512
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


class Relay:
    """One way from a program's stderr to ours; it lasts for one run of it."""

    def __init__(self) -> None:
        self._on_terminal = os.isatty(STDERR)
        self.takes_stdout = not self._on_terminal and _are_one(STDOUT, STDERR)
        self._source, self.inlet = os.openpty() if self._on_terminal else os.pipe()
        self._bell, self._button = os.pipe()
        self._tail = b""
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        if self._on_terminal:
            tty.setraw(
                self.inlet
            )  # the terminal behind it makes of the bytes what it makes of them
            self.resize()

    def start(self) -> None:
        """Begin to pass on; whoever got the inlet has it by now."""
        os.close(self.inlet)
        self._thread.start()

    def finish(self) -> str:
        """Pass on what is left, and answer the last line; the program has ended.

        Does not wait for what its children may still write: nobody else would.
        """
        os.close(self._button)
        self._thread.join()
        return last_line(self._tail)

    def drop(self) -> None:
        """The program could not be started."""
        for each in (self.inlet, self._source, self._bell, self._button):
            os.close(each)

    def resize(self) -> None:
        """The terminal's window has another size."""
        if self._on_terminal:
            with suppress(OSError, termios.error):
                termios.tcsetwinsize(self._source, termios.tcgetwinsize(STDERR))

    def _run(self) -> None:
        waiting = select.poll()
        for each in (self._source, self._bell):
            waiting.register(each, select.POLLIN)
        try:
            while not any(each == self._bell for each, _ in waiting.poll()):
                if not self._pass_on():
                    break
            else:
                self._empty()
        finally:
            os.close(self._source)  # if nobody reads us, nobody shall write to us
            os.close(self._bell)

    def _empty(self) -> None:
        waiting = select.poll()
        waiting.register(self._source, select.POLLIN)
        left = LEFT_OVER
        while left > 0 and waiting.poll(0):
            if not (passed := self._pass_on()):
                return
            left -= passed

    def _pass_on(self) -> int:
        """Pass on what is there; answer how many bytes, 0 at the end."""
        try:
            data = os.read(self._source, CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # so ends a terminal
                raise
            return 0
        self._tail = (self._tail + data)[-KEPT:]
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(STDERR, rest) :]
            except BlockingIOError:
                select.select([], [STDERR], [])
            except OSError:  # nobody reads it any more
                return 0
        return len(data)


def last_line(told: bytes) -> str:
    """Find the last line that says something, without colours."""
    text = ESCAPES.sub("", told.decode("utf-8", "replace"))
    lines = [line for line in map(str.strip, re.split(r"[\r\n]", text)) if line]
    return printable(lines[-1])[:LONGEST_LINE] if lines else ""


def _are_one(first: int, second: int) -> bool:
    try:
        one, other = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    return os.path.samestat(one, other) and not stat.S_ISCHR(one.st_mode)
