"""Whatever a receiver does, it is told at least once, in order, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamWriter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from lifesigns.core import delivery, line
from lifesigns.core.access import DEFAULT_PROJECT
from lifesigns.core.circuit import Circuit
from lifesigns.core.instant import from_text
from lifesigns.core.line import line_of
from lifesigns.core.signature import make_secret
from lifesigns.core.webhook import BOUND, KIND, bound, own_id, webhook_of
from lifesigns.core.webhook import Webhook as Hook
from lifesigns.store.ledger import Event, Write
from lifesigns.workers.agenda import Place
from lifesigns.workers.courier import AT_ONCE
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S, until
from tests.receiver import Got, Receiver, answer, receiver
from tests.station import station

SECRET = make_secret(bytes(range(32)))
Deliveries = list[dict[str, Any]]


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as there:
        yield there


@pytest.fixture
async def hub(fresh_url: str) -> AsyncIterator[RunningHub]:
    async with running_hub(fresh_url) as hub:
        yield hub


@pytest.fixture
async def http(hub: RunningHub) -> AsyncIterator[httpx.AsyncClient]:
    async with hub.client() as client:
        yield client


async def hook(http: httpx.AsyncClient, url: str, **asked: Any) -> str:
    """Make a webhook; answer its id."""
    response = await http.post("/v1/webhooks", json={"url": url, **asked})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def sent(http: httpx.AsyncClient, webhook: str, state: str = "") -> Deliveries:
    """List a webhook's deliveries, the oldest first."""
    query = f"?state={state}" if state else ""
    answer = await http.get(f"/v1/webhooks/{webhook}/deliveries{query}")
    return list(reversed(answer.json()["deliveries"]))


async def until_listed(
    http: httpx.AsyncClient, webhook: str, state: str, wanted: Callable[[Deliveries], bool]
) -> Deliveries:
    """Ask until what is listed is as wanted."""
    async with asyncio.timeout(SOON_S):
        while not wanted(found := await sent(http, webhook, state)):
            pass
    return found


async def until_sent(
    http: httpx.AsyncClient, webhook: str, state: str, total: int = 1
) -> Deliveries:
    return await until_listed(http, webhook, state, lambda found: len(found) >= total)


async def tried(http: httpx.AsyncClient, webhook: str) -> dict[str, Any]:
    """Await the first try of the first delivery; answer what came of it."""
    found = await until_listed(
        http, webhook, "", lambda found: bool(found) and bool(found[0]["attempts"])
    )
    attempt: dict[str, Any] = found[0]["attempts"][0]
    return attempt


async def hasten(hub: RunningHub, http: httpx.AsyncClient, webhook: str) -> None:
    """Make all that waits for another try due now."""
    for each in await sent(http, webhook, "retrying"):
        await hub.hub.webhooks.change_delivery(
            DEFAULT_PROJECT,
            each["id"],
            lambda found: delivery.begun_again(found, 1),
        )


# What is told.


async def test_a_life_is_told_in_order_and_signed(http: httpx.AsyncClient, there: Receiver) -> None:
    await hook(http, there.url, secret=SECRET)
    await http.put("/v1/pulse/a", json={"status": "working", "metadata": {"model": "m"}})
    await http.put("/v1/pulse/a", json={"status": "error"})
    await http.delete("/v1/pulse/a")
    await http.delete("/v1/pulse/a?forget=true")
    await until(lambda: len(there.got) == 4)
    assert there.types() == ["agent.online", "agent.error", "agent.offline", "agent.forgotten"]
    for got in there.got:
        message = Webhook(SECRET).verify(got.body, got.headers)
        assert message["id"] == got.headers["webhook-id"]
        assert message["project"] == "default"
        assert message["timestamp"] == message["createdAt"] == message["data"]["at"]
        assert message["data"]["metadata"] == {"model": "m"}
    seqs = [got.json["data"]["seq"] for got in there.got]
    assert seqs == sorted(seqs)
    assert there.got[2].json["data"]["reason"] == "left"
    assert len({got.headers["webhook-id"] for got in there.got}) == 4


async def test_only_what_is_wanted_is_told(http: httpx.AsyncClient, there: Receiver) -> None:
    await hook(http, there.url, events=["agent.offline"], filter={"capability": ["search"]})
    await http.put("/v1/pulse/a", json={"capabilities": ["search"]})
    await http.put("/v1/pulse/b", json={"capabilities": ["write"]})
    await http.delete("/v1/pulse/b")
    await http.delete("/v1/pulse/a")
    await until(lambda: there.got)
    assert [(each.json["type"], each.json["data"]["id"]) for each in there.got] == [
        ("agent.offline", "a")
    ]


@pytest.mark.parametrize(
    ("format_", "body"),
    [
        ("slack", b'{"text":"a is online"}'),
        ("discord", b'{"content":"a is online","allowed_mentions":{"parse":[]}}'),
        ("text", b"a is online"),
    ],
)
async def test_chats_are_told_a_sentence(
    format_: str, body: bytes, http: httpx.AsyncClient, there: Receiver
) -> None:
    await hook(http, there.url, format=format_)
    await http.put("/v1/pulse/a", json={})
    await until(lambda: there.got)
    assert there.got[0].body == body


async def test_a_claim_that_is_lost_is_told(http: httpx.AsyncClient, there: Receiver) -> None:
    await hook(http, there.url, events=["claim.lost"])
    await http.put("/v1/pulse/a", json={"slots": 2})
    kept = (await http.post("/v1/claims", json={"agent": "a"})).json()["claim"]
    lost = (await http.post("/v1/claims", json={"agent": "a"})).json()["claim"]
    await http.delete(f"/v1/claims/{kept}")  # in order: nobody has lost anything
    await http.delete("/v1/pulse/a")
    await until(lambda: there.got)
    assert [each.json["data"]["claim"] for each in there.got] == [lost]
    assert there.got[0].json["data"]["agent"] == "a"


# Holding.


async def test_what_is_over_soon_is_not_told_and_neither_is_the_return(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    await http.put("/v1/pulse/a", json={})
    held = await hook(http, there.url, events=["agent.*"], hold_s=3600)
    await http.delete("/v1/pulse/a")
    await until_sent(http, held, "held")
    await http.put("/v1/pulse/a", json={})
    await http.put("/v1/pulse/b", json={})
    await until_listed(http, held, "held", lambda found: [e["agent"] for e in found] == ["b"])
    assert there.got == []


async def test_what_is_still_so_is_told(http: httpx.AsyncClient, there: Receiver) -> None:
    await http.put("/v1/pulse/a", json={})
    await hook(http, there.url, events=["agent.offline"], hold_s=0.3)
    await http.delete("/v1/pulse/a")
    await until(lambda: there.got)
    told = there.got[0].json
    assert (told["type"], told["data"]["id"]) == ("agent.offline", "a")


async def test_an_agent_that_comes_and_goes_is_told_of_as_such_once(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    await hook(http, there.url, events=["agent.*"])
    each = await hook(http, f"{there.url}/each", events=["agent.online", "agent.offline"])
    for _ in range(5):
        await http.put("/v1/pulse/a", json={})
        await http.delete("/v1/pulse/a")
    await until(lambda: len(there.got) == 16)
    await until_sent(http, each, "delivered", 10)
    told = [got.json for got in there.got if got.target == "/hook"]
    assert [message["type"].removeprefix("agent.") for message in told] == [
        *("online", "offline", "online", "offline", "online", "flapping")
    ]
    assert told[-1]["data"]["turns"] == 6


async def test_whether_it_has_come_to_rest_is_told_later(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await hook(http, there.url, events=["agent.*"])
    for _ in range(4):
        await http.put("/v1/pulse/a", json={})
        await http.delete("/v1/pulse/a")
    await until(lambda: len(there.got) == 6)
    # Each turn takes the place of the one before.
    await until_listed(
        http, webhook, "held", lambda found: [e["event"] for e in found] == ["agent.offline"]
    )
    await bring_forward(hub, webhook, "a")
    await until(lambda: len(there.got) == 7)
    assert there.types()[-2:] == ["agent.flapping", "agent.offline"]


async def bring_forward(hub: RunningHub, webhook: str, agent: str) -> None:
    """Let the time pass for which something is held."""
    id_, ledger = f"{webhook} {agent}", hub.hub.ledger
    number = hub.hub.store.lane(DEFAULT_PROJECT, agent).number
    doc = await ledger.get(DEFAULT_PROJECT, line.KIND, id_, number)
    assert doc is not None
    queue = line_of(doc.body)
    due = tuple(each._replace(due_ms=each.at_ms) for each in queue.waiting)
    after = line.Line(queue.webhook, due)
    write = Write(line.KIND, id_, doc.version, after.body(), after.due_ms)
    await ledger.commit(DEFAULT_PROJECT, [write], home=number)


# Jobs.


async def test_the_receiver_of_a_job_is_told_of_this_job_alone(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    ledger, webhooks = hub.hub.ledger, hub.hub.webhooks
    own = bound("j1", there.url, SECRET, 1)
    await webhooks.open(DEFAULT_PROJECT)
    await ledger.commit(
        DEFAULT_PROJECT,
        [Write(KIND, own.id, 0, own.body(), None, {BOUND: 1})],
        [Event("job.assigned", "a", {"jobId": job}) for job in ("j1", "j2")],
    )
    everything = await hook(http, f"{there.url}/all")
    await ledger.commit(
        DEFAULT_PROJECT,
        [],
        [Event("job.heartbeat_missed", "a", {"jobId": job}) for job in ("j1", "j2")],
    )
    await http.put("/v1/pulse/a", json={})
    await until_sent(http, everything, "delivered", 3)
    await until_sent(http, own.id, "delivered", 2)
    mine = [got for got in there.got if got.target == "/hook"]
    assert [(got.json["type"], got.json["data"]["jobId"]) for got in mine] == [
        ("job.assigned", "j1"),
        ("job.heartbeat_missed", "j1"),
    ]
    for got in mine:
        Webhook(SECRET).verify(got.body, got.headers)
        assert got.headers["moltjobs-event"] == got.json["type"]
        assert got.headers["moltjobs-delivery"] == got.headers["webhook-id"]
        assert got.headers["moltjobs-signature"].startswith(
            f"t={got.headers['webhook-timestamp']},v1="
        )


async def test_an_agent_may_have_a_webhook_of_its_own_beside_the_projects(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifesigns.store.webhook.MOST", 0)  # it is none of those
    ledger, webhooks = hub.hub.ledger, hub.hub.webhooks
    await webhooks.create(DEFAULT_PROJECT, Hook(own_id("a"), there.url, SECRET))
    assert (await http.get("/v1/webhooks")).json() == {"webhooks": []}
    assert (await http.get("/v1/webhooks/agent:a")).json()["url"] == there.url
    await http.put("/v1/pulse/a", json={})  # not told: it is a change
    for agent in "ba":
        event = Event("job.assigned", agent, {"jobId": f"of-{agent}"})
        await ledger.commit(DEFAULT_PROJECT, [], [event])
    await until(lambda: there.got)
    assert [got.json["data"]["jobId"] for got in there.got] == ["of-a"]


async def test_a_job_that_recovers_while_its_silence_is_held_is_not_told(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    held = await hook(http, there.url, events=["job.*"], hold_s=3600)
    ledger = hub.hub.ledger
    for type_, job in (("heartbeat_missed", "j1"), ("heartbeat_missed", "j2"), ("recovered", "j1")):
        await ledger.commit(DEFAULT_PROJECT, [], [Event(f"job.{type_}", "a", {"jobId": job})])
    await until_listed(
        http,
        held,
        "held",
        lambda found: [json.loads(e["body"])["data"]["jobId"] for e in found] == ["j2"],
    )


# Receivers that fail.


async def test_a_receiver_that_fails_is_told_again(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    there.answers = [answer(500, b"no", Retry_After="3600"), answer(503, Retry_After="3600")]
    webhook = await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    for failures in (1, 2):
        await until_listed(
            http,
            webhook,
            "retrying",
            lambda found, failures=failures: [len(e["attempts"]) for e in found] == [failures],  # type: ignore[misc]
        )
        await hasten(hub, http, webhook)
        await until(lambda failures=failures: len(there.got) > failures)  # type: ignore[misc]
    (each,) = await until_sent(http, webhook, "delivered")
    assert [attempt["status"] for attempt in each["attempts"]] == [500, 503, 204]
    assert len({got.headers["webhook-id"] for got in there.got}) == 1
    assert len({got.body for got in there.got}) == 1


async def test_the_first_retry_comes_by_itself_after_five_seconds(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    there.answers = [answer(500)]
    await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    await until(lambda: len(there.got) == 2)
    assert there.got[1].at - there.got[0].at > 4  # the clock that counts is reckoned


async def test_nobody_listens_there(http: httpx.AsyncClient) -> None:
    async with receiver() as gone:
        url = gone.url
    webhook = await hook(http, url)
    await http.put("/v1/pulse/a", json={})
    attempt = await tried(http, webhook)
    assert attempt["status"] is None
    assert attempt["error"].startswith("unreachable: no connection")


async def test_redirects_are_failures(http: httpx.AsyncClient, there: Receiver) -> None:
    async with receiver() as elsewhere:
        there.always = answer(302, Location=elsewhere.url)
        webhook = await hook(http, there.url)
        await http.put("/v1/pulse/a", json={})
        attempt = await tried(http, webhook)
        assert attempt["status"] == 302
        assert attempt["error"] == "redirects are not followed"
        assert elsewhere.got == []


async def test_a_receiver_that_is_gone_is_not_told_any_more(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    there.always = answer(410)
    webhook = await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    await until_sent(http, webhook, "failed")
    shown = (await http.get(f"/v1/webhooks/{webhook}")).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "its receiver answered 410")
    await http.delete("/v1/pulse/a")
    async with receiver() as other:
        await hook(http, other.url)
        await http.put("/v1/pulse/b", json={})
        await until(lambda: other.got)
    assert len(there.got) == 1


async def test_a_receiver_may_say_when_to_come_back(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    there.answers = [answer(429, Retry_After="1"), answer(429, Retry_After="3600")]
    webhook = await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    (each,) = await until_listed(
        http, webhook, "retrying", lambda found: [len(e["attempts"]) for e in found] == [2]
    )
    first, second = (from_text(attempt["at"]) for attempt in each["attempts"])
    assert second - first >= 1_000
    assert from_text(each["next_attempt_at"]) - second >= 3_600_000


async def test_a_receiver_that_closes_half_way_is_told_again(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    there.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
    webhook = await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    attempt = await tried(http, webhook)
    assert attempt["error"].startswith("bad_answer: ")


async def test_a_dead_receiver_is_left_in_peace(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook, webhooks = await hook(http, there.url), hub.hub.webhooks
    open_ = Circuit(99, 1, 2**45, 1, error="timeout")
    await webhooks.judge_circuit(DEFAULT_PROJECT, webhook, lambda _: open_)
    assert (await http.get(f"/v1/webhooks/{webhook}")).json()["health"]["circuit"] == "open"
    await http.put("/v1/pulse/a", json={})
    attempt = await tried(http, webhook)
    assert attempt["error"] == "circuit_open"
    assert there.got == []

    over = Circuit(99, 1, 1, 1, error="timeout")
    await webhooks.judge_circuit(DEFAULT_PROJECT, webhook, lambda _: over)
    await hasten(hub, http, webhook)
    await until_sent(http, webhook, "delivered")
    health = (await http.get(f"/v1/webhooks/{webhook}")).json()["health"]
    assert (health["circuit"], health["failures"]) == ("closed", 0)


async def test_how_many_arrived_is_counted(http: httpx.AsyncClient, there: Receiver) -> None:
    there.answers = [answer(500, Retry_After="3600")]
    webhook = await hook(http, there.url)
    for agent in "abc":
        await http.put(f"/v1/pulse/{agent}", json={})
    await until_sent(http, webhook, "delivered", 2)
    counted = (await http.get("/metrics")).text.splitlines()
    assert "lifesigns_webhooks_delivered_total 2.0" in counted
    assert "lifesigns_webhooks_failures_total 1.0" in counted


async def test_what_failed_does_not_hold_back_what_came_later(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    there.answers = [answer(500, Retry_After="3600")]
    webhook = await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    await http.delete("/v1/pulse/a")
    await until(lambda: len(there.got) == 2)
    assert there.types() == ["agent.online", "agent.offline"]
    (each,) = await until_sent(http, webhook, "retrying")
    assert each["event"] == "agent.online"


async def test_what_is_on_its_way_to_a_deleted_webhook_ends(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    there.always = answer(500)
    webhook = await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    await until_sent(http, webhook, "retrying")
    await http.delete(f"/v1/webhooks/{webhook}")
    found, total = await hub.hub.webhooks.deliveries(DEFAULT_PROJECT, webhook, None, 10)
    assert (found, total) == ([], 0)


# Who waits for whom.


async def test_a_slow_receiver_keeps_no_other_waiting_and_gets_a_few_at_a_time(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    over = asyncio.Event()

    async def dawdle(got: Got, writer: StreamWriter) -> None:
        await over.wait()
        writer.write(answer(204))
        await writer.drain()

    agents = [f"a{n}" for n in range(2 * AT_ONCE)]
    async with receiver() as slow:
        slow.always = dawdle
        webhook = await hook(http, slow.url)
        await hook(http, there.url)
        await http.post("/v1/pulse", json={"beats": [{"id": agent} for agent in agents]})
        await until(lambda: len(there.got) == len(agents))
        await until(lambda: slow.open == AT_ONCE)
        over.set()
        await until_sent(http, webhook, "delivered", len(agents))
        assert slow.most_open == AT_ONCE


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
async def test_what_another_hub_has_taken_while_it_waited_here_is_not_sent(
    again: bool, hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    over = asyncio.Event()

    async def dawdle(got: Got, writer: StreamWriter) -> None:
        await over.wait()
        writer.write(answer(204))
        await writer.drain()

    webhook = await hook(http, there.url)
    if again:
        there.answers = [answer(500, Retry_After="3600")]
        await http.put("/v1/pulse/last", json={})
        await until_sent(http, webhook, "retrying")
    there.always = dawdle
    agents = [{"id": f"a{n}"} for n in range(AT_ONCE)]
    await http.post("/v1/pulse", json={"beats": agents})
    await until(lambda: there.open == AT_ONCE)
    if again:
        await hasten(hub, http, webhook)
    else:
        await http.put("/v1/pulse/last", json={})
    await until(lambda: hub.hub.courier.in_hand == AT_ONCE + 1)
    await steal(hub, webhook, "last", again=again)
    over.set()
    await until(lambda: hub.hub.courier.in_hand == 0)
    assert len(there.got) == AT_ONCE + again


async def steal(hub: RunningHub, webhook: str, agent: str, *, again: bool) -> None:
    """Take a message as another hub would."""
    ledger, number = hub.hub.ledger, hub.hub.store.lane(DEFAULT_PROJECT, agent).number
    kind, id_ = line.KIND, f"{webhook} {agent}"
    if again:
        found, _ = await hub.hub.webhooks.deliveries(DEFAULT_PROJECT, webhook, "pending", 50)
        kind, id_ = delivery.KIND, next(each.id for each in found if each.agent == agent)
    doc = await ledger.get(DEFAULT_PROJECT, kind, id_, number)
    assert doc is not None
    body = {**doc.body, "taken_ms": 2**45, "taken_by": "another"}
    write = Write(kind, id_, doc.version, body, 2**45)
    await ledger.commit(DEFAULT_PROJECT, [write], home=number)


async def test_one_agents_events_are_never_told_at_once(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    async def dawdle(got: Got, writer: StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(answer(204))
        await writer.drain()

    there.always = dawdle
    await hook(http, there.url, events=["agent.online", "agent.offline"])
    for _ in range(5):
        await http.put("/v1/pulse/a", json={})
        await http.delete("/v1/pulse/a")
    await until(lambda: len(there.got) == 10)
    assert there.types() == ["agent.online", "agent.offline"] * 5
    assert there.most_open == 1


async def test_many_deaths_at_once_are_all_told_in_order_by_all_hubs(
    fresh_url: str, there: Receiver
) -> None:
    agents = [f"a{n}" for n in range(200)]
    async with running_hub(fresh_url) as hub, running_hub(fresh_url), hub.client() as http:
        await hook(http, there.url)
        beats = [{"id": agent, "ttl": 1} for agent in agents]
        await http.post("/v1/pulse", json={"beats": beats})
        await until(lambda: len(there.got) >= 2 * len(agents))
        assert len(there.got) == 2 * len(agents)
        for agent in agents:
            assert there.types(agent) == ["agent.online", "agent.offline"]


# Hubs that go.


async def test_what_happened_while_no_hub_was_there_to_tell_it_is_told_later(
    fresh_url: str, there: Receiver
) -> None:
    async with running_hub(fresh_url) as hub, hub.client() as http:
        await hook(http, there.url, events=["agent.online"])
    async with station(fresh_url) as at:  # it takes what agents say, and tells nobody
        await at.opened("a")
    assert there.got == []
    async with running_hub(fresh_url):
        await until(lambda: there.got)
    assert there.types() == ["agent.online"]


async def test_what_a_hub_had_in_hand_when_it_went_is_told_by_another(
    fresh_url: str, there: Receiver
) -> None:
    async def hang(got: Got, writer: StreamWriter) -> None:
        await asyncio.sleep(SOON_S)

    there.answers = [hang]
    async with running_hub(fresh_url) as hub, hub.client() as http:
        webhook = await hook(http, there.url)
        await http.put("/v1/pulse/a", json={})
        await until(lambda: there.got)
    async with running_hub(fresh_url) as hub, hub.client() as http:
        await until_sent(http, webhook, "delivered")
    assert len(there.got) == 2


async def test_deliveries_of_long_ago_are_dropped(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await hook(http, there.url)
    await http.put("/v1/pulse/a", json={})
    (each,) = await until_sent(http, webhook, "delivered")
    parts = hub.hub
    number = delivery.home_of(each["id"])
    assert number is not None
    doc = await parts.ledger.get(DEFAULT_PROJECT, delivery.KIND, each["id"], number)
    assert doc is not None
    await parts.courier.deliveries(Place(DEFAULT_PROJECT, number), [doc], 2**45)
    assert await sent(http, webhook) == []


async def test_of_many_deliveries_the_oldest_are_dropped(
    fresh_url: str, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifesigns.workers.outbox.TRIM_EVERY", 1)
    async with running_hub(fresh_url, deliveries_len=100) as hub, hub.client() as http:
        webhook = await hook(http, there.url, events=["job.*"])
        for n in range(12):  # of one lane, which has a sixteenth
            event = Event("job.assigned", "a", {"jobId": str(n)})
            await hub.hub.ledger.commit(DEFAULT_PROJECT, [], [event])
            await until(lambda n=n: len(there.got) > n)  # type: ignore[misc]
        found = await sent(http, webhook)
    assert len(found) <= 100 // 16 + 1
    assert json.loads(found[-1]["body"])["data"]["jobId"] == "11"


def test_a_bound_webhook_is_kept_as_any_other() -> None:
    own = bound("j1", "https://h/", SECRET, 1)
    assert webhook_of(own.id, own.body()) == own
