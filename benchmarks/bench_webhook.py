"""What it costs to tell a webhook that many have died at once, and who notices.

    python benchmarks/bench_webhook.py --deaths 1000 --beats 1000

Agents post one beat each and are silent from then on, so that all their leases end in one moment;
as many sockets beat once a second meanwhile, and one more asks for the answer to each of its beats
and notes how long it took. That is done without a webhook, with one that is told of everything, and
with one whose receiver is slow. Of what is told, it notes when it came and in which order. Prints
tables and budgets, last a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgpack
from bench_detection import watch
from bench_fanout import place
from process import Generators, HubProcess, cpu_s, hub, show_budgets

TTL_S = 4  # of those who die
AROUND_S = 8.0  # from before the first death until all is quiet again
TOLD_S = 60.0  # nobody waits longer for what is told
EVERY_S = 0.01  # between two beats of the one that asks
SLOW_S = 0.1
BULK = 500
BUDGETS = (
    ("untold", 0, "at most"),
    ("out_of_order", 0, "at most"),
    ("told_within_s", 10, "at most"),
    ("beat_p99_ms", 50, "at most"),
)


class Receiver:
    """An HTTP server in a thread of its own, that notes what came and when."""

    def __init__(self, slow_s: float) -> None:
        self.told: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
        self.port = 0
        self._slow_s = slow_s
        self._ready = threading.Event()
        threading.Thread(target=asyncio.run, args=[self._run()], daemon=True).start()
        self._ready.wait()

    @property
    def count(self) -> int:
        return sum(len(each) for each in list(self.told.values()))

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            message = json.loads(await reader.readexactly(length))
            data = message["data"]
            self.told[data["id"]].append((time.time(), data["seq"], message["type"]))
            await asyncio.sleep(self._slow_s)
            writer.write(b"HTTP/1.1 204 So\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deaths", type=int, default=1_000)
    parser.add_argument("--beats", type=int, default=1_000, help="sockets that beat once a second")
    args = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {}
    with hub() as home:
        generators = Generators(1)
        try:
            order = {"count": args.beats, "prefix": "beating", "codec": "msgpack", "ttl": 30}
            generators.order_one(0, {"do": "connect", **order, **place(home)})
            generators.answer_of(0)
            for name, slow_s in (("no webhook", None), ("a webhook", 0.0), ("a slow one", SLOW_S)):
                rows[name] = measure(home, generators, name, args.deaths, slow_s)
        finally:
            generators.end()
    show(rows, args)
    told = rows["a webhook"]
    result = {
        "untold": sum(row.get("untold", 0) for row in rows.values()),
        "out_of_order": sum(row.get("out_of_order", 0) for row in rows.values()),
        "told_within_s": told["told_max_s"],
        "beat_p99_ms": told["beat_p99_ms"],
    }
    show_budgets(result, BUDGETS)
    print(json.dumps(result | {"rows": rows}))


def measure(
    home: HubProcess, generators: Generators, name: str, deaths: int, slow_s: float | None
) -> dict[str, Any]:
    """Let many die at once; answer what that did."""
    receiver = None if slow_s is None else Receiver(slow_s)
    webhook = ""
    if receiver is not None:
        url = f"http://127.0.0.1:{receiver.port}/"
        asked = {"url": url, "filter": {"ids": ["dying-*"]}, "events": ["agent.*"]}
        webhook = call(home, "POST", "/v1/webhooks", asked)["id"]
    names = [f"dying-{name.replace(' ', '.')}-{number:06}" for number in range(deaths)]
    for start in range(0, deaths, BULK):
        beats = [{"id": agent, "ttl": TTL_S} for agent in names[start : start + BULK]]
        call(home, "POST", "/v1/pulse", {"beats": beats})
    while receiver is not None and receiver.count < deaths:  # that they came
        time.sleep(0.01)
    busy, began = cpu_s(home.pid), time.monotonic()
    generators.order_one(0, {"do": "beat", "every_s": 1.0, "seconds": AROUND_S, "news": False})
    with watch(home) as line:
        took_ms = sorted(ask(line))
    generators.answer_of(0)
    row: dict[str, Any] = {
        "beats": len(took_ms),
        "beat_p50_ms": round(took_ms[len(took_ms) // 2], 2),
        "beat_p99_ms": round(took_ms[math.ceil(len(took_ms) * 0.99) - 1], 2),
        "beat_max_ms": round(took_ms[-1], 2),
        "hub_cpu": round((cpu_s(home.pid) - busy) / (time.monotonic() - began), 3),
    }
    if receiver is not None:
        until = time.monotonic() + TOLD_S
        while receiver.count < 2 * deaths and time.monotonic() < until:
            time.sleep(0.01)
        row |= judge(receiver, names)
        call(home, "DELETE", f"/v1/webhooks/{webhook}")
    return row


def judge(receiver: Receiver, names: list[str]) -> dict[str, Any]:
    """Weigh what was told of those who died."""
    died = [
        at for name in names for at, _, type_ in receiver.told[name] if type_ == "agent.offline"
    ]
    seqs = [[seq for _, seq, _ in receiver.told[name]] for name in names]
    return {
        "told": receiver.count,
        "untold": len(names) - len(died),
        "out_of_order": sum(each != sorted(set(each)) for each in seqs),
        "told_max_s": round(max(died) - min(died), 2) if died else None,
    }


def ask(line: Any) -> Iterator[float]:
    """Beat over a socket and await each answer; tell how many ms each took."""
    line.send(msgpack.packb({"type": "hello", "agent": "asking"}))
    line.recv()
    until, number = time.monotonic() + AROUND_S, 0
    while time.monotonic() < until:
        number += 1
        began = time.monotonic()
        line.send(msgpack.packb({"type": "beat", "ref": number, "task": f"task {number}"}))
        while msgpack.unpackb(line.recv()).get("ref") != number:
            pass
        yield (time.monotonic() - began) * 1000
        time.sleep(EVERY_S)


def call(home: HubProcess, method: str, path: str, body: object = None) -> dict[str, Any]:
    line = http.client.HTTPConnection(home.host, home.port, timeout=30)
    headers = {"Authorization": f"Bearer {home.key}", "Content-Type": "application/json"}
    line.request(method, path, None if body is None else json.dumps(body), headers)
    response = line.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    line.close()
    if response.status >= 300:
        raise SystemExit(f"{method} {path}: {answer}")
    return answer


def show(rows: dict[str, dict[str, Any]], args: argparse.Namespace) -> None:
    print(f"\n{args.deaths} deaths at once, {args.beats} beats a second\n")
    print("| | beat answered p50 | p99 | longest | hub CPU | all told within | out of order |")
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        told = f"{row['told_max_s']} s | {row['out_of_order']}" if "told" in row else "- | -"
        print(
            f"| {name} | {row['beat_p50_ms']} ms | {row['beat_p99_ms']} ms |"
            f" {row['beat_max_ms']} ms | {row['hub_cpu']:.0%} | {told} |"
        )
    print()


if __name__ == "__main__":
    main()
