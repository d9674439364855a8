"""Posts a message to somebody else's server, and comes back within a bounded time and size.

A name is resolved once; of its addresses those are left out that a hub does not speak to, and the
one that is connected to is one of the others, never a name again. Redirects are answers like any
other. Everything has to be over in time: finding the address, the handshake, the answer. An answer
that ends too soon is none, for its sender may have ended over it; one that is longer than it needs
to be is cut, and the rest not read.

    SendError
    ├── AddressRefused    nothing is sent to where that name leads
    ├── Unreachable       no address, no connection, or no certificate that holds
    ├── TooSlow           it was not over in time
    └── BadAnswer         what came is no answer, or not the whole of it
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lifesigns import __version__
from lifesigns.core.destination import Allowance, Destination, destination_of

TIMEOUT_S = 15.0
ANSWER_BYTES = 65_536
HEAD_BYTES = 65_536
INTERIM_ANSWERS = 8  # of the kind 1xx, before the real one

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: [^\r\n]*)?")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class SendError(Exception):
    """It is not known to have arrived; the text is for people, the code for programs."""

    code = "failed"


class AddressRefused(SendError):
    code = "address_refused"


class Unreachable(SendError):
    code = "unreachable"


class TooSlow(SendError):
    code = "timeout"


class BadAnswer(SendError):
    code = "bad_answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in small letters; of one that came twice the last
    body: bytes  # at most ANSWER_BYTES of it

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Sender:
    """Posts. One for the whole hub will do: nothing is kept between two messages."""

    def __init__(
        self,
        allowance: Allowance,
        *,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.allowance = allowance
        self._timeout_s = timeout_s
        self._resolve = resolve or resolve_name
        self._asking: dict[tuple[str, int], asyncio.Task[Sequence[str]]] = {}
        self._context = context

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post and answer whatever status came; raises SendError, and BadValue for a bad URL."""
        destination = destination_of(url)
        request = _request(destination, body, headers)
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connect(destination)
                try:
                    writer.write(request)
                    return await _answer(reader)
                finally:
                    writer.transport.abort()  # a peer that does not read could hold a close up
        except TimeoutError:
            raise TooSlow(f"no answer within {self._timeout_s:g} s") from None
        except (asyncio.IncompleteReadError, OSError):
            raise BadAnswer("the connection ended before the answer did") from None
        except asyncio.LimitOverrunError:
            raise BadAnswer("the head of the answer is too long") from None

    async def _connect(self, destination: Destination) -> tuple[StreamReader, StreamWriter]:
        refusal: SendError | None = None
        for address in await self._addresses(destination):
            if (kind := self.allowance.refuses(address)) is not None:
                refusal = refusal or AddressRefused(f"{destination.host} is {kind}: {address}")
                continue
            try:
                return await asyncio.open_connection(
                    address,
                    destination.port,
                    limit=HEAD_BYTES,
                    ssl=self._tls() if destination.tls else None,
                    server_hostname=destination.host if destination.tls else None,
                )
            except ssl.SSLCertVerificationError as error:
                refusal = Unreachable(f"its certificate does not hold: {error.verify_message}")
            except TimeoutError:
                raise
            except OSError as error:
                refusal = Unreachable(f"no connection: {_why(error)}")
        raise refusal or Unreachable(f"{destination.host} has no address")

    async def _addresses(self, destination: Destination) -> Sequence[str]:
        where = destination.host, destination.port
        asking = self._asking.get(where)
        if asking is None:  # who asks meanwhile shares the answer: few lookups run at once
            asking = asyncio.create_task(self._look_up(*where), name=f"resolve {where[0]}")
            self._asking[where] = asking
            asking.add_done_callback(lambda _: self._asking.pop(where))
        try:
            return await asyncio.shield(asking)
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{destination.host} has no address: {_why(error)}") from None

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        async with asyncio.timeout(self._timeout_s):
            return await self._resolve(host, port)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:  # it takes a while, and many hubs never need it
            self._context = ssl.create_default_context()
        return self._context


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Ask the system for all addresses of a name, in its order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def _request(destination: Destination, body: bytes, headers: Mapping[str, str]) -> bytes:
    head = {
        "Host": destination.authority,
        "User-Agent": f"Lifesigns/{__version__}",
        "Accept": "*/*",
        "Connection": "close",
        "Content-Length": str(len(body)),
        **headers,
    }
    lines = [f"POST {destination.target} HTTP/1.1", *(f"{k}: {v}" for k, v in head.items())]
    for line in lines:
        assert not set("\r\n") & set(line), "a header is one line"
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def _answer(reader: StreamReader) -> Answer:
    for _ in range(INTERIM_ANSWERS):
        status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
        if status >= 200:
            return Answer(status, headers, await _body(reader, status, headers))
    raise BadAnswer("it never comes to an answer")


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise BadAnswer("the answer is not HTTP")
    headers = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return int(found[1]), headers


async def _body(reader: StreamReader, status: int, headers: Mapping[str, str]) -> bytes:
    if status in (204, 304):
        return b""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    length = headers.get("content-length")
    if length is None:
        return await _rest(reader)
    if not (length.isascii() and length.isdecimal()):
        raise BadAnswer("the length of the answer is no number")
    digits = length.lstrip("0")[:9] or "0"  # nobody reads a longer one to its end
    return await reader.readexactly(min(int(digits), ANSWER_BYTES))


async def _rest(reader: StreamReader) -> bytes:
    read = bytearray()
    while len(read) < ANSWER_BYTES and (more := await reader.read(ANSWER_BYTES - len(read))):
        read += more
    return bytes(read)


async def _chunks(reader: StreamReader) -> bytes:
    read = bytearray()
    while len(read) < ANSWER_BYTES:
        found = _SIZE.fullmatch(await reader.readuntil(b"\r\n"))
        if found is None:
            raise BadAnswer("the chunks of the answer do not fit")
        size = int(found[1], 16)
        if size == 0:
            break
        take = min(size, ANSWER_BYTES - len(read))
        read += await reader.readexactly(take)
        if take == size and await reader.readexactly(2) != b"\r\n":
            raise BadAnswer("the chunks of the answer do not fit")
    return bytes(read)


def _why(error: Exception) -> str:
    with suppress(AttributeError):
        if error.strerror:  # type: ignore[attr-defined]
            return str(error.strerror).lower()  # type: ignore[attr-defined]
    return str(error).lower() or type(error).__name__
