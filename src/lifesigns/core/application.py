"""An application: an agent asks to be given a slot of a job. Must not know how it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

from lifesigns.core.errors import Conflict
from lifesigns.core.instant import to_text

Status = Literal["PENDING", "GRANTED", "WITHDRAWN"]

PENDING_AT_MOST: Final = 50  # of one agent: whoever asks for everything asks for nothing
KEPT_MS: Final = 90 * 86_400_000


@dataclass(frozen=True, slots=True)
class Application:
    """One agent's wish to work on one job."""

    id: str
    agent: str
    agent_uuid: str
    job: str
    created_ms: int
    updated_ms: int
    status: Status = "PENDING"
    message: str = ""

    @property
    def due_ms(self) -> int:
        """Say when it need not be remembered any longer."""
        return self.updated_ms + KEPT_MS


def application_id(project: str, agent: str, job: str) -> str:
    """Name it: an agent has one for a job, on whichever hub it applies."""
    return str(uuid5(NAMESPACE_URL, f"lifesigns:{project}/{agent}/{job}"))


def apply(former: Application | None, wanted: Application) -> Application:
    """Make an application; one that was withdrawn may be made again."""
    if former is None or former.status == "WITHDRAWN":
        return wanted
    raise Conflict(f"You have applied for the job {wanted.job!r} already.")


def withdraw(application: Application, now_ms: int) -> Application:
    """Take it back."""
    if application.status == "GRANTED":
        raise Conflict("It was granted: withdraw from the slot.")
    if application.status == "WITHDRAWN":
        return application
    return replace(application, status="WITHDRAWN", updated_ms=now_ms)


def granted(application: Application, now_ms: int) -> Application:
    """Note that a slot was granted for it."""
    return replace(application, status="GRANTED", updated_ms=now_ms)


def pack(application: Application) -> dict[str, Any]:
    """Lay an application out to be kept."""
    return asdict(application)


def unpack(body: Mapping[str, Any]) -> Application:
    """Read an application that was kept, by a hub of whatever version."""
    return Application(**{name: value for name, value in body.items() if name in _FIELDS})


_FIELDS: Final = frozenset(field.name for field in fields(Application))


def spell(application: Application) -> dict[str, Any]:
    """Spell an application out."""
    return {
        "id": application.id,
        "agentId": application.agent_uuid,
        "agent": application.agent,
        "jobId": application.job,
        "bountyId": application.job,
        "status": application.status,
        "message": application.message,
        "createdAt": to_text(application.created_ms),
        "updatedAt": to_text(application.updated_ms),
    }
