"""Projects, keys and tickets in a real store; several registries stand for several hubs."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lifesigns.core.access import DEFAULT_PROJECT, ROOT_ID, Grant, Scope, digest
from lifesigns.core.errors import BadValue, Conflict, Forbidden, NotFound, Unavailable
from lifesigns.store import keyfile, registry
from lifesigns.store.address import Address
from lifesigns.store.keys import PARTITIONS
from lifesigns.store.link import Link
from lifesigns.store.registry import Registry
from tests.server import Server

NOW = 1_700_000_000_000
HUBS = 6
TAKEN_OVER = "sk-live 0123456789/abc+def="


@pytest.fixture
async def link(fresh_url: str) -> AsyncIterator[Link]:
    link = Link(Address.parse(fresh_url), name="test")
    await link.start()
    yield link
    await link.aclose()


@pytest.fixture
def store(link: Link) -> Registry:
    return Registry(link)


@contextlib.asynccontextmanager
async def hubs(url: str, count: int = HUBS) -> AsyncIterator[list[Registry]]:
    links = [Link(Address.parse(url), name=f"hub{i}") for i in range(count)]
    await asyncio.gather(*(link.start() for link in links))
    try:
        yield [Registry(link) for link in links]
    finally:
        await asyncio.gather(*(link.aclose() for link in links))


def wanted(scope: Scope = "agent", project: str = DEFAULT_PROJECT, **given: object) -> Grant:
    return Grant("", project, scope, **given)  # type: ignore[arg-type]


async def lookup(store: Registry, token: str) -> Grant | None:
    (grant,) = await store.lookup([digest(token)])
    return grant


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
    assert revisions[0] < revisions[1]


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


# The root key.


async def root_of(store: Registry) -> list[Grant]:
    return [key for key in await store.keys("default") if key.key_id == ROOT_ID]


async def test_a_given_root_key_is_registered_and_not_shown(store: Registry) -> None:
    assert await store.ensure_root("the-operators-own-key", None, now_ms=NOW) is None
    grant = await lookup(store, "the-operators-own-key")
    assert grant == Grant("root", "default", "root", name="root", created_ms=NOW)


async def test_another_given_root_key_replaces_the_former_and_its_logins(store: Registry) -> None:
    await store.ensure_root("the-operators-own-key", None, now_ms=NOW)
    login, _ = await store.create_login((await root_of(store))[0], now_ms=NOW)
    before = await store.revision()

    await store.ensure_root("the-operators-new-key", None, now_ms=NOW)

    assert await lookup(store, "the-operators-own-key") is None
    assert await lookup(store, "the-operators-new-key")
    assert await store.revoked_since(before) == {"root", login.key_id}
    assert len(await store.keys("default")) == 1


async def test_the_same_given_root_key_changes_nothing(store: Registry) -> None:
    await store.ensure_root("the-operators-own-key", None, now_ms=NOW)
    before = await store.revision()
    await store.ensure_root("the-operators-own-key", None, now_ms=NOW + 1)
    assert await store.revision() == before
    assert (await root_of(store))[0].created_ms == NOW


@pytest.mark.parametrize("bad", ["short", " " + "x" * 20])
async def test_a_given_root_key_that_cannot_be_one_stops_the_start(
    store: Registry, bad: str
) -> None:
    with pytest.raises(BadValue) as caught:
        await store.ensure_root(bad, None, now_ms=NOW)
    assert caught.value.field == "admin_key"


async def test_a_given_root_key_that_is_an_agents_token_stops_the_start(store: Registry) -> None:
    await store.create(wanted(agent="a1"), token=TAKEN_OVER, now_ms=NOW)
    with pytest.raises(BadValue, match="another key"):
        await store.ensure_root(TAKEN_OVER, None, now_ms=NOW)
    assert await root_of(store) == []


async def test_the_first_start_makes_a_root_key_and_keeps_it_for_its_owner_only(
    store: Registry, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    token = await store.ensure_root(None, data_dir, now_ms=NOW)
    assert token
    assert token.startswith("ls_root_")
    file = data_dir / "admin.key"
    assert file.read_text() == token + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in data_dir.iterdir()] == ["admin.key"]
    assert await lookup(store, token) == (await root_of(store))[0]


async def test_a_later_start_keeps_the_root_key_and_shows_it_no_more(
    store: Registry, tmp_path: Path
) -> None:
    token = await store.ensure_root(None, tmp_path, now_ms=NOW)
    assert token
    assert await store.ensure_root(None, tmp_path, now_ms=NOW) is None
    assert await store.ensure_root(None, None, now_ms=NOW) is None
    assert await lookup(store, token)


async def test_a_store_that_lost_everything_takes_the_root_key_from_the_folder(
    store: Registry, link: Link, tmp_path: Path
) -> None:
    token = await store.ensure_root(None, tmp_path, now_ms=NOW)
    await link.ask("FLUSHDB")
    assert await store.ensure_root(None, tmp_path, now_ms=NOW) == token
    assert token
    assert await lookup(store, token)


async def test_without_a_folder_the_root_key_is_made_and_shown_once(store: Registry) -> None:
    token = await store.ensure_root(None, None, now_ms=NOW)
    assert token
    assert await lookup(store, token)


async def test_a_root_key_file_that_stands_open_is_shut(store: Registry, tmp_path: Path) -> None:
    file = tmp_path / "admin.key"
    file.write_text("a-key-that-was-put-here\n")
    file.chmod(0o644)
    assert await store.ensure_root(None, tmp_path, now_ms=NOW) == "a-key-that-was-put-here"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_an_empty_root_key_file_stops_the_start(store: Registry, tmp_path: Path) -> None:
    (tmp_path / "admin.key").touch(0o600)
    with pytest.raises(BadValue) as caught:
        await store.ensure_root(None, tmp_path, now_ms=NOW)
    assert caught.value.field == "admin.key"


async def test_six_hubs_on_one_folder_make_one_root_key(fresh_url: str, tmp_path: Path) -> None:
    async with hubs(fresh_url) as stores:
        made = await asyncio.gather(
            *(each.ensure_root(None, tmp_path, now_ms=NOW) for each in stores)
        )
        (token,) = [each for each in made if each]
        assert keyfile.read(tmp_path) == token
        assert await lookup(stores[0], token) == (await root_of(stores[0]))[0]
        assert len(await stores[0].keys("default")) == 1


async def test_six_hubs_on_six_machines_keep_one_root_key_in_one_folder(
    fresh_url: str, tmp_path: Path
) -> None:
    folders = [tmp_path / str(i) for i in range(HUBS)]
    async with hubs(fresh_url) as stores:
        made = await asyncio.gather(
            *(
                each.ensure_root(None, folder, now_ms=NOW)
                for each, folder in zip(stores, folders, strict=True)
            )
        )
        (token,) = [each for each in made if each]
        assert [kept for kept in map(keyfile.read, folders) if kept] == [token]
        assert await lookup(stores[0], token)


async def test_six_hubs_with_one_given_root_key_register_it_once(fresh_url: str) -> None:
    async with hubs(fresh_url) as stores:
        given = "the-operators-own-key"
        await asyncio.gather(*(each.ensure_root(given, None, now_ms=NOW) for each in stores))
        assert len(await stores[0].keys("default")) == 1
        assert await stores[0].revoked_since(0) == frozenset()


async def test_the_root_key_is_replaced_and_not_revoked(store: Registry) -> None:
    await store.ensure_root(None, None, now_ms=NOW)
    with pytest.raises(Conflict, match="LIFESIGNS_ADMIN_KEY"):
        await store.revoke("default", "root")


async def test_a_further_root_key_is_a_key_like_others(store: Registry) -> None:
    grant, token = await store.create(wanted("root"), now_ms=NOW)
    await store.revoke("default", grant.key_id)
    assert await lookup(store, token) is None


# Tickets.


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
    await store.ensure_root("the-operators-own-key", None, now_ms=NOW)
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
