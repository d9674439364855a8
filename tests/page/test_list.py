"""Lists of what the hub keeps: what needs attention is first, and an admin can act."""

from __future__ import annotations

import httpx
from playwright.async_api import expect

from lifesigns.core.instant import to_text
from tests.hub import RunningHub
from tests.page.reader import Reader

HOUR_MS = 3_600_000


async def test_a_key_that_ends_soon_is_first_and_one_can_be_made_and_revoked(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    await http.post("/v1/keys", json={"scope": "watch", "name": "lasting"})
    soon = to_text(hub.hub.clock.at_ms(hub.hub.lobby.loop.time()) + HOUR_MS)
    await http.post("/v1/keys", json={"scope": "watch", "name": "ending", "expires_at": soon})
    page = await reader.open("#/keys")
    rows = page.locator("tbody tr")
    await expect(rows.first).to_contain_text("ending")
    await expect(rows.first).to_have_class("attention")
    await page.get_by_role("button", name="New key…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name").fill("for a page")
    await dialog.get_by_label("Scope").fill("nothing")
    await dialog.get_by_role("button", name="Make it").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("scope")
    reader.faults.clear()  # the browser's own word for a 422
    await dialog.get_by_label("Scope").fill("watch")
    await dialog.get_by_role("button", name="Make it").click()
    shown = await page.locator(".secret").text_content()
    assert shown is not None
    await page.get_by_role("button", name="I have it").click()
    async with hub.client(shown) as made:
        assert (await made.get("/v1/pulse")).status_code == 200
    row = page.locator("tr", has_text="for a page")
    await row.get_by_role("button", name="Revoke").click()
    await dialog.get_by_role("button", name="Revoke").click()
    await expect(row).to_have_count(0)
    async with hub.client(shown) as made:
        assert (await made.get("/v1/pulse")).status_code == 401
