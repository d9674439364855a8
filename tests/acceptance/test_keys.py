"""`lifesigns keys` in processes of its own, against a real hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.command import Ended, lifesigns
from tests.agent import living
from tests.hub import ROOT_KEY, HubProcess

TAKEN_OVER = "a-token-of-the-old-fleet"


async def keys(hub: HubProcess, *args: str, key: str = ROOT_KEY, **options: Any) -> Ended:
    """Run ``lifesigns keys`` against a hub, as its variables name it."""
    return await lifesigns("keys", *args, LIFESIGNS_URL=hub.url, LIFESIGNS_KEY=key, **options)


async def made(hub: HubProcess, *args: str, **options: Any) -> dict[str, Any]:
    """Create a key and answer what was printed of it."""
    ended = await keys(hub, "create", *args, "--json", **options)
    assert (ended.code, ended.err) == (0, "")
    answer: dict[str, Any] = json.loads(ended.out)
    return answer


async def status(hub: HubProcess, key: str, method: str = "GET", path: str = "/v1/pulse") -> int:
    """Answer what the hub says to a key."""
    async with hub.client(key) as http:
        return (await http.request(method, path)).status_code


async def test_key_is_shown_once_speaks_for_its_agents_and_is_over_when_revoked(
    hub: HubProcess,
) -> None:
    created = await keys(hub, "create", "--scope", "agent", "--agent", "bot-*", "--name", "fleet")
    assert created.code == 0
    shown = dict(line.split(maxsplit=1) for line in created.out.splitlines())
    assert (shown["scope"], shown["agent"], shown["name"]) == ("agent", "bot-*", "fleet")
    assert created.err == "The key is not shown again: the hub keeps only its hash.\n"
    key = shown["key"]
    assert await status(hub, key, "PUT", "/v1/pulse/bot-1") == 200
    assert await status(hub, key, "PUT", "/v1/pulse/somebody") == 403

    listed = await keys(hub, "list")
    assert listed.code == 0
    titles, *rows = listed.out.splitlines()
    assert titles.split()[:3] == ["id", "scope", "agent"]
    assert [row.split()[:3] for row in rows if "fleet" in row] == [[shown["id"], "agent", "bot-*"]]
    assert key not in listed.told

    async with living(hub, "bot-2", key=key) as agent:
        revoked = await keys(hub, "revoke", shown["id"])
        assert (revoked.code, revoked.out) == (0, f"{shown['id']} is revoked\n")
        assert await agent.ended() == 4010
    assert await status(hub, key) == 401
    again = await keys(hub, "revoke", shown["id"])
    assert (again.code, again.out) == (1, "")
    assert again.err == f"lifesigns: There is no key '{shown['id']}'.\n"


async def test_answers_as_json_are_the_hubs_own(hub: HubProcess) -> None:
    created = await made(hub, "--scope", "watch", "--expires", "90d")
    listed = await keys(hub, "list", "--json")
    assert (listed.code, listed.err) == (0, "")
    (found,) = [each for each in json.loads(listed.out)["keys"] if each["id"] == created["id"]]
    assert found == {name: value for name, value in created.items() if name != "key"}
    revoked = await keys(hub, "revoke", created["id"], "--json")
    assert (revoked.code, json.loads(revoked.out)) == (0, {"ok": True})


async def test_token_of_an_older_service_becomes_a_key(hub: HubProcess, folder: Path) -> None:
    file = folder / "token"
    file.write_text(TAKEN_OVER + "\n")
    first = await made(hub, "--scope", "agent", "--take-over", str(file))
    second = await made(hub, "--scope", "watch", "--take-over", "-", stdin="another-old-token\n")
    assert first["key"] == TAKEN_OVER
    assert second["key"] == "another-old-token"
    assert await status(hub, TAKEN_OVER, "PUT", "/v1/pulse/somebody") == 200
    taken = await keys(hub, "create", "--scope", "watch", "--take-over", str(file))
    assert (taken.code, taken.err) == (1, "lifesigns: This token is a key already.\n")
    assert TAKEN_OVER not in taken.told


async def test_root_key_makes_keys_in_the_project_that_it_names(hub: HubProcess) -> None:
    async with hub.client() as http:
        assert (await http.post("/v1/projects", json={"name": "blue"})).status_code == 201
    admin = await made(hub, "--scope", "admin", "--project", "blue")
    assert admin["project"] == "blue"
    listed = await keys(hub, "list", "--json", key=admin["key"])
    assert [each["id"] for each in json.loads(listed.out)["keys"]] == [admin["id"]]
    nowhere = await keys(hub, "list", "--project", "green")
    assert (nowhere.code, nowhere.err) == (1, "lifesigns: There is no project 'green'.\n")


async def test_what_the_hub_refuses_is_1_and_what_cannot_be_understood_is_2(
    hub: HubProcess, folder: Path
) -> None:
    kept = folder / "key"
    kept.write_text(ROOT_KEY + "\n")
    watcher = await made(hub, "--scope", "watch")
    from_file = {"LIFESIGNS_KEY": None, "LIFESIGNS_KEY_FILE": str(kept)}
    url = {"LIFESIGNS_URL": hub.url}
    assert (await lifesigns("keys", "list", **url, **from_file)).code == 0

    def refused(ended: Ended, code: int, part: str) -> None:
        assert (ended.code, ended.out) == (code, ""), ended
        assert ended.err.startswith("lifesigns: ")
        assert ended.err.count("\n") == 1
        assert part in ended.err

    refused(await lifesigns("keys", "list", **url), 1, "A key is needed. Set LIFESIGNS_KEY")
    refused(await keys(hub, "list", key="ls_no_such"), 1, "This key is not good.")
    refused(await keys(hub, "list", key=watcher["key"]), 1, "This needs a key of the scope 'admin'")
    nowhere = await lifesigns("keys", "list", LIFESIGNS_URL="http://127.0.0.1:1")
    refused(nowhere, 1, "no hub can be reached at http://127.0.0.1:1: connection refused")
    refused(await keys(hub, "create", "--scope", "agent", "--agent", "a b"), 2, "tied to an agent")
    refused(await keys(hub, "create", "--scope", "watch", "--expires", "soon"), 2, "--expires is")
    refused(await keys(hub, "list", "--project", "NO"), 2, "A project's name")
    refused(await lifesigns("keys", "list", LIFESIGNS_URL="hub"), 2, "LIFESIGNS_URL is")
    unknown = await keys(hub, "create", "--scope", "god")
    assert (unknown.code, unknown.out) == (2, "")
    assert "usage: lifesigns keys create" in unknown.err
