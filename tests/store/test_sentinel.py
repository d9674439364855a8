"""A store behind sentinels: found, followed to where it goes, and never taken for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from lifesigns.core.errors import BadValue, Unavailable
from lifesigns.store.address import Address
from lifesigns.store.link import Link, ReplyError
from lifesigns.store.sentinel import Sentinels
from tests.agent import becomes, living
from tests.hub import running_hub
from tests.patience import until
from tests.sentinel import SERVICE, Guarded, guarded
from tests.server import free_port

MakeLink = Callable[..., Awaitable[Link]]


@pytest.fixture
def store() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


@contextlib.asynccontextmanager
async def liar(*answers: bytes) -> AsyncIterator[int]:
    """Serve as a sentinel that says what it is told to; answer its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                for answer in answers:
                    writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def named(port: int) -> bytes:
    return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)


def sentinels(*ports: int, service: str = SERVICE, password: str | None = None) -> Sentinels:
    return Sentinels(tuple(("127.0.0.1", port) for port in ports), service, None, password)


class TestFinding:
    async def test_the_primary_is_where_the_sentinels_say(self, store: Guarded) -> None:
        known = Address.parse(store.url)
        assert await known.place() == ("127.0.0.1", store.primary.port)
        assert known.server_url("::1", 5) == "redis://[::1]:5"

    async def test_sentinels_that_are_gone_or_silent_do_not_count(self, store: Guarded) -> None:
        async with liar() as silent:
            asked = sentinels(free_port(), silent, store.sentinels[0].port)
            assert await asked.find() == ("127.0.0.1", store.primary.port)

    async def test_most_of_them_are_believed(self) -> None:
        async with liar(named(1)) as one, liar(named(2)) as two, liar(named(2)) as three:
            assert await sentinels(one, two, three).find() == ("127.0.0.1", 2)

    async def test_nobody_who_knows_is_told_with_every_reason(self, store: Guarded) -> None:
        with pytest.raises(Unavailable, match=r"where other is: \S+ does not know"):
            await sentinels(store.sentinels[0].port, service="other").find()
        async with (
            liar(b"-NOAUTH first\r\n") as shut,
            liar(b"+what\r\n") as odd,
            liar(b"no RESP\r\n") as noise,
            liar() as silent,
        ):
            gone = free_port()
            with pytest.raises(Unavailable) as caught:
                await sentinels(gone, shut, odd, noise, silent).find()
        said = caught.value.message
        for port, why in (
            (gone, "cannot be reached"),
            (shut, "refuses: NOAUTH first"),
            (odd, "does not know it"),
            (noise, "ended the connection"),
            (silent, "does not answer"),
        ):
            assert f"127.0.0.1:{port} {why}" in said

    async def test_a_password_is_shown_to_sentinels_before_they_are_asked(self) -> None:
        async with liar(b"+OK\r\n", named(7)) as port:
            assert await sentinels(port, password="secret").find() == ("127.0.0.1", 7)
        async with liar(b"-WRONGPASS no\r\n", b"*-1\r\n") as port:
            with pytest.raises(Unavailable, match="WRONGPASS"):
                await sentinels(port, password="wrong").find()


class TestLink:
    async def test_a_link_follows_the_primary_to_where_it_goes(
        self, store: Guarded, linked: MakeLink
    ) -> None:
        link = await linked(store.url)
        await link.ask("SET", "a", 1)
        assert await link.ask("WAIT", 1, 5_000) == 1
        store.primary.kill()
        await until(lambda: not link.up)
        await until(lambda: link.up)
        assert await link.ask("GET", "a") == b"1"
        await link.ask("SET", "a", 2)
        assert b"role:master" in store.replica.ask("INFO replication")

    async def test_a_replica_is_not_taken_for_the_primary(
        self, store: Guarded, linked: MakeLink
    ) -> None:
        async with liar(named(store.replica.port)) as port:
            with pytest.raises(Unavailable, match="is a replica"):
                await linked(f"redis+sentinel://127.0.0.1:{port}/{SERVICE}")

    async def test_one_that_becomes_a_replica_is_left(
        self, store: Guarded, linked: MakeLink
    ) -> None:
        async with liar(named(store.primary.port)) as port:
            link = await linked(f"redis+sentinel://127.0.0.1:{port}/{SERVICE}")
            store.primary.ask(f"REPLICAOF 127.0.0.1 {store.replica.port}")
            with pytest.raises((Unavailable, ReplyError)):
                await link.ask("SET", "a", 1)
            await until(lambda: not link.up)


async def test_nobody_dies_because_the_primary_did(store: Guarded) -> None:
    async with (
        running_hub(store.url, default_ttl_s=5.0) as hub,
        hub.client() as http,
        living(hub, "a", status="thinking") as agent,
    ):
        await becomes(http, "a", state="busy")
        assert await hub.hub.link.ask("WAIT", 1, 5_000) == 1
        store.primary.kill()
        await until(lambda: not hub.hub.link.up)
        await until(lambda: hub.hub.link.up and hub.hub.inbox.up)
        assert (await agent.ask("beat", task="the same as before"))["type"] == "ok"
        shown = await becomes(http, "a", task="the same as before")
        assert shown["state"] == "busy"
        changes = (await http.get("/v1/pulse/a/history")).json()["changes"]
        assert "offline" not in {each["kind"] for each in changes}


class TestAddress:
    def test_a_whole_url_is_understood_and_shown_without_its_secrets(self) -> None:
        address = Address.parse(
            "rediss+sentinel://worker:hunter2@[::1]:5,b.example/main/3"
            "?sentinel_username=s&sentinel_password=hunter3&socket_connect_timeout=2"
        )
        found = address.sentinels
        assert found is not None
        assert (found.places, found.service) == ((("::1", 5), ("b.example", 26379)), "main")
        assert (found.username, found.password, found.tls) == ("s", "hunter3", address.tls)
        assert (address.username, address.password, address.db) == ("worker", "hunter2", 3)
        assert (address.connect_s, address.tls is not None) == (2, True)
        assert address.secrets == ("hunter2", "hunter3")
        assert "hunter" not in repr(address) + str(address)
        assert str(address).startswith("rediss+sentinel://worker:***@[::1]:5,b.example/main/3?")
        assert address.server_url("h", 6) == (
            "rediss://worker:hunter2@h:6/3?socket_connect_timeout=2"
        )

    @pytest.mark.parametrize(
        ("url", "field"),
        [
            ("redis+sentinel://h", "url"),
            ("redis+sentinel://h/", "url"),
            ("redis+sentinel:///s", "url"),
            ("redis+sentinel://h,,i/s", "url"),
            ("redis+sentinel://h:99999/s", "url"),
            ("redis+sentinel://h:port/s", "url"),
            ("redis+sentinel://h/s/first", "db"),
            ("redis+sentinel://h/s/1/2", "url"),
            ("redis+sentinel://h/s#1", "url"),
            ("unix+sentinel://h/s", "url"),
            ("redis+sentinel://h/s?color=red", "color"),
            ("redis+sentinel://h/s?ssl_cert_reqs=none", "ssl_cert_reqs"),
            ("redis+sentinel://h/s?sentinel_password=", "sentinel_password"),
            ("redis+sentinel://h/s?sentinel_username=x", "sentinel_password"),
        ],
    )
    def test_what_cannot_be_understood_is_named(self, url: str, field: str) -> None:
        with pytest.raises(BadValue, match="no address of a store") as caught:
            Address.parse(url)
        assert caught.value.field == field

    @pytest.mark.parametrize(
        "url",
        [
            "redis+sentinel://user:hunter2",
            "redis+sentinel://:hunter2/s",
            "redis+sentinel://:a#hunter2@h/s",
            "redis+sentinel://:hunter2@h/s/first",
            "redis+sentinel://h/s?sentinel_password=hunter2&color=1",
            "redis+sentinel://h/s?password=hunter2&db=x",
        ],
    )
    def test_a_refused_one_never_shows_its_password(self, url: str) -> None:
        with pytest.raises(BadValue) as caught:
            Address.parse(url)
        assert "hunter2" not in f"{caught.value} {caught.value.field}"
