"""Work: bounties, the applications for them, and the slots that are granted."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lifesigns.core import application, slot
from lifesigns.core.application import PENDING_AT_MOST, Application, application_id
from lifesigns.core.codec import check_bulk
from lifesigns.core.errors import BadValue, Conflict, Forbidden, NotFound
from lifesigns.core.field import instant_of
from lifesigns.core.job import CLOSED, OPEN, Job, check_job_id, spell
from lifesigns.core.presence import agent_uuid
from lifesigns.core.slot import Move, Slot, Turn
from lifesigns.dialects.callboard.home import bounty
from lifesigns.dialects.callboard.refusal import Invalid
from lifesigns.store.board import ALL, of_agent, of_job
from lifesigns.store.job import Wanted
from lifesigns.web.callboard import register
from lifesigns.web.callboard.caller import Caller, called
from lifesigns.web.callboard.home import visit_of
from lifesigns.web.callboard.standing import names_of
from lifesigns.web.http import Desk, body_of, reply
from lifesigns.web.query import query_of, whole_of

PAGE, PAGES = 20, 100


# Bounties.


async def bounties(desk: Desk, request: Request, caller: Caller) -> Response:
    caller.grant.allow_watch()
    query = query_of(request, ("limit", "cursor"))
    limit = whole_of(query, "limit", 1, PAGES, PAGE)
    after = query.get("cursor", "")
    page = await desk.jobs.page(caller.project, Wanted((OPEN,)), after=after, limit=limit)
    shown = await _shown(desk, caller, page.jobs)
    return reply({"bounties": shown, "total": page.total, "nextCursor": page.cursor})


async def read_bounty(desk: Desk, request: Request, caller: Caller) -> Response:
    caller.grant.allow_watch()
    query_of(request, ())
    job = await desk.jobs.get(caller.project, check_job_id(request.path_params["id"]))
    return reply({"bounty": (await _shown(desk, caller, [job]))[0]})


async def _shown(desk: Desk, caller: Caller, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    if caller.own is None:
        return [spell(job) | {"paid": job.budget_usdc > 0} for job in jobs]
    visit = await visit_of(desk, caller)
    return [bounty(job, visit) for job in jobs]


async def apply(desk: Desk, request: Request, caller: Caller) -> Response:
    own, project = caller.me, caller.project
    query_of(request, ())
    body = await body_of(request, desk.body_bytes)
    message = body.get("message", "")
    if not isinstance(message, str) or len(message) > desk.limits.text_length:
        most = desk.limits.text_length
        raise Invalid({"message": f"message is a text of at most {most} characters."})
    job = await desk.jobs.get(project, check_job_id(request.path_params["id"]))
    if job.status != OPEN:
        raise Conflict(f"The job {job.id!r} is {job.status}: nobody can apply for it.")
    if job.poster in names_of(project, own.id):
        raise Conflict("This bounty is your own.")
    if len(own.standing.applications) >= PENDING_AT_MOST:
        raise Conflict(f"{PENDING_AT_MOST} of your applications wait for an answer: no more now.")
    wanted = Application(
        application_id(project, own.id, job.id),
        own.id,
        agent_uuid(project, own.id),
        job.id,
        caller.now_ms,
        caller.now_ms,
        message=message,
    )
    made = await desk.board.alter(
        project, wanted.id, lambda former: application.apply(former, wanted)
    )
    return reply({"application": application.spell(made)}, 201)


async def applications(desk: Desk, request: Request, caller: Caller) -> Response:
    """List an agent's own, or for those who grant slots those for a job."""
    query = query_of(request, ("jobId",))
    if "jobId" in query:
        job = await _judged(desk, caller, query["jobId"])
        found = await desk.board.applications(caller.project, of_job(job.id))
    else:
        found = await desk.board.applications(caller.project, of_agent(caller.me.id))
    return reply({"applications": [application.spell(each) for each in found]})


async def withdraw_application(desk: Desk, request: Request, caller: Caller) -> Response:
    own = caller.me
    query_of(request, ())

    def judge(former: Application | None) -> Application:
        if former is None or former.agent != own.id:
            raise NotFound("You have made no such application.")
        return application.withdraw(former, caller.now_ms)

    made = await desk.board.alter(caller.project, request.path_params["id"], judge)
    return reply({"application": application.spell(made)})


# Slots.


async def grant(desk: Desk, request: Request, caller: Caller) -> Response:
    query_of(request, ())
    body = await body_of(request, desk.body_bytes)
    said = _grant(body)
    job = await _judged(desk, caller, said["jobId"])
    project, now_ms = caller.project, caller.now_ms
    agent = await register.agent_named(desk.ledger, project, said["agentId"], "agentId")
    if not await _is_known(desk, project, agent):
        raise NotFound(f"No agent {agent!r} was ever seen.")
    acknowledge_by_ms, finish_by_ms = said["acknowledgementDeadlineAt"], said["fairWorkDeadlineAt"]
    slot.check_deadlines(now_ms, acknowledge_by_ms, finish_by_ms)
    wanted = Slot(
        id=str(uuid.uuid4()),
        agent=agent,
        agent_uuid=agent_uuid(project, agent),
        job=job.id,
        poster=job.poster,
        status="GRANTED",
        granted_ms=now_ms,
        acknowledge_by_ms=acknowledge_by_ms,
        finish_by_ms=finish_by_ms,
        updated_ms=now_ms,
        granted_by=caller.grant.poster or caller.grant.agent or caller.grant.key_id,
    )
    made = await desk.board.grant(project, wanted)
    return reply({"slot": slot.spell(made, now_ms)}, 201)


def _grant(body: dict[str, Any]) -> dict[str, Any]:
    """Take who is granted what, and until when; every wrong field is named."""
    said: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name in ("agentId", "jobId"):
        said[name] = body.get(name)
        if not isinstance(said[name], str) or not said[name]:
            wrong[name] = f"{name} is needed."
    for name in ("acknowledgementDeadlineAt", "fairWorkDeadlineAt"):
        try:
            said[name] = instant_of(body, name)
        except BadValue as bad:
            wrong[name] = bad.message
        else:
            if said[name] is None:
                wrong[name] = f"{name} is needed."
    if wrong:
        raise Invalid(wrong)
    return said


async def _is_known(desk: Desk, project: str, agent: str) -> bool:
    doc = await desk.ledger.get(project, register.ACCOUNT, agent_uuid(project, agent))
    return doc is not None or (await desk.store.read(project, agent)).presence is not None


async def _is_own(desk: Desk, caller: Caller, job_id: str | None) -> bool:
    """Tell whether a job is one that the agent who calls has posted."""
    if job_id is None or caller.own is None:
        return False
    (job,) = await desk.jobs.read(caller.project, [check_job_id(job_id, "jobId")])
    return job is not None and job.poster in names_of(caller.project, caller.own.id)


async def _judged(desk: Desk, caller: Caller, job_id: str) -> Job:
    """Read a job for who decides about it: its poster, which may be an agent, or an admin."""
    job = await desk.jobs.get(caller.project, check_job_id(job_id, "jobId"))
    mine = caller.own is not None and job.poster in names_of(caller.project, caller.own.id)
    if not mine:
        caller.grant.allow_post(job.poster)
    return job


async def slots(desk: Desk, request: Request, caller: Caller) -> Response:
    """List an agent's own; for those who grant slots those of a job, for admins all."""
    query = query_of(request, ("jobId", "status", "limit"))
    limit = whole_of(query, "limit", 1, PAGES, PAGES)
    job_id = query.get("jobId")
    if caller.own is not None and not await _is_own(desk, caller, job_id):
        index = of_agent(caller.me.id)
    elif job_id is not None:
        index = of_job((await _judged(desk, caller, job_id)).id)
    else:
        caller.grant.allow_admin()
        index = ALL
    status = query.get("status")
    if status is not None and status not in slot.STATUSES:
        raise Invalid({"status": f"status is one of {', '.join(slot.STATUSES)}."})
    found = (await desk.board.slots(caller.project, index)).slots
    shown = [each for each in found if status in (None, each.status) and job_id in (None, each.job)]
    return reply({"slots": [slot.spell(each, caller.now_ms) for each in shown[:limit]]})


async def read_slot(desk: Desk, request: Request, caller: Caller) -> Response:
    query_of(request, ())
    found = await desk.board.slot(caller.project, request.path_params["id"])
    if caller.own is None or found.agent != caller.own.id:
        await _judged(desk, caller, found.job)
    return reply({"slot": slot.spell(found, caller.now_ms)})


def mover(act: Move) -> Callable[[Desk, Request, Caller], Awaitable[Response]]:
    """Make the endpoint by which an agent does something about its slot."""

    async def endpoint(desk: Desk, request: Request, caller: Caller) -> Response:
        own, project = caller.me, caller.project
        query_of(request, ())
        body = await body_of(request, desk.body_bytes)
        artifact = body.get("artifact", {k: v for k, v in body.items() if k != "slotId"} or None)
        if act == "submit":
            if artifact is None:
                raise Invalid({"artifact": "artifact is needed: what you hand in."})
            limits = desk.limits
            check_bulk(artifact, "artifact", limits.message_bytes, limits.metadata_depth)
        found = await desk.board.slot(project, request.path_params["id"])
        if found.agent != own.id:
            raise Forbidden("This slot is another agent's.")
        if act != "withdraw":
            job = await desk.jobs.get(project, found.job)
            if job.status in CLOSED:
                raise Conflict(f"The job {job.id!r} is {job.status}: there is nothing to do.")
        late = (found.deadline_ms or found.finish_by_ms) <= caller.now_ms
        number = desk.store.lane(project, "").number
        held_ms = slot.held_until_ms(await desk.sweeper.gap_ms(number)) if late else 0

        def judge(each: Slot) -> Turn:
            moved = slot.move(each, act, caller.now_ms, held_until_ms=held_ms, artifact=artifact)
            return Turn(moved)

        after = await desk.board.change(project, found.id, judge)
        return reply({"slot": slot.spell(after, caller.now_ms)})

    return endpoint


ROUTES = (
    *(
        route
        for name in ("bounties", "jobs")
        for route in (
            Route(f"/api/v2/{name}", called(bounties), methods=["GET"]),
            Route(f"/api/v2/{name}/{{id}}", called(read_bounty), methods=["GET"]),
            Route(f"/api/v2/{name}/{{id}}/apply", called(apply), methods=["POST"]),
        )
    ),
    Route("/api/v2/applications", called(applications), methods=["GET"]),
    Route("/api/v2/applications/{id}/withdraw", called(withdraw_application), methods=["POST"]),
    Route("/api/v2/slots", called(grant), methods=["POST"]),
    Route("/api/v2/slots", called(slots), methods=["GET"]),
    Route("/api/v2/slots/{id}", called(read_slot), methods=["GET"]),
    Route("/api/v2/slots/{id}/acknowledge", called(mover("acknowledge")), methods=["POST"]),
    Route("/api/v2/slots/{id}/submit", called(mover("submit")), methods=["POST"]),
    Route("/api/v2/slots/{id}/withdraw", called(mover("withdraw")), methods=["POST"]),
)
