"""How many did what over time, as the hub has sampled it."""

from __future__ import annotations

import httpx
from playwright.async_api import expect

from tests.hub import RunningHub
from tests.page.reader import Reader
from tests.web.test_capacity import look


async def test_samples_are_stacked_by_whatever_is_sampled(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    for name, status, depth in (("a", "thinking", 3), ("b", "idle", 9)):
        said = {"status": status, "metadata": {"queue_depth": depth}, "ttl": 600}
        await http.put(f"/v1/pulse/{name}", json=said)
    for ago_s in (600, 590, 60, 50):
        await look(hub, ago_s)
    page = await reader.open("#/capacity")
    told = page.locator(".chart-told").first
    await expect(told).to_contain_text("available 1")
    await expect(told).to_contain_text("busy 1")
    areas = page.locator(".area")
    await expect(areas).to_have_count(2)
    # Nobody looked for nine minutes: two runs at least, and nothing between them.
    path = await areas.first.get_attribute("d")
    assert path is not None
    assert path.count("M") > 1
    await page.get_by_label("By").select_option("status")
    await expect(page).to_have_url(f"{hub.url}/#/capacity?by=status")
    await expect(told).to_contain_text("thinking 1")
    depth = page.locator(".values .panel", has_text="queue_depth")
    await expect(depth).to_contain_text("sum 12")
    await expect(depth).to_contain_text("max 9")
