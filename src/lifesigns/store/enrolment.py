"""The enrolments of a store, and what belongs to each: its name, its key, its workspace.

Whoever enrols an agent first enters its name, in a step that only one hub can do; then it gives it
a key and texts, in another, and makes its folder. A hub that comes second answers the agent that is
there; one that finds that the first has died on the way goes on for it. Changes are told on a
channel: they are none of a presence.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from lifesigns.core import workspace
from lifesigns.core.access import Grant, digest
from lifesigns.core.enrolment import Enrolment, Roll, enrolment_of, meant, named, new_serial
from lifesigns.core.errors import Altered, Forbidden, NotFound, Unavailable
from lifesigns.core.presence import agent_uuid
from lifesigns.core.seal import SALT_BYTES, seal, unseal
from lifesigns.core.workspace import Place
from lifesigns.store import folder
from lifesigns.store.bulletin import Bulletin
from lifesigns.store.ledger import TRIES, Doc, Ledger, Write
from lifesigns.store.registry import Registry

log = logging.getLogger(__name__)

AGENT, NAME, ALIAS, TEXTS = "enrolment", "enrolled_name", "enrolled_uuid", "workspace"
ALL = "all"  # the index of all of a project; those of a board have its id
SHOWN_MS = 86_400_000  # for how long the key of a new agent is told to who asked for it
SCANNED = 500
PROVISIONED_MS = 10_000  # who has not made an agent's key and folder by then has died
NAME_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for an agent: by which key, and at which address of the hub."""

    key_id: str
    token: str
    url: str


@dataclass(frozen=True, slots=True)
class Applicant:
    """An agent to be enrolled."""

    name: str
    board: str | None
    agent: str | None = None  # its id; None: a new one
    heard: bool = False  # it speaks for itself
    said: Mapping[str, Any] = field(default_factory=dict)  # other fields of its enrolment


class Enrolments:
    """What is enrolled. Whatever asks raises ``Unavailable`` without the store."""

    def __init__(
        self, ledger: Ledger, registry: Registry, bulletin: Bulletin, data_dir: Path
    ) -> None:
        self.bulletin = bulletin  # of whom an enrolment was altered
        self._ledger = ledger
        self._registry = registry
        self._data_dir = data_dir
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    # Asking.

    async def get(self, project: str, agent: str) -> Enrolment | None:
        """Read the enrolment of one agent."""
        return (await self.read(project, [agent])).get(agent)

    async def read(self, project: str, agents: Sequence[str]) -> dict[str, Enrolment]:
        """Read those of the agents that are enrolled."""
        docs = await self._ledger.read(project, AGENT, agents)
        return {doc.id: enrolment_of(doc.id, doc.body) for doc in docs if doc is not None}

    async def roll(self, project: str, name: str) -> Roll:
        """Read which agents have a name."""
        return _roll(await self._ledger.get(project, NAME, digest(name)))

    async def alias(self, project: str, uuid: str) -> str | None:
        """Tell which enrolled agent has a UUID that is not its id."""
        doc = await self._ledger.get(project, ALIAS, uuid)
        return None if doc is None else str(doc.body["agent"])

    async def page(
        self, project: str, board: str | None, *, skip: int, limit: int
    ) -> tuple[list[Enrolment], int]:
        """List the agents of a board, or of the project, the newest first."""
        found = await self._ledger.page(project, AGENT, board or ALL, skip=skip, limit=limit)
        return [enrolment_of(doc.id, doc.body) for doc in found.docs], found.total

    async def everyone(self, project: str) -> list[Enrolment]:
        """List all, the newest first."""
        found: dict[str, Enrolment] = {}
        total, skip = 1, 0
        while skip < total:
            some, total = await self.page(project, None, skip=skip, limit=SCANNED)
            found |= {each.id: each for each in some}
            skip += SCANNED
        return list(found.values())

    # Enrolling.

    async def enrol(
        self, project: str, applicant: Applicant, asker: Asker, now_ms: int
    ) -> tuple[Enrolment, bool]:
        """Enrol an agent unless it is; answer it, and whether it was enrolled now."""
        turn = self._turns.setdefault((project, applicant.name), asyncio.Lock())
        async with turn:
            for _ in range(TRIES):
                names = await self._ledger.get(project, NAME, digest(applicant.name))
                known = await self._known(project, applicant, _roll(names))
                if known is not None:
                    return await self._resume(project, known, asker, now_ms), False
                enrolment = self._new(project, applicant, now_ms)
                with suppress(Altered):
                    await self._enter(project, enrolment, names)
                    break
            else:
                raise Unavailable("Too many enrol such agents at once.")
            enrolment = await self._provision(project, enrolment, asker, now_ms)
        if not applicant.heard:  # else its presence comes in a moment
            self.bulletin.tell(project, enrolment.id)
        return enrolment, True

    async def _known(self, project: str, applicant: Applicant, roll: Roll) -> Enrolment | None:
        if applicant.agent is None:
            agent = meant(applicant.name, roll, applicant.board)
            return None if agent is None else await self.get(project, agent)
        if roll and applicant.agent not in roll:
            raise Forbidden(f"{applicant.name!r} is another agent, for which this key is none.")
        return await self.get(project, applicant.agent)

    def _new(self, project: str, applicant: Applicant, now_ms: int) -> Enrolment:
        agent = applicant.agent or str(uuid4())
        return Enrolment(
            agent,
            applicant.name,
            applicant.board,
            new_serial(now_ms, secrets.randbits(80)),
            self._place(project, agent),
            "",
            now_ms,
            now_ms,
            **applicant.said,
            heard_ms=now_ms if applicant.heard else 0,
            settled=False,
        )

    async def _enter(self, project: str, enrolment: Enrolment, names: Doc | None) -> None:
        roll = named(enrolment.name, _roll(names), enrolment.board, enrolment.id)
        writes = [_entered(enrolment, 0), _on_roll(enrolment.name, names, roll)]
        uuid = agent_uuid(project, enrolment.id)
        if uuid != enrolment.id:
            writes.append(Write(ALIAS, uuid, 0, {"agent": enrolment.id}))
        await self._ledger.commit(project, writes)

    async def _provision(
        self, project: str, enrolment: Enrolment, asker: Asker, now_ms: int
    ) -> Enrolment:
        """Give an agent its key, its texts and its folder; who comes second takes its key back."""
        agent = enrolment.id
        place = Place(asker.url, self._place(project, agent))
        grant, token = await self._make_key(project, agent, enrolment.name)
        for _ in range(TRIES):
            doc, texts = await asyncio.gather(
                self._ledger.get(project, AGENT, agent), self._ledger.get(project, TEXTS, agent)
            )
            if doc is None or texts is not None:
                break
            enrolment = replace(
                enrolment_of(agent, doc.body), key_id=grant.key_id, workspace=place.folder
            )
            files = workspace.files(enrolment, agent_uuid(project, agent), place)
            body = {
                "files": files,
                "url": asker.url,
                "sealed": seal(token, asker.token, secrets.token_bytes(SALT_BYTES)),
                "asker": asker.key_id,
                "until_ms": now_ms + SHOWN_MS,
            }
            with suppress(Altered):
                await self._ledger.commit(
                    project, [_entered(enrolment, doc.version), Write(TEXTS, agent, 0, body)]
                )
                return await self._settle(project, enrolment, files, token)
        await self._end_key(project, grant.key_id)
        if doc is None:
            raise _missing(agent)
        return enrolment_of(agent, doc.body)

    async def _settle(
        self, project: str, enrolment: Enrolment, files: Mapping[str, str], token: str
    ) -> Enrolment:
        """Make the folder; an agent without one beats all the same."""
        written = await self._write(enrolment, files, token)
        place = enrolment.workspace if written else None
        return await self.change(
            project, enrolment.id, lambda e: replace(e, settled=True, workspace=place), quiet=True
        )

    async def _resume(
        self, project: str, enrolment: Enrolment, asker: Asker, now_ms: int
    ) -> Enrolment:
        """Go on where a hub has died that was enrolling an agent."""
        agent = enrolment.id
        if enrolment.settled or now_ms < enrolment.created_ms + PROVISIONED_MS:
            return enrolment
        texts = await self._ledger.get(project, TEXTS, agent)
        if texts is None:
            enrolment = await self._provision(project, enrolment, asker, now_ms)
            await self._end_strays(project, enrolment)
            return enrolment
        if not texts.body["sealed"]:  # the key was told over HTTP, and is known nowhere else
            return await self.change(
                project, agent, lambda e: replace(e, settled=True, workspace=None), quiet=True
            )
        token = unseal(texts.body["sealed"], asker.token)
        if token is None:  # another's to go on with
            return enrolment
        place = Place(asker.url, self._place(project, agent))
        enrolment = replace(enrolment, workspace=place.folder)
        files = workspace.files(enrolment, agent_uuid(project, agent), place)
        return await self._settle(project, enrolment, files, token)

    async def _write(
        self, enrolment: Enrolment, files: Mapping[str, str], token: str | None = None
    ) -> bool:
        """Write texts into the folder, those that hold the key only with one; tell if it worked."""
        told = {name: text for name, text in files.items() if name != workspace.TOOLS}
        if token is not None:
            told[workspace.TOOLS] = workspace.with_token(files[workspace.TOOLS], token)
        try:
            await asyncio.to_thread(folder.write, Path(str(enrolment.workspace)), told)
        except OSError as error:
            log.error("the workspace of %s cannot be written: %s", enrolment.id, error)
            return False
        return True

    # Altering.

    async def change(
        self,
        project: str,
        agent: str,
        judge: Callable[[Enrolment], Enrolment],
        *,
        quiet: bool = False,
    ) -> Enrolment:
        """Alter an enrolment, its place among those of its name, and its texts.

        ``quiet``: its presence tells of it.
        """
        for _ in range(TRIES):
            doc, texts = await asyncio.gather(
                self._ledger.get(project, AGENT, agent), self._ledger.get(project, TEXTS, agent)
            )
            if doc is None:
                raise _missing(agent)
            former = enrolment_of(doc.id, doc.body)
            enrolment = judge(former)
            writes = [_entered(enrolment, doc.version)]
            files = _texts_of(project, enrolment, texts)
            if texts is not None and files:
                writes.append(Write(TEXTS, agent, texts.version, {**texts.body, "files": files}))
            if (former.name, former.board) != (enrolment.name, enrolment.board):
                writes += await self._renamed(project, former, enrolment)
            with suppress(Altered):
                await self._ledger.commit(project, writes)
                if files and self._is_here(enrolment) and _exists(enrolment):
                    await self._write(enrolment, files)
                if not quiet:
                    self.bulletin.tell(project, agent)
                return enrolment
        raise Unavailable("Too many change this agent at once.")

    async def _renamed(self, project: str, former: Enrolment, enrolment: Enrolment) -> list[Write]:
        old, new = await self._ledger.read(
            project, NAME, [digest(former.name), digest(enrolment.name)]
        )
        roll = named(enrolment.name, _roll(new), enrolment.board, enrolment.id)
        writes = [_on_roll(enrolment.name, new, roll)]
        if former.name != enrolment.name:
            writes.append(_off_roll(former, old))
        return writes

    async def renew_key(self, project: str, agent: str, url: str) -> str:
        """Give an agent a new key in the place of the one that it has; answer it.

        The folder is made anew with it, and with the address of the hub as it is now.
        """
        enrolment = await self.get(project, agent)
        if enrolment is None:
            raise _missing(agent)
        grant, token = await self._make_key(project, agent, enrolment.name)
        former = ""

        def judge(enrolment: Enrolment) -> Enrolment:
            nonlocal former
            former = enrolment.key_id
            return replace(enrolment, key_id=grant.key_id, settled=True)

        try:
            enrolment = await self.change(project, agent, judge, quiet=True)
        except NotFound:  # after anything else it may be the agent's key by now
            await self._end_key(project, grant.key_id)
            raise
        await self._end_key(project, former)
        files = await self._retold(project, enrolment, url)
        if self._is_here(enrolment):
            await self._write(enrolment, files, token)
        return token

    async def _retold(self, project: str, enrolment: Enrolment, url: str) -> dict[str, str]:
        """Write the texts for another address, and tell nobody any more what the former key was."""
        for _ in range(TRIES):
            texts = await self._ledger.get(project, TEXTS, enrolment.id)
            former = {"asker": "", "until_ms": 0} if texts is None else texts.body
            place = Place(url, enrolment.workspace or "")
            files = workspace.files(enrolment, agent_uuid(project, enrolment.id), place)
            body = {**former, "files": files, "url": url, "sealed": b""}
            with suppress(Altered):
                version = 0 if texts is None else texts.version
                write = Write(TEXTS, enrolment.id, version, body)
                await self._ledger.commit(project, [write])
                return files
        raise Unavailable("Too many change this agent at once.")

    async def text(
        self, project: str, agent: str, name: str, asker: Asker, now_ms: int, *, trusted: bool
    ) -> str:
        """Read a text of a workspace; the key stands in it once, for who asked for the agent.

        Who is not ``trusted`` must be just that one.
        """
        for _ in range(TRIES):
            texts = await self._ledger.get(project, TEXTS, agent)
            if texts is None:
                raise _missing(agent)
            body = texts.body
            mine = body["asker"] == asker.key_id
            if not (mine or trusted):
                raise Forbidden("This workspace belongs to another agent.")
            text = str(body["files"][name])
            fresh = mine and body["sealed"] and now_ms < body["until_ms"]
            token = unseal(body["sealed"], asker.token) if fresh else None
            if name != workspace.TOOLS or token is None:
                return text
            with suppress(Altered):  # told to somebody else, or altered: look again
                told = {**body, "sealed": b""}
                await self._ledger.commit(project, [Write(TEXTS, agent, texts.version, told)])
                return workspace.with_token(text, token)
        raise Unavailable("Too many read this at once.")

    async def remove(self, project: str, agent: str) -> None:
        """Drop an enrolment, its key and its texts; what else lies in its folder stays there."""
        for _ in range(TRIES):
            doc, texts = await asyncio.gather(
                self._ledger.get(project, AGENT, agent), self._ledger.get(project, TEXTS, agent)
            )
            if doc is None:
                raise _missing(agent)
            enrolment = enrolment_of(agent, doc.body)
            uuid = agent_uuid(project, agent)
            names, alias = await asyncio.gather(
                self._ledger.get(project, NAME, digest(enrolment.name)),
                self._ledger.get(project, ALIAS, uuid),
            )
            writes = [Write(AGENT, agent, doc.version, None), _off_roll(enrolment, names)]
            writes += [Write(TEXTS, agent, texts.version, None)] if texts else []
            writes += [Write(ALIAS, uuid, alias.version, None)] if alias else []
            with suppress(Altered):
                await self._ledger.commit(project, writes)
                await self._end_key(project, enrolment.key_id)
                if self._is_here(enrolment):
                    ours = (*workspace.NAMES, workspace.FAILURES)
                    await asyncio.to_thread(folder.drop, Path(str(enrolment.workspace)), ours)
                return
        raise Unavailable("Too many change this agent at once.")

    async def drop(self, project: str) -> None:
        """Drop all enrolments of a project, and what was put into their folders."""
        for enrolment in await self.everyone(project):
            with suppress(NotFound):  # somebody else was first
                await self.remove(project, enrolment.id)

    # Keys and folders.

    async def _make_key(self, project: str, agent: str, name: str) -> tuple[Grant, str]:
        wanted = Grant("", project, "agent", agent=agent, name=_key_name(name))
        return await self._registry.create(wanted, now_ms=time.time_ns() // 1_000_000)

    async def _end_key(self, project: str, key_id: str) -> None:
        with suppress(NotFound):  # an administrator has ended it, or there was none
            await self._registry.revoke(project, key_id)

    async def _end_strays(self, project: str, enrolment: Enrolment) -> None:
        """End the keys of an agent that were made here before, and shown to nobody."""
        name = _key_name(enrolment.name)
        for key in await self._registry.keys(project):
            ours = key.agent == enrolment.id and key.name == name
            if ours and key.key_id != enrolment.key_id:
                await self._end_key(project, key.key_id)

    def _place(self, project: str, agent: str) -> str:
        return str(self._data_dir / workspace.folder_name(agent_uuid(project, agent)))

    def _is_here(self, enrolment: Enrolment) -> bool:
        """Tell whether the folder is, or would be, one of this hub's."""
        place = enrolment.workspace
        return place is not None and Path(place).parent == self._data_dir


def _exists(enrolment: Enrolment) -> bool:
    """Tell whether the folder is there still: who has taken it away does not want it back."""
    return Path(str(enrolment.workspace)).is_dir()


def _key_name(name: str) -> str:
    """Name a key for people who list them, and for us: others may be tied to the agent as well."""
    return f"workspace of {name}"[:NAME_LENGTH]


def _entered(enrolment: Enrolment, expect: int) -> Write:
    indexes = {ALL: float(enrolment.created_ms)}
    if enrolment.board is not None:
        indexes[enrolment.board] = float(enrolment.created_ms)
    return Write(AGENT, enrolment.id, expect, enrolment.body(), indexes=indexes)


def _texts_of(project: str, enrolment: Enrolment, texts: Doc | None) -> dict[str, str]:
    """Write the texts anew; nothing if they say what they said."""
    if texts is None:
        return {}
    place = Place(texts.body["url"], enrolment.workspace or "")
    files = workspace.files(enrolment, agent_uuid(project, enrolment.id), place)
    return {} if files == texts.body["files"] else files


def _roll(doc: Doc | None) -> Roll:
    return {} if doc is None else dict(doc.body["agents"])


def _on_roll(name: str, doc: Doc | None, roll: Roll) -> Write:
    return Write(NAME, digest(name), 0 if doc is None else doc.version, {"agents": dict(roll)})


def _off_roll(enrolment: Enrolment, doc: Doc | None) -> Write:
    left = {agent: board for agent, board in _roll(doc).items() if agent != enrolment.id}
    write = _on_roll(enrolment.name, doc, left)
    return write if left else replace(write, body=None)


def _missing(agent: str) -> NotFound:
    return NotFound(f"There is no agent {agent[:128]!r} here.")
