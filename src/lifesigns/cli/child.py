"""A program in the foreground, as if nobody stood between it and whoever started it.

It has our stdin, stdout and terminal; stderr takes a relay. Signals that reach us are passed on to
it, but for those that the terminal has sent to both. It dies with us, even if we are killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lifesigns.cli.relay import LONGEST_LINE, Relay
from lifesigns.cli.terminal import printable

PASSED = frozenset(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")
)
ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGQUIT})
FROM_KERNEL = 0x80  # si_code of what nobody sent by kill(): of what is typed at a terminal
LAST_S = 10.0  # from SIGTERM to SIGKILL, as a service manager has it
NOT_FOUND, NOT_RUNNABLE, BY_SIGNAL = 127, 126, 128  # the exit codes of every shell
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class End:
    """How a program ended; ``text`` is for people."""

    code: int
    text: str
    ran: bool = True  # and could be started at all

    @property
    def failed(self) -> bool:
        return self.code != 0


class Switchboard:
    """Where the signals of this process arrive; it has to stand before any thread does."""

    def __init__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)
        # Without a terminal, a signal to our whole group must not reach the program twice.
        self.on_terminal = _has_terminal()

    def attend(self, act: Callable[[int, bool], None]) -> None:
        """Tell of each signal, on this loop: its number, and whether the program has it already."""
        loop = asyncio.get_running_loop()

        def listen() -> None:
            with suppress(RuntimeError):  # the loop is over
                while True:
                    loop.call_soon_threadsafe(act, *self._next())

        threading.Thread(target=listen, name="signals", daemon=True).start()

    def _next(self) -> tuple[int, bool]:
        if sys.platform == "darwin":  # does not tell where they come from
            number = signal.sigwait(PASSED)
            return number, self.on_terminal and number in (signal.SIGINT, signal.SIGQUIT)
        came = signal.sigwaitinfo(PASSED)
        return came.si_signo, self.on_terminal and came.si_code == FROM_KERNEL


class Child:
    """One run of a program."""

    def __init__(self, process: asyncio.subprocess.Process, relay: Relay | None) -> None:
        self._process = process
        self._relay = relay

    @classmethod
    async def start(
        cls, command: Sequence[str], env: Mapping[str, str], board: Switchboard
    ) -> Child | End:
        """Start it; answer the end that it has come to if it cannot be."""
        relay = _relay()
        streams: dict[str, Any] = {}
        if relay is not None:
            streams["stderr"] = relay.inlet
            if relay.takes_stdout:
                streams["stdout"] = relay.inlet
        if not board.on_terminal:
            streams["process_group"] = 0
        try:
            process = await asyncio.create_subprocess_exec(
                *command, env=env, preexec_fn=_preparation(board), **streams
            )
        except (OSError, ValueError) as error:  # a null character, say
            if relay is not None:
                relay.drop()
            missing = isinstance(error, FileNotFoundError)
            why = (getattr(error, "strerror", None) or str(error)).lower()
            name = printable(command[0])[:LONGEST_LINE]
            text = f"cannot run {name}: {why}"
            return End(NOT_FOUND if missing else NOT_RUNNABLE, text, ran=False)
        if relay is not None:
            relay.start()
        return cls(process, relay)

    async def ended(self) -> End:
        """Wait for its end, and for what it wrote."""
        code = await self._process.wait()
        said = "" if self._relay is None else await asyncio.to_thread(self._relay.finish)
        if code >= 0:
            text, code = f"exit {code}", code
        else:
            text, code = f"killed by {signal.Signals(-code).name}", BY_SIGNAL - code
        return End(code, f"{text}: {said}" if said and code != 0 else text)

    def signal(self, number: int) -> None:
        if number == signal.SIGWINCH and self._relay is not None:
            self._relay.resize()
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self) -> None:
        """Ask it to end, and make it."""
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self._process.wait()
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)


def _relay() -> Relay | None:
    try:
        os.fstat(2)
    except OSError:  # closed, and so it is for the program
        return None
    return Relay()


def _preparation(board: Switchboard) -> Callable[[], None]:
    """Make what the program's process does before it becomes the program."""
    parent, mask = os.getpid(), board.mask
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before that
                os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    return prepare


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
