"""Somebody who reads the dashboard: a real browser, that of the distribution, on a real hub.

Whatever the page logs as an error, asks of anybody but its hub, or throws, is kept, and must be
nothing in the end; the browser's own word of a line that broke is allowed where a hub is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from tests.hub import Reachable
from tests.patience import SOON_S

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LATE = "status of 503"  # a store that is late for once, on a machine that does too much
PICTURES = Path(__file__).parents[2] / "build" / "page"

expect.set_options(timeout=SOON_S * 1000)


class Reader:
    """One tab, and what went wrong in it."""

    def __init__(self, page: Page, hub: Reachable) -> None:
        self.page = page
        self.hub = hub
        self.faults: list[str] = []
        self.asked: list[Request] = []
        page.set_default_timeout(SOON_S * 1000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._hear)
        page.on("request", lambda request: self.asked.append(request))

    async def open(self, place: str = "#/", key: str | None = None) -> Page:
        """Open a view, signed in."""
        kept = json.dumps(self.hub.key if key is None else key)
        await self.page.add_init_script(f"sessionStorage.setItem('lifesigns.key', {kept})")
        await self.page.goto(f"{self.hub.url}/{place}")
        return self.page

    async def shown(self) -> dict[str, int]:
        """Read the counts of the tiles."""
        pairs: list[list[str]] = await self.page.evaluate(
            "[...document.querySelectorAll('.tile')].map(tile =>"
            " [tile.querySelector('.tile-name').textContent,"
            " tile.querySelector('.tile-count').textContent])"
        )
        return {state: int(count.replace(",", "")) for state, count in pairs}

    async def count(self, state: str, number: int) -> None:
        """Wait until so many are shown in a state."""
        tile = self.page.locator(f".tile.s-{state} .tile-count")
        await expect(tile).to_have_text(f"{number:,}")

    async def until(self, expression: str, told: Callable[[Any], object]) -> Any:
        """Wait until what the page answers is as it should be; no program may wait in the page."""
        deadline = time.monotonic() + SOON_S
        while not told(value := await self.page.evaluate(expression)):
            assert time.monotonic() < deadline, f"{expression} is {value}"
            await asyncio.sleep(0.02)
        return value

    async def picture(self, name: str, **options: Any) -> None:
        """Keep what is seen, to be looked at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=PICTURES / f"{name}.png", **options)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.text} {message.location}")


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Run the browser for as long as the block lasts, with nothing remembered."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found is not None, "the dashboard is tested with Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            yield running
        finally:
            await running.close()


@contextlib.asynccontextmanager
async def reading(hub: Reachable, *, broken: bool = False, **options: Any) -> AsyncIterator[Reader]:
    """Open a tab; ``broken`` allows for lines that could not be had for a while."""
    settings = {"viewport": {"width": 1360, "height": 860}, "locale": "en-GB", **options}
    async with browser() as running:
        context = await running.new_context(**settings)
        reader = Reader(await context.new_page(), hub)
        yield reader
        allowed = (LATE, "net::ERR_") if broken else (LATE,)
        faults = [each for each in reader.faults if not any(part in each for part in allowed)]
        assert not faults, faults
        for each in reader.asked:
            assert each.url.startswith((f"{hub.url}/", "data:")), f"{each.url} is another's"
        await context.close()
