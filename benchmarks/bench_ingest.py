"""What a heartbeat costs: hub CPU, memory an agent, and how soon news can be read.

    python benchmarks/bench_ingest.py --sockets 10000 --every 10 --seconds 30

A real hub with its embedded Valkey, real sockets, and load generators in processes of their own.
Prints a table, and last a line of JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import time
from typing import Any

import redis
from process import Bar, Generators, HubProcess, cpu_s, hub, memory_bytes
from websockets.sync.client import connect

SAMPLES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sockets", type=int, default=10_000)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two beats")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each phase runs")
    parser.add_argument("--ttl", type=float, default=30.0)
    parser.add_argument("--codec", choices=("msgpack", "json"), default="msgpack")
    parser.add_argument("--generators", type=int, default=1)
    args = parser.parse_args()
    with hub("--max-connections", str(args.sockets + 100)) as target:
        result = measure(target, args)
    show(result)
    print(json.dumps(result))


def measure(target: HubProcess, args: argparse.Namespace) -> dict[str, Any]:
    store = redis.Redis(unix_socket_path=str(target.store_socket), protocol=2)
    store_pid = store.info("server")["process_id"]
    generators = Generators(args.generators)
    try:
        _, idle_s = phase(target, generators, "idle", args.seconds / 3, None)
        memory, stored = memory_bytes(target.pid), store.info("memory")["used_memory"]
        began = cpu_s(target.pid)
        generators.order([order(target, args, number) for number in range(args.generators)])
        connected = generators.answers()
        hello_s = cpu_s(target.pid) - began
        time.sleep(2)  # until the last buffers are given back
        sockets = sum(each["connected"] for each in connected)
        held = memory_bytes(target.pid) - memory
        with_history = store.info("memory")["used_memory"] - stored
        forget_history(store)
        records = store.info("memory")["used_memory"] - stored
        beat = {"do": "beat", "every_s": args.every, "seconds": args.seconds}
        store_began = cpu_s(store_pid)
        plain, plain_s = phase(target, generators, "beats", args.seconds, beat | {"news": False})
        store_plain_s = cpu_s(store_pid) - store_began
        store_began = cpu_s(store_pid)
        news, news_s = phase(target, generators, "news", args.seconds, beat | {"news": True})
        store_news_s = cpu_s(store_pid) - store_began
        generators.order([beat | {"news": False}] * args.generators)
        latency = latencies(target)
        generators.answers()
        later = memory_bytes(target.pid) - memory
    finally:
        generators.end()
    return {
        "sockets": sockets,
        "codec": args.codec,
        "every_s": args.every,
        "ttl_s": args.ttl,
        "idle_cpu_percent": round(100 * idle_s / (args.seconds / 3), 2),
        "hello_us": round(hello_s / sockets * 1e6, 1),
        "beats_per_s": round(plain["sent"] / plain["seconds"], 1),
        "beat_us": round(plain_s / plain["sent"] * 1e6, 2),
        "beat_store_us": round(store_plain_s / plain["sent"] * 1e6, 2),
        "news_us": round(news_s / news["sent"] * 1e6, 2),
        "news_store_us": round(store_news_s / news["sent"] * 1e6, 2),
        "kb_per_agent": round(held / sockets / 1024, 2),
        "kb_per_agent_after": round(later / sockets / 1024, 2),
        "store_bytes_per_agent": round(records / sockets),
        "store_bytes_with_history": round(with_history / sockets),
        "news_to_get_ms": latency,
        "generator_cpu_percent": round(100 * plain["cpu_s"] / plain["seconds"], 1),
    }


def forget_history(store: redis.Redis) -> None:
    """Drop the log and what is kept of each agent's past: one change each, so far."""
    pipe = store.pipeline(transaction=False)
    for key in store.scan_iter("ls:*:log:*"):
        pipe.xtrim(key, maxlen=0, approximate=False)
    for key in store.scan_iter("ls:*:past:*", count=1000):
        pipe.delete(key)
    pipe.execute()


def order(target: HubProcess, args: argparse.Namespace, number: int) -> dict[str, Any]:
    count = args.sockets // args.generators
    return {
        "do": "connect",
        "host": target.host,
        "port": target.port,
        "key": target.key,
        "count": count,
        "prefix": f"agent-{number}",
        "codec": args.codec,
        "ttl": args.ttl,
    }


def phase(
    target: HubProcess,
    generators: Generators,
    name: str,
    seconds: float,
    what: dict[str, Any] | None,
) -> tuple[dict[str, float], float]:
    """Let the generators do something, and tell what CPU it took the hub."""
    began = cpu_s(target.pid)
    if what is not None:
        generators.order([what] * len(generators))
    bar = Bar(name, seconds)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        bar.show()
        time.sleep(0.2)
    bar.end()
    answers = generators.answers() if what is not None else []
    if what is not None:
        time.sleep(1.2)  # what was folded is written by then
    used_s = cpu_s(target.pid) - began
    total = {
        "sent": sum(each["sent"] for each in answers),
        "seconds": max((each["seconds"] for each in answers), default=seconds),
        "cpu_s": max((each["cpu_s"] for each in answers), default=0.0),
    }
    return total, used_s


def latencies(target: HubProcess) -> dict[str, float]:
    """Measure from the sending of news until a GET shows them, under load."""
    headers = {"Authorization": f"Bearer {target.key}"}
    http_connection = http.client.HTTPConnection(target.host, target.port, timeout=10)
    taken = []
    url = f"ws://{target.host}:{target.port}/v1/connect"
    with connect(url, additional_headers=headers, compression=None) as socket:
        socket.send(json.dumps({"type": "hello", "agent": "watched"}))
        socket.recv(timeout=10)
        for number in range(SAMPLES):
            task = f"task {number}"
            began = time.perf_counter()
            socket.send(json.dumps({"type": "beat", "task": task}))
            while True:
                http_connection.request("GET", "/v1/pulse/watched", headers=headers)
                if json.loads(http_connection.getresponse().read())["task"] == task:
                    break
            taken.append((time.perf_counter() - began) * 1000)
            time.sleep(0.025)
    taken.sort()
    return {
        "p50": round(statistics.median(taken), 2),
        "p99": round(taken[int(len(taken) * 0.99)], 2),
    }


def show(result: dict[str, Any]) -> None:
    for name, value in result.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
