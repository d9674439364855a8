"""Keeps secrets out of the log.

The last line of defence, put on every handler: nobody logs a secret on purpose, but addresses,
headers and tracebacks carry them. Masks too much rather than too little. It cannot know a
taken-over token by its looks, only by the name beside it, so that no code may log one bare.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable
from typing import Final

MASK: Final = "***"

_HEADERS = r"authorization|proxy-authorization|x-api-key|x-agent-token"
_PARAMETERS = r"ticket|api_?key|access_token|token|admin_key"

# Each with what takes its place. A quote that opens a value ends it, unless it is escaped; a bare
# header's value ends with its line, and a parameter's where the next one begins. Strangers choose
# much of the text, so that no pattern may go back over what it has read.
_SECRETS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # A key keeps its id, by which an operator finds it.
    (re.compile(r"\b(ls_[A-Za-z0-9]+_)[A-Za-z0-9_-]+"), rf"\1{MASK}"),
    (re.compile(r"\b(lt_|whsec_)[A-Za-z0-9+/=_-]+"), rf"\1{MASK}"),
    # 'x-api-key': 'secret', ("X-API-Key", "secret"), (b'x-api-key', b'secret')
    (
        re.compile(
            rf"\b((?:{_HEADERS}|{_PARAMETERS}|key)\\?[\"']\s*[:,=]\s*b?\\?([\"']))"
            r"(?:(?!(?<!\\)\2)[^\r\n])*",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # X-API-Key: secret
    (re.compile(rf"\b((?:{_HEADERS})\s*[:=]\s*)[^\r\n]+", re.IGNORECASE), rf"\1{MASK}"),
    # ?ticket=secret
    (re.compile(rf"\b((?:{_PARAMETERS})\s*=\s*)[^&\s\"'<>#;]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer\s+)[^\s\"'\\]{4,}", re.IGNORECASE), rf"\1{MASK}"),
    # redis://user:password@host
    (re.compile(r"(://)[^:/@\s\"']*:[^/@\s\"']*@"), rf"\1{MASK}@"),
)


class Redactor(logging.Filter):
    """Masks secrets in what a handler is about to write; lets every record through.

    It goes on handlers: a filter on a logger does not see what its children pass up. ``secrets``
    are texts that are masked wherever they stand, like a root key that an operator chose.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        # The longest first: one may be part of another.
        self._texts = sorted({each for each in secrets if each}, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Mask the secrets in a text."""
        for secret in self._texts:
            text = text.replace(secret, MASK)
        for pattern, place in _SECRETS:
            text = pattern.sub(place, text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        self._mask_message(record)
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = self.mask(record.exc_text)
            # A formatter that looks at the exception itself would tell it unmasked.
            record.exc_info = None
        if record.stack_info:
            record.stack_info = self.mask(record.stack_info)
        return True

    def _mask_message(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple):
            # One by one, since uvicorn's formatter of accesses takes its five arguments apart.
            record.args = tuple(
                self.mask(each) if isinstance(each, str) else each for each in record.args
            )
        try:
            message = record.getMessage()
        except Exception:  # logging would print arguments that do not fit as they are
            message = f"{record.msg} (its arguments do not fit)"
            record.args = None
        masked = self.mask(message)
        if masked != message or not _is_plain(record.args):
            record.msg, record.args = masked, ()


def _is_plain(args: object) -> bool:
    """Tell whether arguments show nothing more than they did when they were masked."""
    plain = (str, int, float, type(None))
    return isinstance(args, tuple) and all(isinstance(each, plain) for each in args)
