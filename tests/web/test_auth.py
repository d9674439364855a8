"""The gate, against a real registry; the clocks are the tests' own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from lifesigns.core.access import Grant, Scope, digest
from lifesigns.core.errors import Forbidden, NotFound, Unauthorized, Unavailable
from lifesigns.store.address import Address
from lifesigns.store.link import Link
from lifesigns.store.registry import Registry
from lifesigns.web import auth
from lifesigns.web.auth import Gate, OpenGate, token_of
from tests.server import Server

NOW = 1_700_000_000_000
TAKEN_OVER = "sk-live 0123456789/abc+def="
GUESS = "a-guess-that-is-no-key"


class Clock:
    """Both clocks of a gate; time passes when a test says so."""

    def __init__(self) -> None:
        self.s = 1_000.0

    def __call__(self) -> float:
        return self.s

    def now_ms(self) -> int:
        return NOW + round((self.s - 1_000) * 1_000)


class CountingRegistry(Registry):
    """Counts what is looked up, and lets a test hold an answer back after it was read."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.looked_up: list[str] = []
        self.read = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def lookup(self, digests: Sequence[str]) -> list[Grant | None]:
        self.looked_up += digests
        found = await super().lookup(digests)
        self.read.set()
        await self.answer.wait()
        return found


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[CountingRegistry]:
    link = Link(Address.parse(url), name="test")
    await link.start()
    try:
        yield CountingRegistry(link)
    finally:
        await link.aclose()


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


def wanted(scope: Scope = "agent", project: str = "default", **given: object) -> Grant:
    return Grant("", project, scope, **given)  # type: ignore[arg-type]


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
    root = "the-operators-own-key"
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


async def test_a_root_key_from_the_environment_needs_no_store(
    server: Server, clock: Clock
) -> None:
    async with connected(server.url) as registry:
        gate = Gate(registry, root_token="the-operators-own-key", clock=clock)
        server.kill()
        grant = await gate.verify("the-operators-own-key")
        assert (grant.key_id, grant.scope, grant.project) == ("root", "root", "default")
        with pytest.raises(Unavailable):
            await gate.recheck()


# Ended keys.


async def test_a_revoked_key_is_named_and_forgotten_on_another_hub(
    gate: Gate, fresh_url: str, registry: Registry
) -> None:
    grant, token = await registry.create(wanted(), now_ms=NOW)
    other, kept = await registry.create(wanted(), now_ms=NOW)
    await gate.verify(token)
    await gate.verify(kept)
    async with connected(fresh_url) as elsewhere:
        await elsewhere.revoke("default", grant.key_id)

    assert await registry.revision() != gate.revision
    assert await gate.recheck() == {grant.key_id}
    assert await registry.revision() == gate.revision
    assert await gate.recheck() == frozenset()

    assert gate.known(token) is None
    assert gate.ended(grant)
    with pytest.raises(Unauthorized):
        await gate.verify(token)
    assert gate.known(kept) == other
    assert not gate.ended(other)


async def test_keys_that_ended_before_the_first_look_are_not_named(registry: Registry) -> None:
    grant, _ = await registry.create(wanted(), now_ms=NOW)
    await registry.revoke("default", grant.key_id)
    gate = Gate(registry)
    assert await gate.recheck() == frozenset()
    assert gate.revision == await registry.revision()


async def test_the_keys_of_a_deleted_project_are_named(gate: Gate, registry: Registry) -> None:
    await registry.create_project("gone", now_ms=NOW)
    grant, token = await registry.create(wanted(project="gone"), now_ms=NOW)
    await gate.verify(token)
    await registry.delete_project("gone")
    assert await gate.recheck() == {grant.key_id}
    assert gate.known(token) is None


async def test_a_key_that_ended_while_it_was_looked_up_is_not_let_in(
    gate: Gate, fresh_url: str, registry: CountingRegistry
) -> None:
    """The answer was read before the revocation and comes after the hub has caught up with it."""
    grant, token = await registry.create(wanted(), now_ms=NOW)
    registry.answer.clear()
    asking = asyncio.create_task(gate.verify(token))
    await registry.read.wait()
    async with connected(fresh_url) as elsewhere:
        await elsewhere.revoke("default", grant.key_id)
    await gate.recheck()
    registry.answer.set()
    with pytest.raises(Unauthorized):
        await asking
    assert gate.known(token) is None


async def test_a_token_that_was_refused_and_is_then_taken_over_is_good_after_the_next_look(
    gate: Gate, registry: Registry
) -> None:
    with pytest.raises(Unauthorized):
        await gate.verify(TAKEN_OVER)
    grant, _ = await registry.create(wanted(), token=TAKEN_OVER, now_ms=NOW)
    assert await gate.recheck() == frozenset()
    assert await gate.verify(TAKEN_OVER) == grant


async def test_a_replaced_root_key_is_named_and_the_new_one_is_good(
    gate: Gate, registry: Registry
) -> None:
    await registry.ensure_root("the-operators-own-key", None, now_ms=NOW)
    await gate.recheck()
    old = await gate.verify("the-operators-own-key")
    await registry.ensure_root("the-operators-new-key", None, now_ms=NOW)
    assert await gate.recheck() == {"root"}
    with pytest.raises(Unauthorized):
        await gate.verify("the-operators-own-key")
    new = await gate.verify("the-operators-new-key")
    assert new.key_id == old.key_id
    assert not gate.ended(new)


async def test_a_store_that_lost_everything_ends_no_key_but_makes_none_certain(
    server: Server, clock: Clock
) -> None:
    """The keys are gone, yet nobody revoked them: their agents' sockets stay open."""
    async with connected(server.url) as registry:
        gate = Gate(registry, clock=clock, now_ms=clock.now_ms)
        gone, _ = await registry.create(wanted(), now_ms=NOW)
        await registry.revoke("default", gone.key_id)
        await gate.recheck()
        grant, token = await registry.create(wanted(), now_ms=NOW)
        await gate.verify(token)

        server.ask("FLUSHALL")

        assert await gate.recheck() == frozenset()
        assert not gate.ended(grant)
        assert gate.known(token) is None
        with pytest.raises(Unauthorized):
            await gate.verify(token)

        later, _ = await registry.create(wanted(), now_ms=NOW)
        await registry.revoke("default", later.key_id)
        assert await gate.recheck() == {later.key_id}


# Projects.


async def test_root_is_in_default_or_in_the_project_that_it_names(
    gate: Gate, registry: Registry
) -> None:
    await registry.create_project("other", now_ms=NOW)
    await registry.ensure_root("the-operators-own-key", None, now_ms=NOW)
    for named, project in ((None, "default"), ("default", "default"), ("other", "other")):
        grant = await gate.admit("the-operators-own-key", named)
        assert (grant.project, grant.scope) == (project, "root")
    known = gate.known("the-operators-own-key")
    assert known
    assert known.project == "default"


async def test_root_cannot_name_a_project_that_is_not_there(gate: Gate, registry: Registry) -> None:
    await registry.ensure_root("the-operators-own-key", None, now_ms=NOW)
    with pytest.raises(NotFound):
        await gate.admit("the-operators-own-key", "nowhere")
    await registry.create_project("nowhere", now_ms=NOW)
    assert (await gate.admit("the-operators-own-key", "nowhere")).project == "nowhere"


async def test_a_deleted_project_can_be_named_no_more(gate: Gate, registry: Registry) -> None:
    await registry.create_project("gone", now_ms=NOW)
    await registry.ensure_root("the-operators-own-key", None, now_ms=NOW)
    await gate.admit("the-operators-own-key", "gone")
    await registry.delete_project("gone")
    await gate.recheck()
    with pytest.raises(NotFound):
        await gate.admit("the-operators-own-key", "gone")


async def test_other_keys_name_no_project_but_their_own(gate: Gate, registry: Registry) -> None:
    await registry.create_project("other", now_ms=NOW)
    grant, token = await registry.create(wanted("admin", project="other"), now_ms=NOW)
    assert await gate.admit(token, None) == grant
    assert await gate.admit(token, "other") == grant
    with pytest.raises(Forbidden):
        await gate.admit(token, "default")


# Tickets.


async def test_a_ticket_stands_for_the_key_that_it_was_made_with(
    gate: Gate, registry: Registry
) -> None:
    grant, _ = await registry.create(wanted(agent="a1"), now_ms=NOW)
    ticket, _ = await registry.create_ticket(grant, "connect", now_ms=NOW)
    assert await gate.redeem(ticket, "connect") == grant
    with pytest.raises(Unauthorized):
        await gate.redeem(ticket, "connect")


async def test_a_ticket_dies_with_its_key(gate: Gate, registry: Registry, clock: Clock) -> None:
    revoked, _ = await registry.create(wanted(), now_ms=NOW)
    expired, _ = await registry.create(wanted(expires_ms=NOW + 1_000), now_ms=NOW)
    tickets = [
        (await registry.create_ticket(grant, "events", now_ms=NOW))[0]
        for grant in (revoked, expired)
    ]
    for ticket in tickets:
        await gate.redeem(ticket, "events")
    assert gate.expired_ids(NOW + 1_000) == {expired.key_id}
    await registry.revoke("default", revoked.key_id)
    clock.s += 1
    for ticket in tickets:
        with pytest.raises(Unauthorized):
            await gate.redeem(ticket, "events")


async def test_a_login_ticket_becomes_a_key(gate: Gate, registry: Registry) -> None:
    parent, _ = await registry.create(wanted("admin"), now_ms=NOW)
    ticket, _ = await registry.create_ticket(parent, "login", now_ms=NOW)
    grant, token = await gate.login(ticket)
    assert (grant.scope, grant.parent) == ("admin", parent.key_id)
    assert await gate.verify(token) == grant
    with pytest.raises(Unauthorized):
        await gate.login(ticket)


async def test_a_login_of_root_in_another_project_is_at_home_in_default(
    gate: Gate, registry: Registry
) -> None:
    await registry.create_project("other", now_ms=NOW)
    await registry.ensure_root("the-operators-own-key", None, now_ms=NOW)
    root = await gate.admit("the-operators-own-key", "other")
    ticket, _ = await registry.create_ticket(root, "login", now_ms=NOW)
    grant, _ = await gate.login(ticket)
    assert (grant.scope, grant.project) == ("root", "default")


async def test_tickets_need_the_store(server: Server) -> None:
    async with connected(server.url) as registry:
        server.kill()
        with pytest.raises(Unavailable):
            await Gate(registry).redeem("lt_whatever", "connect")


# Auth off.


@pytest.fixture
def open_gate(registry: Registry, clock: Clock) -> OpenGate:
    return OpenGate(registry, clock=clock, now_ms=clock.now_ms)


async def test_with_auth_off_a_token_that_is_an_agent_id_is_that_agent(open_gate: Gate) -> None:
    grant = open_gate.known("search-agent")
    assert grant
    assert grant == await open_gate.verify("search-agent")
    assert (grant.me(), grant.scope, grant.project) == ("search-agent", "root", "default")


@pytest.mark.parametrize("token", [None, "", "me", "not an id", "x" * 129])
async def test_with_auth_off_any_other_token_is_welcome_without_an_agent(
    open_gate: Gate, token: str | None
) -> None:
    grant = await open_gate.verify(token)
    assert (grant.agent, grant.scope) == (None, "root")
    with pytest.raises(Forbidden):
        grant.me()


async def test_with_auth_off_a_made_key_keeps_its_agent_and_never_becomes_a_name(
    open_gate: Gate, registry: Registry
) -> None:
    await registry.create_project("other", now_ms=NOW)
    _, token = await registry.create(wanted(project="other", agent="a1"), now_ms=NOW)
    for grant in (await open_gate.verify(token), open_gate.known(token)):
        assert grant
        assert (grant.me(), grant.scope, grant.project) == ("a1", "root", "other")
    assert (await open_gate.verify("ls_lost_Secret0123456789")).agent is None


async def test_with_auth_off_a_project_can_be_named(open_gate: Gate, registry: Registry) -> None:
    await registry.create_project("other", now_ms=NOW)
    assert (await open_gate.admit("a1", "other")).project == "other"
    with pytest.raises(NotFound):
        await open_gate.admit("a1", "nowhere")


async def test_with_auth_off_tickets_work_and_are_not_needed(
    open_gate: Gate, registry: Registry
) -> None:
    ticket, _ = await registry.create_ticket(await open_gate.verify("a1"), "connect", now_ms=NOW)
    assert (await open_gate.redeem(ticket, "connect")).me() == "a1"
    assert (await open_gate.redeem(ticket, "connect")).scope == "root"


async def test_what_was_handed_out_with_auth_off_is_worth_nothing_with_it_on(
    open_gate: Gate, gate: Gate, registry: Registry
) -> None:
    ticket, _ = await registry.create_ticket(await open_gate.verify("a1"), "events", now_ms=NOW)
    _, token = await open_gate.login("whatever")
    with pytest.raises(Unauthorized):
        await gate.redeem(ticket, "events")
    with pytest.raises(Unauthorized):
        await gate.verify(token)
    assert (await open_gate.verify(token)).agent is None
    assert await registry.keys("default") == []
