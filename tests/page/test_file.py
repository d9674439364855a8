"""The files of the dashboard over the wire: their weight, and what a browser may do with them."""

from __future__ import annotations

import re
from importlib.resources import files

import httpx

from tests.hub import RunningHub, running_hub

WEIGHT_BYTES = 150_000
PAGE = files("lifesigns") / "page"
NAMES = sorted(file.name for file in PAGE.iterdir())


async def test_all_of_the_page_weighs_less_than_150_kilobytes_over_the_wire(
    http: httpx.AsyncClient,
) -> None:
    weight = 0
    for address in ("/", "/lifesigns.js", *(f"/page/{name}" for name in NAMES if name[0] != "i")):
        async with http.stream("GET", address) as answer:
            assert answer.status_code == 200
            weight += len(str(answer.headers)) + sum(
                [len(part) async for part in answer.aiter_raw()]
            )
    assert weight < WEIGHT_BYTES


async def test_a_browser_may_load_and_run_nothing_but_these_files(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(r"<script(?! type=\"module\" src=)|<style| style=| on\w+=", answer.text)


def test_no_text_of_an_agent_can_become_markup() -> None:
    for name in NAMES:
        text = (PAGE / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text
        )


async def test_the_frame_names_all_modules_so_that_none_waits_for_another(
    http: httpx.AsyncClient,
) -> None:
    named = re.findall(r'rel="modulepreload" href="/page/([^"]+)"', (await http.get("/")).text)
    assert sorted(named) == [name for name in NAMES if name.endswith(".js")]
    imported = set(re.findall(r'from "\./(\w+\.js)"', (PAGE / "opening.js").read_text()))
    assert imported < set(named[:6]), "what opens the line is not fetched first"


async def test_what_a_browser_has_is_not_sent_again(http: httpx.AsyncClient) -> None:
    for address in ("/", "/page/main.js", "/page/style.css", "/lifesigns.js"):
        for encoding in ("gzip", "identity"):
            asked = {"Accept-Encoding": encoding}
            first = await http.get(address, headers=asked)
            assert first.headers.get("Content-Encoding", "identity") == encoding
            again = await http.get(
                address, headers=asked | {"If-None-Match": first.headers["ETag"]}
            )
            assert (again.status_code, again.content) == (304, b"")


async def test_no_key_is_needed_for_the_page_and_nothing_else_is_there(hub: RunningHub) -> None:
    async with hub.client("") as http:
        assert (await http.get("/")).status_code == 200
        for address in ("/page/nothing.js", "/page/..%2Fconfig.py", "/page/", "/page"):
            assert (await http.get(address)).status_code == 404


async def test_the_page_knows_whether_a_key_is_asked_for(
    fresh_url: str, http: httpx.AsyncClient
) -> None:
    assert 'data-auth="on"' in (await http.get("/")).text
    async with running_hub(fresh_url, auth=False) as open_hub, open_hub.client("") as stranger:
        assert 'data-auth="off"' in (await stranger.get("/")).text
