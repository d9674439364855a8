"""Projects and keys in a real store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lifesigns.core.access import Grant, digest
from lifesigns.core.errors import BadValue, Conflict, Forbidden, NotFound, Unavailable
from lifesigns.store import registry
from lifesigns.store.keys import PARTITIONS
from lifesigns.store.link import Link
from lifesigns.store.registry import Registry
from tests.keyring import HUBS, NOW, TAKEN_OVER, hubs, linked, lookup, wanted
from tests.server import Server


@pytest.fixture
async def link(fresh_url: str) -> AsyncIterator[Link]:
    async with linked(fresh_url) as link:
        yield link


@pytest.fixture
def store(link: Link) -> Registry:
    return Registry(link)


async def everything(link: Link) -> bytes:
    """Dump the database as one text, to search it."""
    dumped = []
    for key in await link.ask("KEYS", "*"):
        dumped += [key, await link.ask("DUMP", key)]
    return b"\n".join(dumped)


# Projects.


async def test_default_is_there_from_the_start_and_lies_over_all_partitions(
    store: Registry,
) -> None:
    assert await store.project("default") == registry.Project("default", PARTITIONS)
    assert [each.name for each in await store.projects()] == ["default"]


async def test_a_project_lies_in_one_partition_unless_all_are_asked_for(store: Registry) -> None:
    small = await store.create_project("small", now_ms=NOW)
    large = await store.create_project("large", spread_all=True, now_ms=NOW)
    assert (small.spread, large.spread) == (1, PARTITIONS)
    assert await store.project("small") == small
    assert await store.projects() == [registry.Project("default", PARTITIONS), large, small]


@pytest.mark.parametrize("name", ["twice", "default"])
async def test_a_project_is_made_once(store: Registry, name: str) -> None:
    with contextlib.suppress(Conflict):
        await store.create_project(name, now_ms=NOW)
    with pytest.raises(Conflict, match="already"):
        await store.create_project(name, now_ms=NOW)


async def test_a_project_with_a_bad_name_is_refused(store: Registry) -> None:
    with pytest.raises(BadValue):
        await store.create_project("Not One", now_ms=NOW)


async def test_an_unknown_project_is_none_and_cannot_be_deleted(store: Registry) -> None:
    assert await store.project("nowhere") is None
    with pytest.raises(NotFound):
        await store.delete_project("nowhere")


async def test_default_cannot_be_deleted(store: Registry) -> None:
    with pytest.raises(Conflict):
        await store.delete_project("default")


async def test_a_deleted_project_takes_its_keys_along_and_no_others(store: Registry) -> None:
    await store.create_project("gone", now_ms=NOW)
    inside = [await store.create(wanted(project="gone"), now_ms=NOW) for _ in range(3)]
    _, outside = await store.create(wanted(), now_ms=NOW)
    before = await store.revision()

    await store.delete_project("gone")

    assert [await lookup(store, token) for _, token in inside] == [None] * 3
    assert await lookup(store, outside)
    assert await store.revoked_since(before) == {grant.key_id for grant, _ in inside}
    await store.create_project("gone", now_ms=NOW)
    assert await store.keys("gone") == []


# Keys.


async def test_a_key_is_found_by_the_digest_of_its_token(store: Registry) -> None:
    grant, token = await store.create(
        wanted(agent="team-*", name="the team", expires_ms=NOW + 5), now_ms=NOW
    )
    assert token.startswith(f"ls_{grant.key_id}_")
    assert await lookup(store, token) == grant
    assert grant == Grant(
        grant.key_id,
        "default",
        "agent",
        agent="team-*",
        name="the team",
        created_ms=NOW,
        expires_ms=NOW + 5,
    )


async def test_lookup_answers_in_the_order_of_the_question(store: Registry) -> None:
    first, one = await store.create(wanted(), now_ms=NOW)
    second, two = await store.create(wanted("watch"), now_ms=NOW)
    found = await store.lookup([digest(two), digest("unknown"), digest(one)])
    assert found == [second, None, first]
    assert await store.lookup([]) == []


async def test_no_token_stands_in_the_store(store: Registry, link: Link, tmp_path: Path) -> None:
    grant, made = await store.create(wanted("admin"), now_ms=NOW)
    await store.create(wanted(), token=TAKEN_OVER, now_ms=NOW)
    root = await store.ensure_root(None, tmp_path, now_ms=NOW)
    assert root
    ticket, _ = await store.create_ticket(grant, "events", now_ms=NOW)

    dumped = await everything(link)
    for secret in (made, made.rpartition("_")[2], TAKEN_OVER, root, ticket):
        assert secret.encode() not in dumped
    assert grant.key_id.encode() in dumped


async def test_keys_differ(store: Registry) -> None:
    made = [await store.create(wanted(), now_ms=NOW) for _ in range(20)]
    assert len({token for _, token in made}) == len({grant.key_id for grant, _ in made}) == 20


async def test_an_existing_token_is_taken_over_once(store: Registry) -> None:
    grant, token = await store.create(wanted(agent="a1"), token=TAKEN_OVER, now_ms=NOW)
    assert token == TAKEN_OVER
    assert await lookup(store, TAKEN_OVER) == grant
    await store.create_project("other", now_ms=NOW)
    for project in ("default", "other"):
        with pytest.raises(Conflict, match="a key already") as caught:
            await store.create(wanted(project=project), token=TAKEN_OVER, now_ms=NOW)
        assert TAKEN_OVER not in caught.value.message
    assert await lookup(store, TAKEN_OVER) == grant


async def test_one_of_many_hubs_takes_a_token_over(fresh_url: str) -> None:
    async with hubs(fresh_url) as stores:
        made = await asyncio.gather(
            *(each.create(wanted(), token=TAKEN_OVER, now_ms=NOW) for each in stores),
            return_exceptions=True,
        )
        assert [type(each) for each in made].count(Conflict) == HUBS - 1
        assert len(await stores[0].keys("default")) == 1


async def test_a_taken_over_token_moves_the_revision_since_it_may_have_been_refused_before(
    store: Registry,
) -> None:
    before = await store.revision()
    await store.create(wanted(), now_ms=NOW)
    assert await store.revision() == before
    await store.create(wanted(), token=TAKEN_OVER, now_ms=NOW)
    assert await store.revision() > before


async def test_a_key_that_makes_no_sense_is_not_stored(store: Registry) -> None:
    with pytest.raises(BadValue):
        await store.create(wanted("poster"), now_ms=NOW)
    with pytest.raises(BadValue):
        await store.create(wanted(), token="short", now_ms=NOW)
    assert await store.keys("default") == []


async def test_a_key_of_an_unknown_project_is_refused(store: Registry) -> None:
    with pytest.raises(NotFound):
        await store.create(wanted(project="nowhere"), now_ms=NOW)


async def test_keys_are_listed_by_project_the_oldest_first(store: Registry) -> None:
    await store.create_project("other", now_ms=NOW)
    late, _ = await store.create(wanted(), now_ms=NOW + 2)
    early, _ = await store.create(wanted(), now_ms=NOW + 1)
    other, _ = await store.create(wanted(project="other"), now_ms=NOW)
    assert await store.keys("default") == [early, late]
    assert await store.keys("other") == [other]


async def test_a_fleet_of_keys_is_listed_whole(
    store: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_PAGE", 3)
    made = [(await store.create(wanted(), now_ms=NOW + i))[0] for i in range(10)]
    assert await store.keys("default") == made


async def test_a_revoked_key_is_gone_and_told_of(store: Registry) -> None:
    grant, token = await store.create(wanted(), now_ms=NOW)
    before = await store.revision()

    await store.revoke("default", grant.key_id)

    assert await lookup(store, token) is None
    assert await store.keys("default") == []
    assert await store.revision() > before
    assert await store.revoked_since(before) == {grant.key_id}
    assert await store.revoked_since(await store.revision()) == frozenset()


async def test_a_key_is_revoked_once_and_only_from_its_own_project(store: Registry) -> None:
    await store.create_project("other", now_ms=NOW)
    grant, token = await store.create(wanted(), now_ms=NOW)
    revision = await store.revision()
    with pytest.raises(NotFound):
        await store.revoke("other", grant.key_id)
    assert await lookup(store, token) == grant
    assert await store.revision() == revision
    await store.revoke("default", grant.key_id)
    with pytest.raises(NotFound):
        await store.revoke("default", grant.key_id)


async def test_a_revoked_token_may_be_taken_over_again(store: Registry) -> None:
    grant, _ = await store.create(wanted(), token=TAKEN_OVER, now_ms=NOW)
    await store.revoke("default", grant.key_id)
    again, _ = await store.create(wanted(), token=TAKEN_OVER, now_ms=NOW)
    assert again.key_id != grant.key_id


async def test_revisions_rise_over_a_store_that_lost_everything(
    store: Registry, link: Link
) -> None:
    revisions = []
    for _ in range(2):
        grant, _ = await store.create(wanted(), now_ms=NOW)
        await store.revoke("default", grant.key_id)
        revisions.append(await store.revision())
        await link.ask("FLUSHDB")
        while await _store_ms(link) <= revisions[-1]:  # noqa: ASYNC110 - not twice in a ms
            await asyncio.sleep(0.001)
    assert revisions[0] < revisions[1]


async def _store_ms(link: Link) -> int:
    seconds, micros = await link.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def test_expired_keys_are_cleared_away_when_another_one_with_an_end_is_made(
    store: Registry, link: Link
) -> None:
    _, short = await store.create(wanted(expires_ms=NOW + 10), now_ms=NOW)
    _, long = await store.create(wanted(expires_ms=NOW + 1_000), now_ms=NOW)
    await store.create(wanted(expires_ms=NOW + 1_000), now_ms=NOW + 10)
    assert await lookup(store, short) is None
    assert await lookup(store, long)
    assert await store.prune(NOW + 1_000) == 2
    assert await store.keys("default") == []
    assert await link.ask("EXISTS", registry.KEYS, registry.KEY_ENDS) == 0


async def test_a_login_makes_a_key_of_the_same_scope_for_12_hours(store: Registry) -> None:
    parent, _ = await store.create(wanted("admin", name="ann"), now_ms=NOW)
    child, token = await store.create_login(parent, now_ms=NOW)
    assert (child.scope, child.project, child.name) == ("admin", "default", "login")
    assert child.expires_ms == NOW + 12 * 3_600_000
    assert await lookup(store, token) == child


async def test_a_login_does_not_outlive_the_key_that_it_came_from(store: Registry) -> None:
    parent, _ = await store.create(wanted("watch", expires_ms=NOW + 60_000), now_ms=NOW)
    child, _ = await store.create_login(parent, now_ms=NOW)
    assert child.expires_ms == NOW + 60_000


async def test_a_revoked_key_takes_its_logins_along(store: Registry) -> None:
    parent, _ = await store.create(wanted("admin"), now_ms=NOW)
    bystander, _ = await store.create(wanted("admin"), now_ms=NOW)
    child, _ = await store.create_login(parent, now_ms=NOW + 1)
    grandchild, _ = await store.create_login(child, now_ms=NOW + 2)
    before = await store.revision()

    await store.revoke("default", parent.key_id)

    gone = {parent.key_id, child.key_id, grandchild.key_id}
    assert await store.revoked_since(before) == gone
    assert await store.keys("default") == [bystander]
    with pytest.raises(Forbidden):
        await store.create_login(parent, now_ms=NOW)


async def test_a_key_of_a_newer_hub_with_a_scope_unknown_here_allows_nothing(
    store: Registry, link: Link
) -> None:
    record = registry._pack({"key_id": "k", "project": "default", "scope": "auditor"})
    await link.ask("HSET", registry.KEYS, digest("newer"), record)
    assert await lookup(store, "newer") is None


async def test_a_record_of_a_newer_hub_may_hold_more_than_is_known_here(
    store: Registry, link: Link
) -> None:
    record = registry._pack({"key_id": "k", "project": "default", "scope": "watch", "mood": 1})
    await link.ask("HSET", registry.KEYS, digest("newer"), record)
    assert await lookup(store, "newer") == Grant("k", "default", "watch")


# The store's moods.


async def test_a_store_that_is_away_is_unavailable(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server()
    async with hubs(server.url, 1) as (store,):
        server.kill()
        for ask in (store.projects(), store.lookup([digest("x")]), store.revision()):
            with pytest.raises(Unavailable):
                await ask


async def test_a_full_store_takes_no_key_and_still_revokes_one(
    valkey_server: Callable[..., Server],
) -> None:
    server = valkey_server("--maxmemory-policy", "noeviction")
    async with hubs(server.url, 1) as (store,):
        grant, token = await store.create(wanted(), now_ms=NOW)
        await store.create_project("small", now_ms=NOW)
        server.ask("CONFIG SET maxmemory 1")
        with pytest.raises(Unavailable):
            await store.create(wanted(), now_ms=NOW)
        await store.revoke("default", grant.key_id)
        assert await lookup(store, token) is None
        await store.delete_project("small")
