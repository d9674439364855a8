"""Tickets in a real store: for whom they stand, how often, and how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lifesigns.core.access import Grant
from lifesigns.core.errors import BadValue
from lifesigns.store import registry
from lifesigns.store.link import Link
from lifesigns.store.registry import Registry
from tests.keyring import NOW, OPERATORS, hubs, linked, wanted


@pytest.fixture
async def link(fresh_url: str) -> AsyncIterator[Link]:
    async with linked(fresh_url) as link:
        yield link


@pytest.fixture
def store(link: Link) -> Registry:
    return Registry(link)


@pytest.fixture
async def admin(store: Registry) -> Grant:
    grant, _ = await store.create(wanted("admin"), now_ms=NOW)
    return grant


@pytest.mark.parametrize("purpose", ["connect", "login"])
async def test_a_ticket_to_connect_or_log_in_is_good_once(
    store: Registry, admin: Grant, purpose: registry.Purpose
) -> None:
    ticket, _ = await store.create_ticket(admin, purpose, now_ms=NOW)
    assert await store.redeem(ticket, purpose) == admin
    assert await store.redeem(ticket, purpose) is None


async def test_a_ticket_is_redeemed_by_one_of_many_hubs(fresh_url: str) -> None:
    async with hubs(fresh_url) as stores:
        grant, _ = await stores[0].create(wanted("watch"), now_ms=NOW)
        ticket, _ = await stores[0].create_ticket(grant, "connect", now_ms=NOW)
        redeemed = await asyncio.gather(*(each.redeem(ticket, "connect") for each in stores))
        assert [each for each in redeemed if each] == [grant]


async def test_a_ticket_for_events_is_good_any_number_of_times(
    store: Registry, admin: Grant
) -> None:
    ticket, _ = await store.create_ticket(admin, "events", now_ms=NOW)
    assert [await store.redeem(ticket, "events") for _ in range(3)] == [admin] * 3


async def test_a_ticket_for_another_purpose_is_none_and_is_not_spent(
    store: Registry, admin: Grant
) -> None:
    ticket, _ = await store.create_ticket(admin, "connect", now_ms=NOW)
    assert await store.redeem(ticket, "events") is None
    assert await store.redeem(ticket, "login") is None
    assert await store.redeem(ticket, "connect") == admin


async def test_a_ticket_carries_the_project_that_root_had_chosen(store: Registry) -> None:
    await store.ensure_root(OPERATORS, None, now_ms=NOW)
    chosen = Grant("root", "other", "root", name="root")
    ticket, _ = await store.create_ticket(chosen, "connect", now_ms=NOW)
    redeemed = await store.redeem(ticket, "connect")
    assert redeemed == chosen
    assert await store.holds(chosen)


@pytest.mark.parametrize(("purpose", "ttl_s"), [("connect", 30), ("events", 3_600), ("login", 900)])
async def test_a_ticket_ends_by_itself(
    store: Registry, link: Link, admin: Grant, purpose: registry.Purpose, ttl_s: int
) -> None:
    _, expires_ms = await store.create_ticket(admin, purpose, now_ms=NOW)
    assert expires_ms == NOW + ttl_s * 1_000
    (key,) = await link.ask("KEYS", f"{registry.TICKET}*")
    assert ttl_s * 1_000 - 60_000 < await link.ask("PTTL", key) <= ttl_s * 1_000


async def test_a_ticket_may_be_shorter_and_never_longer(store: Registry, admin: Grant) -> None:
    _, expires_ms = await store.create_ticket(admin, "connect", ttl_s=2.5, now_ms=NOW)
    assert expires_ms == NOW + 2_500
    for ttl_s in (0, 0.5, -1, 31, float("nan")):
        with pytest.raises(BadValue, match="from 1 to 30 seconds") as caught:
            await store.create_ticket(admin, "connect", ttl_s=ttl_s, now_ms=NOW)
        assert caught.value.field == "ttl"


async def test_a_key_is_held_until_it_is_revoked(store: Registry, admin: Grant) -> None:
    assert await store.holds(admin)
    await store.revoke("default", admin.key_id)
    assert not await store.holds(admin)
