"""The dashboard in a real browser: how soon it shows the fleet, and how smoothly it goes on.

    python benchmarks/bench_page.py --agents 20000 --rate 500 --seconds 30

Needs Chromium. First a fresh browser opens the page on 10,000 agents: until it shows them, and what
it weighs over the wire. Then on the larger fleet, with so many changes a second: the time between
frames, how soon a change is on the page, and the memory, after collection, as it goes on. Prints a
table, and last a line of JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench_snapshot import fill
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from process import HubProcess, hub, show_budgets

BUDGETS = (
    ("first_paint_s", 1, "at most"),
    ("weight_kb", 150, "at most"),
    ("frame_p95_ms", 50, "at most"),
    ("seen_p95_ms", 1000, "at most"),
    ("memory_growth", 1.1, "at most"),
)
FIRST_AGENTS = 10_000
BATCHES_PER_S = 10
PROBE_S = 1.0  # between two changes whose way to the page is timed
PROBE = "probe"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# Runs in the page before its own program, and notes when its fleet is seen, and all frames.
WITNESS = """
window.witness = {painted: null, frames: [], errors: []};
const states = () => [...document.querySelectorAll('.tile-count')].map(each => each.textContent);
let last = performance.now();
const frame = now => {
  witness.frames.push(now - last);
  last = now;
  if (witness.painted === null && states().some(count => count !== '0')) witness.painted = now;
  const errors = document.querySelector('.tile.s-error .tile-count')?.textContent;
  if (errors !== undefined && errors !== witness.errors.at(-1)?.[1])
    witness.errors.push([Date.now(), errors]);
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=500, help="changes a second")
    parser.add_argument("--seconds", type=int, default=30)
    args = parser.parse_args()
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        with hub() as target:
            fill(target, FIRST_AGENTS)
            result = first(browser, target)
        with hub() as target:
            fill(target, args.agents)
            result |= steady(browser, target, args.agents, args.rate, args.seconds)
        browser.close()
    show_budgets(result, BUDGETS)
    print(json.dumps(result))


def opened(browser: Browser, target: HubProcess) -> tuple[Page, CDPSession]:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    key = json.dumps(target.key)
    page.add_init_script(f"sessionStorage.setItem('lifesigns.key', {key});{WITNESS}")
    session = page.context.new_cdp_session(page)
    for domain in ("Network", "Performance", "HeapProfiler"):
        session.send(f"{domain}.enable")
    return page, session


def first(browser: Browser, target: HubProcess) -> dict[str, Any]:
    """Open the page on a hub that has shown the fleet to nobody yet."""
    page, session = opened(browser, target)
    weights: list[float] = []
    session.on("Network.loadingFinished", lambda event: weights.append(event["encodedDataLength"]))
    page.goto(f"http://{target.host}:{target.port}/#/")
    painted = until(page, "witness.painted")
    page.wait_for_timeout(500)
    page.context.close()
    return {
        "first_agents": FIRST_AGENTS,
        "first_paint_s": round(painted / 1000, 3),
        "weight_kb": round(sum(weights) / 1000, 1),
    }


def steady(
    browser: Browser, target: HubProcess, agents: int, rate: int, seconds: int
) -> dict[str, Any]:
    page, session = opened(browser, target)
    page.goto(f"http://{target.host}:{target.port}/#/")
    until(page, "witness.painted")
    memory: list[float] = []
    with changing(target, agents, rate):
        page.wait_for_timeout(3000)
        page.evaluate("() => { witness.frames = []; }")
        sent: list[float] = []
        for second in range(seconds):
            if second % 10 == 0:
                memory.append(used_mb(session))
            sent.append(time.time() * 1000)
            state = "failed" if second % 2 == 0 else "idle"
            call(target, {"beats": [{"id": PROBE, "status": state, "ttl": 86_400}]})
            page.wait_for_timeout(1000 * PROBE_S)
        memory.append(used_mb(session))
        frames: list[float] = page.evaluate("witness.frames")
        seen: list[list[Any]] = page.evaluate("witness.errors")
    ways = sorted(
        min(at for at, _ in seen if at >= begun) - begun
        for begun in sent
        if any(at >= begun for at, _ in seen)
    )
    frames.sort()
    page.context.close()
    return {
        "agents": agents,
        "changes_per_s": rate,
        "frames_per_s": round(len(frames) / seconds, 1),
        "frame_p50_ms": round(statistics.median(frames), 1),
        "frame_p95_ms": round(frames[int(len(frames) * 0.95)], 1),
        "frame_max_ms": round(frames[-1], 1),
        "seen_p50_ms": round(statistics.median(ways)),
        "seen_p95_ms": round(ways[int(len(ways) * 0.95)]),
        "memory_mb": memory,
        "memory_growth": round(memory[-1] / memory[0], 3),
    }


@contextmanager
def changing(target: HubProcess, agents: int, rate: int) -> Iterator[None]:
    """Change so many agents a second for as long as the block lasts, one after another."""
    ended = threading.Event()

    def change() -> None:
        number = 0
        begun = time.monotonic()
        for batch in range(1_000_000):
            if ended.wait(max(0.0, begun + batch / BATCHES_PER_S - time.monotonic())):
                return
            beats = []
            for _ in range(rate // BATCHES_PER_S):
                status = ("thinking", "idle")[number // agents % 2]
                name = f"worker-{number % agents:06}"
                beats.append({"id": name, "status": status, "ttl": 86_400})
                number += 1
            call(target, {"beats": beats})

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def call(target: HubProcess, body: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(target.host, target.port, timeout=60)
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/pulse", json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(answer.read())
    connection.close()


def used_mb(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    (used,) = (each["value"] for each in metrics if each["name"] == "JSHeapUsedSize")
    return round(used / 1e6, 1)


def until(page: Page, expression: str) -> float:
    """Wait until the page answers a number."""
    while (value := page.evaluate(expression)) is None:
        page.wait_for_timeout(20)
    return float(value)


if __name__ == "__main__":
    main()
