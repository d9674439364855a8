"""One agent: its clocks run down, its past is drawn, and an operator can step in."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import expect

from tests.agent import connected, living
from tests.hub import RunningHub
from tests.page.reader import Reader

LEFT = "parseFloat(document.querySelector('.c-beat i').style.width)"  # of its lease, of 100


async def test_three_clocks_run_down_and_a_beat_winds_them_up(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    said = {"status": "thinking", "task": "a", "progress_ttl": 60, "busy_for": 90, "ttl": 20}
    await http.put("/v1/pulse/digger", json=said)
    page = await reader.open("#/agent/digger")
    await expect(page.locator(".agent-state")).to_contain_text("busy “thinking” · a")
    await expect(page.locator(".c-beat")).to_contain_text("lease ends in")
    await expect(page.locator(".c-progress")).to_contain_text("stalls in")
    await expect(page.locator(".c-quiet-phase")).to_contain_text("ends in")
    full = await page.evaluate(LEFT)
    low = await reader.until(LEFT, lambda left: left < full - 5)
    await http.put("/v1/pulse/digger", json={})  # no news, and all the same it is seen
    await reader.until(LEFT, lambda left: left > low + 3)
    await reader.picture("agent")


async def test_its_instances_have_leases_of_their_own(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    for name in ("one", "two"):
        await http.put("/v1/pulse/twin", json={"instance": name, "status": "idle"})
    page = await reader.open("#/agent/twin")
    await expect(page.locator(".copy")).to_have_count(2)
    await expect(page.locator(".copy").first).to_contain_text("ends in")


async def test_the_past_is_a_picture_and_a_list(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    for said in ({"status": "idle"}, {"status": "failed", "task": "no disk"}, {"status": "idle"}):
        await http.put("/v1/pulse/digger", json=said)
    page = await reader.open("#/agent/digger")
    await expect(page.locator(".timeline rect")).to_have_count(3)
    await expect(page.locator(".timeline .s-error")).to_have_count(1)
    await expect(page.locator(".feed-rows li").nth(1)).to_contain_text(
        "available → error · no disk"
    )
    await expect(page.locator(".p-states")).to_contain_text("Alive 100.0 %")


async def test_who_was_never_seen_appears_when_it_comes(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    page = await reader.open("#/agent/later")
    await expect(page.locator(".agent-head")).to_contain_text("Nobody of this id is known")
    await expect(page.locator(".p-signs")).to_be_hidden()
    await http.put("/v1/pulse/later", json={"status": "idle"})
    await expect(page.locator(".agent-state")).to_contain_text("available")


async def test_an_operator_drains_lets_work_and_forgets_but_is_asked_first(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    await http.put("/v1/pulse/digger", json={"status": "idle"})
    page = await reader.open("#/agent/digger")
    await page.get_by_role("button", name="Drain…").click()
    dialog = page.get_by_role("dialog")
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    assert (await http.get("/v1/pulse/digger")).json()["override"] is None
    await page.get_by_role("button", name="Drain…").click()
    await dialog.get_by_label("Why").fill("a new disk")
    await dialog.get_by_role("button", name="Drain", exact=True).click()
    await expect(page.locator(".agent-state")).to_contain_text("draining")
    await expect(page.locator(".agent-head")).to_contain_text("a new disk")
    await page.get_by_role("button", name="Let it work again").click()
    await dialog.get_by_role("button", name="Let it work").click()
    await expect(page.locator(".agent-state")).to_contain_text("available")
    await page.get_by_role("button", name="Forget…").click()
    await dialog.get_by_role("button", name="Forget", exact=True).click()
    await expect(page).to_have_url(f"{hub.url}/#/table")
    assert (await http.get("/v1/pulse/digger")).status_code == 404


async def test_an_operator_releases_a_claim(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    async with living(hub, "digger", ttl=30), connected(hub) as planner:
        await planner.ask("hello", agent="planner", ttl=30)
        claimed = await planner.ask("claim", agent="digger", note="dig here")
        assert claimed["type"] == "claimed"
        page = await reader.open("#/agent/digger")
        await expect(page.locator(".p-claims")).to_contain_text("dig here")
        await page.get_by_role("button", name="Release").click()
        await page.get_by_role("dialog").get_by_role("button", name="Release").click()
        await expect(page.locator(".p-claims")).to_contain_text("Nobody has claimed it")
        lost = await planner.hear()
        assert (lost["type"], lost["final"], lost["why"]) == ("lost", True, "released")


@pytest.mark.parametrize("scope", ["watch", "agent"])
async def test_who_is_no_admin_may_look_and_nothing_else(
    http: httpx.AsyncClient, reader: Reader, scope: str
) -> None:
    key = (await http.post("/v1/keys", json={"scope": scope})).json()["key"]
    await http.put("/v1/pulse/digger", json={"status": "idle"})
    page = await reader.open("#/agent/digger", key=key)
    await expect(page.locator(".agent-state")).to_contain_text("available")
    await expect(page.locator(".actions button")).to_have_count(0)
