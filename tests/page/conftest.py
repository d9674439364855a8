"""What the tests of the dashboard may ask for: a hub, a client, and somebody who reads."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.hub import RunningHub, running_hub
from tests.page.reader import Reader, reading


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    """Run a hub on a database of this test alone."""
    async with running_hub(fresh_url) as hub:
        yield hub


@pytest.fixture
async def http(hub: RunningHub) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client with the root key."""
    async with hub.client() as client:
        yield client


@pytest.fixture
async def reader(hub: RunningHub) -> AsyncIterator[Reader]:
    """Open a tab of a browser."""
    async with reading(hub) as reader:
        yield reader
