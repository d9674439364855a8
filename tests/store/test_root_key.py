"""The first key: given, kept in the data folder, or made there; one, however many hubs start."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifesigns.core.access import ROOT_ID, Grant
from lifesigns.core.errors import BadValue, Conflict
from lifesigns.store import keyfile
from lifesigns.store.link import Link
from lifesigns.store.registry import Registry
from tests.keyring import HUBS, NOW, OPERATORS, TAKEN_OVER, hubs, linked, lookup, wanted


@pytest.fixture
async def link(fresh_url: str) -> AsyncIterator[Link]:
    async with linked(fresh_url) as link:
        yield link


@pytest.fixture
def store(link: Link) -> Registry:
    return Registry(link)


async def root_of(store: Registry) -> list[Grant]:
    return [key for key in await store.keys("default") if key.key_id == ROOT_ID]


async def test_a_given_root_key_is_registered_and_not_shown(store: Registry) -> None:
    assert await store.ensure_root(OPERATORS, None, now_ms=NOW) is None
    grant = await lookup(store, OPERATORS)
    assert grant == Grant("root", "default", "root", name="root", created_ms=NOW)


async def test_another_given_root_key_replaces_the_former_and_its_logins(store: Registry) -> None:
    await store.ensure_root(OPERATORS, None, now_ms=NOW)
    login, _ = await store.create_login((await root_of(store))[0], now_ms=NOW)
    before = await store.revision()

    await store.ensure_root("the-operators-new-key", None, now_ms=NOW)

    assert await lookup(store, OPERATORS) is None
    assert await lookup(store, "the-operators-new-key")
    assert await store.revoked_since(before) == {"root", login.key_id}
    assert len(await store.keys("default")) == 1


async def test_the_same_given_root_key_changes_nothing(store: Registry) -> None:
    await store.ensure_root(OPERATORS, None, now_ms=NOW)
    before = await store.revision()
    await store.ensure_root(OPERATORS, None, now_ms=NOW + 1)
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
        given = OPERATORS
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
