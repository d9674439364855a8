"""Coming in: with a key, with a ticket, without either, and being sent away."""

from __future__ import annotations

import re

import httpx
from playwright.async_api import expect

from tests.hub import RunningHub, running_hub
from tests.page.reader import Reader, reading


async def test_a_key_opens_the_page_and_is_kept_only_if_asked(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    made = (await http.post("/v1/keys", json={"scope": "watch"})).json()
    page = reader.page
    await page.goto(f"{hub.url}/")
    await page.get_by_label("Key", exact=True).fill(made["key"])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".wire")).to_have_text("live")
    await page.reload()
    await page.get_by_label("Key", exact=True).fill(made["key"])
    await page.get_by_label("Keep it in this browser").check()
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".wire")).to_have_text("live")
    await page.reload()
    await expect(page.locator(".wire")).to_have_text("live")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Key", exact=True)).to_be_focused()
    await page.reload()
    await expect(page.get_by_label("Key", exact=True)).to_be_visible()


async def test_a_ticket_signs_in_once_and_leaves_the_address(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    ticket = (await http.post("/v1/tickets", json={"for": "login"})).json()["ticket"]
    page = reader.page
    await page.goto(f"{reader.hub.url}/#ticket={ticket}")
    await expect(page.locator(".wire")).to_have_text("live")
    assert ticket not in page.url
    await page.reload()  # the ticket is used up; its key is this tab's
    await expect(page.locator(".wire")).to_have_text("live")


async def test_a_used_ticket_leads_to_the_door(hub: RunningHub, http: httpx.AsyncClient) -> None:
    async with reading(hub) as reader:
        await reader.page.goto(f"{hub.url}/#ticket=lt_guess")
        await expect(reader.page.get_by_role("alert")).to_contain_text("ticket")
        assert [each for each in reader.faults if "401" in each] == reader.faults
        reader.faults.clear()  # the browser's own word for a 401


async def test_a_key_that_is_revoked_ends_the_page_at_once(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    made = (await http.post("/v1/keys", json={"scope": "watch"})).json()
    page = await reader.open(key=made["key"])
    await expect(page.locator(".wire")).to_have_text("live")
    await http.delete(f"/v1/keys/{made['id']}")
    await expect(page.get_by_role("alert")).to_have_text("This key was revoked.")
    await expect(page.locator(".tile")).to_have_count(0)
    # What was being asked at that moment is refused.
    reader.faults[:] = [each for each in reader.faults if "status of 401" not in each]


async def test_a_hub_without_keys_asks_for_none(fresh_url: str) -> None:
    async with running_hub(fresh_url, auth=False) as hub, reading(hub) as reader:
        await reader.page.goto(f"{hub.url}/")
        await expect(reader.page.locator(".wire")).to_have_text("live")
        await expect(reader.page.get_by_role("button", name="Sign out")).to_have_count(0)


async def test_no_key_stands_in_any_address(http: httpx.AsyncClient, reader: Reader) -> None:
    page = await reader.open("#/")
    await expect(page.locator(".wire")).to_have_text("live")
    assert reader.asked
    for each in reader.asked:
        assert reader.hub.key not in each.url
        assert not re.search(r"ticket=lt_", each.url)


async def test_a_key_that_may_not_watch_is_told_so_at_the_door(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    wanted = {"scope": "poster", "poster": "somebody"}
    made = (await http.post("/v1/keys", json=wanted)).json()
    page = await reader.open(key=made["key"])
    await expect(page.get_by_role("alert")).to_have_text("This key may not watch.")


async def test_a_key_that_may_only_watch_asks_for_nothing_that_is_an_admins(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    made = (await http.post("/v1/keys", json={"scope": "watch"})).json()
    for place in ("keys", "webhooks"):
        page = await reader.open(f"#/{place}", key=made["key"])
        await expect(page.get_by_role("status").last).to_contain_text("may not see them")
        await expect(page.locator("main button")).to_have_count(0)


async def test_the_root_key_looks_at_one_project_after_the_other(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    await http.post("/v1/projects", json={"name": "other"})
    await http.put("/v1/pulse/here", json={"status": "idle"})
    there = {"X-Lifesigns-Project": "other"}
    await http.put("/v1/pulse/there", json={"status": "failed"}, headers=there)
    page = await reader.open("#/table")
    await expect(page.locator(".rows .row")).to_have_attribute("data-id", "here")
    await page.get_by_label("Project").select_option("other")
    await reader.count("error", 1)
    await reader.count("available", 0)
    await page.reload()
    await reader.count("error", 1)
    await page.get_by_label("Project").select_option("default")
    await reader.count("available", 1)
    await reader.count("error", 0)
