"""The kinds of text that settings take: each in words, and as a function that reads it.

A text that is not of the kind is a ValueError without words; whoever asked knows where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kind:
    takes: str
    read: Callable[[str], object]


def whole(low: int, high: int) -> Kind:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return Kind(f"a whole number from {low} to {high}", read)


def number(low: float, high: float) -> Kind:
    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return Kind(f"a number from {low:.15g} to {high:.15g}", read)


def choice(*words: str) -> Kind:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return Kind("one of " + ", ".join(words), read)


def switch() -> Kind:
    def read(text: str) -> bool:
        if text not in ("on", "off"):
            raise ValueError
        return text == "on"

    return Kind("on or off", read)


def folder() -> Kind:
    def read(text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError as error:  # "~name" of nobody
            raise ValueError from error

    return Kind("a folder", read)


def matching(pattern: str, takes: str, *, optional: bool = False) -> Kind:
    """Take what the whole pattern fits; an empty text is None where that is allowed."""

    def read(text: str) -> str | None:
        if optional and not text:
            return None
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return Kind(takes, read)


def many(each: Kind, takes: str) -> Kind:
    """Take several of a kind, parted by commas or blanks."""

    def read(text: str) -> tuple[object, ...]:
        return tuple(each.read(part) for part in re.split(r"[\s,]+", text) if part)

    return Kind(takes, read)


def few(most: int, each: Kind, takes: str) -> Kind:
    """Take no more than so many of a kind."""
    of = many(each, takes)

    def read(text: str) -> object:
        found = of.read(text)
        assert isinstance(found, tuple)
        if len(found) > most:
            raise ValueError
        return tuple(dict.fromkeys(found))

    return Kind(takes, read)


def secret(low: int, high: int) -> Kind:
    """Take what can be sent in a header: no control characters, no blanks at the ends."""

    def read(text: str) -> str:
        if not low <= len(text) <= high or not text.isprintable() or text != text.strip():
            raise ValueError
        return text

    return Kind(f"{low} to {high} printable characters, without blanks at the ends", read)


NAME = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"  # as it stands in a URL
HOST = matching(r"[A-Za-z0-9._:%-]{1,255}", "a host name or an IP address without brackets")
STORE = matching(
    r"(rediss?(\+sentinel)?|unix)://.*",  # the store's own Address judges the rest
    "redis://host:port, rediss://host:port, redis+sentinel://host:port,host:port/service"
    " or unix:///path",
    optional=True,
)
ORIGINS = many(
    matching(rf"https?://{NAME}", "an origin"),
    "origins as https://dashboard.example, parted by commas",
)
HUB_URL = matching(rf"https?://{NAME}(/[^\s?#]*)?", "http://host:port or https://host:port")
# The hub judges the rest: it alone knows which names are reserved.
AGENT = matching(r"[A-Za-z0-9._:@~-]{1,128}", "an agent's id", optional=True)
INSTANCE = matching(r"[^\x00-\x1f\x7f-\x9f]{1,128}", "1 to 128 characters", optional=True)
EAR = matching(r"/[^\x00]{1,100}", "the path of a socket", optional=True)
SAMPLED_KEYS = few(
    8,
    matching(r"[^\s,\x00-\x1f\x7f]{1,128}", "a key of metadata"),
    "up to 8 keys of metadata, parted by commas",
)
