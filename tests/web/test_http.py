"""What every call has in common, against a running hub: refusals, bounds, and rates.

Nothing that is refused is stored, not even half, and no other call is harmed by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.agent import dialed, living, presence
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S
from tests.web.refusal import refused, told

BODY_BYTES = 65_536
BULK_BYTES = 4 * 1024 * 1024


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"x": value}
    return value


# What a beat may not be: each with the field that is named.
BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"status": 7}, "status"),
    ({"status": ["busy"]}, "status"),
    ({"status": "x" * 129}, "status"),
    ({"state": "tired"}, "state"),
    ({"state": "offline"}, "state"),
    ({"state": "Busy"}, "state"),
    ({"task": {"a": 1}}, "task"),
    ({"task": "x" * 1025}, "task"),
    ({"progress": 0.5}, "progress"),
    ({"progress": ["half"]}, "progress"),
    ({"progress": "x" * 1025}, "progress"),
    ({"progress": {"note": "x" * 1025}}, "progress.note"),
    ({"progress_ttl": "10"}, "progress_ttl"),
    ({"progress_ttl": 0}, "progress_ttl"),
    ({"progress_ttl": 86_401}, "progress_ttl"),
    ({"busy_until": "soon"}, "busy_until"),
    ({"busy_until": 1_700_000_000}, "busy_until"),
    ({"busy_until": "9999-01-01T00:00:00Z"}, "busy_until"),
    ({"busy_for": -1}, "busy_for"),
    ({"busy_for": 86_401}, "busy_for"),
    ({"metadata": []}, "metadata"),
    ({"metadata": "m"}, "metadata"),
    ({"metadata": {"m": "x" * 16_384}}, "metadata"),
    ({"metadata": deep(17)}, "metadata" + ".x" * 16),
    ({"context": "x" * 16_385}, "context"),
    ({"context": deep(40)}, "context" + ".x" * 31),
    ({"capabilities": "search"}, "capabilities"),
    ({"capabilities": [1]}, "capabilities[0]"),
    ({"capabilities": ["ok", "x" * 129]}, "capabilities[1]"),
    ({"capabilities": ["ok", ""]}, "capabilities[1]"),
    ({"capabilities": ["c"] * 65}, "capabilities"),
    ({"slots": -1}, "slots"),
    ({"slots": 1001}, "slots"),
    ({"slots": 1.5}, "slots"),
    ({"slots": True}, "slots"),
    ({"slots": "1"}, "slots"),
    ({"did": 1}, "did"),
    ({"name": {}}, "name"),
    ({"name": "x" * 129}, "name"),
    ({"group": False}, "group"),
    ({"host": 127.0}, "host"),
    ({"version": 2}, "version"),
    ({"instance": 1}, "instance"),
    ({"instance": ""}, "instance"),
    ({"instance": "x" * 129}, "instance"),
    ({"instance": "a\nb"}, "instance"),
    ({"ttl": 0}, "ttl"),
    ({"ttl": 0.999}, "ttl"),
    ({"ttl": 86_401}, "ttl"),
    ({"ttl": -5}, "ttl"),
    ({"ttl": "60"}, "ttl"),
    ({"ttl": True}, "ttl"),
    ({"ttl": [60]}, "ttl"),
]
# Bytes that are no message, or one with a value that has no place in it.
BAD_BODIES: list[tuple[bytes, int, str, str | None]] = [
    (b"{", 400, "bad_json", None),
    (b"nonsense", 400, "bad_json", None),
    (b"   ", 400, "bad_json", None),
    (b'{"task": "x"} {}', 400, "bad_json", None),
    (b'{"task": "x",}', 400, "bad_json", None),
    (b"{'task': 'x'}", 400, "bad_json", None),
    (b"[]", 400, "bad_json", None),
    (b"null", 400, "bad_json", None),
    (b'"text"', 400, "bad_json", None),
    (b"7", 400, "bad_json", None),
    (b'{"task": "\xff\xfe"}', 400, "bad_json", None),
    (b'\xef\xbb\xbf{"task": "x"}', 400, "bad_json", None),
    ('{"task": "x"}'.encode("utf-16"), 400, "bad_json", None),
    (b'{"task": "a\x00b"}', 400, "bad_json", None),
    (b"\x81\xa4task\xa1x", 400, "bad_json", None),
    (b'{"metadata": {"m": NaN}}', 422, "bad_value", "metadata.m"),
    (b'{"metadata": {"m": -Infinity}}', 422, "bad_value", "metadata.m"),
    (b'{"metadata": {"m": 1e999}}', 422, "bad_value", "metadata.m"),
    (b'{"metadata": {"m": [1, 9223372036854775808]}}', 422, "bad_value", "metadata.m[1]"),
    (b'{"context": ' + b"9" * 5000 + b"}", 422, "bad_value", "context"),
    (b'{"task": "\\ud800"}', 422, "bad_value", "task"),
    (b'{"metadata": {"\\udfff": 1}}', 422, "bad_value", None),
    (b'{"task": "a", "task": "b"}', 422, "bad_value", "task"),
    (b'{"unknown": NaN}', 422, "bad_value", "unknown"),
    (b'{"context": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 422, "bad_value", None),
    (b"[" * 60_000, 400, "bad_json", None),
]
BAD_IDS = ["bad%20id", "a%00b", "%C3%A4", "a%2A", "x" * 129, "me", "stats", "stream", "heartbeat"]


# Refusals of a beat.


async def test_a_bad_field_is_named_and_nothing_is_stored(http: httpx.AsyncClient) -> None:
    await http.put("/v1/pulse/a", json={"status": "busy", "task": "x", "metadata": {"m": 1}})
    before = await presence(http, "a")
    for bad, field in BAD_FIELDS:  # more of them than a beat may come at once, were they beats
        good = {"status": "idle", "name": "Ann", "capabilities": ["c"], "ttl": 90}
        answer = await refused(http, "PUT", "/v1/pulse/a", json=good | bad)
        assert answer == (422, "bad_value", field), bad
        await refused(http, "PUT", "/v1/pulse/new", json=good | bad)
    assert await presence(http, "a") == before
    assert (await http.get("/v1/pulse/new")).status_code == 404


async def test_the_largest_of_each_field_is_taken(http: httpx.AsyncClient) -> None:
    said = {
        "status": "ä" * 128,
        "task": "ä" * 1024,
        "progress": {"note": "x" * 1024},
        "metadata": {"m": "x" * 16_378} | {},
        "context": "x" * 16_384,
        "capabilities": [f"{i:ä>128}" for i in range(64)],
        "slots": 1000,
        "instance": "ä" * 128,
        "ttl": 86_400,
        "progress_ttl": 86_400,
        "busy_for": 86_400,
    }
    answer = await http.put(f"/v1/pulse/{'x' * 128}", json=said)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    for field in ("status", "task", "progress", "metadata", "context", "capabilities", "slots"):
        assert shown[field] == said[field]


async def test_whole_unicode_and_64_bits_go_through(http: httpx.AsyncClient) -> None:
    context = ["\x00\x1f\x7f", "𝄞 ä 漢字", 2**63 - 1, -(2**63), 0.1, 1e308, True, None, {"": []}]
    answer = await http.put("/v1/pulse/a", json={"context": context})
    assert answer.json()["context"] == context
    assert (await presence(http, "a"))["context"] == context


async def test_what_nobody_knows_is_left_alone(http: httpx.AsyncClient) -> None:
    answer = await http.put("/v1/pulse/a", json={"mood": "fine", "id": "b", "task": "x"})
    assert (answer.status_code, answer.json()["id"]) == (200, "a")
    assert "mood" not in answer.json()


@pytest.mark.parametrize("path", ["/v1/pulse/a", "/v1/pulse", "/v1/check", "/v1/keys", "/v1/login"])
async def test_a_body_that_is_no_message_is_refused(path: str, http: httpx.AsyncClient) -> None:
    method = "PUT" if path.endswith("a") else "POST"
    for content, status, code, field in BAD_BODIES:
        answer = await http.request(method, path, content=content)
        assert answer.status_code == status, (content[:40], answer.text)
        refusal = told(answer)
        assert refusal[1] == code
        if field is not None:
            assert refusal[2] == field
    assert (await http.get("/v1/pulse?alive=any")).json()["total"] == 0


async def test_a_bad_id_is_a_bad_request(http: httpx.AsyncClient) -> None:
    for bad in BAD_IDS:
        for method in ("GET", "PUT", "DELETE"):
            answer = await refused(http, method, f"/v1/pulse/{bad}")
            assert answer == (400, "bad_request", "id"), bad
    for ids, field in ((["a", "b", "bad id"], "agents[2]"), (["me"], "agents[0]")):
        answer = await refused(http, "POST", "/v1/check", json={"agents": ids})
        assert answer == (400, "bad_request", field)


BAD_QUERIES = [
    ("PUT", "/v1/pulse/a?ttl=60", "ttl"),
    ("GET", "/v1/pulse/a?colour=red", "colour"),
    ("GET", "/v1/pulse/a?detail=counts", "detail"),
    ("GET", "/v1/pulse/a?expand=claims", "expand"),
    ("GET", "/v1/pulse/a?detail=lite&detail=full", "detail"),
    ("DELETE", "/v1/pulse/a?force=true", "force"),
    ("DELETE", "/v1/pulse/a?forget=yes", "forget"),
    ("DELETE", "/v1/pulse/a?instance=", "instance"),
    ("DELETE", "/v1/pulse/a?instance=a%0Ab", "instance"),
    ("GET", "/v1/keys?scope=watch", "scope"),
    ("GET", "/v1/projects?all=1", "all"),
]


async def test_a_bad_query_is_a_bad_request(http: httpx.AsyncClient) -> None:
    before = (await http.put("/v1/pulse/a")).json()
    for method, path, field in BAD_QUERIES:
        assert await refused(http, method, path) == (400, "bad_request", field), path
    assert (await presence(http, "a"))["seq"] == before["seq"]


BAD_CHECKS: list[tuple[dict[str, Any], str]] = [
    ({}, "agents"),
    ({"agents": []}, "agents"),
    ({"agents": "a"}, "agents"),
    ({"agents": {"a": 1}}, "agents"),
    ({"agents": ["a"] * 1001}, "agents"),
    ({"agents": ["a", 7]}, "agents[1]"),
    ({"agents": ["a"], "within": -1}, "within"),
    ({"agents": ["a"], "within": "2s"}, "within"),
    ({"agents": ["a"], "within": True}, "within"),
    ({"agents": ["a"], "detail": "counts"}, "detail"),
    ({"agents": ["a"], "detail": 1}, "detail"),
]


async def test_a_bad_check_names_its_field(http: httpx.AsyncClient) -> None:
    for body, field in BAD_CHECKS:
        answer = await refused(http, "POST", "/v1/check", json=body)
        assert answer == (422, "bad_value", field), body


# Addresses, methods, content types, sizes.


UNKNOWN = [
    "/v1",
    "/v1/",
    "/v1/pulse/",
    "/v1/pulse/a/b",
    "/v1/pulse/a%2Fb",
    "/v2/pulse",
    "///x",
    "/%00",
    "/ä",
]


async def test_an_unknown_address_is_not_found(hub: RunningHub) -> None:
    async with hub.client("") as stranger:
        for path in UNKNOWN:
            assert await refused(stranger, "GET", path) == (404, "not_found", None), path


async def test_the_address_of_sockets_says_that_it_takes_no_plain_call(
    http: httpx.AsyncClient,
) -> None:
    assert await refused(http, "GET", "/v1/connect") == (400, "bad_request", None)


OTHER_METHODS = [
    ("POST", "/v1/pulse/a", "DELETE, GET, HEAD, PUT"),
    ("PATCH", "/v1/pulse/a", "DELETE, GET, HEAD, PUT"),
    ("DELETE", "/v1/pulse", "GET, HEAD, POST"),
    ("GET", "/v1/check", "POST"),
    ("TRACE", "/livez", "GET, HEAD"),
]


async def test_another_method_is_told_which_there_are(http: httpx.AsyncClient) -> None:
    for method, path, allow in OTHER_METHODS:
        answer = await http.request(method, path)
        assert told(answer) == (405, "method_not_allowed", None)
        assert answer.headers["Allow"] == allow


async def test_what_an_address_takes_can_be_asked(http: httpx.AsyncClient) -> None:
    answer = await http.options("/v1/stats")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert await refused(http, "OPTIONS", "/nowhere") == (404, "not_found", None)


KINDS = [
    (None, 200),
    ("application/json", 200),
    ("application/json; charset=utf-8", 200),
    ("Application/JSON ;x=y", 200),
    ("application/vnd.agent+json", 200),
    ("text/plain", 415),
    ("text/json", 415),
    ("application/x-www-form-urlencoded", 415),
    ("multipart/form-data; boundary=x", 415),
    ("application/msgpack", 415),
    ("", 415),
    ("nonsense", 415),
]


async def test_a_body_is_json(http: httpx.AsyncClient) -> None:
    for i, (kind, status) in enumerate(KINDS):
        headers = {} if kind is None else {"Content-Type": kind}
        answer = await http.put(f"/v1/pulse/a{i}", content=b'{"task": "x"}', headers=headers)
        assert answer.status_code == status, kind
        if status == 415:
            assert told(answer) == (415, "unsupported", None)
            assert (await http.get(f"/v1/pulse/a{i}")).status_code == 404


async def test_an_empty_body_is_an_empty_map(http: httpx.AsyncClient) -> None:
    for kind, _ in KINDS:
        headers = {} if kind is None else {"Content-Type": kind}
        answer = await http.put("/v1/pulse/a", content=b"", headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "idle"), kind


def padded(size: int, said: dict[str, Any]) -> bytes:
    """Write a body of an exact size; what fills it up is left alone by the hub."""
    empty = len(json.dumps(said | {"pad": ""}))
    return json.dumps(said | {"pad": "x" * (size - empty)}).encode()


@pytest.mark.parametrize(
    ("method", "path", "limit", "said"),
    [
        ("PUT", "/v1/pulse/a", BODY_BYTES, {"task": "x"}),
        ("POST", "/v1/keys", BODY_BYTES, {"scope": "watch"}),
        ("POST", "/v1/pulse", BULK_BYTES, {"beats": [{"id": "a"}]}),
        ("POST", "/v1/check", BULK_BYTES, {"agents": ["a"]}),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_has_its_limit(
    method: str,
    path: str,
    limit: int,
    said: dict[str, Any],
    chunked: bool,
    http: httpx.AsyncClient,
) -> None:
    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    for size, fits in ((limit + 1, False), (limit * 2, False), (limit, True)):
        body = padded(size, said)
        answer = await http.request(method, path, content=pieces(body) if chunked else body)
        if fits:
            assert answer.status_code in (200, 201), answer.text
        else:
            assert told(answer) == (413, "too_large", None)
            assert (await http.get("/v1/pulse/a")).status_code == 404


async def test_limits_are_settings(fresh_url: str) -> None:
    settings = {"body_bytes": 2048, "message_bytes": 2048, "metadata_bytes": 256, "max_ttl_s": 99.0}
    async with running_hub(fresh_url, **settings) as hub, hub.client() as http:
        too_large = padded(2049, {})
        assert (await http.put("/v1/pulse/a", content=too_large)).status_code == 413
        for bad in ({"ttl": 100}, {"metadata": {"m": "x" * 256}}, {"context": "x" * 257}):
            (field,) = bad
            assert await refused(http, "PUT", "/v1/pulse/a", json=bad) == (422, "bad_value", field)
        assert (await http.put("/v1/pulse/a", json={"ttl": 99})).status_code == 200


# Clients that break off, and those that do not speak HTTP.


@pytest.mark.parametrize(
    "sent",
    [
        b"PUT /v1/pulse/a HTTP/1.1\r\nHost: x\r\n",
        b'PUT /v1/pulse/a HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n%s\r\n{"task": "x"}',
        b'PUT /v1/pulse/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%s\r\n5\r\n{"tas',
    ],
)
async def test_a_request_that_breaks_off_is_none(
    sent: bytes, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    key = f"Authorization: Bearer {hub.key}\r\n".encode()
    async with dialed(hub) as peer:
        await peer.write(sent.replace(b"%s", key))
        await asyncio.sleep(0)
    await http.put("/v1/pulse/witness")
    assert (await http.get("/v1/pulse/a")).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PUT /v1/pulse/a HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v1/pulse/a HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"PUT /v1/pulse/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    ],
)
async def test_whoever_does_not_speak_http_harms_nobody(
    sent: bytes, hub: RunningHub, http: httpx.AsyncClient
) -> None:
    async with living(hub, "a") as agent, dialed(hub) as peer:
        await peer.write(sent)
        with contextlib.suppress(EOFError, asyncio.IncompleteReadError):
            status, _ = await peer.response()
            assert status in (400, 401, 413, 431)
        await agent.beat(task="unharmed")
    assert (await presence(http, "a"))["task"] == "unharmed"


async def test_calls_on_one_connection_do_not_mix(hub: RunningHub) -> None:
    bodies = [b'{"task": "one"}', b"{", b'{"task": "three"}']
    head = "PUT /v1/pulse/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}"
    sent = [f"{head.format(hub.key, len(b))}\r\n\r\n".encode() + b for b in bodies]
    host, _, port = hub.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with contextlib.closing(writer):
        writer.write(b"".join(sent))
        async with asyncio.timeout(SOON_S):
            read = b""
            while read.count(b"HTTP/1.1 ") < len(bodies) or not read.endswith(b"}"):
                read += await reader.read(65_536)
    assert re.findall(rb"HTTP/1.1 (\d+)", read) == [b"200", b"400", b"200"]


# How often.


async def test_who_beats_too_often_is_told_and_keeps_its_lease(fresh_url: str) -> None:
    async with running_hub(fresh_url, beats_per_s=0.1, burst_s=11.0) as hub, hub.client() as http:
        for i in range(2):
            assert (await http.put("/v1/pulse/a", json={"task": f"task {i}"})).status_code == 200
        before = await presence(http, "a")
        await asyncio.sleep(0.01)  # the clock has to move for the test to see it
        answer = await http.put("/v1/pulse/a", json={"task": "too soon", "ttl": 500})
        assert told(answer) == (429, "rate_limited", None)
        assert int(answer.headers["Retry-After"]) >= 1
        after = await presence(http, "a")
        assert (after["task"], after["seq"]) == ("task 1", before["seq"])
        assert after["last_heartbeat"] > before["last_heartbeat"]
        assert after["expires_at"] > before["expires_at"]
        # Another agent, and another key, are others.
        assert (await http.put("/v1/pulse/b")).status_code == 200
        key = (await http.post("/v1/keys", json={"scope": "agent"})).json()["key"]
        async with hub.client(key) as other:
            assert (await other.put("/v1/pulse/a", json={"task": "mine"})).status_code == 200


async def test_what_is_no_beat_renews_nothing_however_often_it_comes(
    http: httpx.AsyncClient,
) -> None:
    """Over the rate, a bad beat renewed the lease of an agent that there was not, and made it."""
    for _ in range(30):
        assert await refused(http, "PUT", "/v1/pulse/a", json={"ttl": 0}) == (
            422,
            "bad_value",
            "ttl",
        )
    bulk = await http.post("/v1/pulse", json={"beats": [{"id": "a", "ttl": 0}] * 30})
    assert {each["code"] for each in bulk.json()["results"]} == {"bad_value"}
    assert (await http.get("/v1/pulse/a")).status_code == 404


async def test_a_burst_of_two_seconds_is_taken(http: httpx.AsyncClient) -> None:
    statuses = [(await http.put("/v1/pulse/a")).status_code for _ in range(20)]
    assert statuses == [200] * 20
