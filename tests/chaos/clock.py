"""A store whose clock can be set: what a hub asks of it passes here, and is told another time.

A script that is given no time takes the server's own. Here the time is put in where the hub left it
out, so that to the scripts the server's clock has jumped; real hubs and a real server do the rest.
"""

from __future__ import annotations

from tests.chaos.truth import now_ms

END = b"\r\n"
EVALSHA = b"EVALSHA"


class Clock:
    """By how much the store's clock is ahead of this machine's."""

    def __init__(self) -> None:
        self.ahead_ms = 0


class Setting:
    """Sets the time in the commands of one connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come; answer those of all commands that are whole."""
        self._rest += data
        passed, at = [], 0
        while (command := self._command(at)) is not None:
            words, end = command
            passed.append(self._set(words, self._rest[at:end]))
            at = end
        self._rest = self._rest[at:]
        return b"".join(passed)

    def _command(self, at: int) -> tuple[list[bytes], int] | None:
        """Read the command that begins there; answer its words and where it ends."""
        header = self._number(at)
        if header is None:
            return None
        count, at = header
        words = []
        for _ in range(count):
            header = self._number(at)
            if header is None:
                return None
            length, at = header
            if len(self._rest) < at + length + len(END):
                return None
            words.append(self._rest[at : at + length])
            at += length + len(END)
        return words, at

    def _number(self, at: int) -> tuple[int, int] | None:
        end = self._rest.find(END, at)
        return None if end < 0 else (int(self._rest[at + 1 : end]), end + len(END))

    def _set(self, words: list[bytes], whole: bytes) -> bytes:
        if not self._clock.ahead_ms or words[0] != EVALSHA:
            return whole
        place = 3 + int(words[2])  # after the script, the number of keys, and the keys
        if len(words) <= place or words[place]:
            return whole
        words[place] = b"%d" % (now_ms() + self._clock.ahead_ms)
        lines = [b"*%d" % len(words)]
        for word in words:
            lines += [b"$%d" % len(word), word]
        return END.join([*lines, b""])
