"""Runs of schedules, done by a program: each once, in their order, and reported for certain."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator

import pytest

from lifesigns import Agent, Run, sync
from lifesigns.client import work as work_module
from tests.foreman import Foreman, foreman
from tests.patience import SOON_S, until


@pytest.fixture
async def boss() -> AsyncIterator[Foreman]:
    async with foreman() as made:
        yield made


def reported(boss: Foreman) -> list[tuple[str, str, object]]:
    return [
        (each["run"], each["status"], each.get("response", each.get("error_message")))
        for each in boss.reports
    ]


async def test_a_coroutine_function_does_runs_on_the_programs_loop(boss: Foreman) -> None:
    loops = []
    me = Agent("a1", boss.url, "")

    @me.on_run
    async def work(run: Run) -> str:
        loops.append(asyncio.get_running_loop())
        run.tokens_used, run.credits, run.notify = 12, 0.5, "new"
        return run.prompt.upper()

    async with me:
        await boss.hand("r1", "go")
        await until(lambda: boss.reports)
    assert boss.reports == [
        {
            **{"run": "r1", "status": "success", "response": "GO"},
            **{"tokens_used": 12, "credits": 0.5, "notify": "new"},
        }
    ]
    assert loops == [asyncio.get_running_loop()]
    assert await work(Run({**RUN, "prompt": "x"})) == "X", "it is still what it was"


RUN = {
    **{"run": "r", "schedule": "s", "agent": "a1", "prompt": ""},
    "deadline": "2026-03-22T14:40:00.000Z",
}


@pytest.mark.parametrize("thread", [False, True])
async def test_a_plain_function_holds_up_neither_loop_nor_beats(
    boss: Foreman, thread: bool
) -> None:
    go, threads = threading.Event(), []
    async with Agent("a1", boss.url, "", thread=thread) as me:

        @me.on_run
        def work(run: Run) -> str:
            threads.append(threading.current_thread())
            assert go.wait(SOON_S)
            return "done"

        await boss.hand("r1")
        await until(lambda: threads)
        assert not boss.reports, "and this loop goes on"
        go.set()
        await until(lambda: boss.reports)
    assert reported(boss) == [("r1", "success", "done")]
    assert threads[0] is not threading.main_thread()


async def test_with_beats_from_a_thread_runs_are_done_on_the_programs_loop(boss: Foreman) -> None:
    loops = []
    async with Agent("a1", boss.url, "", thread=True) as me:

        @me.on_run
        async def work(run: Run) -> None:
            loops.append(asyncio.get_running_loop())

        await boss.hand("r1")
        await until(lambda: boss.reports)
    assert loops == [asyncio.get_running_loop()]


async def test_a_program_without_a_loop_does_runs_too(boss: Foreman) -> None:
    def program() -> None:
        with sync.Agent("a1", boss.url, "") as me:

            @me.on_run
            def work(run: Run) -> dict[str, object]:
                return {"response": run.prompt, "tokens_used": 3}

            @me.on_run(at_once=2)
            def better(run: Run) -> dict[str, object]:
                time.sleep(0.01)
                return work(run)

            assert over.wait(SOON_S)

    over = threading.Event()
    running = asyncio.create_task(asyncio.to_thread(program))
    await until(lambda: boss.greeted)
    await boss.hand("r1", "hello")
    await until(lambda: boss.reports)
    over.set()
    await running
    assert boss.reports == [
        {"run": "r1", "status": "success", "response": "hello", "tokens_used": 3}
    ]


async def test_what_is_raised_is_the_error_and_the_next_run_is_done(
    boss: Foreman, caplog: pytest.LogCaptureFixture
) -> None:
    async def astray(run: Run) -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError("by itself")

    async def work(run: Run) -> str:
        if run.id == "r1":
            run.tokens_used = 4
            raise LookupError("no such page")
        if run.id == "r2":
            await astray(run)
        return "fine"

    with caplog.at_level(logging.CRITICAL, "lifesigns.client"):
        async with Agent("a1", boss.url, "") as me:
            me.on_run(work)
            for run in ("r1", "r2", "r3"):
                await boss.hand(run)
            await until(lambda: len(boss.reports) == 3)
    assert reported(boss) == [
        ("r1", "error", "LookupError: no such page"),
        ("r2", "error", "CancelledError: by itself"),
        ("r3", "success", "fine"),
    ]
    assert boss.reports[0]["tokens_used"] == 4


@pytest.mark.parametrize(("at_once", "together"), [(1, 1), (3, 3)])
async def test_runs_are_done_one_after_another_or_so_many_at_once(
    boss: Foreman, at_once: int, together: int
) -> None:
    now, most, go = 0, 0, asyncio.Event()

    async def work(run: Run) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == together:
            go.set()
        await go.wait()
        await asyncio.sleep(0.01)
        now -= 1
        return run.id

    async with Agent("a1", boss.url, "") as me:
        me.on_run(at_once=at_once)(work)
        for number in range(6):
            await boss.hand(f"r{number}")
        await until(lambda: len(boss.reports) == 6)
    assert most == together
    assert sorted(each["response"] for each in boss.reports) == [f"r{n}" for n in range(6)]


async def test_none_at_once_is_no_number(boss: Foreman) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Agent("a1", boss.url, "").on_run(at_once=0)(lambda run: None)


async def test_a_run_that_is_told_again_is_done_once(boss: Foreman) -> None:
    done = []
    async with Agent("a1", boss.url, "") as me:
        me.on_run(lambda run: done.append(run.id))
        for run in ("r1", "r1", "r2", "r1"):
            await boss.hand(run)
        await until(lambda: len(boss.reports) == 2)
    assert sorted(done) == ["r1", "r2"]


async def test_a_report_goes_over_the_next_connection_if_one_breaks(boss: Foreman) -> None:
    boss.mute = True
    async with Agent("a1", boss.url, "") as me:
        me.on_run(lambda run: "done")
        await boss.hand("r1")
        await until(lambda: boss.reports)
        boss.mute = False
        await boss.cut()
        await until(lambda: len(boss.reports) == 2)
    assert boss.reports[0] == boss.reports[1]


async def test_a_report_that_the_hub_cannot_take_now_is_sent_again(
    boss: Foreman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "AGAIN_S", 0.01)
    boss.refusals = [{"code": "unavailable", "message": "The store is away."}] * 3
    async with Agent("a1", boss.url, "") as me:
        me.on_run(lambda run: "done")
        await boss.hand("r1")
        await until(lambda: len(boss.reports) == 4)
    assert all(each == boss.reports[0] for each in boss.reports)


async def test_a_report_that_is_none_becomes_one_that_says_so(
    boss: Foreman, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = {"code": "bad_value", "message": "tokens_used is a whole number."}
    boss.refusals = [{**refusal, "field": "tokens_used"}]
    async with Agent("a1", boss.url, "") as me:
        me.on_run(lambda run: {"response": "x", "tokens_used": "many"})
        await boss.hand("r1")
        await until(lambda: len(boss.reports) == 2)
    assert boss.reports[1]["status"] == "error"
    assert "tokens_used is a whole number" in boss.reports[1]["error_message"]


async def test_a_report_that_comes_too_late_is_let_go(
    boss: Foreman, caplog: pytest.LogCaptureFixture
) -> None:
    boss.refusals = [{"code": "conflict", "message": "This run ended."}]
    async with Agent("a1", boss.url, "") as me:
        me.on_run(lambda run: "done")
        await boss.hand("r1")
        await boss.hand("r2")
        await until(lambda: len(boss.reports) == 2)
        await until(lambda: "was not taken" in caplog.text)


async def test_a_run_whose_time_is_over_is_not_begun(
    boss: Foreman, caplog: pytest.LogCaptureFixture
) -> None:
    done = []
    async with Agent("a1", boss.url, "") as me:
        me.on_run(lambda run: done.append(run.id))
        await boss.hand("late", deadline_s=-1)
        await boss.hand("r1")
        await until(lambda: boss.reports)
    assert done == ["r1"]
    assert "late was to be done by" in caplog.text


async def test_who_has_no_handler_says_so_after_a_while(
    boss: Foreman, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "HANDLER_S", 0.05)
    async with Agent("a1", boss.url, ""):
        await boss.hand("r1")
        await until(lambda: boss.reports)
    assert reported(boss) == [("r1", "error", work_module.NOBODY)]


async def test_a_run_waits_for_its_handler(boss: Foreman) -> None:
    async with Agent("a1", boss.url, "") as me:
        await boss.hand("r1")
        await until(lambda: me._work._waiting)
        me.on_run(lambda run: "done")
        await until(lambda: boss.reports)
    assert reported(boss) == [("r1", "success", "done")]


@pytest.mark.parametrize("plain", [False, True])
async def test_who_leaves_reports_what_is_not_done(boss: Foreman, plain: bool) -> None:
    begun, go = [], threading.Event()

    async def wait(run: Run) -> None:
        begun.append(run.id)
        await asyncio.sleep(3600)

    def block(run: Run) -> None:
        begun.append(run.id)
        go.wait(SOON_S)

    async with Agent("a1", boss.url, "") as me:
        me.on_run(block if plain else wait)
        for run in ("r1", "r2"):
            await boss.hand(run)
        await until(lambda: begun and me._work._waiting)
    go.set()
    assert sorted(reported(boss)) == [
        ("r1", "error", work_module.LEFT),
        ("r2", "error", work_module.LEFT),
    ]
    assert boss.byes == [None], "the reports came before it"


@pytest.mark.parametrize("thread", [False, True])
async def test_a_handler_may_have_the_agent_leave(boss: Foreman, thread: bool) -> None:
    """With beats from a thread, the leaving ended the handler that waited for it."""
    left = []
    async with Agent("a1", boss.url, "", thread=thread) as me:

        @me.on_run
        async def work(run: Run) -> None:
            await me.leave("all done")
            left.append(run.id)

        await boss.hand("r1")
        await until(lambda: left)
    assert boss.byes == ["all done"]


async def test_a_handler_without_a_loop_may_have_the_agent_leave(boss: Foreman) -> None:
    left = threading.Event()

    def program() -> None:
        with sync.Agent("a1", boss.url, "") as me:

            @me.on_run
            def work(run: Run) -> None:
                me.leave("all done")
                left.set()

            assert left.wait(SOON_S)

    running = asyncio.create_task(asyncio.to_thread(program))
    await until(lambda: boss.greeted)
    await boss.hand("r1")
    await running
    assert boss.byes == ["all done"]
