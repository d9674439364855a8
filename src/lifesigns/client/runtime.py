"""Where a client does its work: on the program's own loop, or on one in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from lifesigns.core.errors import Unavailable

T = TypeVar("T")


class Runtime(Protocol):
    """A loop to work on."""

    def start(self) -> None:
        """Be there to work; called again, it does nothing."""

    def stop(self) -> None:
        """Work no more."""

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there, and wait for it here."""

    def tell(self, act: Callable[..., object], *args: object) -> None:
        """Have something done there soon; nothing, if it is not there any more."""


class Here:
    """The loop of the program."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        self._loop = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await work

    def tell(self, act: Callable[..., object], *args: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act, *args)


class Thread:
    """A loop in a thread of its own: it goes on whatever the program does meanwhile."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._serve, name="lifesigns", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None, "it was started"
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    @property
    def running(self) -> bool:
        return self._thread is not None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there, and block until it is done."""
        if self._thread is None or self._loop is None:
            work.close()
            raise Unavailable("This client has left.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C, say: nobody waits for it any more
            raise

    def tell(self, act: Callable[..., object], *args: object) -> None:
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(act, *args)

    def _serve(self) -> None:
        loop = self._loop
        assert loop is not None, "it was made before the thread"
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
