"""Watching: every change once, whatever becomes of connections, hubs and the program."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from lifesigns import Hub
from lifesigns.client import question as questions
from lifesigns.client.question import Question
from lifesigns.client.watch import Watch
from lifesigns.core.errors import BadValue
from tests.hub import RunningHub, running_hub
from tests.patience import SOON_S, until


async def take(watch: Watch, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(SOON_S):
        return [await anext(watch) for _ in range(count)]


async def put(http: httpx.AsyncClient, agent: str, **said: Any) -> None:
    assert (await http.put(f"/v1/pulse/{agent}", json=said)).is_success


@pytest.mark.every_loop
async def test_it_tells_changes_and_shows_who_is_there(
    hub: RunningHub, http: httpx.AsyncClient
) -> None:
    await put(http, "a1", capabilities=["x"])
    async with Hub(hub.url, hub.key) as observer:
        async with observer.watch(capability="x") as watch:
            assert list(watch.agents) == ["a1"]
            await put(http, "a2", capabilities=["x"])
            await put(http, "other")
            await put(http, "a1", status="thinking")
            await put(http, "a2", capabilities=[])
            online, updated, gone = await take(watch, 3)
            assert (online["id"], online["kind"]) == ("a2", "online")
            assert (updated["id"], updated["was"], updated["state"]) == ("a1", "available", "busy")
            assert (gone["id"], gone["gone"]) == ("a2", True)
            assert watch.agents["a1"]["status"] == "thinking"
            assert list(watch.agents) == ["a1"]
        assert [each async for each in watch] == [], "a watch that was left is over"

        present = observer.watch(present=True, capability="x")
        assert [(each["kind"], each["id"]) for each in await take(present, 1)] == [
            ("present", "a1")
        ]
        counts = observer.watch(detail="counts")
        assert (await take(counts, 1))[0]["total"] == 3
        with pytest.raises(BadValue, match="filter"):
            await anext(observer.watch(colour="red"))  # type: ignore[call-arg]


async def test_who_stops_looking_watches_no_more(hub: RunningHub, http: httpx.AsyncClient) -> None:
    await put(http, "a1")
    async with Hub(hub.url, hub.key) as observer:
        for _ in range(101):  # more than a hub allows at once
            async for change in observer.watch(present=True):
                assert change["id"] == "a1"
                break


async def test_changes_come_once_over_hubs_that_go(fresh_url: str) -> None:
    async with running_hub(fresh_url, beats_per_s=10_000) as two, two.client() as http:
        async with running_hub(fresh_url) as one:
            observer = Hub([one.url, two.url], one.key)
            watch = observer.watch()
            await watch.__aenter__()
            for n in range(20):
                await put(http, "a1", task=f"{n}")
            seen = await take(watch, 5)
        for n in range(20, 40):
            await put(http, "a1", task=f"{n}")
        await until(observer.connected.is_set)
        for n in range(40, 60):
            await put(http, "a1", task=f"{n}")
        seen += await take(watch, 55)
        assert [change["task"] for change in seen] == [f"{n}" for n in range(60)]
        assert [change["kind"] for change in seen] == ["online", *["updated"] * 59]
        await observer.close()
        assert [each async for each in watch] == []


async def test_a_program_that_takes_nothing_holds_no_more_than_a_bound(
    hub: RunningHub, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "MOST_WAITING", 10)
    async with Hub(hub.url, hub.key) as observer, observer.watch() as watch:
        for n in range(60):
            await put(http, "a1", task=f"{n}")
        waiting = watch._question.waiting
        await until(lambda: len(waiting) >= 10)
        assert len(waiting) < 40
        seen = await take(watch, 60)
        assert [change["task"] for change in seen] == [f"{n}" for n in range(60)]


class Telling:
    """A question that is fed by hand."""

    def __init__(self, wanted: Mapping[str, Any] | None = None, *, present: bool = False) -> None:
        self.question = Question(wanted or {}, None, present=present)

    def snapshot(self, cursor: str, *agents: Mapping[str, Any]) -> list[dict[str, Any]]:
        frame = {"type": "snapshot", "watch": "w1", "from": None, "cursor": cursor}
        return self.take({**frame, "agents": list(agents)})

    def changes(self, begin: str, cursor: str, *changes: Mapping[str, Any]) -> list[dict[str, Any]]:
        frame = {"type": "changes", "watch": "w1", "from": begin, "cursor": cursor}
        return self.take({**frame, "changes": list(changes)})

    def take(self, frame: Mapping[str, Any], *, follows: bool = True) -> list[dict[str, Any]]:
        assert self.question.take(frame) is follows
        told = list(self.question.waiting)
        self.question.waiting.clear()
        return told


def shown(agent: str, seq: int, state: str = "busy", **said: Any) -> dict[str, Any]:
    clock = {"last_heartbeat": f"at {seq}", "expires_at": None, "last_progress": None}
    return {"id": agent, "epoch": "e", "seq": seq, "state": state, "held": False, **clock, **said}


class TestQuestion:
    def test_who_is_there_at_first_is_no_change_unless_it_is_wanted(self) -> None:
        assert Telling().snapshot("c1", shown("a", 1)) == []
        (present,) = Telling(present=True).snapshot("c1", shown("a", 1))
        assert (present["kind"], present["was"], present["id"]) == ("present", None, "a")

    def test_a_second_snapshot_is_told_by_what_it_alters(self) -> None:
        telling = Telling()
        telling.snapshot("c1", *(shown(agent, 1) for agent in "abcd"))
        telling.take({"type": "resync", "watch": "w1", "why": "history_trimmed"})
        told = telling.snapshot(
            "c9",
            shown("a", 2),  # only its clocks differ
            shown("b", 3, "offline"),
            shown("c", 4, task="dig"),
            shown("e", 5),
        )
        kinds = {change["id"]: (change["kind"], change["was"]) for change in told}
        assert kinds == {
            "b": ("offline", "busy"),
            "c": ("updated", "busy"),
            "d": ("forgotten", "busy"),
            "e": ("present", None),
        }
        assert [change["id"] for change in told if change.get("gone")] == ["d"]

    def test_who_matches_no_more_after_a_gap_may_still_be_there(self) -> None:
        telling = Telling({"state": "busy"})
        telling.snapshot("c1", shown("a", 1))
        (gone,) = telling.snapshot("c2")
        assert (gone["kind"], gone["gone"]) == ("updated", True)

    def test_a_change_that_the_snapshot_has_already_is_not_told(self) -> None:
        telling = Telling()
        telling.snapshot("c1", shown("a", 5))
        old, new = shown("a", 4), shown("a", 6)
        told = telling.changes(
            "c1",
            "c2",
            *({"kind": "updated", "at": "", "was": "busy", **each} for each in (old, new)),
        )
        assert [change["seq"] for change in told] == [6]

    def test_a_frame_that_does_not_follow_is_not_taken(self) -> None:
        telling = Telling()
        telling.snapshot("c1")
        frame = {"type": "changes", "watch": "w1", "from": "c5", "cursor": "c6", "changes": []}
        assert telling.take(frame, follows=False) == []
        assert telling.question.fields["since"] == "c1"
