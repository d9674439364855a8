"""Enrolments on a real store: made once, altered whole, and their keys shown to one alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifesigns.core.access import DEFAULT_PROJECT, Grant
from lifesigns.core.enrolment import Enrolment
from lifesigns.core.errors import Conflict, Forbidden, NotFound, Unavailable
from lifesigns.core.workspace import FAILURES, HEARTBEAT, IDENTITY, NAMES, TOOLS
from lifesigns.store.bulletin import Bulletin
from lifesigns.store.enrolment import PROVISIONED_MS, SHOWN_MS, Applicant, Asker, Enrolments
from lifesigns.store.ledger import Ledger
from lifesigns.store.link import Arg
from lifesigns.store.registry import Registry
from tests.keyring import lookup
from tests.station import Station, station

NOW = 1_000_000
ASKER = Asker("key-id", "the-askers-own-key", "http://127.0.0.1:8700")
STRANGER = Asker("other-id", "the-strangers-own-key", ASKER.url)


def enrolments(at: Station, folder: Path) -> Enrolments:
    return Enrolments(at.ledger, Registry(at.link), Bulletin(at.link, at.inbox), folder)


async def enrol(book: Enrolments, name: str = "Worker", **applicant: object) -> Enrolment:
    wanted = Applicant(**{"name": name, "board": None, **applicant})  # type: ignore[arg-type]
    return (await book.enrol(DEFAULT_PROJECT, wanted, ASKER, NOW))[0]


async def keys(at: Station) -> list[Grant]:
    return await Registry(at.link).keys(DEFAULT_PROJECT)


def read(folder: Path, name: str) -> str:
    (workspace,) = folder.iterdir()
    return (workspace / name).read_text()


def listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def within(*folders: Path) -> list[Path]:
    return [each for folder in folders for each in listed(folder)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def token_in(tools: str) -> str:
    (line,) = [each for each in tools.splitlines() if each.startswith("AGENT_TOKEN=")]
    return line.removeprefix("AGENT_TOKEN=")


async def tools(book: Enrolments, agent: Enrolment, asker: Asker, now_ms: int = NOW) -> str:
    return await book.text(DEFAULT_PROJECT, agent.id, TOOLS, asker, now_ms, trusted=True)


async def test_hubs_that_enrol_at_once_make_one_agent_one_key_and_one_folder(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        books = [enrolments(at, tmp_path / str(i)) for i, at in enumerate((here, there))]
        applicant = Applicant("Worker", None)
        made = await asyncio.gather(
            *[books[i % 2].enrol(DEFAULT_PROJECT, applicant, ASKER, NOW) for i in range(16)]
        )
        assert len({enrolment.id for enrolment, _ in made}) == 1
        assert [new for _, new in made].count(True) == 1
        (enrolment,) = await books[1].everyone(DEFAULT_PROJECT)
        assert enrolment.settled
        assert [(key.key_id, key.agent) for key in await keys(here)] == [
            (enrolment.key_id, enrolment.id)
        ]
        assert within(*listed(tmp_path)) == [Path(str(enrolment.workspace))]
        assert await books[0].everyone(DEFAULT_PROJECT) == [enrolment]


class Dying(Ledger):
    """Ends whoever writes, after so many steps: before one is done, or before it is confirmed."""

    def __init__(self, at: Station, steps: int, *, done: bool) -> None:
        super().__init__(at.link, at.store)
        self.steps = steps
        self.done = done

    async def commit(self, *asked: Any, **more: Any) -> list[int]:
        self.steps -= 1
        if self.steps == 0 and not self.done:
            raise Unavailable("The store does not answer.")
        versions = await super().commit(*asked, **more)
        if self.steps == 0:
            raise Unavailable("The store went away before it answered.")
        return versions


LATER = NOW + PROVISIONED_MS


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("step", [1, 2, 3])
async def test_where_a_hub_has_died_while_it_enrolled_an_agent_another_goes_on(
    step: int, done: bool, fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        here.ledger = Dying(here, step, done=done)
        with pytest.raises(Unavailable):
            await enrol(enrolments(here, tmp_path / "here"))
        book = enrolments(there, tmp_path / "there")
        wanted = Applicant("Worker", None)
        await book.enrol(DEFAULT_PROJECT, wanted, ASKER, NOW + 1)  # perhaps it is still at it
        agent, _ = await book.enrol(DEFAULT_PROJECT, wanted, ASKER, LATER)
        assert agent.settled
        assert [key.key_id for key in await keys(here)] == [agent.key_id]
        written = Path(str(agent.workspace)) / TOOLS
        grant = await lookup(Registry(there.link), token_in(written.read_text()))
        assert grant is not None
        assert (grant.key_id, grant.agent) == (agent.key_id, agent.id)
        assert token_in(await tools(book, agent, ASKER)) == token_in(written.read_text())


async def test_what_another_has_begun_a_stranger_cannot_end_nor_a_key_that_was_told(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here:
        here.ledger = Dying(here, 2, done=True)
        with pytest.raises(Unavailable):
            await enrol(enrolments(here, tmp_path))
        here.ledger = Ledger(here.link, here.store)
        book = enrolments(here, tmp_path)
        wanted = Applicant("Worker", None)
        agent, _ = await book.enrol(DEFAULT_PROJECT, wanted, STRANGER, LATER)
        assert not agent.settled
        assert token_in(await tools(book, agent, ASKER))
        agent, _ = await book.enrol(DEFAULT_PROJECT, wanted, STRANGER, LATER)
        assert (agent.settled, agent.workspace) == (True, None)
        assert len(await keys(here)) == 1, "it is the one that was told"


async def test_a_new_key_is_good_though_it_was_not_confirmed(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here:
        agent = await enrol(enrolments(here, tmp_path))
        here.ledger = Dying(here, 1, done=True)
        with pytest.raises(Unavailable):
            await enrolments(here, tmp_path).renew_key(DEFAULT_PROJECT, agent.id, ASKER.url)
        renewed = await enrolments(here, tmp_path).get(DEFAULT_PROJECT, agent.id)
        assert renewed is not None
        assert renewed.key_id != agent.key_id
        assert renewed.key_id in {key.key_id for key in await keys(here)}


async def test_the_folder_is_the_owners_alone_and_has_the_key(
    fresh_url: str, tmp_path: Path
) -> None:
    former = os.umask(0)
    try:
        async with station(fresh_url) as here:
            agent = await enrol(enrolments(here, tmp_path / "data"))
            grant = await lookup(Registry(here.link), token_in(read(tmp_path / "data", TOOLS)))
    finally:
        os.umask(former)
    assert grant is not None
    assert (grant.scope, grant.agent, grant.key_id) == ("agent", agent.id, agent.key_id)
    workspace = Path(str(agent.workspace))
    assert workspace.name == f"workspace-mc-{agent.id}"
    assert mode(workspace) == 0o700
    assert {each.name: mode(each) for each in listed(workspace)} == dict.fromkeys(NAMES, 0o600)


async def test_the_key_is_told_once_to_who_asked_and_on_any_hub(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        agent = await enrol(enrolments(here, tmp_path))
        book = enrolments(there, tmp_path / "elsewhere")
        token = token_in(read(tmp_path, TOOLS))
        assert token_in(await tools(book, agent, STRANGER)) == ""
        impostor = replace(ASKER, token="a-key-that-goes-by-the-same-id")
        assert token_in(await tools(book, agent, impostor)) == ""
        assert token_in(await tools(book, agent, ASKER, NOW + SHOWN_MS)) == ""
        told = await asyncio.gather(*[tools(book, agent, ASKER) for _ in range(4)])
        assert sorted(token_in(each) for each in told) == ["", "", "", token]
        assert token_in(await tools(book, agent, ASKER)) == ""


async def test_the_key_itself_is_nowhere_in_the_store(fresh_url: str, tmp_path: Path) -> None:
    async with station(fresh_url) as here:
        await enrol(enrolments(here, tmp_path))
        secret = token_in(read(tmp_path, TOOLS)).encode()
        for name in await here.link.ask("KEYS", "*"):
            assert secret not in await content(here, name), name


async def content(at: Station, name: bytes) -> bytes:
    dumps: dict[bytes, tuple[Arg, ...]] = {
        b"string": ("GET", name),
        b"hash": ("HGETALL", name),
        b"zset": ("ZRANGE", name, 0, -1),
        b"set": ("SMEMBERS", name),
        b"list": ("LRANGE", name, 0, -1),
        b"stream": ("XRANGE", name, "-", "+"),
    }
    kind = await at.link.ask("TYPE", name)
    kind = kind.encode() if isinstance(kind, str) else kind
    return repr(await at.link.ask(*dumps[kind])).encode()


async def test_others_may_read_a_workspace_only_if_they_are_trusted(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here:
        book = enrolments(here, tmp_path)
        agent = await enrol(book)
        for name in NAMES:
            with pytest.raises(Forbidden):
                await book.text(DEFAULT_PROJECT, agent.id, name, STRANGER, NOW, trusted=False)
        text = await book.text(DEFAULT_PROJECT, agent.id, HEARTBEAT, ASKER, NOW, trusted=False)
        assert text == read(tmp_path, HEARTBEAT)
        with pytest.raises(NotFound):
            await book.text(DEFAULT_PROJECT, "nobody", TOOLS, ASKER, NOW, trusted=True)


async def test_a_new_key_ends_the_former_one_and_stands_in_the_folder(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        agent = await enrol(enrolments(here, tmp_path))
        former = token_in(read(tmp_path, TOOLS))
        books = enrolments(here, tmp_path), enrolments(there, tmp_path)
        made = await asyncio.gather(
            *[b.renew_key(DEFAULT_PROJECT, agent.id, ASKER.url) for b in books]
        )
        (left,) = await keys(here)
        registry = Registry(here.link)
        assert await lookup(registry, former) is None
        good = [token for token in made if await lookup(registry, token) == left]
        assert len(good) == 1, "of two that were made at once one is left"
        last = await books[1].renew_key(DEFAULT_PROJECT, agent.id, ASKER.url)
        assert token_in(read(tmp_path, TOOLS)) == last
        assert await lookup(registry, last) is not None
        assert token_in(await tools(books[0], agent, ASKER)) == "", "the former one is told nobody"


async def test_a_new_key_brings_a_lost_folder_back_with_the_hubs_address_of_now(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here, station(fresh_url) as there:
        agent = await enrol(enrolments(here, tmp_path))
        shutil.rmtree(str(agent.workspace))
        await enrolments(here, tmp_path).change(
            DEFAULT_PROJECT, agent.id, lambda a: a.altered({"name": "Chief"}, NOW)
        )
        assert listed(tmp_path) == [], "who has taken it away does not want it back"
        url = "https://hub.example:8443"
        far = await enrolments(there, tmp_path / "far").renew_key(DEFAULT_PROJECT, agent.id, url)
        assert listed(tmp_path) == [], "it is no folder of that hub"
        token = await enrolments(here, tmp_path).renew_key(DEFAULT_PROJECT, agent.id, url)
        assert token != far
        assert f"HUB_URL={url}\nAGENT_TOKEN={token}\n" in read(tmp_path, TOOLS)
        assert read(tmp_path, IDENTITY).startswith("# Identity\n\n- Name: Chief\n")


async def test_an_alteration_renews_the_texts_and_leaves_the_key_in_the_folder(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here:
        book = enrolments(here, tmp_path)
        agent = await enrol(book)
        before = read(tmp_path, TOOLS)
        changes = {"name": "Chief", "terms": {"interval_seconds": 7}}
        await book.change(DEFAULT_PROJECT, agent.id, lambda a: a.altered(changes, NOW + 1))
        assert "\ninterval=7\n" in read(tmp_path, HEARTBEAT)
        assert "Name: Chief" in read(tmp_path, IDENTITY)
        assert read(tmp_path, TOOLS) == before
        text = await book.text(DEFAULT_PROJECT, agent.id, IDENTITY, ASKER, NOW, trusted=True)
        assert text == read(tmp_path, IDENTITY)
        assert token_in(await tools(book, agent, ASKER)) == token_in(before)


async def test_names_follow_their_agents(fresh_url: str, tmp_path: Path) -> None:
    async with station(fresh_url) as here:
        book = enrolments(here, tmp_path)
        one = await enrol(book, "Worker", board="north")
        two = await enrol(book, "Worker", board="south")
        assert one.id != two.id
        with pytest.raises(Conflict, match="board_id"):
            await enrol(book, "Worker")
        with pytest.raises(Conflict, match="on this board"):
            await book.change(DEFAULT_PROJECT, two.id, lambda a: replace(a, board="north"))
        await book.change(DEFAULT_PROJECT, two.id, lambda a: replace(a, name="Chief"))
        assert await enrol(book, "Worker") == one
        assert (await enrol(book, "Chief")).id == two.id
        await book.remove(DEFAULT_PROJECT, one.id)
        assert await book.roll(DEFAULT_PROJECT, "Worker") == {}
        assert (await enrol(book, "Worker", board="north")).id != one.id


async def test_boards_list_their_agents_the_newest_first(fresh_url: str, tmp_path: Path) -> None:
    async with station(fresh_url) as here:
        book = enrolments(here, tmp_path)
        made = []
        for n in range(5):
            applicant = Applicant(f"w{n}", "north" if n % 2 else "south")
            made.append((await book.enrol(DEFAULT_PROJECT, applicant, ASKER, NOW + n))[0])
        assert await book.everyone(DEFAULT_PROJECT) == made[::-1]
        assert await book.page(DEFAULT_PROJECT, "south", skip=1, limit=1) == ([made[2]], 3)
        await book.change(DEFAULT_PROJECT, made[4].id, lambda a: replace(a, board=None))
        assert (await book.page(DEFAULT_PROJECT, "south", skip=0, limit=9))[0] == [made[2], made[0]]


async def test_what_is_removed_leaves_nothing_but_what_others_put_into_its_folder(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here:
        book = enrolments(here, tmp_path)
        agent = await enrol(book, agent="worker-7")
        assert await book.alias(DEFAULT_PROJECT, uuid_of(agent)) == "worker-7"
        other = await enrol(book, "Other")
        (Path(str(other.workspace)) / "notes.md").write_text("mine")
        (Path(str(agent.workspace)) / FAILURES).write_text("a line of our own commands")
        for each in (agent, other):
            await book.remove(DEFAULT_PROJECT, each.id)
        assert await book.everyone(DEFAULT_PROJECT) == []
        assert await book.alias(DEFAULT_PROJECT, uuid_of(agent)) is None
        assert await keys(here) == []
        (left,) = within(*listed(tmp_path))
        assert left.name == "notes.md"
        with pytest.raises(NotFound):
            await book.remove(DEFAULT_PROJECT, agent.id)


def uuid_of(agent: Enrolment) -> str:
    return str(agent.workspace).rpartition("workspace-mc-")[2]


async def test_a_key_for_one_agent_enrols_that_one_and_takes_nobodys_name(
    fresh_url: str, tmp_path: Path
) -> None:
    async with station(fresh_url) as here:
        book = enrolments(here, tmp_path)
        await enrol(book, "Other")
        with pytest.raises(Forbidden):
            await enrol(book, "Other", agent="worker-7")
        agent = await enrol(book, "Worker", agent="worker-7")
        assert agent.id == "worker-7"
        assert await enrol(book, "Any Name", agent="worker-7") == agent
        assert len(await keys(here)) == 2


async def test_an_agent_whose_folder_cannot_be_made_is_enrolled_all_the_same(
    fresh_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    async with station(fresh_url) as here:
        book = enrolments(here, tmp_path / "file")
        agent = await enrol(book)
        assert agent.workspace is None
        assert "cannot be written" in caplog.text
        assert token_in(await tools(book, agent, ASKER)), "the key is told over HTTP"
