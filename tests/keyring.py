"""Registries for tests of keys: several on one store stand for several hubs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from lifesigns.core.access import DEFAULT_PROJECT, Grant, Scope, digest
from lifesigns.store.address import Address
from lifesigns.store.link import Link
from lifesigns.store.registry import Registry

NOW = 1_700_000_000_000
HUBS = 6
TAKEN_OVER = "sk-live 0123456789/abc+def="
OPERATORS = "the-operators-own-key"


class Clock:
    """Both clocks of a gate; time passes when a test says so."""

    def __init__(self) -> None:
        self.s = 1_000.0

    def __call__(self) -> float:
        return self.s

    def now_ms(self) -> int:
        return NOW + round((self.s - 1_000) * 1_000)


class CountingRegistry(Registry):
    """Counts what is looked up, and lets a test hold an answer back after it was read."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.looked_up: list[str] = []
        self.read = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def lookup(self, digests: Sequence[str]) -> list[Grant | None]:
        self.looked_up += digests
        found = await super().lookup(digests)
        self.read.set()
        await self.answer.wait()
        return found


@contextlib.asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    link = Link(Address.parse(url), name="test")
    await link.start()
    try:
        yield link
    finally:
        await link.aclose()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[CountingRegistry]:
    async with linked(url) as link:
        yield CountingRegistry(link)


@contextlib.asynccontextmanager
async def hubs(url: str, count: int = HUBS) -> AsyncIterator[list[Registry]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [Registry(await stack.enter_async_context(linked(url))) for _ in range(count)]


def wanted(scope: Scope = "agent", project: str = DEFAULT_PROJECT, **given: object) -> Grant:
    return Grant("", project, scope, **given)  # type: ignore[arg-type]


async def lookup(store: Registry, token: str) -> Grant | None:
    (grant,) = await store.lookup([digest(token)])
    return grant
