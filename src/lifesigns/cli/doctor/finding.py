"""What the doctor finds: one sentence, and whether it has to be put right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A *note* is worth to know and needs no cure; what is *wrong* says its cure."""

    level: Level
    about: str
    text: str


def ok(about: str, text: str) -> Finding:
    return Finding("ok", about, text)


def note(about: str, text: str) -> Finding:
    return Finding("note", about, text)


def wrong(about: str, text: str) -> Finding:
    return Finding("wrong", about, text)
