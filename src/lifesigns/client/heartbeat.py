"""The simplest case: something is alive while it runs, and failed if it raises."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar, Unpack, cast

from lifesigns.client import agent, blocking

F = TypeVar("F", bound=Callable[..., Any])


class heartbeat:
    """Be present as an agent while a function or a block runs.

    ``@heartbeat("nightly-job")`` on a function, of either kind: each call is an instance of its
    own. ``with heartbeat("nightly-job") as me:`` and ``async with`` for a block. It beats from a
    thread; an exception shows as ``error``, and in the reason for which it left.
    """

    def __init__(
        self,
        name: str,
        /,
        url: str | Sequence[str] | None = None,
        key: str | None = None,
        **said: Unpack[agent.Said],
    ) -> None:
        self._name = name
        self._url = url
        self._key = key
        self._said = said
        self._blocking: list[blocking.Agent] = []
        self._running: list[agent.Agent] = []

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def alive(*args: Any, **kwargs: Any) -> Any:
                async with self._agent():
                    return await function(*args, **kwargs)

            return cast(F, alive)

        @functools.wraps(function)
        def alive_blocking(*args: Any, **kwargs: Any) -> Any:
            with self._blocking_agent():
                return function(*args, **kwargs)

        return cast(F, alive_blocking)

    def __enter__(self) -> blocking.Agent:
        me = self._blocking_agent().__enter__()
        self._blocking.append(me)
        return me

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._blocking.pop().__exit__(kind, error, trace)

    async def __aenter__(self) -> agent.Agent:
        me = await self._agent().__aenter__()
        self._running.append(me)
        return me

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._running.pop().__aexit__(kind, error, trace)

    def _agent(self) -> agent.Agent:
        return agent.Agent(self._name, self._url, self._key, thread=True, **self._said)

    def _blocking_agent(self) -> blocking.Agent:
        return blocking.Agent(self._name, self._url, self._key, **self._said)
