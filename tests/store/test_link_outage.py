"""The link and the ways in which a server goes away: killed, hanging, not taking what is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lifesigns.core.errors import Unavailable
from lifesigns.store import link as link_module
from lifesigns.store.link import Link, LinkLost, Script
from tests.patience import until
from tests.server import Server
from tests.store.witness import Witness

pytestmark = pytest.mark.every_loop
COUNT = Script("count", "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])")
MakeServer = Callable[..., Server]
MakeLink = Callable[..., Awaitable[Link]]


async def test_a_killed_server_is_told_to_all_who_wait_and_come_back_to(
    linked: MakeLink, valkey_server: MakeServer
):
    server, witness = valkey_server(), Witness()
    link = await linked(server.url, scripts=[COUNT], **witness.listeners())
    assert witness.told == ["up"]
    first = link.server.run_id
    server.pause()
    replies: list[Any] = []
    for _ in range(20):
        link.call(("PING",), replies.append)
        link.run(COUNT, ["sum"], [1], replies.append)
    asked = asyncio.create_task(link.ask("PING"))
    await asyncio.sleep(0)
    link.flush()
    server.kill()
    await until(lambda: not link.up)
    assert len(replies) == 40
    assert all(isinstance(reply, LinkLost) for reply in replies)
    with pytest.raises(Unavailable, match="was lost"):
        await asked
    assert witness.told == ["up", "down"]
    server.start()
    await until(lambda: link.up)
    assert witness.told == ["up", "down", "up"]
    assert await link.ask("SCRIPT", "EXISTS", COUNT.sha) == [1]
    assert link.server.run_id != first


async def test_a_link_that_is_down_says_so_at_once_and_never_by_raising(
    linked: MakeLink, valkey_server: MakeServer
):
    server = valkey_server("--requirepass", "hunter2")
    link = await linked(server.url.replace("unix://", "unix://:hunter2@"), scripts=[COUNT])
    server.kill()
    await until(lambda: not link.up)
    replies: list[Any] = []
    link.call(("PING",), replies.append)
    link.run(COUNT, ["sum"], [1], replies.append)
    link.flush()
    assert replies == []
    await asyncio.sleep(0)
    assert [type(reply) for reply in replies] == [LinkLost, LinkLost]
    assert link.buffered == 0
    with pytest.raises(Unavailable, match="is away") as caught:
        await link.ask("PING")
    assert "hunter2" not in str(caught.value)


async def test_a_write_is_never_repeated(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server()
    link = await linked(server.url, silent_s=0.2, scripts=[COUNT])
    server.pause()
    replies: list[Any] = []
    link.call(("INCR", "called"), replies.append)
    link.run(COUNT, ["run"], [1], replies.append)
    await until(lambda: len(replies) == 2)
    assert [type(reply) for reply in replies] == [LinkLost, LinkLost]
    server.resume()
    reader = await linked(server.url)
    assert set(await reader.ask("MGET", "called", "run")) <= {b"1", None}


@pytest.mark.parametrize("kind", ["waiting", "idle", "feed"])
async def test_a_server_that_hangs_is_left_and_found_again(
    linked: MakeLink, valkey_server: MakeServer, kind: str
):
    server, witness = valkey_server(tcp=True), Witness()
    options: dict[str, Any] = {"on_push": witness.pushes.append} if kind == "feed" else {}
    link = await linked(server.url, silent_s=0.3, **options, **witness.listeners())
    if kind == "feed":
        link.subscribe("channel")
        await until(lambda: witness.pushes)
    server.pause()
    replies: list[Any] = []
    if kind == "waiting":
        link.call(("PING",), replies.append)
    await until(lambda: "down" in witness.told)
    assert all(isinstance(reply, LinkLost) for reply in replies)
    server.resume()
    await until(lambda: link.up)


@pytest.mark.parametrize("feed", [False, True])
async def test_an_idle_link_stays_up_while_the_server_answers(
    linked: MakeLink, valkey_server: MakeServer, feed: bool
):
    server, witness = valkey_server(), Witness()
    options: dict[str, Any] = {"on_push": witness.pushes.append} if feed else {}
    # Not shorter: on a loaded machine the server may well have to wait for its turn.
    await linked(server.url, silent_s=1.0, **options, **witness.listeners())
    onlooker = await linked(server.url)
    await onlooker.ask("CONFIG", "RESETSTAT")
    # Three times: by then a link that waits for nothing would have been cut.
    pings = 0
    while pings < 3:
        stats = (await onlooker.ask("INFO", "commandstats")).decode()
        pings = int(stats.partition("cmdstat_ping:calls=")[2].partition(",")[0] or 0)
    assert witness.told == ["up"]
    assert witness.pushes == []


async def test_a_slow_process_does_not_take_its_own_stall_for_the_server_s(
    linked: MakeLink, valkey_server: MakeServer
):
    witness = Witness()
    link = await linked(valkey_server().url, silent_s=1.0, **witness.listeners())
    replies: list[Any] = []
    link.call(("PING",), replies.append)
    link.flush()
    time.sleep(1.5)  # noqa: ASYNC251 (the stall is what is tested)
    await until(lambda: replies)
    assert replies == [b"PONG"]
    assert witness.told == ["up"]


async def test_a_late_reply_goes_to_nobody_else(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server()
    link = await linked(server.url)
    server.pause()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
        await link.ask("ECHO", "late", timeout_s=0.05)
    server.resume()
    assert await link.ask("ECHO", "mine") == b"mine"


async def test_requests_do_not_pile_up_on_a_server_that_hangs(
    linked: MakeLink, valkey_server: MakeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(link_module, "ASKED_AT_MOST", 3)
    server = valkey_server()
    link = await linked(server.url)
    server.pause()
    for _ in range(3):
        with pytest.raises(Unavailable, match="did not answer"):
            await link.ask("PING", timeout_s=0.02)
    with pytest.raises(Unavailable, match="has 3 requests waiting already"):
        await link.ask("PING", timeout_s=0.02)
    server.resume()
    replies: list[Any] = []
    link.call(("PING",), replies.append)
    await until(lambda: replies)
    assert await link.ask("PING") == b"PONG"


async def test_bytes_that_the_server_does_not_take_are_counted(
    linked: MakeLink, valkey_server: MakeServer
):
    server = valkey_server()
    link = await linked(server.url)
    server.pause()
    replies: list[Any] = []
    for number in range(16):
        link.call(("SET", number, b"x" * 1_000_000), replies.append)
    link.flush()
    assert link.buffered > 8_000_000
    server.resume()
    await until(lambda: len(replies) == 16)
    assert link.buffered == 0


async def test_the_server_is_revived_before_the_link_reconnects(
    linked: MakeLink, valkey_server: MakeServer, caplog: pytest.LogCaptureFixture
):
    server = valkey_server()
    tries = 0

    async def revive() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise RuntimeError("it does not start")
        if tries == 3:
            server.start()

    link = await linked(server.url, before_reconnect=revive)
    server.kill()
    await until(lambda: tries >= 3 and link.up)
    # The same reason twice is told once.
    assert caplog.text.count("link test: it does not start") == 1


async def test_a_listener_that_fails_does_not_keep_the_link_down(
    linked: MakeLink, valkey_server: MakeServer, caplog: pytest.LogCaptureFixture
):
    def fail() -> None:
        raise RuntimeError("a bug of the caller")

    server = valkey_server()
    link = await linked(server.url, on_up=fail, on_down=fail)
    first = link.server.run_id
    server.restart()
    await until(lambda: link.up and link.server.run_id != first)
    assert caplog.text.count("a listener failed") == 3
