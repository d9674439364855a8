"""The link at the door: who is let in, who is turned away, and with which words."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lifesigns.core.errors import Unavailable
from lifesigns.store.link import Link
from tests.server import Server, free_port
from tests.store.peer import Peer, proxied

pytestmark = pytest.mark.every_loop
MakeServer = Callable[..., Server]
MakeLink = Callable[..., Awaitable[Link]]


def older(words: list[bytes]) -> bytes:
    info = b"# Server\r\nredis_version:6.2.0\r\nrun_id:abc\r\n"
    return b"$%d\r\n%b\r\n" % (len(info), info) if words[0] == b"INFO" else b"+OK\r\n"


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
