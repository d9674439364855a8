"""The commands that ask once and end: `beat who check stats drain undrain`, against a real hub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine

import pytest

from lifesigns.cli.main import main
from lifesigns.cli.trend import NOTHING
from tests.agent import living
from tests.hub import ROOT_KEY, HubProcess
from tests.patience import SOON_S, until_told

Answer = tuple[int, str, str]
Types = Callable[..., Coroutine[None, None, Answer]]


@pytest.fixture
def types(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Types:
    """Type a command; answer its exit code and what it told."""
    for name in ("LIFESIGNS_AGENT", "LIFESIGNS_INSTANCE", "LIFESIGNS_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIFESIGNS_KEY", ROOT_KEY)

    async def type_(*words: str) -> Answer:
        async with asyncio.timeout(SOON_S):
            code = await asyncio.to_thread(main, words)
        return code, *capsys.readouterr()

    return type_


NOT_UNDERSTOOD = {
    ("check", "a", "--within", "soon"): "--within",
    ("check", "a b"): "An agent's id",
    ("beat", "a", "--ttl", "long"): "--ttl",
    ("beat", "a", "--ttl", "0s"): "ttl",
    ("beat", "a", "--metadata", "x"): "KEY=VALUE",
    ("beat",): "for whom?",
    ("drain", "a", "--for", "ever"): "--for",
    ("stats", "--by", "moon"): "by is one of",
    ("stats", "--since", "yesterday"): "--since",
    ("stats", "--since", "1h", "--by", "host"): "by is what is sampled",
}


async def test_a_fleet_is_told_of_and_asked_about(
    hub: HubProcess, types: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFESIGNS_URL", hub.url)
    thinking = ("--status", "thinking", "--task", "page \x1b[2J3", "--metadata", "depth=3")
    assert await types("beat", "crawler", *thinking, "--capability", "search") == (0, "", "")
    code, out, _ = await types("beat", "crawler", "--progress", '{"done": 2}', "--json")
    shown = json.loads(out)
    assert (code, shown["id"], shown["task"]) == (0, "crawler", "page \x1b[2J3")
    assert (shown["metadata"], shown["progress"]) == ({"depth": 3}, {"done": 2})
    await types("beat", "builder", "--ttl", "2m", "--group", "ci", "--metadata", "depth=x=y")

    # Who is there.
    code, out, err = await types("who")
    titles, builder, crawler = out.splitlines()
    assert (code, err, titles.split()[:4]) == (0, "", ["id", "state", "status", "task"])
    assert builder.split()[:2] == ["builder", "available"]
    assert crawler.split()[:2] == ["crawler", "busy"]
    assert r"page \x1b[2J3" in crawler
    for flags in (["craw*"], ["--state", "busy"], ["--capability", "search"]):
        _, out, _ = await types("who", "--json", *flags)
        assert [each["id"] for each in json.loads(out)["agents"]] == ["crawler"]
    assert (await types("who", "--group", "nobody"))[1].count("\n") == 1

    # Are they alive, and as asked?
    code, out, _ = await types("check", "crawler", "builder", "--within", "60s")
    assert (code, [line[:2] for line in out.splitlines()]) == (0, ["ok", "ok"])
    code, out, _ = await types("check", "crawler", "nobody", "--state", "available")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()] == [["no", "crawler"], ["no", "nobody"]]
    assert "not available" in out
    assert "never seen" in out
    code, out, _ = await types("check", "builder", "--within", "0ms", "--json")
    assert (code, json.loads(out)["agents"]["builder"]["fresh"]) == (1, False)
    async with living(hub, "lively"):
        code, out, _ = await types("check", "lively", "--probe", "--json")
        assert (code, json.loads(out)["agents"]["lively"]["probed"]) == (0, "answered")

    # An operator's word.
    assert (await types("drain", "c*", "builder", "--why", "a new version", "--for", "1h"))[0] == 0
    assert (await types("check", "crawler", "builder", "--state", "draining"))[0] == 0
    assert (await types("undrain", "c*", "builder"))[0] == 0
    assert (await types("check", "builder", "--state", "available"))[0] == 0

    # In numbers.
    assert " of 3" in (await types("stats"))[1]
    assert "x=y" in (await types("stats", "--by", "metadata.depth", "--value", "depth"))[1]
    assert "alive" in json.loads((await types("stats", "--json"))[1])

    for words, told in NOT_UNDERSTOOD.items():
        code, out, err = await types(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert told in err
    assert (await types("check", "crawler", "--key", "nobody-has-this"))[0] == 2
    assert (await types("who", "--key", "nobody-has-this"))[0] == 1


async def test_what_a_fleet_was_over_time_is_drawn(
    hub: HubProcess, types: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFESIGNS_URL", hub.url)
    assert await types("stats", "--since", "2d") == (0, f"{NOTHING}\n", "")
    await types("beat", "crawler", "--status", "thinking", "--metadata", "queue_depth=3")

    async def sampled() -> bool:
        return NOTHING not in (await types("stats", "--since", "1h"))[1]

    await until_told(sampled)
    code, out, err = await types(
        *("stats", "--since", "1h", "--by", "status", "--value", "queue_depth")
    )
    _, status, value = out.splitlines()
    assert (code, err) == (0, "")
    assert status.rstrip("█").split() == ["thinking", "1", "1", "1", "1"]
    assert value.rstrip("█").split() == ["queue_depth,", "average", "3", "3", "3", "3"]
    assert status.endswith("█")
    _, out, _ = await types("stats", "--since", "1h", "--json")
    assert json.loads(out)["points"][0]["counts"] == {"busy": 1}


async def test_below_a_running_program_a_beat_speaks_for_it(
    hub: HubProcess, types: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFESIGNS_URL", hub.url)
    monkeypatch.setenv("LIFESIGNS_AGENT", "job")
    monkeypatch.setenv("LIFESIGNS_INSTANCE", "one")
    for words in (["beat", "--task", "a"], ["beat", "job"], ["beat", "other"]):
        assert await types(*words) == (0, "", "")
    async with hub.client() as http:
        for agent, instance in (("job", "one"), ("other", "-")):
            shown = (await http.get(f"/v1/pulse/{agent}?expand=instances")).json()
            assert [each["instance"] for each in shown["instances"]] == [instance]
