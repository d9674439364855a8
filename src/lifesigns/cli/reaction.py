"""What `lifesigns watch --exec` does about changes: a command for each, beside the watch.

At most so many at once, for one agent one after the other. What waits is bounded: if commands take
longer than changes come, the oldest that wait are given up, and that is said.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from lifesigns.cli.terminal import complain
from lifesigns.config import inherited

MOST_WAITING = 1_000
SHOWN = {"id": "ID", "kind": "KIND", "state": "STATE", "was": "WAS", "reason": "REASON"}


class Reaction:
    """One command, run for changes in threads of its own."""

    def __init__(self, command: str, at_once: int) -> None:
        self._command = command
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._busy: set[str] = set()  # agents for which it runs
        self._given_up = 0
        self._turn = threading.Condition()
        for number in range(at_once):
            threading.Thread(target=self._work, name=f"exec {number}", daemon=True).start()

    def receive(self, change: Mapping[str, Any]) -> None:
        """Take a change; never waits for a command."""
        with self._turn:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._given_up += 1
            self._waiting.append(change)
            self._turn.notify()

    def _work(self) -> None:
        while True:
            with self._turn:
                while (change := self._next()) is None:
                    self._turn.wait()
                self._busy.add(change["id"])
                given_up, self._given_up = self._given_up, 0
            if given_up:
                complain(f"{given_up} changes were given up: the commands take too long")
            self._react(change)
            with self._turn:
                self._busy.discard(change["id"])
                self._turn.notify_all()

    def _next(self) -> Mapping[str, Any] | None:
        for number, change in enumerate(self._waiting):
            if change["id"] not in self._busy:
                del self._waiting[number]
                return change
        return None

    def _react(self, change: Mapping[str, Any]) -> None:
        told = {f"LIFESIGNS_CHANGE_{word}": str(change.get(n) or "") for n, word in SHOWN.items()}
        try:
            # Words of agents reach the shell as data only: on stdin, and in variables.
            ended = subprocess.run(
                self._command,
                shell=True,
                input=json.dumps(change).encode() + b"\n",
                env=inherited({name: value.replace("\0", "") for name, value in told.items()}),
                check=False,
            )
        except OSError as error:
            complain(f"the command for {change['id']} ({change['kind']}) cannot be run: {error}")
            return
        if ended.returncode != 0:
            complain(
                f"the command for {change['id']} ({change['kind']}) ended with {ended.returncode}"
            )
