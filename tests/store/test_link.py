"""The link while all is well: commands, scripts, channels, and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lifesigns.core.errors import Unavailable
from lifesigns.store import link as link_module
from lifesigns.store.link import Link, LinkLost, ReplyError, Script
from tests.patience import SOON_S, until
from tests.server import Server
from tests.store.peer import proxied
from tests.store.witness import Witness

pytestmark = pytest.mark.every_loop
COUNT = Script("count", "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])")
MakeServer = Callable[..., Server]
MakeLink = Callable[..., Awaitable[Link]]


# --- commands and replies ---


async def test_pipelined_calls_are_answered_in_order(linked: MakeLink, fresh_url: str):
    link = await linked(fresh_url)
    replies: list[Any] = []
    for number in range(2_000):
        link.call(("ECHO", number), replies.append)
    link.call(("SET", "list", b"\x00\xff"), replies.append)
    link.call(["GET", "list"], replies.append)
    await until(lambda: len(replies) == 2_002)
    assert replies[:2_000] == [b"%d" % number for number in range(2_000)]
    assert replies[2_000:] == [b"OK", b"\x00\xff"]


async def test_calls_of_one_turn_leave_together_at_its_end(linked: MakeLink, fresh_url: str):
    link = await linked(fresh_url)
    replies: list[Any] = []
    link.call(("PING",), replies.append)
    held = link.buffered
    link.call(("PING",), replies.append)
    assert link.buffered == 2 * held > 0
    await until(lambda: len(replies) == 2)
    assert link.buffered == 0


async def test_a_flush_sends_at_once(linked: MakeLink, fresh_url: str):
    link = await linked(fresh_url)
    replies: list[Any] = []
    link.call(("PING",), replies.append)
    link.flush()
    assert link.buffered == 0
    assert replies == []
    await until(lambda: replies)


async def test_errors_of_the_server_come_as_values_with_a_code(linked: MakeLink, fresh_url: str):
    link = await linked(fresh_url)
    replies: list[Any] = []
    for args in (
        ("SET", "text", 1),
        ("LPUSH", "text", 1),
        ("NOSUCHCOMMAND",),
        ("MULTI",),
        ("LPUSH", "text", 1),
        ("GET", "text"),
        ("EXEC",),
    ):
        link.call(args, replies.append)
    await until(lambda: len(replies) == 7)
    assert isinstance(replies[1], ReplyError)
    assert replies[1].code == "WRONGTYPE"
    assert isinstance(replies[2], ReplyError)
    assert replies[2].code == "ERR"
    assert "NOSUCHCOMMAND" in str(replies[2])
    assert replies[6][0].code == "WRONGTYPE"
    assert replies[6][1] == b"1"


async def test_asking_raises_what_the_server_refuses(linked: MakeLink, fresh_url: str):
    link = await linked(fresh_url)
    assert await link.ask("SET", "text", 1) == b"OK"
    with pytest.raises(ReplyError, match=r"^WRONGTYPE ") as caught:
        await link.ask("LPUSH", "text", 1)
    assert caught.value.code == "WRONGTYPE"


async def test_a_store_that_cannot_now_is_unavailable(linked: MakeLink, valkey_server: MakeServer):
    link = await linked(valkey_server("--maxmemory", "1").url)
    replies: list[Any] = []
    link.call(("SET", "key", "value"), replies.append)
    await until(lambda: replies)
    assert replies[0].code == "OOM"
    with pytest.raises(Unavailable, match="cannot now: OOM"):
        await link.ask("SET", "key", "value")


async def test_a_database_is_honoured(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server()
    await (await linked(f"{server.url}?db=3")).ask("SET", "key", "third")
    assert await (await linked(f"{server.url}?db=3")).ask("GET", "key") == b"third"
    assert await (await linked(server.url)).ask("GET", "key") is None


async def test_the_server_is_known(linked: MakeLink, fresh_url: str):
    link = await linked(fresh_url)
    info = (await link.ask("INFO", "server")).decode()
    assert f"redis_version:{link.server.version}\r\n" in info
    assert f"run_id:{link.server.run_id}\r\n" in info
    assert link.server.product.startswith(("Redis ", "Valkey "))
    assert await link.ask("CLIENT", "GETNAME") == b"test"


async def test_replies_that_trickle_are_put_together(linked: MakeLink, valkey_server: MakeServer):
    async with proxied(valkey_server(), piece=1) as port:
        link = await linked(f"redis://127.0.0.1:{port}")
        assert await link.ask("ECHO", "a\r\nb" * 50) == b"a\r\nb" * 50
        await link.aclose()


# --- scripts ---


async def test_a_script_is_there_from_the_start(linked: MakeLink, valkey_server: MakeServer):
    link = await linked(valkey_server().url, scripts=[COUNT])
    assert await link.ask("SCRIPT", "EXISTS", COUNT.sha) == [1]
    assert await link.ask_script(COUNT, ["sum"], [5]) == 5


async def test_a_forgotten_script_is_loaded_and_runs_once_each(
    linked: MakeLink, valkey_server: MakeServer
):
    link = await linked(valkey_server().url, scripts=[COUNT])
    for _ in range(3):
        replies: list[Any] = []
        link.call(("SCRIPT", "FLUSH"), replies.append)
        link.call(("SET", "sum", 0), replies.append)
        for _ in range(50):
            link.run(COUNT, ["sum"], [1], replies.append)
        link.call(("PING",), replies.append)
        await until(lambda replies=replies: len(replies) == 53)
        assert sorted(reply for reply in replies if isinstance(reply, int)) == list(range(1, 51))
        assert await link.ask("GET", "sum") == b"50"
    stats = (await link.ask("INFO", "commandstats")).decode()
    # Once with the connection, and once after each of the three times that it was forgotten.
    assert "cmdstat_script|load:calls=4," in stats


async def test_an_unheard_of_script_is_loaded_and_kept(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server()
    link = await linked(server.url)
    assert await link.ask_script(COUNT, ["sum"], [2]) == 2
    first = link.server.run_id
    server.restart()
    await until(lambda: link.up and link.server.run_id != first)
    assert await link.ask("SCRIPT", "EXISTS", COUNT.sha) == [1]


async def test_a_script_that_is_no_lua_is_named(
    linked: MakeLink, fresh_url: str, caplog: pytest.LogCaptureFixture
):
    broken = Script("broken", "#!lua\nreturn +")
    with pytest.raises(Unavailable, match=r"does not take the script broken: ERR .*compil"):
        await linked(fresh_url, scripts=[broken])
    link = await linked(fresh_url)
    with pytest.raises(ReplyError, match="NOSCRIPT"):
        await link.ask_script(broken, [], [])
    assert "does not take the script broken" in caplog.text


async def test_an_error_within_a_script_keeps_its_code(linked: MakeLink, fresh_url: str):
    link = await linked(fresh_url, scripts=[COUNT])
    await link.ask("LPUSH", "sum", 1)
    with pytest.raises(ReplyError) as caught:
        await link.ask_script(COUNT, ["sum"], [1])
    assert caught.value.code == "WRONGTYPE"


# --- channels (they are the server's, not the database's: each test has names of its own) ---


async def test_a_feed_gets_confirmations_and_messages(linked: MakeLink, fresh_url: str):
    witness = Witness()
    feed = await linked(fresh_url, on_push=witness.pushes.append)
    link = await linked(fresh_url)
    feed.subscribe("feed:a")
    feed.subscribe("feed:b")
    feed.subscribe("feed:a")
    await until(lambda: len(witness.pushes) == 2)
    for number in range(3):
        await link.ask("PUBLISH", "feed:a", number)
    feed.unsubscribe("feed:a")
    feed.unsubscribe("feed:never")
    await until(lambda: len(witness.pushes) == 6)
    assert await link.ask("PUBLISH", "feed:a", "late") == 0
    assert witness.pushes == [
        [b"subscribe", b"feed:a", 1],
        [b"subscribe", b"feed:b", 2],
        [b"message", b"feed:a", b"0"],
        [b"message", b"feed:a", b"1"],
        [b"message", b"feed:a", b"2"],
        [b"unsubscribe", b"feed:a", 1],
    ]


async def test_a_feed_subscribes_again_when_it_is_back(
    linked: MakeLink, valkey_server: MakeServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(link_module, "CHANNELS_A_COMMAND", 7)
    server, witness = valkey_server(), Witness()
    feed = await linked(server.url, on_push=witness.pushes.append, **witness.listeners())
    names = [f"again:{number}" for number in range(20)]
    for name in names:
        feed.subscribe(name)
    await until(lambda: len(witness.pushes) == 20)
    server.kill()
    await until(lambda: not feed.up)
    feed.unsubscribe("again:0")
    feed.subscribe("again:new")
    witness.pushes.clear()
    server.start()
    await until(lambda: len(witness.pushes) == 20)
    assert [push[1].decode() for push in witness.pushes] == [*names[1:], "again:new"]
    assert {push[0] for push in witness.pushes} == {b"subscribe"}
    assert witness.told == ["up", "down", "up"]
    link = await linked(server.url)
    await link.ask("PUBLISH", "again:5", "there")
    await until(lambda: witness.pushes[-1] == [b"message", b"again:5", b"there"])


async def test_a_feed_survives_a_push_that_its_listener_fails_on(
    linked: MakeLink, fresh_url: str, caplog: pytest.LogCaptureFixture
):
    pushes: list[list[Any]] = []

    def fail_once(push: list[Any]) -> None:
        pushes.append(push)
        if len(pushes) == 1:
            raise RuntimeError("a bug of the caller")

    feed = await linked(fresh_url, on_push=fail_once)
    feed.subscribe("fails:a")
    feed.subscribe("fails:b")
    await until(lambda: len(pushes) == 2)
    assert feed.up
    assert "a bug of the caller" in caplog.text


async def test_a_channel_that_may_not_be_followed_is_logged(
    linked: MakeLink, valkey_server: MakeServer, caplog: pytest.LogCaptureFixture
):
    server = valkey_server("--user", "worker", "on", ">x", "~*", "resetchannels", "&mine", "+@all")
    feed = await linked(
        server.url.replace("unix://", "unix://worker:x@"), on_push=Witness().pushes.append
    )
    feed.subscribe("theirs")
    await until(lambda: "refused a command of the feed: NOPERM" in caplog.text)
    assert feed.up


# --- the end ---


async def test_a_closed_link_sends_what_was_called_and_stays_away(linked: MakeLink, fresh_url: str):
    witness = Witness()
    link = await linked(fresh_url, **witness.listeners())
    replies: list[Any] = []
    link.call(("SET", "key", "written"), replies.append)
    await link.aclose()
    assert len(replies) == 1
    assert witness.told == ["up"]
    assert not link.up
    await link.aclose()
    reader = await linked(fresh_url)
    deadline = time.monotonic() + SOON_S
    while await reader.ask("GET", "key") is None:
        assert time.monotonic() < deadline
    assert not link.up


async def test_a_link_can_be_closed_while_the_server_hangs(
    linked: MakeLink, valkey_server: MakeServer
):
    server = valkey_server()
    link = await linked(server.url)
    server.pause()
    replies: list[Any] = []
    link.call(("SET", "key", b"x" * 8_000_000), replies.append)
    async with asyncio.timeout(SOON_S):
        await link.aclose()
    assert isinstance(replies[0], LinkLost)


async def test_a_link_can_be_closed_while_it_tries_to_reconnect(
    linked: MakeLink, valkey_server: MakeServer
):
    server, witness = valkey_server(), Witness()
    link = await linked(server.url, **witness.listeners())
    server.kill()
    await until(lambda: witness.told == ["up", "down"])
    await link.aclose()
    server.start()
    assert b"name=test" not in server.ask("CLIENT LIST")
    assert witness.told == ["up", "down"]
