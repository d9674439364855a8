"""What every test of the client may ask for: a hub whose agents are quickly given up."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.hub import RunningHub, running_hub


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    async with running_hub(fresh_url, grace_s=0.5, fold_ms=20, beats_per_s=10_000) as running:
        yield running


@pytest.fixture
async def http(hub: RunningHub) -> AsyncIterator[httpx.AsyncClient]:
    async with hub.client() as client:
        yield client
