"""The proxy does to a connection what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy, Streams
from tests.patience import SOON_S

MOMENT_S = 0.05  # in which nothing is to come: what comes takes a hundredth of it


class Peers:
    """A client, and the server that it reaches through the proxy."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[Streams] = asyncio.Queue()
        self.opened: list[asyncio.StreamWriter] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened.append(writer)
        self.accepted.put_nowait((reader, writer))

    async def reach(self, proxy: Proxy) -> None:
        """Connect to the proxy, whatever is behind it."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        self.opened.append(self.writer)

    async def connect(self, proxy: Proxy) -> None:
        await self.reach(proxy)
        async with asyncio.timeout(SOON_S):
            self.far_reader, self.far_writer = await self.accepted.get()

    async def up(self, data: bytes) -> bytes:
        self.writer.write(data)
        async with asyncio.timeout(SOON_S):
            return await self.far_reader.readexactly(len(data))

    async def down(self, data: bytes) -> bytes:
        self.far_writer.write(data)
        async with asyncio.timeout(SOON_S):
            return await self.reader.readexactly(len(data))


@pytest.fixture
async def peers() -> AsyncIterator[tuple[Peers, Proxy]]:
    peers = Peers()
    server = await asyncio.start_server(peers.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with Proxy(lambda: asyncio.open_connection(host, port)) as proxy:
        await peers.connect(proxy)
        yield peers, proxy
    for writer in peers.opened:
        writer.transport.abort()
    server.close()


Joined = tuple[Peers, Proxy]


async def nothing(reader: asyncio.StreamReader) -> bool:
    """Tell whether nothing comes, not even an end."""
    try:
        async with asyncio.timeout(MOMENT_S):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(SOON_S):
        try:
            return not await reader.read(1)
        except ConnectionError:
            return True


async def test_it_carries_both_ways(peers: Joined) -> None:
    at, _ = peers
    assert await at.up(b"question" * 100_000) == b"question" * 100_000
    assert await at.down(b"answer") == b"answer"


async def test_what_is_delayed_comes_later_in_order(peers: Joined) -> None:
    at, proxy = peers
    proxy.delay(4 * MOMENT_S)
    at.writer.write(b"on")
    assert await nothing(at.far_reader)
    assert await at.up(b"e") == b"o"  # the first of three
    assert await at.far_reader.readexactly(2) == b"ne"


async def test_what_is_chopped_comes_whole(peers: Joined) -> None:
    at, proxy = peers
    proxy.chop(3)
    assert await at.up(b"question") == b"question"
    assert await at.down(b"answer") == b"answer"


async def test_what_is_held_comes_when_it_goes_on(peers: Joined) -> None:
    at, proxy = peers
    proxy.hold(down=False)
    at.writer.write(b"question")
    assert await nothing(at.far_reader)
    assert await at.down(b"answer") == b"answer"
    proxy.resume()
    assert await at.far_reader.readexactly(8) == b"question"


async def test_who_comes_meanwhile_is_held_too(peers: Joined) -> None:
    at, proxy = peers
    proxy.hold()
    await at.connect(proxy)
    at.writer.write(b"question")
    assert await nothing(at.far_reader)
    proxy.resume()
    assert await at.far_reader.readexactly(8) == b"question"


async def test_an_end_is_held_too(peers: Joined) -> None:
    at, proxy = peers
    proxy.hold()
    at.writer.close()
    assert await nothing(at.far_reader)
    proxy.resume()
    assert await ended(at.far_reader)


async def test_what_is_lost_never_comes_and_the_torn_are_cut_in_the_end(peers: Joined) -> None:
    at, proxy = peers
    proxy.lose(down=False)
    at.writer.write(b"question")
    assert await nothing(at.far_reader)
    assert await at.down(b"answer") == b"answer"
    proxy.resume()
    assert await ended(at.far_reader)
    assert await ended(at.reader)


async def test_who_lost_nothing_goes_on(peers: Joined) -> None:
    at, proxy = peers
    proxy.lose()
    proxy.resume()
    assert await at.up(b"question") == b"question"


async def test_a_cut_ends_all_and_lets_nobody_in_until_it_is_over(peers: Joined) -> None:
    at, proxy = peers
    proxy.cut()
    assert await ended(at.reader)
    assert await ended(at.far_reader)
    await at.reach(proxy)
    assert await ended(at.reader)
    proxy.resume()
    await at.connect(proxy)
    assert await at.up(b"question") == b"question"


async def test_the_end_of_one_side_is_the_end_of_the_other(peers: Joined) -> None:
    at, _ = peers
    at.far_writer.close()
    assert await ended(at.reader)


async def test_nobody_behind_it_is_a_reset(peers: Joined) -> None:
    at, _ = peers

    async def refuse() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise ConnectionRefusedError

    async with Proxy(refuse) as proxy:
        await at.reach(proxy)
        assert await ended(at.reader)
