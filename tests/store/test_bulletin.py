"""What is told to all hubs as it happens, over real channels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lifesigns.core.errors import Unavailable
from lifesigns.store import bulletin
from lifesigns.store.address import Address
from lifesigns.store.bulletin import Bulletin
from lifesigns.store.link import Link
from tests.patience import until
from tests.server import Server


@asynccontextmanager
async def hub(url: str) -> AsyncIterator[Bulletin]:
    """Run what a hub has of it."""

    def pushed(push: list[Any]) -> None:
        channel = push[1].decode()
        if push[0] == b"message":
            board.heard(channel, push[2])
        elif push[0] == b"subscribe":
            board.confirmed(channel)

    address = Address.parse(url)
    link, feed = Link(address, name="test"), Link(address, name="test-feed", on_push=pushed)
    board = Bulletin(link, feed)
    await link.start()
    await feed.start()
    try:
        yield board
    finally:
        await feed.aclose()
        await link.aclose()


async def test_all_hubs_hear_of_it_and_of_their_own_project_alone(fresh_url: str) -> None:
    async with hub(fresh_url) as here, hub(fresh_url) as there:
        heard: list[str | None] = []
        other: list[str | None] = []
        await there.follow("default", heard.append)
        await there.follow("default", heard.append)
        await here.follow("other", other.append)
        here.tell("default", "größer")
        there.tell("default", "b")
        await until(lambda: len(heard) == 4)
        assert sorted(map(str, heard)) == ["b", "b", "größer", "größer"]
        here.tell("other", "c")
        await until(lambda: other == ["c"])
        assert len(heard) == 4


async def test_who_has_left_hears_nothing_and_who_comes_later_hears_again(fresh_url: str) -> None:
    async with hub(fresh_url) as here:
        first: list[str | None] = []
        second: list[str | None] = []
        leave = await here.follow("default", first.append)
        leave()
        leave()
        await here.follow("default", second.append)
        here.tell("default", "a")
        await until(lambda: second == ["a"])
        assert first == []


async def test_who_may_have_missed_something_is_told_so(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with hub(server.url) as here:
        heard: list[str | None] = []
        await here.follow("default", heard.append)
        assert heard == [], "a first confirmation is no doubt"
        server.ask("CLIENT KILL TYPE pubsub")
        await until(lambda: heard == [None])


async def test_without_the_store_nobody_can_listen(
    valkey_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulletin, "LISTENING_S", 0.05)
    server = valkey_server()
    async with hub(server.url) as here:
        server.pause()
        try:
            with pytest.raises(Unavailable):
                await here.follow("default", [].append)
        finally:
            server.resume()
