"""A hub whose store is away: it says so at once, lives on, and goes on when the store is back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.agent import presence
from tests.hub import running_hub
from tests.patience import until
from tests.server import Server
from tests.web.refusal import takes, told

CALLS: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/pulse/a", {}),
    ("GET", "/v1/pulse/a", None),
    ("DELETE", "/v1/pulse/a", None),
    ("DELETE", "/v1/pulse/a?forget=true", None),
    ("GET", "/v1/pulse", None),
    ("POST", "/v1/check", {"agents": ["a", "b"]}),
    ("GET", "/v1/stats", None),
    ("GET", "/v1/stats?by=status", None),
    ("GET", "/v1/keys", None),
    ("POST", "/v1/keys", {"scope": "watch"}),
    ("DELETE", "/v1/keys/nobody", None),
    ("GET", "/v1/projects", None),
    ("POST", "/v1/projects", {"name": "p"}),
    ("POST", "/v1/tickets", {}),
    ("POST", "/v1/login", {"ticket": "lt_guess"}),
    ("GET", "/readyz", None),
]


async def unavailable(http: httpx.AsyncClient) -> None:
    """Make all calls at once; each is refused in a time in which nobody has gone away."""
    answers = await asyncio.gather(
        *[http.request(method, path, json=body) for method, path, body in CALLS]
    )
    for (method, path, _), answer in zip(CALLS, answers, strict=True):
        assert told(answer) == (503, "unavailable", None), (method, path)
        assert int(answer.headers["Retry-After"]) >= 1


async def test_who_posts_while_the_store_hangs_for_a_moment_is_not_declared_dead(
    valkey_server: Callable[..., Server],
) -> None:
    """It hung for longer than the lease, and too briefly to count as away: who posted all the time
    was offline as soon as it went on."""
    server = valkey_server()
    async with running_hub(server.url, store_timeout_s=0.5) as hub, hub.client() as http:
        assert (await http.put("/v1/pulse/a", json={"ttl": 1.5})).status_code == 200
        server.pause()
        refused = [(await http.put("/v1/pulse/a")).status_code for _ in range(5)]
        assert refused == [503] * 5
        await until(lambda: hub.hub.store.up is False or hub.hub.store.able is False)
        await asyncio.sleep(2)  # the lease is over, the service was not silent for long
        assert (await http.put("/v1/pulse/a")).status_code == 503
        server.resume()
        await until(lambda: hub.hub.store.able)
        await until(lambda: hub.hub.hold.until_ms is not None)
        assert (await http.put("/v1/pulse/a", json={"status": "idle"})).status_code == 200
        changes = (await http.get("/v1/pulse/a/history")).json()["changes"]
        assert "offline" not in [change["kind"] for change in changes]


@pytest.mark.parametrize("end", [Server.kill, Server.pause])
async def test_an_absent_store_is_told_and_forgotten_when_it_is_back(
    end: Callable[[Server], None], valkey_server: Callable[..., Server]
) -> None:
    server = valkey_server()
    async with running_hub(server.url, store_timeout_s=1.0) as hub, hub.client() as http:
        assert (await http.put("/v1/pulse/a")).status_code == 200
        key = (await http.post("/v1/keys", json={"scope": "agent", "agent": "a"})).json()["key"]
        async with hub.client(key) as known, hub.client("ls_x_unknown") as unknown:
            assert (await known.get("/v1/pulse/a")).status_code == 200
            end(server)
            async with asyncio.timeout(15):
                beats = {"beats": [{"id": "a"}, {"id": "b c"}]}
                bulk, mine, nobodys, forbidden, _ = await asyncio.gather(
                    http.post("/v1/pulse", json=beats),
                    known.get("/v1/pulse/a"),
                    unknown.get("/v1/pulse/a"),
                    known.put("/v1/pulse/b"),
                    unavailable(http),
                )
                assert (mine.status_code, nobodys.status_code) == (503, 503)
                # Whether it is known by then that the store is away: nothing is looked at before.
                assert forbidden.status_code in (403, 503)
                if bulk.status_code == 200:
                    codes = [each["code"] for each in bulk.json()["results"]]
                    assert codes == ["unavailable", "bad_request"]
                else:
                    assert told(bulk) == (503, "unavailable", None)
                assert (await http.put("/v1/pulse/a", content=b"{")).status_code == 503
                assert (await http.get("/livez")).status_code == 200
            if end is Server.kill:
                server.start()
            else:
                server.resume()
            await takes(http, "PUT", "/v1/pulse/a", json={"task": "back"})
            assert (await presence(http, "a"))["task"] == "back"
