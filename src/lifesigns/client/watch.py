"""Watches: every change once, as the program takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifesigns.client.line import Line
from lifesigns.client.question import Question

Shown = Mapping[str, Any]


class Watch:
    """Changes as they come: ``async for change in watch``.

    It begins when it is made, if there is a connection, else when it is first looked at. To enter
    it as a block waits until it is known who is there; ``agents`` shows them at any time. It ends
    when it is closed or let go of.
    """

    def __init__(self, line: Line, question: Question) -> None:
        self._line = line
        self._question = question
        self._begun = False
        if line.started:
            self._begin()

    def _begin(self) -> None:
        self._begun = True
        self._line.runtime.tell(self._line.watches.begin, self._question)

    @property
    def agents(self) -> dict[str, Shown]:
        """Who is there, by id, as far as changes have come."""
        return dict(self._question.mirror.agents)

    @property
    def counts(self) -> dict[str, int]:
        """How many are in each state, in a watch of counts."""
        return dict(self._question.mirror.counts)

    @property
    def cursor(self) -> str | None:
        return self._question.mirror.cursor

    @property
    def over(self) -> bool:
        """Whether it has told all and nothing more comes."""
        question = self._question
        return question.over and question.error is None and not question.waiting

    def close(self) -> None:
        """Watch no more."""
        self._line.runtime.tell(self._line.watches.end, self._question)

    async def __aenter__(self) -> Watch:
        await self._start()
        await self._question.loaded.wait()
        if self._question.error is not None:
            raise self._question.error
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> dict[str, Any]:
        await self._start()
        question = self._question
        while True:
            question.news.clear()
            if question.waiting:
                change = question.waiting.popleft()
                if question.paused and not question.waiting:
                    self._line.runtime.tell(self._line.watches.resume, question)
                return change
            if question.over:
                if question.error is not None:
                    raise question.error
                raise StopAsyncIteration
            await question.news.wait()

    def __del__(self) -> None:
        if self._begun and not self._question.over:
            self.close()

    async def _start(self) -> None:
        if not self._begun:
            await self._line.start()
            self._begin()
