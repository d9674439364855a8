"""What a gate learns: keys that ended, projects that are named, tickets that are redeemed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from lifesigns.core.errors import Forbidden, NotFound, Unauthorized, Unavailable
from lifesigns.store.registry import Registry
from lifesigns.web.auth import Gate
from tests.keyring import NOW, OPERATORS, TAKEN_OVER, Clock, CountingRegistry, connected, wanted
from tests.server import Server


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


@pytest.fixture
def server(valkey_server: Callable[..., Server]) -> Server:
    return valkey_server()


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
    await registry.ensure_root(OPERATORS, None, now_ms=NOW)
    await gate.recheck()
    old = await gate.verify(OPERATORS)
    await registry.ensure_root("the-operators-new-key", None, now_ms=NOW)
    assert await gate.recheck() == {"root"}
    with pytest.raises(Unauthorized):
        await gate.verify(OPERATORS)
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
    await registry.ensure_root(OPERATORS, None, now_ms=NOW)
    for named, project in ((None, "default"), ("default", "default"), ("other", "other")):
        grant = await gate.admit(OPERATORS, named)
        assert (grant.project, grant.scope) == (project, "root")
    known = gate.known(OPERATORS)
    assert known
    assert known.project == "default"


async def test_root_cannot_name_a_project_that_is_not_there(gate: Gate, registry: Registry) -> None:
    await registry.ensure_root(OPERATORS, None, now_ms=NOW)
    with pytest.raises(NotFound):
        await gate.admit(OPERATORS, "nowhere")
    await registry.create_project("nowhere", now_ms=NOW)
    assert (await gate.admit(OPERATORS, "nowhere")).project == "nowhere"


async def test_a_deleted_project_can_be_named_no_more(gate: Gate, registry: Registry) -> None:
    await registry.create_project("gone", now_ms=NOW)
    await registry.ensure_root(OPERATORS, None, now_ms=NOW)
    await gate.admit(OPERATORS, "gone")
    await registry.delete_project("gone")
    await gate.recheck()
    with pytest.raises(NotFound):
        await gate.admit(OPERATORS, "gone")


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
    await registry.ensure_root(OPERATORS, None, now_ms=NOW)
    root = await gate.admit(OPERATORS, "other")
    ticket, _ = await registry.create_ticket(root, "login", now_ms=NOW)
    grant, _ = await gate.login(ticket)
    assert (grant.scope, grant.project) == ("root", "default")


async def test_tickets_need_the_store(server: Server) -> None:
    async with connected(server.url) as registry:
        server.kill()
        with pytest.raises(Unavailable):
            await Gate(registry).redeem("lt_whatever", "connect")
