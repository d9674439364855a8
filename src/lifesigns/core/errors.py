"""The one tree of errors, and what each says on every wire.

    LifesignsError
    ├── BadRequest            the request is not one: bad query, bad id, bad upgrade
    │   └── BadJson           the body or the frame cannot be decoded
    │       └── BadUtf8       its text is not even UTF-8
    ├── Unauthorized          no key, or a wrong one
    │   └── Revoked           the key was good and is not any more
    ├── Forbidden             a good key that may not do this
    ├── NotFound
    ├── MethodNotAllowed
    ├── Conflict              what is stored does not allow it
    │   ├── NoMatch           nobody who matches can be claimed
    │   ├── Busy              the agent is alive and takes no more work
    │   ├── NotAlive
    │   ├── ClaimLost         the claim is not held any more, or never was
    │   └── Altered           it was changed by somebody else meanwhile
    ├── TooLarge
    ├── Unsupported           a content type that is not JSON
    ├── BadValue              a field is of the wrong type or out of its range
    ├── RateLimited
    ├── Unavailable           the store is away
    ├── Internal              a bug of ours; nothing of it is told outside
    └── SessionError          of a socket only
        ├── ProtocolViolation the first message is no hello, or too many errors
        ├── UnknownType
        ├── HelloFirst
        ├── HelloTimeout
        ├── AlreadyGreeted
        └── Superseded

A class says its ``code`` (the machine's word), its ``http_status``, the ``close_code`` with which
a socket ends when the error is fatal to it, and whether it is worth to ``retry``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class LifesignsError(Exception):
    """Whatever the hub refuses, with the words to say so."""

    code = "internal"
    http_status = 500
    close_code = 1011
    retry = False

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        # The message's own ref, where the codec refused it and nobody else can read it any more.
        self.ref: str | int | None = None

    @property
    def more(self) -> dict[str, str]:
        """What else a refusal says, beside its words."""
        return {}


class BadRequest(LifesignsError):
    code = "bad_request"
    http_status = 400
    close_code = 4000


class BadJson(BadRequest):
    code = "bad_json"


class BadUtf8(BadJson):
    close_code = 1007


class Unauthorized(LifesignsError):
    code = "unauthorized"
    http_status = 401
    close_code = 4001


class Revoked(Unauthorized):
    code = "revoked"
    close_code = 4010


class Forbidden(LifesignsError):
    code = "forbidden"
    http_status = 403
    close_code = 4003


class NotFound(LifesignsError):
    code = "not_found"
    http_status = 404
    close_code = 4003  # a socket's project: trying again would not find it either


class MethodNotAllowed(LifesignsError):
    code = "method_not_allowed"
    http_status = 405


class Conflict(LifesignsError):
    code = "conflict"
    http_status = 409

    def __init__(self, message: str, *, field: str | None = None, state: str | None = None) -> None:
        super().__init__(message, field=field)
        self.state = state  # of the agent that was asked for

    @property
    def more(self) -> dict[str, str]:
        return {} if self.state is None else {"state": self.state}


class Altered(Conflict):
    """What was judged is not so any more: somebody else was first."""

    retry = True


class NoMatch(Conflict):
    code = "no_match"


class Busy(Conflict):
    code = "busy"


class NotAlive(Conflict):
    code = "not_alive"


class ClaimLost(Conflict):
    code = "claim_lost"


class TooLarge(LifesignsError):
    code = "too_large"
    http_status = 413
    close_code = 1009


class Unsupported(LifesignsError):
    code = "unsupported"
    http_status = 415


class BadValue(LifesignsError):
    code = "bad_value"
    http_status = 422


class RateLimited(LifesignsError):
    code = "rate_limited"
    http_status = 429
    close_code = 4029
    retry = True


class Unavailable(LifesignsError):
    code = "unavailable"
    http_status = 503
    close_code = 1013
    retry = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class Internal(LifesignsError):
    def __init__(self) -> None:
        super().__init__("Something went wrong here; it is not the fault of the request.")


class SessionError(LifesignsError):
    """Said on a socket only."""

    http_status = 400
    close_code = 4000


class ProtocolViolation(SessionError):
    code = "protocol_error"


class UnknownType(SessionError):
    code = "unknown_type"


class HelloFirst(SessionError):
    code = "hello_first"


class HelloTimeout(SessionError):
    code = "hello_timeout"
    close_code = 4008
    retry = True


class AlreadyGreeted(SessionError):
    code = "already_greeted"


class Superseded(SessionError):
    code = "superseded"
    close_code = 4009


def error_of(message: Mapping[str, Any]) -> LifesignsError:
    """Make the error again that a hub has told; one with an unknown code is of the root's class."""
    code = message.get("code")
    kind = next((each for each in _below(LifesignsError) if each.code == code), LifesignsError)
    error = kind.__new__(kind)
    LifesignsError.__init__(error, str(message.get("message")), field=message.get("field"))
    if isinstance(error, Conflict):
        error.state = message.get("state")
    return error


def error_of_close(code: int, reason: str) -> LifesignsError:
    """Make the error that a closing code stands for."""
    kinds = {each.close_code: each for each in (Unauthorized, Forbidden, Superseded, Revoked)}
    error = kinds.get(code, LifesignsError)(f"The hub closed the connection: {reason or code}.")
    error.close_code = code
    return error


def _below(kind: type[LifesignsError]) -> Iterator[type[LifesignsError]]:
    for child in kind.__subclasses__():
        if child.__module__ == __name__:  # rooms have their own
            yield child
            yield from _below(child)
