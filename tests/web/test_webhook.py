"""Webhooks over HTTP: who is told of what, and what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from lifesigns.core.signature import make_secret
from tests.hub import RunningHub, running_hub
from tests.patience import until
from tests.receiver import Receiver, answer, receiver

SECRET = make_secret(bytes(range(32)))


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiver() as there:
        yield there


async def made(http: httpx.AsyncClient, url: str, **asked: Any) -> dict[str, Any]:
    response = await http.post("/v1/webhooks", json={"url": url, **asked})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_its_secret_is_shown_once(http: httpx.AsyncClient, there: Receiver) -> None:
    webhook = await made(http, there.url, events=["agent.*"], name="ops", hold_s=5)
    secret = webhook.pop("secret")
    assert (webhook["events"], webhook["name"], webhook["hold_s"]) == (["agent.*"], "ops", 5)
    assert webhook["health"]["circuit"] == "closed"
    place = f"/v1/webhooks/{webhook['id']}"
    for response in (
        await http.get(place),
        await http.get("/v1/webhooks"),
        await http.patch(place, json={"name": "others"}),
        await http.post(f"{place}/test"),
        await http.get(f"{place}/deliveries"),
    ):
        assert response.status_code == 200
        assert secret not in response.text
    assert (await http.get("/v1/webhooks")).json() == {"webhooks": [(await http.get(place)).json()]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://h/", "events": ["agent.ofline"]}, "events[0]"),
        ({"url": "https://h/", "filter": {"colour": "red"}}, "filter.colour"),
        ({"url": "https://h/", "hold_s": -1}, "hold_s"),
        ({"url": "https://h/", "format": "fax"}, "format"),
    ],
)
async def test_what_cannot_be_is_refused_and_not_kept(
    body: dict[str, Any], field: str, http: httpx.AsyncClient
) -> None:
    response = await http.post("/v1/webhooks", json=body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["field"] == field
    assert (await http.get("/v1/webhooks")).json() == {"webhooks": []}


@pytest.mark.parametrize("scope", ["watch", "agent", "poster"])
async def test_only_who_runs_a_project_sees_its_webhooks(
    scope: str, hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url)
    asked = {"scope": scope} | ({"poster": "p"} if scope == "poster" else {})
    key = (await http.post("/v1/keys", json=asked)).json()["key"]
    place = f"/v1/webhooks/{webhook['id']}"
    async with hub.client(key) as other:
        for method, path in (
            ("GET", "/v1/webhooks"),
            ("POST", "/v1/webhooks"),
            ("GET", place),
            ("PATCH", place),
            ("DELETE", place),
            ("POST", f"{place}/rotate"),
            ("POST", f"{place}/test"),
            ("GET", f"{place}/deliveries"),
            ("POST", f"{place}/deliveries/msg_00a/resend"),
        ):
            assert (await other.request(method, path)).status_code == 403, (method, path)


async def test_nobody_sees_those_of_another_project(
    hub: RunningHub, http: httpx.AsyncClient, there: Receiver
) -> None:
    await http.post("/v1/projects", json={"name": "blue"})
    webhook = await made(http, there.url)
    async with hub.client(headers={"X-Lifesigns-Project": "blue"}) as blue:
        assert (await blue.get("/v1/webhooks")).json() == {"webhooks": []}
        assert (await blue.get(f"/v1/webhooks/{webhook['id']}")).status_code == 404
        await made(blue, there.url)
        await blue.put("/v1/pulse/a", json={})
        await until(lambda: there.got)
    assert [each.json["project"] for each in there.got] == ["blue"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/webhooks/none"),
        ("PATCH", "/v1/webhooks/none"),
        ("DELETE", "/v1/webhooks/none"),
        ("POST", "/v1/webhooks/none/rotate"),
        ("POST", "/v1/webhooks/none/test"),
        ("GET", "/v1/webhooks/none/deliveries"),
        ("GET", "/v1/webhooks/none/deliveries/msg_00a"),
        ("GET", "/v1/webhooks/{id}/deliveries/msg_00a"),
        ("GET", "/v1/webhooks/{id}/deliveries/msg_99a"),
        ("POST", "/v1/webhooks/{id}/deliveries/else/resend"),
    ],
)
async def test_what_is_not_there_is_not_found(
    method: str, path: str, http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url)
    response = await http.request(method, path.format(id=webhook["id"]))
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_another_webhooks_delivery_is_not_found(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    one, other = await made(http, there.url), await made(http, there.url)
    sent = (await http.post(f"/v1/webhooks/{one['id']}/test")).json()
    found = await http.get(f"/v1/webhooks/{other['id']}/deliveries/{sent['id']}")
    assert found.status_code == 404


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=501", "page=2"])
async def test_a_list_takes_no_other_parameters(
    query: str, http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url)
    response = await http.get(f"/v1/webhooks/{webhook['id']}/deliveries?{query}")
    assert response.status_code == 400


async def test_what_is_changed_counts_for_what_happens_from_then_on(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url, events=["agent.offline"])
    place = f"/v1/webhooks/{webhook['id']}"
    changed = await http.patch(place, json={"events": ["agent.online"]})
    assert changed.json()["events"] == ["agent.online"]
    await http.put("/v1/pulse/a", json={})
    await until(lambda: there.got)
    assert there.types() == ["agent.online"]
    assert (await http.patch(place, json={"hold_s": "soon"})).status_code == 422


async def test_one_that_is_disabled_is_told_nothing_until_it_is_enabled_again(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url)
    place = f"/v1/webhooks/{webhook['id']}"
    off = (await http.patch(place, json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "by hand")
    await http.put("/v1/pulse/a", json={})
    await http.patch(place, json={"enabled": True})
    await http.put("/v1/pulse/b", json={})
    await until(lambda: there.got)
    assert [each.json["data"]["id"] for each in there.got] == ["b"]


async def test_one_that_is_deleted_takes_its_deliveries_along(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url)
    place = f"/v1/webhooks/{webhook['id']}"
    for agent in "abc":
        await http.put(f"/v1/pulse/{agent}", json={})
    await until(lambda: len(there.got) == 3)
    assert (await http.delete(place)).json() == {"ok": True}
    assert (await http.get(place)).status_code == 404
    assert (await http.delete(place)).status_code == 404


async def test_after_a_rotation_receivers_with_either_secret_verify(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url, secret=SECRET)
    assert webhook["secret"] == SECRET
    place = f"/v1/webhooks/{webhook['id']}"
    rotated = (await http.post(f"{place}/rotate")).json()
    assert rotated["secret"] != SECRET
    assert rotated["former_secret_until"] is not None
    assert (await http.post(f"{place}/test")).json()["state"] == "delivered"
    (got,) = there.got
    assert len(got.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, rotated["secret"]):
        assert Webhook(secret).verify(got.body, got.headers)["type"] == "webhook.test"
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret(bytes(32))).verify(got.body, got.headers)
    refused = await http.post(f"{place}/rotate", json={"secret": "hunter2"})
    assert refused.status_code == 422


async def test_a_test_is_sent_at_once_and_only_once(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url, events=["agent.offline"])
    place = f"/v1/webhooks/{webhook['id']}"
    there.answers = [answer(500, b"no"), answer(200)]
    failed = (await http.post(f"{place}/test")).json()
    assert (failed["state"], failed["next_attempt_at"]) == ("failed", None)
    assert (failed["attempts"][0]["status"], failed["attempts"][0]["answer"]) == (500, "no")
    assert (await http.get(place)).json()["health"]["failures"] == 1
    assert (await http.post(f"{place}/test")).json()["state"] == "delivered"
    assert (await http.get(place)).json()["health"]["failures"] == 0
    assert there.types() == ["webhook.test"] * 2


async def test_what_was_sent_can_be_looked_at_and_sent_again(
    http: httpx.AsyncClient, there: Receiver
) -> None:
    webhook = await made(http, there.url)
    place = f"/v1/webhooks/{webhook['id']}/deliveries"
    there.answers = [answer(500)]
    failed = (await http.post(f"/v1/webhooks/{webhook['id']}/test")).json()
    await http.put("/v1/pulse/a", json={})
    await until(lambda: len(there.got) == 2)
    await _settled(http, place, 2)
    listed = (await http.get(place)).json()
    assert listed["total"] == 2
    assert [each["event"] for each in listed["deliveries"]] == ["agent.online", "webhook.test"]
    for state, total in (("delivered", 1), ("failed", 1), ("held", 0)):
        assert (await http.get(f"{place}?state={state}")).json()["total"] == total
    assert len((await http.get(f"{place}?limit=1")).json()["deliveries"]) == 1
    assert (await http.get(f"{place}/{failed['id']}")).json() == failed

    again = await http.post(f"{place}/{failed['id']}/resend")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    await until(lambda: len(there.got) == 3)
    await _settled(http, place, 2)
    sent = (await http.get(f"{place}/{failed['id']}")).json()
    assert sent["state"] == "delivered"
    assert [each["status"] for each in sent["attempts"]] == [500, 204]
    assert there.got[0].headers["webhook-id"] == there.got[2].headers["webhook-id"] == sent["id"]
    assert there.got[0].body == there.got[2].body


async def test_what_is_on_its_way_is_not_sent_again(http: httpx.AsyncClient) -> None:
    async with receiver() as there:
        webhook = await made(http, there.url, hold_s=3600)
        place = f"/v1/webhooks/{webhook['id']}/deliveries"
        await http.put("/v1/pulse/a", json={})
        await until_listed(http, place, 1)
        (held,) = (await http.get(place)).json()["deliveries"]
        assert held["state"] == "held"
        again = await http.post(f"{place}/{held['id']}/resend")
        assert again.status_code == 409


async def test_a_hub_that_others_reach_sends_nothing_to_itself(
    fresh_url: str, there: Receiver
) -> None:
    async with running_hub(fresh_url, host="0.0.0.0") as hub, hub.client() as http:
        refused = await http.post("/v1/webhooks", json={"url": there.url})
        assert refused.status_code == 422
        webhook = await made(http, there.url.replace("127.0.0.1", "localhost"))
        failed = (await http.post(f"/v1/webhooks/{webhook['id']}/test")).json()
        assert failed["state"] == "failed"
        assert failed["attempts"][0]["error"].startswith("address_refused: localhost is a loopback")
    assert there.got == []


async def test_a_setting_lets_it(fresh_url: str, there: Receiver) -> None:
    settings = {"host": "0.0.0.0", "private_webhooks": True}
    async with running_hub(fresh_url, **settings) as hub, hub.client() as http:
        webhook = await made(http, there.url)
        sent = (await http.post(f"/v1/webhooks/{webhook['id']}/test")).json()
        assert sent["state"] == "delivered"


async def test_a_project_has_only_so_many(
    http: httpx.AsyncClient, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifesigns.store.webhook.MOST", 2)
    await made(http, there.url)
    await made(http, there.url)
    response = await http.post("/v1/webhooks", json={"url": there.url})
    assert response.status_code == 409


async def until_listed(http: httpx.AsyncClient, place: str, total: int) -> None:
    listed: list[int] = []
    while not listed or listed[-1] < total:
        listed.append((await http.get(place)).json()["total"])
        assert len(listed) < 1_000


async def _settled(http: httpx.AsyncClient, place: str, total: int) -> None:
    """Await that so many have come to an end."""
    for _ in range(1_000):
        found = (await http.get(place)).json()["deliveries"]
        if sum(each["state"] in ("delivered", "failed") for each in found) == total:
            return
    raise AssertionError("they did not come to an end")
