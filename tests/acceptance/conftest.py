"""What the acceptance tests may ask for: a data folder, and a hub as people start it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.hub import HubProcess, hub_process


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a data folder of this test alone; its path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="ls-data-") as name:
        yield Path(name)


@pytest.fixture
async def hub(folder: Path) -> AsyncIterator[HubProcess]:
    """Run `lifesigns serve` on an embedded store."""
    async with hub_process(folder) as hub:
        yield hub
