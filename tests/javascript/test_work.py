"""Runs of schedules under Node: done one after another, and each reported for certain."""

from __future__ import annotations

from tests.foreman import foreman
from tests.javascript.test_javascript import playing
from tests.patience import until

LEFT = "The agent left before it was done."


async def test_what_a_handler_returns_or_throws_is_reported_once() -> None:
    async with foreman() as boss, playing("work", boss.url, key=""):
        await until(lambda: boss.greeted)
        prompts = ("note", "throw", "report", "data", "nothing", "surrogate")
        for prompt in prompts:
            await boss.hand(prompt, prompt)
            await boss.hand(prompt, prompt)
        await boss.hand("late", "note", deadline_s=-1)
        await until(lambda: len(boss.reports) == len(prompts))
        assert [{n: v for n, v in each.items() if n != "run"} for each in boss.reports] == [
            {
                **{"status": "success", "response": "note of s1 for null"},
                **{"tokens_used": 12, "credits": 0.5, "notify": "new"},
            },
            {"status": "error", "tokens_used": 3, "error_message": "TypeError: no such page"},
            {"status": "error", "error_message": "none found", "credits": 1},
            {"status": "success", "response": '{"found":["ä",null]}'},
            {"status": "success"},
            {"status": "success", "response": "�"},
        ]

        # What is too long is cut, and what a hub does not take becomes an error that says so.
        await boss.hand("long", "long")
        await until(lambda: len(boss.reports) == 7)
        assert 8_000 < len(boss.reports[-1]["response"]) < 49_152
        assert boss.reports[-1]["response"].endswith("…")
        boss.refusals = [{"code": "bad_value", "message": "tokens_used is a whole number."}]
        await boss.hand("bad", "bad")
        await until(lambda: len(boss.reports) == 9)
        assert boss.reports[-1]["status"] == "error"
        assert "tokens_used is a whole number" in boss.reports[-1]["error_message"]

        # A report goes over the next line if one breaks.
        boss.mute = True
        await boss.hand("again", "nothing")
        await until(lambda: len(boss.reports) == 10)
        boss.mute = False
        await boss.cut()
        await until(lambda: len(boss.reports) == 11)
        assert boss.reports[-1] == boss.reports[-2]

        # Who leaves reports what is not done.
        await boss.hand("leave", "leave")
        await boss.hand("never", "nothing")
        await until(lambda: boss.byes)
        assert [(each["run"], each["error_message"]) for each in boss.reports[-2:]] == [
            ("never", LEFT),
            ("leave", LEFT),
        ]
