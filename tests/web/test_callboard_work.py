"""Work on Callboard's board on a real hub: applications, slots, deadlines, and what is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest

from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.presence import agent_uuid
from lifesigns.core.slot import Slot, Turn
from lifesigns.store import keys
from lifesigns.web.callboard.standing import standing_of
from tests.hub import RunningHub, running_hub
from tests.patience import until, until_told
from tests.web.board import Visitor, listen, now_ms, post_job, terms, told, visitor

LONG_MS = 3_600_000
NEAR_MS = 300_000  # of deadlines that were far away when the slot was granted


async def grant(http: httpx.AsyncClient, agent: str, job: str, *spans_ms: int) -> dict[str, Any]:
    spans_ms = spans_ms or (LONG_MS, 2 * LONG_MS)
    answer = await http.post("/api/v2/slots", json=terms(agent, job, *spans_ms))
    assert answer.status_code == 201, answer.text
    slot: dict[str, Any] = answer.json()["slot"]
    return slot


async def bring(hub: RunningHub, slot: dict[str, Any], in_ms: int) -> None:
    """Bring a slot's deadline so near, as if time had passed."""
    at_ms = now_ms() + in_ms

    def nearer(each: Slot) -> Turn:
        each = replace(each, granted_ms=each.granted_ms - LONG_MS)
        if each.status == "GRANTED":
            return Turn(replace(each, acknowledge_by_ms=at_ms))
        return Turn(replace(each, finish_by_ms=at_ms))

    await hub.hub.board.change(DEFAULT_PROJECT, slot["id"], nearer)


async def warned(hub: RunningHub, slot: dict[str, Any]) -> None:
    """Wait until it was told that a slot's deadline is near."""

    async def found() -> bool:
        return any(
            type_ == "slot.near_deadline" and data["id"] == slot["id"]
            for type_, _, data in await told(hub)
        )

    assert await until_told(found)


async def act(agent: Visitor, slot: dict[str, Any], name: str, *more: Any) -> Any:
    return await agent.call("POST", f"/api/v2/slots/{slot['id']}/{name}", *more)


async def is_now(hub: RunningHub, slot: dict[str, Any], status: str) -> Slot:
    """Wait until a slot has a status; nobody's calls are used up by that."""

    async def found() -> Slot | None:
        now = await hub.hub.board.slot(DEFAULT_PROJECT, slot["id"])
        return now if now.status == status else None

    now = await until_told(found)
    assert now is not None
    return now


async def test_from_an_application_to_the_artifact(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await listen(hub)
    await post_job(hub, "j", title="Sort it", poster="boss")
    worker, boss = await visitor(http, "worker"), await visitor(http, "boss")
    await worker.beat()
    (bounty,) = (await worker.call("GET", "/api/v2/bounties"))["bounties"]
    assert (bounty["id"], bounty["title"], bounty["applied"]) == ("j", "Sort it", False)
    applied = await worker.call("POST", "/api/v2/bounties/j/apply", {"message": "me"}, 201)
    assert applied["application"]["status"] == "PENDING"
    home = await worker.home()
    assert [each["jobId"] for each in home["openApplications"]] == ["j"]
    assert home["cadence"]["reason"] == "pending_application"
    assert home["eligibleJobs"][0]["applied"]

    # The boss sees who it was, by the UUID, and grants a slot by it.
    (asked,) = (await boss.call("GET", "/api/v2/applications?jobId=j"))["applications"]
    given = terms(asked["agentId"], "j", LONG_MS, 2 * LONG_MS)
    slot = (await boss.call("POST", "/api/v2/slots", given, 201))["slot"]
    assert (slot["agent"], slot["status"]) == ("worker", "GRANTED")
    assert slot["applicationId"] == applied["application"]["id"]
    home = await worker.home()
    assert home["openApplications"] == []
    assert [each["type"] for each in home["priorityActions"]] == [
        "acknowledge_slot",
        "review_notifications",
    ]
    (letter,) = home["notifications"]
    assert (letter["kind"], letter["slot"]["id"]) == ("slot", slot["id"])
    assert home["cadence"]["reason"] == "granted_slot"

    taken = (await act(worker, slot, "acknowledge"))["slot"]
    assert (taken["status"], (await worker.home())["cadence"]["reason"]) == (
        "ACKNOWLEDGED",
        "active_slot",
    )
    await act(worker, slot, "submit", {"artifact": "first"})
    handed = (await act(worker, slot, "submit", {"artifact": {"url": "second"}}))["slot"]
    assert (handed["status"], handed["artifact"]) == ("SUBMITTED", {"url": "second"})

    home = await boss.home()
    assert [job["id"] for job in home["requesterReviewJobs"]] == ["j"]
    assert [each["type"] for each in home["priorityActions"]] == [
        "review_packets",
        "award",
        "no_award",
        "clarify",
    ]
    assert home["cadence"]["reason"] == "review_available"
    (seen,) = (await boss.call("GET", "/api/v2/slots?jobId=j"))["slots"]
    assert seen["artifact"] == {"url": "second"}
    events = [(type_, agent) for type_, agent, _ in await told(hub) if type_.startswith("slot.")]
    assert events == [("slot.granted", "worker")]


async def test_a_slot_that_is_not_acknowledged_in_time_is_missed_and_told_once(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await listen(hub)
    await post_job(hub, "j")
    worker = await visitor(http, "worker")
    await worker.beat()
    slot = await grant(http, "worker", "j")
    await bring(hub, slot, NEAR_MS)
    await warned(hub, slot)
    await bring(hub, slot, 0)
    missed = await is_now(hub, slot, "MISSED")
    assert missed.ended_ms is not None
    assert missed.ended_ms >= missed.acknowledge_by_ms
    events = [(type_, data["deadline"]) for type_, _, data in await told(hub) if "deadline" in data]
    assert events == [
        ("slot.near_deadline", "acknowledgement"),
        ("slot.missed", "acknowledgement"),
    ]
    await worker.call("POST", f"/api/v2/slots/{slot['id']}/acknowledge", {}, 409)
    home = await worker.home()
    assert home["activeSlots"] == []
    assert (await grant(http, "worker", "j"))["status"] == "GRANTED", "it may be given another"


async def test_work_that_is_not_handed_in_in_time_is_missed_and_near_is_told_before(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await listen(hub)
    await post_job(hub, "j")
    worker = await visitor(http, "worker")
    await worker.beat()
    slot = await grant(http, "worker", "j")
    await act(worker, slot, "acknowledge")
    await bring(hub, slot, NEAR_MS)
    await warned(hub, slot)
    await bring(hub, slot, 0)
    await is_now(hub, slot, "MISSED")
    events = [
        (type_, agent, data["deadline"])
        for type_, agent, data in await told(hub)
        if "deadline" in data
    ]
    assert events == [
        ("slot.near_deadline", "worker", "fairWork"),
        ("slot.missed", "worker", "fairWork"),
    ]


async def test_however_many_hubs_look_a_deadline_is_told_once(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url) as hub,
        running_hub(fresh_url),
        running_hub(fresh_url),
        hub.client() as http,
    ):
        await listen(hub)
        worker = await visitor(http, "worker")
        await worker.beat()
        slots = []
        for name in "abcde":
            await post_job(hub, name)
            slots.append(await grant(http, "worker", name))
        for slot in slots:
            await bring(hub, slot, NEAR_MS)
        for slot in slots:
            await warned(hub, slot)
            await bring(hub, slot, 0)
        for slot in slots:
            await is_now(hub, slot, "MISSED")
        types = Counter((type_, data["id"]) for type_, _, data in await told(hub))
        ids = [slot["id"] for slot in slots]
        for type_ in ("slot.granted", "slot.near_deadline", "slot.missed"):
            assert [types[type_, each] for each in ids] == [1] * len(ids)


async def test_a_slot_of_a_job_that_is_over_is_nobodys_fault(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await listen(hub)
    await post_job(hub, "j")
    worker = await visitor(http, "worker")
    await worker.beat()
    slot = await grant(http, "worker", "j")
    assert (await http.post("/jobs/j/cancel")).status_code == 200
    home = await worker.home()
    assert (home["activeSlots"], home["cadence"]["reason"]) == ([], "setup_claim_unattended")
    await bring(hub, slot, 0)
    await is_now(hub, slot, "WITHDRAWN")
    assert [type_ for type_, _, _ in await told(hub) if type_.startswith("slot")] == [
        "slot.granted"
    ]


async def test_what_was_handed_in_is_final_at_the_deadline(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await post_job(hub, "j")
    worker = await visitor(http, "worker")
    await worker.beat()
    slot = await grant(http, "worker", "j")
    await act(worker, slot, "acknowledge")
    await act(worker, slot, "submit", {"artifact": 1})
    await bring(hub, slot, 0)

    async def over() -> bool:
        return not (await hub.hub.board.slot(DEFAULT_PROJECT, slot["id"])).is_open

    await until_told(over)
    assert (await worker.home())["activeSlots"] == []
    await worker.call("POST", f"/api/v2/slots/{slot['id']}/submit", {"artifact": 2}, 409)
    await worker.call("POST", f"/api/v2/slots/{slot['id']}/withdraw", {}, 409)
    found = (await worker.call("GET", f"/api/v2/slots/{slot['id']}"))["slot"]
    assert (found["status"], found["artifact"]) == ("SUBMITTED", 1)


async def test_nobody_misses_a_deadline_while_nobody_could_be_heard(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await post_job(hub, "j")
    worker = await visitor(http, "worker")
    await worker.beat()
    slot = await grant(http, "worker", "j")
    number = hub.hub.store.lane(DEFAULT_PROJECT, "").number
    # Noted as by a service that comes back: nobody was heard before this moment.
    await hub.hub.link.ask("HSET", keys.part(number), "gap", now_ms())
    handed = hub.hub.agenda.handed
    await bring(hub, slot, 0)
    await until(lambda: hub.hub.agenda.handed > handed)  # it was looked at, and left alone
    assert (await act(worker, slot, "acknowledge"))["slot"]["status"] == "ACKNOWLEDGED"


async def test_an_agent_has_one_slot_of_a_job_whoever_grants_it_at_once(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await post_job(hub, "j")
    for name in ("a", "b"):
        await (await visitor(http, name)).beat()
    grants = [
        http.post("/api/v2/slots", json=terms(name, "j", LONG_MS, LONG_MS))
        for name in ("a", "b", "a", "b")
    ]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*grants))
    assert statuses == [201, 201, 409, 409]
    assert len((await http.get("/api/v2/slots?jobId=j")).json()["slots"]) == 2


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"agentId": None}, 422, "agentId"),
        ({"agentId": 7}, 422, "agentId"),
        ({"agentId": "no agent"}, 400, "agentId"),
        ({"agentId": "nobody"}, 404, None),
        ({"jobId": ""}, 422, "jobId"),
        ({"jobId": "none"}, 404, None),
        ({"jobId": "x" * 129}, 400, "jobId"),
        ({"acknowledgementDeadlineAt": None}, 422, "acknowledgementDeadlineAt"),
        ({"acknowledgementDeadlineAt": "soon"}, 422, "acknowledgementDeadlineAt"),
        ({"acknowledgementDeadlineAt": 5}, 422, "acknowledgementDeadlineAt"),
        (
            {"acknowledgementDeadlineAt": "2001-01-01T00:00:00Z"},
            422,
            "acknowledgementDeadlineAt",
        ),
        ({"fairWorkDeadlineAt": "2001-01-01T00:00:00Z"}, 422, "fairWorkDeadlineAt"),
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused(
    change: dict[str, Any], status: int, field: str | None, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await post_job(hub, "j")
    await (await visitor(http, "worker")).beat()
    body = terms("worker", "j", LONG_MS, LONG_MS) | change
    answer = await http.post("/api/v2/slots", json=body)
    error = answer.json()["error"]
    assert answer.status_code == status, error
    assert list(error.get("details", {})) == ([] if field is None else [field])


async def test_an_agent_finds_what_waits_for_its_word_as_a_poster(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    boss = await visitor(http, "boss")
    await boss.beat(roleMode="REQUESTER")
    names = {"by id": "boss", "by uuid": agent_uuid("default", "boss"), "theirs": "another"}
    for name, poster in names.items():
        await post_job(hub, name, status="IN_REVIEW", agent="worker", poster=poster)
    home = await boss.home()
    assert sorted(job["id"] for job in home["requesterReviewJobs"]) == ["by id", "by uuid"]
    assert home["cadence"]["reason"] == "review_available"
    soon = {"deadline_ms": now_ms() + 300_000}
    await post_job(hub, "soon", status="IN_REVIEW", agent="worker", poster="boss", **soon)
    assert (await boss.home())["cadence"]["reason"] == "review_available", "most of it is left"
    late = {"deadline_ms": now_ms() + 45_000}
    await post_job(hub, "late", status="IN_REVIEW", agent="worker", poster="boss", **late)
    due = (await boss.home())["cadence"]
    assert due["nextPollSeconds"] + due["jitterSeconds"] < 45


async def test_an_agent_whose_id_is_its_uuid_is_counted_once(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    name = "c91361ef-6d85-439c-82e1-8f388a302e6a"
    agent, boss = await visitor(http, name), await visitor(http, "boss")
    await agent.beat()
    await post_job(hub, "j", poster=name)
    await post_job(hub, "done", status="IN_REVIEW", agent="worker", poster=name)
    await post_job(hub, "other", poster="boss")
    home = await agent.home()
    assert [job["id"] for job in home["requesterReviewJobs"]] == ["done"]
    assert [job["id"] for job in home["eligibleJobs"]] == ["other"]
    given = terms(name, "other", LONG_MS, LONG_MS)
    assert (await boss.call("POST", "/api/v2/slots", given, 201))["slot"]["agent"] == name
    standing = await standing_of(hub.hub.site._desk, "default", name, "BOTH", now_ms())
    assert standing.posted == 1


async def test_only_posters_and_admins_grant_and_only_its_agent_works(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await post_job(hub, "j", poster="p")
    worker, other = await visitor(http, "worker"), await visitor(http, "other")
    await worker.beat()
    await worker.call("POST", "/api/v2/slots", terms("worker", "j", LONG_MS, LONG_MS), 403)
    for poster, status in (("q", 403), ("p", 201)):
        key = {"scope": "poster", "poster": poster, "key": f"the-key-of-poster-{poster}"}
        await http.post("/v1/keys", json=key)
        answer = await http.post(
            "/api/v2/slots",
            json=terms("worker", "j", LONG_MS, LONG_MS),
            headers={"X-API-Key": key["key"]},
        )
        assert answer.status_code == status
    slot = answer.json()["slot"]
    assert slot["grantedBy"] == "p"
    for name in ("acknowledge", "submit", "withdraw"):
        path = f"/api/v2/slots/{slot['id']}/{name}"
        await other.call("POST", path, {"artifact": 1}, 403)
    await other.call("GET", f"/api/v2/slots/{slot['id']}", None, 403)
    assert (await other.call("GET", "/api/v2/slots"))["slots"] == []
    assert (await http.post(f"/api/v2/slots/{slot['id']}/acknowledge")).status_code == 403
    assert len((await http.get("/api/v2/slots")).json()["slots"]) == 1
    await act(worker, slot, "acknowledge")
    await worker.call("POST", f"/api/v2/slots/{slot['id']}/submit", {}, 422)
    await worker.call("GET", "/api/v2/slots?status=gone", None, 422)
    assert (await worker.call("GET", "/api/v2/slots?status=GRANTED"))["slots"] == []
    assert (await act(worker, slot, "withdraw"))["slot"]["withdrawnAt"] is not None


async def test_an_agent_applies_once_and_not_for_its_own_nor_for_what_is_taken(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    worker = await visitor(http, "worker")
    await worker.beat()
    for name, poster in (("j", None), ("own", "worker"), ("mine", agent_uuid("default", "worker"))):
        await post_job(hub, name, poster=poster)
    await post_job(hub, "taken", status="IN_PROGRESS", agent="x")
    path = "/api/v2/bounties/{}/apply"
    made = await worker.call("POST", path.format("j"), {}, 201)
    for name in ("j", "own", "mine", "taken"):
        await worker.call("POST", path.format(name), {}, 409)
    await worker.call("POST", path.format("none"), {}, 404)
    await worker.call("POST", path.format("j"), {"message": 7}, 422)
    back = f"/api/v2/applications/{made['application']['id']}/withdraw"
    other = await visitor(http, "other")
    await other.call("POST", back, None, 404)
    assert (await worker.call("POST", back))["application"]["status"] == "WITHDRAWN"
    assert (await worker.home())["openApplications"] == []
    await worker.call("POST", "/api/v2/jobs/j/apply", {}, 201)
    await grant(http, "worker", "j")
    await worker.call("POST", back, None, 409)


async def test_a_socket_is_told_of_a_slot_and_one_who_polls_finds_it_in_the_inbox(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await post_job(hub, "j")
    worker = await visitor(http, "worker")
    await worker.beat()
    slot = await grant(http, "worker", "j")
    (letter,) = (await worker.call("GET", "/v1/inbox"))["messages"]
    assert (letter["kind"], letter["slot"]["id"]) == ("slot", slot["id"])
    assert "artifact" not in letter["slot"]
    await worker.call("POST", f"/v1/inbox/{letter['id']}/ack")
    assert (await worker.home())["notifications"] == []


async def test_a_letter_that_was_not_written_is_written_by_whoever_looks_next(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    """A hub that dies between the grant and the letter loses neither."""
    await post_job(hub, "j")
    worker = await visitor(http, "worker")
    await worker.beat()
    board = hub.hub.board

    async def dies(*_: Any) -> Any:
        raise ConnectionError("the hub is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(board, "tell", dies)
        answer = await http.post("/api/v2/slots", json=terms("worker", "j", LONG_MS, LONG_MS))
        assert answer.status_code == 500

    async def letters() -> list[Any]:
        return list((await worker.call("GET", "/v1/inbox?wait=5"))["messages"])

    assert len(await until_told(letters)) == 1
    assert len((await worker.home())["activeSlots"]) == 1
