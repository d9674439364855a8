"""What every ring of tests may ask for: real servers, and a database that nobody else uses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.server import Server

DATABASES = 4096


def pytest_configure(config: pytest.Config) -> None:
    # `timeout` and CI end a run with SIGTERM: as after Ctrl-C, no server may outlive it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "every_loop: run it on asyncio's own loop, and on uvloop if that is installed"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("every_loop"):
        with contextlib.suppress(ImportError):
            import uvloop

            loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    """Start the server that all tests share; it is never killed or paused by one of them."""
    server = Server("--databases", str(DATABASES))
    try:
        yield server.start()
    finally:
        server.discard()


@pytest.fixture(scope="session")
def valkey_url(shared_server: Server) -> str:
    """Address the shared server, database 0: for tests that do not mind what others write."""
    return shared_server.url


@pytest.fixture(scope="session")
def _database_numbers() -> Iterator[int]:
    # From 1: database 0 belongs to valkey_url.
    return itertools.cycle(range(1, DATABASES))


@pytest.fixture
def fresh_url(shared_server: Server, _database_numbers: Iterator[int]) -> str:
    """Address an empty database of this test alone, on the shared server.

    Keys are private to it. Channels are not: what is published in one database reaches the
    subscribers in all of them, so a test that subscribes picks a channel name of its own.
    Scripts and the server's settings are shared too.
    """
    number = next(_database_numbers)
    shared_server.ask(f"SELECT {number}", "FLUSHDB")
    return f"{shared_server.url}?db={number}"


@pytest.fixture
def valkey_server() -> Iterator[Callable[..., Server]]:
    """Give a maker of private servers, already started, for tests that kill or pause one.

    It takes what Server takes: ``valkey_server("--requirepass", "x", tcp=True)``.
    """
    servers: list[Server] = []

    def make(*options: str, tcp: bool = False) -> Server:
        servers.append(Server(*options, tcp=tcp))
        return servers[-1].start()

    try:
        yield make
    finally:
        for server in servers:
            server.discard()
