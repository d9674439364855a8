"""`lifesigns doctor` in a process of its own: a healthy set-up, and set-ups that are broken."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.command import content, lifesigns
from tests.hub import ROOT_KEY, HubProcess, hub_process
from tests.patience import until
from tests.sentinel import guarded
from tests.server import Server, free_port
from tests.store.process import servers

PASSWORD = "correct-horse-battery-staple"
MakeServer = Callable[..., Server]


def port_of(hub: HubProcess) -> str:
    return hub.url.rpartition(":")[2]


async def test_nothing_is_wrong_with_a_healthy_hub_and_nothing_is_changed(
    hub: HubProcess, folder: Path
) -> None:
    before = content(folder)
    named = ("--port", port_of(hub), "--data-dir", str(folder))
    client = {"LIFESIGNS_URL": hub.url, "LIFESIGNS_KEY": ROOT_KEY}
    ended = await lifesigns("doctor", *named, **client)
    assert (ended.code, ended.err) == (0, "")
    *findings, last = ended.out.splitlines()
    assert last == "Nothing is wrong."
    assert {line.split()[0] for line in findings} <= {"ok", "note"}
    assert any(
        f"a Lifesigns hub listens on 127.0.0.1:{port_of(hub)} already" in f for f in findings
    )
    assert any(f"{hub.url} answers and takes the key" in f for f in findings)
    assert ROOT_KEY not in ended.told
    assert content(folder) == before

    told = await lifesigns("doctor", *named, "--json", **client)
    assert told.code == 0
    answer = json.loads(told.out)
    assert answer["ok"] is True
    assert len(answer["findings"]) == len(findings)


async def test_each_broken_thing_is_named_with_its_cure(folder: Path) -> None:
    os.chmod(folder, 0o755)
    gone = free_port()
    # It ends every connection at once: nothing that a hub would do.
    stranger = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        ended = await lifesigns(
            *("doctor", "--port", str(port), "--data-dir", str(folder)),
            LIFESIGNS_REDIS=f"redis://:{PASSWORD}@127.0.0.1:{gone}",
            LIFESIGNS_URL=f"http://127.0.0.1:{gone}",
            LIFESIGNS_PROT="8700",
        )
    assert (ended.code, ended.err) == (1, "")
    wrong = {line.split()[1]: line for line in ended.out.splitlines() if line.startswith("WRONG ")}
    for about, part in (
        ("settings", "LIFESIGNS_PROT is no setting"),
        ("data", f"chmod 700 {folder}"),
        ("store", f"redis://:***@127.0.0.1:{gone} gives no service"),
        ("port", f"127.0.0.1:{port} is taken by another program"),
        ("hub", f"no hub can be reached at http://127.0.0.1:{gone}"),
    ):
        assert part in wrong.pop(about), ended.out
    assert wrong == {}
    assert ended.out.endswith("\n5 wrong\n")
    assert PASSWORD not in ended.told


async def test_hub_whose_store_is_gone_and_key_that_it_does_not_take_are_told_apart(
    valkey_server: MakeServer,
) -> None:
    server = valkey_server("--appendonly", "yes", tcp=True)
    async with hub_process(server.url) as hub:
        named = ("doctor", "--json", "--port", port_of(hub), "--redis", server.url)

        async def found(key: str) -> tuple[int | None, dict[str, str]]:
            ended = await lifesigns(*named, LIFESIGNS_URL=hub.url, LIFESIGNS_KEY=key)
            findings = json.loads(ended.out)["findings"]
            return ended.code, {f["about"]: f["text"] for f in findings if f["level"] == "wrong"}

        code, wrong = await found("ls_some_other")
        assert code == 1
        assert list(wrong) == ["hub"]
        assert "does not take the key in LIFESIGNS_KEY: This key is not good." in wrong["hub"]

        server.kill()
        await until(lambda: "was lost" in hub.log)
        code, wrong = await found(ROOT_KEY)
        assert code == 1
        assert list(wrong) == ["store", "hub"]
        assert f"{server.url} gives no service" in wrong["store"]
        assert f"{hub.url} is a hub, but cannot serve now" in wrong["hub"]


async def test_store_that_loses_what_it_is_told_is_wrong(valkey_server: MakeServer) -> None:
    server = valkey_server("--maxmemory-policy", "allkeys-lru", "--requirepass", PASSWORD, tcp=True)
    port = str(free_port())
    place = f"127.0.0.1:{server.port}"
    right = await lifesigns("doctor", "--port", port, "--redis", f"redis://:{PASSWORD}@{place}")
    assert right.code == 1
    assert "CONFIG SET maxmemory-policy noeviction" in right.out
    assert "CONFIG SET appendonly yes" in right.out
    assert right.out.endswith("\n1 wrong\n")
    wrong = await lifesigns("doctor", "--port", port, "--redis", f"redis://:x{PASSWORD}@{place}")
    assert f"redis://:***@{place} gives no service" in wrong.out
    assert PASSWORD not in right.told + wrong.told


async def test_machine_on_which_no_hub_ever_ran_is_healthy(folder: Path) -> None:
    fresh = folder / "data"
    named = ("--port", str(free_port()), "--data-dir", str(fresh))
    ended = await lifesigns("doctor", *named, LIFESIGNS_URL="")
    assert ended.code == 0, ended.told
    assert f"{fresh} does not exist yet; the first start makes it" in ended.out
    assert not fresh.exists()
    assert servers(folder) == []


async def test_a_store_behind_sentinels_is_looked_at_where_it_is(folder: Path) -> None:
    with guarded() as store:
        named = ("doctor", "--port", "0", "--data-dir", str(folder), "--redis")
        told = (await lifesigns(*named, store.url)).out
        assert f"the sentinels say that presence is 127.0.0.1:{store.primary.port}" in told
        assert f"{store.url} answers" in told
        told = (await lifesigns(*named, f"{store.url}-of-others")).out
        assert "No sentinel knows where presence-of-others is" in told
