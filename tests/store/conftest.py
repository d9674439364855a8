"""What the tests of the store may ask for: started links, and the scripts by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from lifesigns.store.address import Address
from lifesigns.store.link import Link
from tests.store.board import Board


@pytest.fixture
async def linked() -> AsyncIterator[Callable[..., Awaitable[Link]]]:
    """Give a maker of started links, which are closed after the test."""
    links: list[Link] = []

    async def make(url: str, **options: Any) -> Link:
        links.append(Link(Address.parse(url), name="test", **options))
        await links[-1].start()
        return links[-1]

    yield make
    for link in links:
        await link.aclose()


@pytest.fixture
def board(fresh_url: str) -> Iterator[Board]:
    """Give an empty lane whose clock the test moves."""
    board = Board(fresh_url)
    yield board
    board.close()
