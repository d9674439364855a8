"""What is posted arrives, or it is told why not: in time, in bounds, and nowhere else."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from asyncio import StreamWriter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from lifesigns import __version__
from lifesigns.core.destination import Allowance
from lifesigns.core.errors import BadValue
from lifesigns.workers.sender import (
    ANSWER_BYTES,
    HEAD_BYTES,
    AddressRefused,
    BadAnswer,
    Resolve,
    Sender,
    SendError,
    TooSlow,
    Unreachable,
)
from tests.patience import SOON_S, until
from tests.receiver import Got, Receiver, answer, receiver

LOCAL = Allowance(loopback=True)
LONG_S = SOON_S  # nothing here may take it
AT_ONCE_S = 0.2  # a bound that is to be reached
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as there:
        yield there


def sender(*, timeout_s: float = LONG_S, resolve: Resolve | None = None) -> Sender:
    return Sender(LOCAL, timeout_s=timeout_s, resolve=resolve)


def leads_to(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def test_a_message_arrives_as_it_was_given(there: Receiver) -> None:
    there.always = answer(202, b"thanks", X_Note="so")
    got = await sender().post(there.url + "?a=b", b'{"a":1}', {"Content-Type": "application/json"})
    assert (got.status, got.ok, got.body) == (202, True, b"thanks")
    assert got.headers["x-note"] == "so"
    (came,) = there.got
    assert (came.method, came.target, came.body) == ("POST", "/hook?a=b", b'{"a":1}')
    assert came.headers["host"] == f"127.0.0.1:{there.port}"
    assert came.headers["content-type"] == "application/json"
    assert came.headers["user-agent"] == f"Lifesigns/{__version__}"


async def test_the_host_header_names_the_name_and_not_the_address(there: Receiver) -> None:
    url = f"http://hooks.example:{there.port}/"
    await sender(resolve=leads_to("127.0.0.1")).post(url, b"", {})
    assert there.got[0].headers["host"] == f"hooks.example:{there.port}"


@pytest.mark.parametrize("status", [200, 201, 299, 301, 400, 404, 410, 429, 500, 503])
async def test_every_status_is_an_answer(there: Receiver, status: int) -> None:
    there.always = answer(status, b"so")
    got = await sender().post(there.url, b"", {})
    assert (got.status, got.ok) == (status, status < 300)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(there: Receiver, status: int) -> None:
    async with receiver() as elsewhere:
        there.always = answer(status, Location=elsewhere.url)
        assert (await sender().post(there.url, b"", {})).status == status
        assert elsewhere.got == []
    assert len(there.got) == 1


@pytest.mark.parametrize(
    "raw",
    [
        CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nabcde",
        b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde and more",
        b"HTTP/1.1 200\r\nContent-Length: 0005\r\n\r\nabcde",
    ],
)
async def test_an_answer_may_be_written_in_several_ways(there: Receiver, raw: bytes) -> None:
    there.always = raw
    assert (await sender().post(there.url, b"", {})).body == b"abcde"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        CHUNKED + b"7FFFFFFF\r\n",
    ],
)
async def test_a_long_answer_is_cut_and_its_rest_not_read(there: Receiver, head: bytes) -> None:
    ended = asyncio.Event()

    async def endless(got: Got, writer: StreamWriter) -> None:
        writer.write(head)
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        except ConnectionError:
            ended.set()

    there.always = endless
    got = await sender().post(there.url, b"", {})
    assert (got.status, got.body) == (200, b"x" * ANSWER_BYTES)
    async with asyncio.timeout(SOON_S):
        await ended.wait()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        CHUNKED + b"3\r\nab",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n",
        CHUNKED + b"xyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"SSH-2.0-Server\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 102 Wait\r\n\r\n" * 9,
    ],
)
async def test_what_is_no_whole_answer_is_none(there: Receiver, raw: bytes) -> None:
    there.always = raw
    with pytest.raises(BadAnswer):
        await sender().post(there.url, b"", {})


async def test_a_receiver_that_closes_half_way_has_not_answered(there: Receiver) -> None:
    async def cut(got: Got, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na")
        await writer.drain()
        writer.transport.abort()

    there.always = cut
    with pytest.raises(BadAnswer, match="ended before"):
        await sender().post(there.url, b"", {})


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"])
async def test_a_receiver_that_is_slow_is_left(there: Receiver, said: bytes) -> None:
    left = asyncio.Event()

    async def dawdle(got: Got, writer: StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        await left.wait()

    there.always = dawdle
    with pytest.raises(TooSlow, match=r"no answer within 0\.2 s"):
        await sender(timeout_s=AT_ONCE_S).post(there.url, b"", {})
    left.set()
    await until(lambda: there.open == 0)


async def test_drips_do_not_lengthen_the_time(there: Receiver) -> None:
    async def drip(got: Got, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not writer.transport.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    there.always = drip
    with pytest.raises(TooSlow):
        await sender(timeout_s=AT_ONCE_S).post(there.url, b"", {})


async def test_a_body_that_nobody_reads_does_not_hold_it_up() -> None:
    held: list[StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(TooSlow):
            await sender(timeout_s=AT_ONCE_S).post(f"http://127.0.0.1:{port}/", b"x" * 2**24, {})
        for writer in held:
            writer.transport.abort()


async def test_nobody_listens_there() -> None:
    async with receiver() as gone:
        url = gone.url
    with pytest.raises(Unreachable, match="no connection"):
        await sender().post(url, b"", {})


async def test_a_name_that_nobody_knows_cannot_be_reached() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(Unreachable, match=r"hooks\.example has no address: name or service"):
        await sender(resolve=resolve).post("http://hooks.example/", b"", {})


async def test_a_name_that_is_resolved_for_too_long_is_left() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(LONG_S)
        return []

    with pytest.raises(TooSlow):
        await sender(timeout_s=AT_ONCE_S, resolve=resolve).post("http://hooks.example/", b"", {})


# Addresses.


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "100.64.0.1", "fe80::1%lo"]
)
async def test_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused, match=r"hooks\.example is "):
        await sender(resolve=leads_to(address)).post("http://hooks.example/", b"", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1"])
async def test_loopback_is_refused_however_it_is_written(there: Receiver, host: str) -> None:
    with pytest.raises(AddressRefused, match="a loopback address"):
        await Sender(Allowance()).post(f"http://{host}:{there.port}/", b"", {})
    assert there.got == []


async def test_a_name_that_changes_its_address_is_asked_once(there: Receiver) -> None:
    """Whoever answers for a name may answer otherwise the second time: there is none."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    assert (await sender(resolve=resolve).post(f"http://h:{there.port}/", b"", {})).ok
    assert answers == [["10.0.0.1"]]
    with pytest.raises(AddressRefused):
        await sender(resolve=resolve).post(f"http://h:{there.port}/", b"", {})


async def test_who_asks_for_a_name_meanwhile_shares_the_answer(there: Receiver) -> None:
    asked, known = [], asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        await known.wait()
        return ["127.0.0.1"]

    post = sender(resolve=resolve).post
    posts = [asyncio.create_task(post(f"http://h:{there.port}/", b"", {})) for _ in range(5)]
    await until(lambda: asked)
    posts[0].cancel()  # whoever asked first need not stay
    await asyncio.wait(posts[:1])
    known.set()
    assert all(answer.ok for answer in await asyncio.gather(*posts[1:]))
    assert asked == ["h"]
    assert (await post(f"http://h:{there.port}/", b"", {})).ok
    assert asked == ["h", "h"]


async def test_of_several_addresses_the_refused_ones_are_left_out(there: Receiver) -> None:
    assert (
        await sender(resolve=leads_to("10.0.0.1", "127.0.0.1")).post(
            f"http://h:{there.port}/", b"", {}
        )
    ).ok


async def test_of_several_addresses_the_next_is_tried_where_nobody_listens(
    there: Receiver,
) -> None:
    assert (
        await sender(resolve=leads_to("127.0.0.2", "127.0.0.1")).post(
            f"http://h:{there.port}/", b"", {}
        )
    ).ok


@pytest.mark.parametrize("url", ["ftp://h/", "http://h/\r\nX: y", "nothing"])
async def test_what_is_no_url_is_not_even_resolved(url: str) -> None:
    with pytest.raises(BadValue):
        await sender().post(url, b"", {})


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for hooks.example that is its own authority, and its key."""
    openssl = shutil.which("openssl")
    assert openssl, "the tests of TLS need the openssl command"
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=hooks.example"),
            *("-addext", "subjectAltName=DNS:hooks.example"),
            *("-out", str(made[0]), "-keyout", str(made[1])),
        ],
        check=True,
        capture_output=True,
    )
    return made


def serving(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


async def test_the_certificate_is_that_of_the_name(certificate: tuple[Path, Path]) -> None:
    names: list[str | None] = []
    tls = serving(certificate)
    tls.sni_callback = lambda _, name, __: names.append(name)  # type: ignore[assignment]
    trusting = ssl.create_default_context(cafile=certificate[0])
    post = Sender(LOCAL, timeout_s=LONG_S, resolve=leads_to("127.0.0.1"), context=trusting).post
    async with receiver(tls=tls) as there:
        assert (await post(f"https://hooks.example:{there.port}/", b"{}", {})).ok
        assert names == ["hooks.example"]
        with pytest.raises(Unreachable, match="certificate does not hold"):
            await post(f"https://other.example:{there.port}/", b"{}", {})
        assert len(there.got) == 1


async def test_a_certificate_that_nobody_vouches_for_does_not_hold(
    certificate: tuple[Path, Path],
) -> None:
    async with receiver(tls=serving(certificate)) as there:
        url = f"https://hooks.example:{there.port}/"
        with pytest.raises(Unreachable, match="certificate does not hold"):
            await sender(resolve=leads_to("127.0.0.1")).post(url, b"{}", {})
        assert there.got == []


async def test_a_server_without_tls_cannot_be_reached_by_it(there: Receiver) -> None:
    with pytest.raises(SendError):
        await sender().post(there.url.replace("http", "https"), b"{}", {})
