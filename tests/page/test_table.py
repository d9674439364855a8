"""All agents as a table: filters that can be shared, search, order, and the keyboard alone."""

from __future__ import annotations

import httpx
from playwright.async_api import Page, expect

from tests.hub import RunningHub
from tests.page.reader import Reader, reading


async def ids(page: Page) -> list[str]:
    """Read the rows in the order in which they are seen."""
    found: list[list[str]] = await page.evaluate(
        "[...document.querySelectorAll('.rows .row')].map(row =>"
        " [row.getAttribute('aria-rowindex').padStart(7, '0'), row.dataset.id])"
    )
    return [name for _, name in sorted(found)]


async def fleet(http: httpx.AsyncClient, number: int) -> None:
    beats = [
        {
            "id": f"w-{i:04}",
            "status": "failed" if i % 10 == 0 else "thinking" if i % 2 else "idle",
            "task": f"task {i}",
            "group": "odd" if i % 2 else "even",
            "capabilities": ["dig"] if i % 3 else ["search"],
            "ttl": 600,
        }
        for i in range(number)
    ]
    for begin in range(0, number, 1000):
        answer = await http.post("/v1/pulse", json={"beats": beats[begin : begin + 1000]})
        assert answer.status_code == 200


async def test_what_needs_attention_comes_first_and_each_heading_sorts(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    await fleet(http, 12)
    page = await reader.open("#/table")
    await expect(page.locator(".rows .row")).to_have_count(12)
    assert (await ids(page))[:3] == ["w-0000", "w-0010", "w-0001"]
    await expect(page.locator(".rows .row").first).to_contain_text("task")
    await page.get_by_role("button", name="Agent").click()
    await expect(page).to_have_url(f"{reader.hub.url}/#/table?sort=id")
    await expect(page.get_by_role("columnheader", name="Agent")).to_have_attribute(
        "aria-sort", "ascending"
    )
    assert await ids(page) == [f"w-{i:04}" for i in range(12)]
    await page.get_by_role("button", name="Agent").click()
    await expect(page).to_have_url(f"{reader.hub.url}/#/table?sort=-id")
    assert await ids(page) == [f"w-{i:04}" for i in reversed(range(12))]


async def test_a_view_can_be_shared_by_its_address(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    await fleet(http, 60)
    page = await reader.open("#/table")
    await page.keyboard.press("/")
    await page.keyboard.type("dig")
    await expect(page.get_by_role("status").last).to_have_text("40 of 60 agents")
    await page.get_by_label("group").select_option("odd")
    await page.locator(".chip", has_text="busy").click()
    await expect(page.get_by_role("status").last).to_have_text("20 of 60 agents")
    shown = await ids(page)
    async with reading(hub) as other:
        same = await other.open(page.url.removeprefix(f"{hub.url}/"))
        await expect(same.get_by_role("status").last).to_have_text("20 of 60 agents")
        assert await ids(same) == shown
        await expect(same.get_by_label("Search agents")).to_have_value("dig")


async def test_the_keyboard_alone_leads_to_an_agent_and_back(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    await fleet(http, 200)
    page = await reader.open("#/table?sort=id")
    await expect(page.get_by_role("status").last).to_have_text("200 agents")
    await page.locator(".rows").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(".row.active")).to_have_attribute("data-id", "w-0000")
    await page.keyboard.press("End")
    await expect(page.locator(".row.active")).to_have_attribute("data-id", "w-0199")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text("w-0198")
    await page.go_back()
    await expect(page.get_by_role("status").last).to_have_text("200 agents")


async def test_only_what_is_seen_is_there_and_it_is_told_whole(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    await fleet(http, 3000)
    page = await reader.open("#/table?sort=id")
    await expect(page.get_by_role("status").last).to_have_text("3,000 agents")
    rows = page.locator(".rows .row")
    assert await rows.count() < 60
    await page.evaluate("document.querySelector('.rows').scrollTop = 1500 * 34")
    row = page.locator(".row[data-id='w-1500']")
    await expect(row).to_contain_text("task 1500")
    await http.put("/v1/pulse/w-1500", json={"status": "thinking", "task": "another task"})
    await expect(row).to_contain_text("another task")
    assert await rows.count() < 60
    await reader.picture("table")


async def test_one_who_stops_to_match_leaves_the_table(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    await fleet(http, 11)
    page = await reader.open("#/table?state=error")
    await expect(page.locator(".rows .row")).to_have_count(2)
    await http.put("/v1/pulse/w-0010", json={"status": "idle"})
    await expect(page.locator(".rows .row")).to_have_count(1)
    await http.delete("/v1/pulse/w-0000")
    await expect(page.locator(".rows .row")).to_have_count(0)
