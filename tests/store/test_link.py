"""The link on real servers: order, errors, scripts, and every way in which a server goes away."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lifesigns.core.errors import Unavailable
from lifesigns.store import link as link_module
from lifesigns.store.address import Address
from lifesigns.store.link import Link, LinkLost, ReplyError, Script
from tests.server import Server, free_port

pytestmark = pytest.mark.every_loop

# A bound for what takes milliseconds; only a failure ever waits so long.
SOON_S = 30.0
COUNT = Script("count", "#!lua\nreturn redis.call('INCRBY', KEYS[1], ARGV[1])")
MakeServer = Callable[..., Server]
MakeLink = Callable[..., Awaitable[Link]]


@pytest.fixture
async def linked() -> AsyncIterator[MakeLink]:
    """Give a maker of started links, which are closed after the test."""
    links: list[Link] = []

    async def make(url: str, **options: Any) -> Link:
        links.append(Link(Address.parse(url), name="test", **options))
        await links[-1].start()
        return links[-1]

    yield make
    for link in links:
        await link.aclose()


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


class Peer:
    """A peer of ours on loopback that answers each command as it is told: not a real store."""

    def __init__(self, answer: Callable[[list[bytes]], bytes]) -> None:
        self._answer = answer

    async def __aenter__(self) -> Peer:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                count = int((await reader.readline())[1:])
                words = []
                for _ in range(count):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                writer.write(self._answer(words))
        writer.close()


def older(words: list[bytes]) -> bytes:
    info = b"# Server\r\nredis_version:6.2.0\r\nrun_id:abc\r\n"
    return b"$%d\r\n%b\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n"


@contextlib.asynccontextmanager
async def proxied(
    server: Server, *, tls: ssl.SSLContext | None = None, piece: int = 65536
) -> AsyncIterator[int]:
    """Stand between link and server; give the port. Bytes are passed on in pieces of that size."""
    handlers: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(piece):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        inner = await asyncio.open_unix_connection(server.socket_path)
        await asyncio.gather(carry(reader, inner[1]), carry(inner[0], writer))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        if handlers:
            await asyncio.wait(handlers)


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
    server.restart()
    await until(lambda: not link.up)
    await until(lambda: link.up)
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


# --- the server goes, and comes back ---


class Witness:
    """What a link told its listeners, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.pushes: list[list[Any]] = []

    def listeners(self) -> dict[str, Callable[[], None]]:
        return {
            "on_up": lambda: self.told.append("up"),
            "on_down": lambda: self.told.append("down"),
        }


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
    await until(lambda: not link.up)
    await until(lambda: link.up)
    assert tries >= 3
    # The same reason twice is told once.
    assert caplog.text.count("link test: it does not start") == 1


async def test_a_listener_that_fails_does_not_keep_the_link_down(
    linked: MakeLink, valkey_server: MakeServer, caplog: pytest.LogCaptureFixture
):
    def fail() -> None:
        raise RuntimeError("a bug of the caller")

    server = valkey_server()
    link = await linked(server.url, on_up=fail, on_down=fail)
    server.restart()
    await until(lambda: not link.up)
    await until(lambda: link.up)
    assert caplog.text.count("a listener failed") == 3


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


# --- who is let in ---


async def test_nobody_there_is_told_with_the_masked_address(linked: MakeLink):
    port = free_port()
    with pytest.raises(Unavailable) as caught:
        await linked(f"redis://:hunter2@127.0.0.1:{port}")
    assert f"redis://:***@127.0.0.1:{port} cannot be reached" in caught.value.message
    with pytest.raises(Unavailable, match=r"unix:///nowhere/s\.sock cannot be reached"):
        await linked("unix:///nowhere/s.sock")


async def test_a_server_that_does_not_answer_is_told(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server()
    server.pause()
    with pytest.raises(Unavailable, match="cannot be reached: it does not answer"):
        await linked(f"{server.url}?socket_connect_timeout=0.1")


async def test_a_server_older_than_redis_7_is_named_with_its_version(linked: MakeLink):
    async with Peer(older) as peer:
        with pytest.raises(Unavailable, match=r"is Redis 6\.2\.0: Redis 7\.0 or newer"):
            await linked(peer.url)


async def test_what_is_no_store_at_all_is_told(linked: MakeLink):
    async with Peer(lambda words: b"HTTP/1.1 400 Bad Request\r\n\r\n") as peer:
        with pytest.raises(Unavailable, match="not the protocol of Redis"):
            await linked(peer.url)


async def test_a_server_that_still_loads_is_told(linked: MakeLink):
    def loading(words: list[bytes]) -> bytes:
        return older(words) if words[0] == b"INFO" else b"-LOADING it reads its data\r\n"

    async with Peer(loading) as peer:
        with pytest.raises(Unavailable, match="is not ready: LOADING it reads its data"):
            await linked(peer.url)


async def test_a_database_that_is_not_there_is_told(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server("--databases", "2")
    with pytest.raises(Unavailable, match="refuses database 2: ERR"):
        await linked(f"{server.url}?db=2")


async def test_a_password_lets_in(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server("--requirepass", "hunter2")
    link = await linked(server.url.replace("unix://", "unix://:hunter2@"))
    assert await link.ask("ACL", "WHOAMI") == b"default"


async def test_a_user_with_a_password_is_let_in(linked: MakeLink, valkey_server: MakeServer):
    server = valkey_server(*("--user", "worker", "on", ">p@ss/word", "~*", "&*", "+@all"), tcp=True)
    link = await linked(server.url.replace("redis://", "redis://worker:p%40ss%2Fword@"))
    assert await link.ask("ACL", "WHOAMI") == b"worker"


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (":hunter3@", "refuses the password: WRONGPASS"),
        ("worker:hunter3@", "refuses the password: WRONGPASS"),
        ("", "is not ready: NOAUTH"),
    ],
)
async def test_a_wrong_password_is_told_and_not_shown(
    linked: MakeLink, valkey_server: MakeServer, who: str, said: str
):
    server = valkey_server("--requirepass", "hunter2")
    with pytest.raises(Unavailable, match=said) as caught:
        await linked(server.url.replace("unix://", f"unix://{who}"))
    assert str(server.socket_path) in caught.value.message
    assert "hunter" not in caught.value.message


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that nobody has signed; give it and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    openssl = shutil.which("openssl")
    assert openssl, "the tests of TLS need the openssl command"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=store", "-keyout", str(key), "-out", str(cert)),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@contextlib.asynccontextmanager
async def secured(make: MakeServer, certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    """Give the port of a server that speaks TLS itself, if it can, else through a proxy."""
    cert, key = certificate
    port = free_port()
    files = ("--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    try:
        make("--tls-port", str(port), "--tls-ca-cert-file", str(cert), *files)
    except RuntimeError as refused:
        if "tls" not in str(refused).lower():
            raise
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        async with proxied(make(), tls=context) as port:
            yield port
    else:
        yield port


async def test_tls_carries_commands_both_ways(
    linked: MakeLink, valkey_server: MakeServer, certificate: tuple[Path, Path]
):
    async with secured(valkey_server, certificate) as port:
        link = await linked(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate[0]}")
        assert await link.ask("ECHO", "x" * 100_000) == b"x" * 100_000
        assert link.buffered == 0
        await link.aclose()


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    linked: MakeLink, valkey_server: MakeServer, certificate: tuple[Path, Path]
):
    async with secured(valkey_server, certificate) as port:
        with pytest.raises(Unavailable, match=r"cannot be reached: .*certificate verify failed"):
            await linked(f"rediss://127.0.0.1:{port}")
        link = await linked(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
        assert await link.ask("PING") == b"PONG"
        await link.aclose()


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
