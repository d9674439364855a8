"""What the page shows is so: after a storm, after a kill, without a socket, whatever agents say."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import httpx
from playwright.async_api import expect

from tests.chaos.proxy import Proxy
from tests.hub import Reachable, RunningHub, hub_process, running_hub
from tests.page.reader import Reader, reading
from tests.server import Server, free_port

TALL = {"width": 1360, "height": 4200}
ROWS = (
    "Object.fromEntries([...document.querySelectorAll('.rows .row')].map(row =>"
    " [row.dataset.id, row.querySelector('.badge').textContent]))"
)
STATUSES = ("idle", "thinking", "failed", "degraded", "draining")


async def truth(http: httpx.AsyncClient) -> dict[str, str]:
    agents = (await http.get("/v1/pulse", params={"alive": "any", "detail": "lite"})).json()
    return {each["id"]: each["state"] for each in agents["agents"]}


async def test_after_a_storm_the_page_shows_what_the_hub_says(fresh_url: str) -> None:
    chance = random.Random(8)
    names = [f"w-{i:02}" for i in range(80)]
    async with (
        running_hub(fresh_url) as hub,
        running_hub(fresh_url) as other,
        hub.client() as here,
        other.client() as there,
        reading(hub, viewport=TALL) as reader,
    ):
        page = await reader.open("#/table?sort=id")
        await expect(page.locator(".wire")).to_have_text("live")
        for _ in range(60):
            beats = [
                {"id": name, "status": chance.choice(STATUSES), "ttl": chance.choice((1, 600))}
                for name in chance.sample(names, 30)
            ]
            await chance.choice((here, there)).post("/v1/pulse", json={"beats": beats})
            name = chance.choice(names)
            forget = {"forget": "true"} if chance.random() < 0.5 else {}
            await chance.choice((here, there)).delete(f"/v1/pulse/{name}", params=forget)
        beats = [{"id": name, "status": "idle", "ttl": 600} for name in names[::3]]
        await there.post("/v1/pulse", json={"beats": beats})
        states = await settled(here)
        await reader.until(ROWS, lambda rows: rows == states)
        assert len(set(states.values())) > 2
        await page.goto(f"{hub.url}/#/")
        shown = {state: list(states.values()).count(state) for state in set(states.values())}
        for state, count in shown.items():
            await reader.count(state, count)


async def settled(http: httpx.AsyncClient) -> dict[str, str]:
    """Answer who is there when the leases of a second have ended."""
    while any(each["valid_for_ms"] < 500_000 for each in await alive(http)):
        pass
    return await truth(http)


async def alive(http: httpx.AsyncClient) -> list[dict[str, int]]:
    names = [each["id"] for each in (await http.get("/v1/pulse")).json()["agents"]]
    checked = (await http.post("/v1/check", json={"agents": names})).json()["agents"]
    return [each for each in checked.values() if each["alive"]]


async def test_no_stale_cell_remains_when_the_hub_was_killed_and_is_back(fresh_url: str) -> None:
    port = free_port()
    async with running_hub(fresh_url) as witness, witness.client() as http:
        for name in ("stays", "goes", "ails"):
            await http.put(f"/v1/pulse/{name}", json={"status": "idle", "ttl": 600})
        at = Reachable(f"http://127.0.0.1:{port}", witness.key)
        async with reading(at, broken=True, viewport=TALL) as reader:
            async with hub_process(fresh_url, "--port", str(port)) as hub:
                page = await reader.open("#/")
                await reader.count("available", 3)
                await hub.kill()
                await expect(page.locator(".b-lost")).to_contain_text("Reconnecting")
                await expect(page.locator(".wire")).to_have_text("reconnecting")
                await http.delete("/v1/pulse/goes", params={"forget": "true"})
                await http.put("/v1/pulse/ails", json={"status": "failed"})
                await http.put("/v1/pulse/comes", json={"status": "idle", "ttl": 600})
            async with hub_process(fresh_url, "--port", str(port)):
                await reader.count("error", 1)
                await reader.count("available", 2)
                await expect(page.locator(".b-lost")).to_have_count(0)
                await page.goto(f"{at.url}/#/table")
                states = await truth(http)
                assert set(states) == {"stays", "ails", "comes"}
                await reader.until(ROWS, lambda rows: rows == states)


async def test_where_no_socket_passes_the_page_lives_by_event_streams(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    def deaf(data: bytes) -> bytes:
        return data.replace(b"Upgrade: websocket", b"Upgrade: something")

    port = int(hub.url.rpartition(":")[2])
    target = partial(asyncio.open_connection, "127.0.0.1", port)
    async with Proxy(target, lambda: deaf) as proxy:
        at = Reachable(f"http://127.0.0.1:{proxy.port}", hub.key)
        async with reading(at) as reader:
            page = await reader.open("#/")
            await expect(page.locator(".wire")).to_have_text("live, by event stream")
            await expect(page.locator(".headline")).to_have_text("No agent has been here yet")
            await http.put("/v1/pulse/digger", json={"status": "failed", "task": "no disk"})
            await reader.count("error", 1)
            await expect(page.locator(".feed-rows li").first).to_contain_text(
                "digger is here, error"
            )
            # What the browser says of sockets that nobody let pass.
            assert all("WebSocket connection" in each for each in reader.faults)
            reader.faults.clear()


async def test_a_page_that_is_behind_says_so_until_it_has_caught_up(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    port = int(hub.url.rpartition(":")[2])
    target = partial(asyncio.open_connection, "127.0.0.1", port)
    async with Proxy(target) as proxy:
        at = Reachable(f"http://127.0.0.1:{proxy.port}", hub.key)
        async with reading(at) as reader:
            page = await reader.open("#/")
            await expect(page.locator(".headline")).to_have_text("No agent has been here yet")
            proxy.hold(up=False)
            await http.put("/v1/pulse/digger", json={"status": "failed", "ttl": 600})
            await asyncio.sleep(2.5)  # this is how late it is
            proxy.resume()
            await reader.count("error", 1)
            await expect(page.locator(".b-behind")).to_contain_text("This page is behind")
            await expect(page.locator(".b-behind")).to_have_count(0)


async def test_what_agents_say_is_text_whatever_it_is(
    hub: RunningHub, http: httpx.AsyncClient, reader: Reader
) -> None:
    markup = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    turned = "\u202eevil\u202c"
    said = {
        "status": "<b>bold</b>",
        "state": "error",
        "task": markup,
        "name": turned,
        "group": markup[:60],
        "host": "javascript:alert(3)",
        "capabilities": ["<i>", "__proto__", "constructor"],
        "metadata": {markup: markup, "__proto__": {"polluted": True}, "long": "x" * 8000},
        "context": [markup],
        "progress": {"note": markup, "done": "<", "total": ">"},
        "ttl": 600,
    }
    for name in ("__proto__", "constructor", "a:b@c~d..e"):
        assert (await http.put(f"/v1/pulse/{name}", json=said)).status_code == 200
    asked: list[str] = []
    reader.page.on("dialog", lambda dialog: asked.append(dialog.message))
    page = await reader.open("#/?by=prefix")
    await expect(page.locator(".map header")).to_contain_text("3 agents")
    await page.locator("canvas").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator(".tip .why")).to_have_text(markup)
    await page.goto(f"{hub.url}/#/table")
    await expect(page.locator(".rows .row")).to_have_count(3)
    await expect(page.locator(".rows")).to_contain_text(markup)
    for name in ("__proto__", "constructor", "a:b@c~d..e"):
        await page.goto(f"{hub.url}/#/agent/{name}")
        await expect(page.locator("h1")).to_have_text(name)
        await expect(page.locator(".agent-state")).to_contain_text(markup)
        await expect(page.locator(".words")).to_contain_text('"polluted": true')
    for view in (
        "constructor",
        "__proto__",
        "table?sort=constructor",
        "?by=__proto__&feed=toString",
    ):
        await page.goto(f"{hub.url}/#/{view}")
        await expect(page.locator("main .panel").first).to_be_visible()
    assert await page.locator("main img, main script, main b:text('bold')").count() == 0
    assert asked == []


async def test_a_store_that_is_away_and_a_pause_of_expiry_are_told_on_top() -> None:
    server = Server()
    try:
        async with running_hub(server.start().url) as hub, reading(hub, broken=True) as reader:
            async with hub.client() as http:
                await http.put("/v1/pulse/digger", json={"status": "idle", "ttl": 600})
            page = await reader.open("#/")
            await reader.count("available", 1)
            server.kill()
            await expect(page.locator(".b-away")).to_contain_text("has lost its store")
            server.start()
            await expect(page.locator(".b-away")).to_have_count(0)
            # The store has come back empty, and so is the page.
            await expect(page.locator(".headline")).to_have_text("No agent has been here yet")
            hub.hub.fanout.held(hub.hub.clock.at_ms(hub.hub.lobby.loop.time()) + 60_000)
            await expect(page.locator(".b-held")).to_contain_text("Expiry is paused until")
    finally:
        server.discard()
