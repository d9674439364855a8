"""Waiting for what has to happen soon, without guessing how soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

T = TypeVar("T")

# A bound for what takes milliseconds; only a failure ever waits so long.
SOON_S = 30.0


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


async def until_told(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the answer is one that counts as true, and answer it."""
    deadline = time.monotonic() + SOON_S
    while True:
        if answer := await ask():
            return answer
        assert time.monotonic() < deadline, "it was never told"
        await asyncio.sleep(0.02)


async def answered(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Ask again while the store is late, as hubs bid all who ask: a loaded machine's may be."""
    deadline = time.monotonic() + SOON_S
    while (answer := await ask()).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    return answer
