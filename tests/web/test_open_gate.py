"""The gate of ``--auth off``."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lifesigns.core.errors import Forbidden, NotFound, Unauthorized
from lifesigns.store.registry import Registry
from lifesigns.web.auth import Gate, OpenGate
from tests.keyring import NOW, Clock, CountingRegistry, connected, wanted


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
