"""What the tests of the web room may ask for: a running hub, and a client with its root key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.hub import RunningHub, running_hub


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
