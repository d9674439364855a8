"""Calls that a stranger's page makes a browser send, and a hub that asks for no keys."""

from __future__ import annotations

import httpx

from tests.hub import running_hub
from tests.web.refusal import refused

WRITES = [
    ("PUT", "/v1/pulse/a"),
    ("DELETE", "/v1/pulse/a"),
    ("POST", "/v1/pulse"),
    ("POST", "/v1/check"),
    ("POST", "/v1/keys"),
    ("POST", "/v1/login"),
    ("POST", "/nowhere"),
]


async def test_a_write_from_a_strangers_page_is_forbidden(http: httpx.AsyncClient) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "", "x"):
        headers = {"Origin": origin}
        for method, path in WRITES:
            answer = await refused(http, method, path, headers=headers)
            assert answer == (403, "forbidden", None), origin
        assert (await http.get("/v1/pulse", headers=headers)).status_code == 200
    assert (await http.get("/v1/pulse/a")).status_code == 404


async def test_the_own_page_and_those_that_are_allowed_may_write(fresh_url: str) -> None:
    settings = {"origins": ("https://board.example",)}
    async with running_hub(fresh_url, **settings) as hub, hub.client() as http:
        for origin in (hub.url, "https://board.example"):
            answer = await http.put("/v1/pulse/a", headers={"Origin": origin})
            assert answer.status_code == 200, origin


async def test_pages_of_an_origin_that_is_allowed_may_read_what_they_are_told(
    fresh_url: str,
) -> None:
    asked = {"Access-Control-Request-Method": "PUT"}
    page, stranger = {"Origin": "https://board.example"}, {"Origin": "https://evil.example"}
    async with (
        running_hub(fresh_url, origins=(page["Origin"],)) as hub,
        hub.client() as http,
        hub.client("") as nobody,
    ):
        answer = await nobody.options("/v1/pulse/a", headers=page | asked)
        told = answer.headers
        assert (answer.status_code, told["Vary"]) == (204, "Origin")
        assert told["Access-Control-Allow-Origin"] == page["Origin"]
        assert "PUT" in told["Access-Control-Allow-Methods"]
        assert "authorization" in told["Access-Control-Allow-Headers"]
        for answer in (
            await http.put("/v1/pulse/a", headers=page),
            await http.get("/lifesigns.js", headers=page),
            await nobody.get("/v1/pulse", headers=page),
            await http.get("/v1/pulse/unknown", headers=page),
        ):
            assert answer.headers["Access-Control-Allow-Origin"] == page["Origin"]
        for answer in (
            await nobody.options("/v1/pulse/a", headers=stranger | asked),
            await http.get("/v1/pulse/a", headers=stranger),
            await http.get("/v1/pulse/a"),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]
    async with running_hub(fresh_url) as hub, hub.client() as http:
        answer = await http.options("/v1/pulse/a", headers=page | asked)
        assert answer.status_code == 204
        assert "Access-Control-Allow-Origin" not in answer.headers, "by default there are none"


async def test_without_keys_a_token_that_is_an_id_is_that_agent(fresh_url: str) -> None:
    async with running_hub(fresh_url, auth=False, admin_key=None) as hub:
        for key in ("", "agent-7", "no id at all"):
            async with hub.client(key) as client:
                assert (await client.put("/v1/pulse/a")).status_code == 200
                assert (await client.get("/v1/projects")).status_code == 200


async def test_without_keys_only_loopback_names_are_answered(fresh_url: str) -> None:
    async with (
        running_hub(fresh_url, auth=False, admin_key=None) as hub,
        hub.client("") as client,
    ):
        for host in ("evil.example", "evil.example:8700", "10.0.0.1", "localhost.evil.example"):
            for method, path in (("GET", "/v1/pulse"), ("PUT", "/v1/pulse/a"), ("GET", "/livez")):
                answer = await refused(client, method, path, headers={"Host": host})
                assert answer == (403, "forbidden", None)
        for host in ("localhost", "localhost:8700", "127.0.0.1", "[::1]:8700", "a.localhost"):
            assert (await client.get("/v1/pulse", headers={"Host": host})).status_code == 200
        foreign = {"Origin": "https://evil.example"}
        assert (await client.put("/v1/pulse/a", headers=foreign)).status_code == 403
