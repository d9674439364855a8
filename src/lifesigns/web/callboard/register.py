"""What is kept of an agent for this API: the rows of its runtimes, and its account.

Rows lie with their agent. Accounts lie at the one place of their project by the agent's UUID, so
that whoever knows only that finds the agent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from lifesigns.core.access import check_agent_id
from lifesigns.core.errors import Altered
from lifesigns.core.presence import agent_uuid
from lifesigns.dialects.callboard import account, heartbeat
from lifesigns.dialects.callboard.account import Account
from lifesigns.dialects.callboard.heartbeat import KIND, Row
from lifesigns.store.ledger import Doc, Ledger, Step, Write

ACCOUNT: Final = "account"
BEATEN: Final = "beaten:"  # the index of an agent's rows, by when it beat with them


async def rows(ledger: Ledger, project: str, agent: str, limit: int) -> list[Row]:
    """Read the latest rows of an agent, the one that beat last first."""
    page = await ledger.page(project, KIND, BEATEN + agent, agent, limit=limit)
    return [heartbeat.unpack(doc.body) for doc in page.docs]


async def row_of(ledger: Ledger, project: str, row: Row) -> Row | None:
    """Read a row as it is now."""
    doc = await ledger.get(project, KIND, row.id, row.agent)
    return None if doc is None else heartbeat.unpack(doc.body)


async def change_row(
    ledger: Ledger, project: str, row: Row, judge: Callable[[Row | None], Row]
) -> Row:
    """Change the row of a runtime as it is judged, and answer what it is then."""
    judged: list[Row] = []

    def step(doc: Doc | None) -> Step:
        former = None if doc is None else heartbeat.unpack(doc.body)
        judged.append(judge(former))
        if judged[-1] == former:
            return Step()
        return Step([_row_write(judged[-1], 0 if doc is None else doc.version)])

    await ledger.change(project, KIND, row.id, step, row.agent)
    return judged[-1]


async def drop(ledger: Ledger, project: str, row: Row) -> None:
    """Drop a row that has just been made, unless it has altered since."""
    doc = await ledger.get(project, KIND, row.id, row.agent)
    if doc is not None and heartbeat.unpack(doc.body) == row:
        with suppress(Altered):
            over = Write(KIND, row.id, doc.version, None)
            await ledger.commit(project, [over], home=row.agent)


async def trim(ledger: Ledger, project: str, agent: str) -> None:
    """Drop the oldest row of an agent that has too many."""
    index = BEATEN + agent
    page = await ledger.page(project, KIND, index, agent, limit=1, newest=False)
    if page.total > heartbeat.ROWS:
        (oldest,) = page.docs
        with suppress(Altered):  # it beats at this very moment
            over = Write(KIND, oldest.id, oldest.version, None)
            await ledger.commit(project, [over], home=agent)


def _row_write(row: Row, expect: int) -> Write:
    indexes = {BEATEN + row.agent: float(row.updated_ms)}
    due_ms = row.seen_ms + heartbeat.KEPT_MS
    return Write(KIND, row.id, expect, heartbeat.pack(row), due_ms, indexes)


async def account_of(ledger: Ledger, project: str, agent: str, now_ms: int) -> Account:
    """Read an agent's account; one that calls for the first time is given one."""
    doc = await ledger.get(project, ACCOUNT, agent_uuid(project, agent))
    if doc is not None:
        return account.unpack(doc.body)
    new = Account(agent, now_ms)
    with suppress(Altered):  # another call was first
        await ledger.commit(project, [_account_write(project, new, 0)])
    return new


async def change_account(
    ledger: Ledger, project: str, agent: str, now_ms: int, judge: Callable[[Account], Account]
) -> Account:
    """Change an agent's account as it is judged, and answer what it is then."""
    judged: list[Account] = []

    def step(doc: Doc | None) -> Step:
        former = Account(agent, now_ms) if doc is None else account.unpack(doc.body)
        judged.append(judge(former))
        if doc is not None and judged[-1] == former:
            return Step()
        return Step([_account_write(project, judged[-1], 0 if doc is None else doc.version)])

    await ledger.change(project, ACCOUNT, agent_uuid(project, agent), step)
    return judged[-1]


def _account_write(project: str, each: Account, expect: int) -> Write:
    return Write(ACCOUNT, agent_uuid(project, each.agent), expect, account.pack(each))


async def agent_named(ledger: Ledger, project: str, name: str, field: str = "id") -> str:
    """Find the agent that an id or a UUID means."""
    check_agent_id(name, field)
    doc = await ledger.get(project, ACCOUNT, name.lower())
    return name if doc is None else account.unpack(doc.body).agent
