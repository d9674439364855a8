"""Where a key stands in a request, and how a gate verifies it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from lifesigns.core.access import digest
from lifesigns.core.errors import Unauthorized, Unavailable
from lifesigns.store.registry import Registry
from lifesigns.web import auth
from lifesigns.web.auth import Gate, token_of
from tests.keyring import NOW, OPERATORS, Clock, CountingRegistry, connected, wanted
from tests.server import Server

GUESS = "a-guess-that-is-no-key"


@pytest.fixture
async def registry(fresh_url: str) -> AsyncIterator[CountingRegistry]:
    async with connected(fresh_url) as registry:
        yield registry


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def gate(registry: Registry, clock: Clock) -> Gate:
    gate = Gate(registry, clock=clock, now_ms=clock.now_ms)
    await gate.recheck()
    return gate


# Where a key stands in a request.


PATHS = {
    "/v1/pulse/a1": "authorization",
    "/v1/connect": "authorization",
    "/v1/bot/heartbeat/read": "authorization",
    "/": "authorization",
    "/agentsmith": "authorization",
    "/v1/agents2": "authorization",
    "/api/v1/agent/heartbeat": "x-agent-token",
    "/api/v2/home": "x-api-key",
    "/agents": "x-api-key",
    "/agents/a1/heartbeat": "x-api-key",
    "/jobs/7": "x-api-key",
    "/v1/agents/a1": "x-api-key",
    "/v1/jobs": "x-api-key",
}


def sent(header: str, token: str) -> str:
    return f"Bearer {token}" if header == "authorization" else token


@pytest.mark.parametrize(("path", "own"), PATHS.items())
def test_the_own_header_of_a_path_counts_before_all_others(path: str, own: str) -> None:
    headers = {header: sent(header, f"by-{header}") for header in auth.HEADERS}
    assert token_of(path, headers) == f"by-{own}"


@pytest.mark.parametrize(("path", "own"), PATHS.items())
def test_any_other_header_counts_if_the_own_is_absent(path: str, own: str) -> None:
    for header in auth.HEADERS:
        assert token_of(path, {header: sent(header, "the-key")}) == "the-key"


def test_a_bad_own_header_counts_even_if_another_is_good() -> None:
    assert token_of("/jobs", {"x-api-key": "", "authorization": "Bearer good"}) == ""
    assert token_of("/v1/pulse", {"authorization": "Bearer", "x-api-key": "good"}) == ""


def test_a_request_without_a_key_has_none() -> None:
    assert token_of("/v1/pulse", {"host": "localhost"}) is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_known_in_any_case(scheme: str) -> None:
    assert token_of("/", {"authorization": f"  {scheme}   the key "}) == "the key"


def test_a_header_with_another_scheme_is_a_proxys_and_not_ours() -> None:
    basic = "Basic dXNlcjpwYXNz"
    assert token_of("/v1/pulse", {"authorization": basic}) is None
    assert token_of("/v1/pulse", {"authorization": basic, "x-api-key": "good"}) == "good"
    assert token_of("/v1/pulse", {"authorization": "bare-token-without-scheme"}) is None


def test_a_key_beyond_ascii_is_read_as_it_was_sent() -> None:
    as_read = "schlüssel-zum-haus".encode().decode("latin-1")
    assert token_of("/jobs", {"x-api-key": as_read}) == "schlüssel-zum-haus"
    assert token_of("/jobs", {"x-api-key": "\xfcber"}) == "\xfcber"


# Verifying.


async def test_a_good_key_is_verified_and_then_known(gate: Gate, registry: Registry) -> None:
    grant, token = await registry.create(wanted(agent="a1"), now_ms=NOW)
    assert gate.known(token) is None
    assert await gate.verify(token) == grant
    assert gate.known(token) == grant


async def test_no_key_and_a_bad_key_are_unauthorized(gate: Gate) -> None:
    for bad in (None, "", GUESS):
        assert gate.known(bad) is None
        with pytest.raises(Unauthorized):
            await gate.verify(bad)


async def test_a_known_key_is_not_asked_for_again_for_60_seconds(
    gate: Gate, registry: CountingRegistry, clock: Clock
) -> None:
    _, token = await registry.create(wanted(), now_ms=NOW)
    await gate.verify(token)
    clock.s += 59.9
    await gate.verify(token)
    assert len(registry.looked_up) == 1
    clock.s += 0.1
    assert gate.known(token) is None
    await gate.verify(token)
    assert len(registry.looked_up) == 2


async def test_a_flood_of_one_bad_key_costs_the_store_one_look_in_5_seconds(
    gate: Gate, registry: CountingRegistry, clock: Clock
) -> None:
    for _ in range(100):
        with pytest.raises(Unauthorized):
            await gate.verify(GUESS)
    assert len(registry.looked_up) == 1
    clock.s += 5
    with pytest.raises(Unauthorized):
        await gate.verify(GUESS)
    assert len(registry.looked_up) == 2


async def test_many_at_once_with_one_key_ask_the_store_once(
    gate: Gate, registry: CountingRegistry
) -> None:
    grant, token = await registry.create(wanted(), now_ms=NOW)
    assert await asyncio.gather(*(gate.verify(token) for _ in range(50))) == [grant] * 50
    assert len(registry.looked_up) == 1


async def test_a_client_that_goes_away_does_not_take_the_answer_from_others(
    gate: Gate, registry: CountingRegistry
) -> None:
    grant, token = await registry.create(wanted(), now_ms=NOW)
    registry.answer.clear()
    first = asyncio.create_task(gate.verify(token))
    await registry.read.wait()
    second = asyncio.create_task(gate.verify(token))
    await asyncio.sleep(0)
    first.cancel()
    registry.answer.set()
    assert await second == grant
    assert first.cancelled()
    assert len(registry.looked_up) == 1


async def test_what_is_remembered_is_bounded(
    gate: Gate, registry: CountingRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "GOOD_KEYS", 2)
    monkeypatch.setattr(auth, "BAD_KEYS", 2)
    tokens = [(await registry.create(wanted(), now_ms=NOW))[1] for _ in range(3)]
    for token in tokens:
        await gate.verify(token)
    assert [gate.known(token) is not None for token in tokens] == [False, True, True]

    registry.looked_up.clear()
    for guess in ("guess1", "guess2", "guess3", "guess3", "guess2", "guess1"):
        with pytest.raises(Unauthorized):
            await gate.verify(guess)
    assert registry.looked_up == [digest(f"guess{i}") for i in (1, 2, 3, 1)]


async def test_no_token_is_kept_in_the_gate(registry: Registry, clock: Clock) -> None:
    root = OPERATORS
    gate = Gate(registry, root_token=root, clock=clock)
    await registry.ensure_root(root, None, now_ms=NOW)
    _, token = await registry.create(wanted(), now_ms=NOW)
    for good in (root, token):
        await gate.verify(good)
    with pytest.raises(Unauthorized):
        await gate.verify(GUESS)
    kept = repr(vars(gate))
    assert not [secret for secret in (root, token, GUESS) if secret in kept]


async def test_an_expired_key_is_unauthorized_whether_known_or_not(
    gate: Gate, registry: Registry, clock: Clock
) -> None:
    _, token = await registry.create(wanted(expires_ms=NOW + 10_000), now_ms=NOW)
    _, unknown = await registry.create(wanted(expires_ms=NOW + 10_000), now_ms=NOW)
    await gate.verify(token)
    clock.s += 10
    for each in (token, unknown):
        assert gate.known(each) is None
        with pytest.raises(Unauthorized, match="expired"):
            await gate.verify(each)


async def test_keys_that_expire_are_named_once_for_their_open_sockets(
    gate: Gate, registry: Registry
) -> None:
    made = [
        await registry.create(wanted(expires_ms=NOW + ends), now_ms=NOW) for ends in (20, 10, 30)
    ]
    for _, token in made:
        await gate.verify(token)
    late, early, last = (grant.key_id for grant, _ in made)
    assert gate.expired_ids(NOW + 9) == frozenset()
    assert gate.expired_ids(NOW + 25) == {early, late}
    assert gate.expired_ids(NOW + 25) == frozenset()
    assert gate.expired_ids(NOW + 30) == {last}


# While the store is away.


@pytest.fixture
def server(valkey_server: Callable[..., Server]) -> Server:
    return valkey_server()


async def test_known_keys_go_on_while_the_store_is_away_and_unknown_ones_do_not(
    server: Server, clock: Clock
) -> None:
    async with connected(server.url) as registry:
        gate = Gate(registry, clock=clock, now_ms=clock.now_ms)
        grant, known = await registry.create(wanted(), now_ms=NOW)
        _, unknown = await registry.create(wanted(), now_ms=NOW)
        await gate.verify(known)
        server.kill()
        assert await gate.verify(known) == grant
        for token in (unknown, GUESS):
            with pytest.raises(Unavailable):
                await gate.verify(token)
        clock.s += 3_600
        assert await gate.verify(known) == grant


async def test_an_absent_store_is_tried_for_a_known_key_once_a_second_at_most(
    server: Server, clock: Clock
) -> None:
    async with connected(server.url) as registry:
        gate = Gate(registry, clock=clock, now_ms=clock.now_ms)
        _, token = await registry.create(wanted(), now_ms=NOW)
        await gate.verify(token)
        server.kill()
        clock.s += 60
        registry.looked_up.clear()
        for _ in range(10):
            await gate.verify(token)
        assert len(registry.looked_up) == 1
        clock.s += 1
        await gate.verify(token)
        assert len(registry.looked_up) == 2


async def test_a_known_key_expires_while_the_store_is_away(server: Server, clock: Clock) -> None:
    async with connected(server.url) as registry:
        gate = Gate(registry, clock=clock, now_ms=clock.now_ms)
        _, token = await registry.create(wanted(expires_ms=NOW + 90_000), now_ms=NOW)
        await gate.verify(token)
        server.kill()
        clock.s += 90
        with pytest.raises(Unauthorized):
            await gate.verify(token)


async def test_a_root_key_from_the_environment_needs_no_store(server: Server, clock: Clock) -> None:
    async with connected(server.url) as registry:
        gate = Gate(registry, root_token=OPERATORS, clock=clock)
        server.kill()
        grant = await gate.verify(OPERATORS)
        assert (grant.key_id, grant.scope, grant.project) == ("root", "root", "default")
        with pytest.raises(Unavailable):
            await gate.recheck()
