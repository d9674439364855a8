"""Facts that a program can wait for or look up, whichever thread finds them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal


class Signal(asyncio.Event):
    """An event that any thread may set, that is seen at once, and that says why."""

    def __init__(self) -> None:
        super().__init__()
        self._home: asyncio.AbstractEventLoop | None = None  # the loop that waits for it
        self._up = False
        self.why: str | None = None

    def __bool__(self) -> bool:
        return self._up

    def is_set(self) -> bool:
        return self._up

    def set(self) -> None:
        self._up = True
        self._at_home(super().set)

    def clear(self) -> None:
        self._up = False
        self._at_home(super().clear)

    def tell(self, why: str) -> None:
        """Set it, and say why."""
        self.why = why
        self.set()

    async def wait(self) -> Literal[True]:
        self._home = asyncio.get_running_loop()
        return await super().wait()

    def _at_home(self, act: Callable[[], None]) -> None:
        home = self._home
        try:
            elsewhere = home is not None and home is not asyncio.get_running_loop()
        except RuntimeError:  # a thread without a loop
            elsewhere = home is not None
        if home is None or not elsewhere or home.is_closed():
            act()
        else:
            home.call_soon_threadsafe(act)


class Closed(Signal):
    """Set when a client will not come back; says with which code the hub closed, and why."""

    def __init__(self) -> None:
        super().__init__()
        self.code: int | None = None

    @property
    def reason(self) -> str | None:
        return self.why
