"""Lists of what the hub keeps: what needs attention is first, and an admin can act."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import httpx
from playwright.async_api import expect

from lifesigns.core.instant import to_text
from tests.bot import Bot
from tests.hub import RunningHub, running_hub
from tests.page.reader import Reader, reading

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


async def test_a_paused_schedule_is_first_and_a_run_can_be_begun_by_hand(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    well, ill = Bot(http, "well"), Bot(http, "ill")
    await well.configure(prompt="Look for <b>new</b> tickets", enabled=True, interval_minutes=60)
    failing = await ill.configure(prompt="Fail", enabled=True, max_consecutive_errors=1)
    answer = await ill.triggered(failing["uuid"])  # it is not connected
    assert answer.json()["result"]["status"] == "error"
    page = await reader.open("#/schedules")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("ill")
    await expect(rows.first).to_contain_text("paused:")
    await expect(rows.nth(1)).to_contain_text("Look for <b>new</b> tickets")
    await expect(rows.nth(1)).to_contain_text("every 60 min")
    await rows.nth(1).get_by_role("button", name="Run now").click()
    await page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    await expect(page.locator("tr", has_text="well")).to_contain_text("1, 1 failed")
    await page.locator("tr", has_text="well").get_by_role("button", name="Pause").click()
    await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    await expect(page.locator("tr", has_text="well")).to_contain_text("off")
    await page.goto(f"{reader.hub.url}/#/agent/ill")
    work = page.locator(".works")
    await expect(work).to_contain_text("paused:")
    await expect(work).to_contain_text("error")


async def test_a_webhook_in_trouble_is_first_and_its_message_can_be_sent_again(
    http: httpx.AsyncClient, reader: Reader
) -> None:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    heard = 0

    async def receive(stream: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        nonlocal heard
        head = await stream.readuntil(b"\r\n\r\n")
        size = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await stream.readexactly(int(size.rpartition(b":")[2]))
        heard += 1
        answer.write(b"HTTP/1.1 %d -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        await answer.drain()
        answer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for name in ("quiet", "loud"):
            events = ["agent.online"] if name == "loud" else ["job.*"]
            wanted = {"url": f"http://127.0.0.1:{port}/{name}", "name": name, "events": events}
            made = await http.post("/v1/webhooks", json=wanted)
            assert made.status_code == 201, made.text
        await http.put("/v1/pulse/digger", json={"status": "idle"})
        page = await reader.open("#/webhooks")
        rows = page.locator("tbody tr")
        await expect(rows.first).to_contain_text("loud")
        await expect(rows.first).to_contain_text("failed in a row")
        await expect(rows.nth(1)).to_contain_text("well")
        await page.get_by_role("link", name="loud").click()
        row = page.locator("tbody tr", has_text="digger")
        await expect(row).to_contain_text("retrying")
        await expect(row).to_contain_text("500")
        status = HTTPStatus.OK
        await row.get_by_role("button", name="Send again").click()
        await page.get_by_role("dialog").get_by_role("button", name="Send again").click()
        await expect(row).to_contain_text("delivered")
        assert heard >= 2
        await page.get_by_role("link", name="All webhooks").click()
        await page.locator("tr", has_text="quiet").get_by_role("button", name="Switch off").click()
        await page.get_by_role("dialog").get_by_role("button", name="Switch off").click()
        await expect(page.locator("tr", has_text="quiet")).to_contain_text("switched off")


async def test_a_job_whose_agent_is_silent_is_first_and_stands_at_its_agent(
    fresh_url: str,
) -> None:
    async with (
        running_hub(fresh_url, dispute_delay_s=0.5) as hub,
        hub.client() as http,
        reading(hub) as reader,
    ):
        for title, window_s in (("Dig <here>", 1), ("Look there", 600)):
            said = {"title": title, "windowSeconds": window_s}
            job = (await http.post("/jobs", json=said)).json()["data"]
            moved = await http.post(f"/jobs/{job['id']}/assign", json={"agentId": "digger"})
            assert moved.status_code == 200, moved.text
            body = {"jobId": job["id"], "progress": "begun"}
            assert (await http.post("/agents/digger/heartbeat", json=body)).status_code == 200
        page = await reader.open("#/jobs")
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text("Dig <here>")
        await expect(rows.first).to_contain_text("may be disputed or reclaimed")
        await page.goto(f"{hub.url}/#/agent/digger")
        await expect(page.locator(".works")).to_contain_text("Look there")
        await page.goto(f"{hub.url}/#/jobs")
        await rows.first.get_by_role("button", name="Reclaim").click()
        await page.get_by_role("dialog").get_by_role("button", name="Reclaim").click()
        await expect(page.locator("tr", has_text="Dig <here>")).to_contain_text("open")
        await expect(rows.first).to_contain_text("Look there")
