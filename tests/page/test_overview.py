"""The fleet at a glance: an agent comes, works, stalls, dies, returns, and the page says each."""

from __future__ import annotations

import httpx
from playwright.async_api import expect

from tests.agent import living
from tests.hub import RunningHub
from tests.page.reader import Reader


async def test_the_page_shows_how_an_agent_comes_works_stalls_dies_and_returns(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    page = await reader.open()
    headline = page.locator(".headline")
    rows = page.locator(".feed-rows li")
    await expect(headline).to_have_text("No agent has been here yet")
    async with living(hub, "digger", ttl=5) as agent:
        await reader.count("available", 1)
        await expect(headline).to_have_text("All is well")
        await agent.beat(status="thinking", task="where to dig")
        await reader.count("busy", 1)
        await reader.count("available", 0)
        await expect(rows.first).to_contain_text("available → busy")
        await agent.beat(progress_ttl=1)
        await reader.count("stalled", 1)
        await expect(headline).to_have_text("1 of 1 needs attention")
        await expect(page).to_have_title("(1) Overview · Lifesigns")
        await expect(rows.first).to_contain_text("digger makes no progress: where to dig")
        agent.abort()
        await reader.count("offline", 1)
        await expect(rows.first).to_contain_text("digger went offline: its line broke")
        await expect(headline).to_have_text("Nobody is alive")
    async with living(hub, "digger", ttl=30):
        await reader.count("available", 1)
        await expect(rows.first).to_contain_text("digger is back after")
        await reader.picture("returned")


async def test_a_state_is_a_filter_that_stands_in_the_address(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    for number in range(3):
        await http.put(f"/v1/pulse/idle-{number}", json={"status": "idle"})
    await http.put("/v1/pulse/ill", json={"status": "failed", "task": "no disk"})
    page = await reader.open()
    await reader.count("available", 3)
    tile = page.locator(".tile.s-error")
    await tile.click()
    await expect(tile).to_have_attribute("aria-pressed", "true")
    assert page.url.endswith("#/?state=error")
    await expect(page.locator(".map header")).to_contain_text("1 of 4 match")
    await page.reload()
    await expect(tile).to_have_attribute("aria-pressed", "true")
    await expect(page.locator(".map header")).to_contain_text("1 of 4 match")
    await tile.click()
    await expect(page.locator(".map header")).to_contain_text("4 agents")


async def test_a_cell_tells_of_its_agent_and_the_keyboard_reaches_it(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    said = {"status": "failed", "task": "no disk left", "capabilities": ["dig"]}
    await http.put("/v1/pulse/ill", json=said)
    page = await reader.open()
    await reader.count("error", 1)
    await expect(page.locator(".map header")).to_contain_text("1 agent")
    await page.locator("canvas").focus()
    await page.keyboard.press("ArrowRight")
    tip = page.locator(".tip")
    await expect(tip).to_contain_text("ill")
    await expect(tip).to_contain_text("no disk left")
    await expect(page.locator("#spoken")).to_have_text("ill: error, failed")


async def test_hubs_and_their_lag_stand_there(hub: RunningHub, reader: Reader) -> None:
    page = await reader.open()
    await expect(page.locator(".hubs tbody tr")).to_have_count(1)
    await expect(page.locator(".hubs tbody tr td").first).to_have_text(hub.hub.ticker.node)
    await expect(page.locator(".numbers")).to_contain_text("store")
