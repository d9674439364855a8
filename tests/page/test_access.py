"""The page for everybody: names, headings, contrast, focus, in both lights, on a small screen."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.bot import Bot
from tests.hub import RunningHub
from tests.page.reader import reading

AUDIT = (Path(__file__).parent / "audit.js").read_text().partition("\n")[2].rstrip().rstrip(";")
STATES = ("available", "busy", "draining", "degraded", "error")
# Each view, and what is there when it has been told what it shows.
PLACES = {
    "#/": ".map header a",
    "#/table": ".rows .row",
    "#/agent/a-error": ".timeline",
    "#/capacity": ".capacity select option:nth-child(5)",
    "#/jobs": "tbody tr",
    "#/schedules": "tbody tr",
    "#/webhooks": "tbody tr",
    "#/keys": "tbody tr",
}


async def fleet(http: httpx.AsyncClient) -> None:
    for state in STATES:
        said = {"state": state, "task": "a task", "metadata": {"model": "m"}, "group": "g"}
        await http.put(f"/v1/pulse/a-{state}", json={**said, "ttl": 600})
    await http.put("/v1/pulse/gone", json={})
    await http.delete("/v1/pulse/gone")
    await http.post("/v1/keys", json={"scope": "watch", "name": "a key"})
    await http.post("/v1/webhooks", json={"url": "http://127.0.0.1:1/", "events": ["job.*"]})
    await http.post("/jobs", json={"title": "a job"})
    await Bot(http, "a-bot").configure(prompt="Look around", enabled=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_view_has_names_headings_and_contrast(
    hub: RunningHub, http: httpx.AsyncClient, scheme: str
) -> None:
    await fleet(http)
    async with reading(hub, color_scheme=scheme, reduced_motion="reduce") as reader:
        for place, told in PLACES.items():
            page = await reader.open(place)
            await expect(page.locator(".wire")).to_have_text("live")
            await expect(page.locator(told).first).to_be_attached()
            assert await page.evaluate(AUDIT) == [], place
            await reader.picture(f"{place.strip('#/').replace('/', '-') or 'overview'}-{scheme}")


async def test_the_audit_finds_what_is_wrong(hub: RunningHub) -> None:
    async with reading(hub) as reader:
        page = await reader.open("#/")
        await expect(page.locator(".wire")).to_have_text("live")
        await page.evaluate(
            "() => { const wrong = document.createElement('button'); wrong.tabIndex = 3;"
            " document.querySelector('.headline').style.color = 'rgb(200, 200, 200)';"
            " document.querySelector('main').append(wrong); }"
        )
        found = await page.evaluate(AUDIT)
        assert [each.partition(":")[0] for each in found] == [
            *("no name", "an order of its own", "contrast 1.54")
        ]


async def test_the_door_is_as_good(hub: RunningHub) -> None:
    async with reading(hub) as reader:
        await reader.page.goto(f"{hub.url}/")
        await expect(reader.page.get_by_label("Key", exact=True)).to_be_focused()
        assert await reader.page.evaluate(AUDIT) == []


async def test_the_focus_goes_through_the_page_in_the_order_in_which_it_is_read(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await fleet(http)
    async with reading(hub) as reader:
        page = await reader.open("#/")
        await reader.count("error", 1)
        places = [await step(page) for _ in range(16)]
        assert places[0][0] == "Skip to the content"
        tops = [top for _, top in places[1:]]
        assert tops == sorted(tops), places
        names = [name for name, _ in places]
        for wanted in ("Overview", "Table", "Sign out", "1error"):
            assert wanted in names
        await page.keyboard.press("Enter")  # on a tile
        await expect(page.locator("[aria-pressed=true]")).to_have_count(1)


async def step(page: Page) -> tuple[str, int]:
    """Press Tab; say on what the focus is, and on which line of the page, which must be seen."""
    await page.keyboard.press("Tab")
    name, top, outline = await page.evaluate(
        "(() => { const at = document.activeElement;"
        " return [at.textContent.trim() || at.getAttribute('aria-label'),"
        " Math.round(at.getBoundingClientRect().top / 60), getComputedStyle(at).outlineStyle]; })()"
    )
    assert outline != "none", name
    return name, top


@pytest.mark.parametrize(("place", "told"), PLACES.items())
async def test_nothing_is_wider_than_a_phone(
    hub: RunningHub, http: httpx.AsyncClient, place: str, told: str
) -> None:
    await fleet(http)
    async with reading(hub, viewport={"width": 375, "height": 740}, has_touch=True) as reader:
        page = await reader.open(place)
        await expect(page.locator(".wire")).to_have_text("live")
        await expect(page.locator(told).first).to_be_attached()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 375
        await reader.picture(f"{place.strip('#/').replace('/', '-') or 'overview'}-phone")


async def test_who_wants_no_motion_sees_none(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await fleet(http)
    async with reading(hub, reduced_motion="reduce") as reader:
        page = await reader.open("#/agent/a-busy")
        await expect(page.locator(".c-beat")).to_be_visible()
        moved = "getComputedStyle(document.querySelector('.c-beat i')).transitionProperty"
        assert await page.evaluate(moved) in ("none", "all")
        length = "getComputedStyle(document.querySelector('.c-beat i')).transitionDuration"
        assert await page.evaluate(length) == "0s"
