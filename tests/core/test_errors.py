"""The tree of errors: as it is drawn, and as the contract has its codes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lifesigns.core import errors
from lifesigns.core.caller import reconnects
from lifesigns.core.errors import (
    Busy,
    Internal,
    LifesignsError,
    RateLimited,
    SessionError,
    Unauthorized,
    Unavailable,
    error_of,
    error_of_close,
)


def drawn() -> dict[str, str]:
    """Read the tree in the docstring: each class, and the one above it."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r" {4}((?:[│ ] {3})*)([├└]── )?(\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4 + 1 if match[2] else 0
        del path[depth:]
        if path:
            parents[match[3]] = path[-1]
        path.append(match[3])
    return parents


def below(root: type[LifesignsError]) -> Iterator[type[LifesignsError]]:
    for child in root.__subclasses__():
        yield child
        yield from below(child)


# Rooms may have errors of their own below the tree; what counts here is the tree itself.
CLASSES: list[type[LifesignsError]] = [
    LifesignsError,
    *(each for each in below(LifesignsError) if each.__module__ == LifesignsError.__module__),
]
EVERY = pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)


def made(error: type[LifesignsError]) -> LifesignsError:
    return Internal() if error is Internal else error("A sentence.")


def test_the_tree_that_is_drawn_is_the_tree() -> None:
    real = {error.__name__: error.__bases__[0].__name__ for error in CLASSES[1:]}
    assert drawn() == real


def test_every_error_of_the_module_is_in_the_tree() -> None:
    here = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)}
    assert here == set(CLASSES)


# Code and HTTP status as the contract lists them, by class.
ANSWERS = {
    "LifesignsError": ("internal", 500),
    "BadRequest": ("bad_request", 400),
    "BadJson": ("bad_json", 400),
    "BadUtf8": ("bad_json", 400),
    "Unauthorized": ("unauthorized", 401),
    "Revoked": ("revoked", 401),
    "Forbidden": ("forbidden", 403),
    "NotFound": ("not_found", 404),
    "MethodNotAllowed": ("method_not_allowed", 405),
    "Conflict": ("conflict", 409),
    "NoMatch": ("no_match", 409),
    "Busy": ("busy", 409),
    "NotAlive": ("not_alive", 409),
    "ClaimLost": ("claim_lost", 409),
    "Altered": ("conflict", 409),
    "TooLarge": ("too_large", 413),
    "Unsupported": ("unsupported", 415),
    "BadValue": ("bad_value", 422),
    "RateLimited": ("rate_limited", 429),
    "Unavailable": ("unavailable", 503),
    "Internal": ("internal", 500),
    "SessionError": ("internal", 400),
    "ProtocolViolation": ("protocol_error", 400),
    "UnknownType": ("unknown_type", 400),
    "HelloFirst": ("hello_first", 400),
    "HelloTimeout": ("hello_timeout", 400),
    "AlreadyGreeted": ("already_greeted", 400),
    "Superseded": ("superseded", 400),
}

# Closing codes as the contract lists them, by the error's code.
CLOSINGS = {
    "protocol_error": 4000,
    "unauthorized": 4001,
    "forbidden": 4003,
    "hello_timeout": 4008,
    "superseded": 4009,
    "revoked": 4010,
    "rate_limited": 4029,
    "too_large": 1009,
}


def test_every_class_answers_as_the_contract_says() -> None:
    assert {error.__name__: (error.code, error.http_status) for error in CLASSES} == ANSWERS


@EVERY
def test_every_class_knows_how_a_socket_ends(error: type[LifesignsError]) -> None:
    assert error.close_code == CLOSINGS.get(error.code, error.close_code)
    assert error.close_code in {1007, 1009, 1011, 1013} | set(range(4000, 5000))


def test_text_that_is_not_utf_8_ends_a_socket_with_1007() -> None:
    assert errors.BadUtf8.close_code == 1007


@EVERY
def test_what_is_worth_to_retry_closes_so_that_clients_come_back(
    error: type[LifesignsError],
) -> None:
    assert isinstance(error.retry, bool)
    if error.retry or error.close_code >= 4000:
        assert error.retry is reconnects(error.close_code)


@EVERY
def test_an_error_carries_its_words(error: type[LifesignsError]) -> None:
    caught = made(error)
    assert str(caught) == caught.message
    assert caught.message.endswith(".")
    assert (caught.field, caught.ref) == (None, None)


def test_an_error_carries_the_field_and_when_to_come_back() -> None:
    caught = RateLimited("Too fast.", field="ttl", retry_after_s=2.5)
    assert (caught.message, caught.field, caught.retry_after_s) == ("Too fast.", "ttl", 2.5)


def test_what_is_unavailable_says_when_to_come_back() -> None:
    assert Unavailable("The store is away.").retry_after_s == 1.0
    assert Unavailable("The store is away.", retry_after_s=5).retry_after_s == 5


def test_a_bug_of_ours_tells_nothing_of_itself() -> None:
    assert "fault" in Internal().message
    with pytest.raises(TypeError):
        Internal("a secret")  # type: ignore[call-arg]


def test_errors_of_a_socket_only_are_told_apart() -> None:
    assert all(issubclass(error, SessionError) for error in CLASSES[-6:])


@EVERY
def test_an_error_is_known_again_by_its_code(error: type[LifesignsError]) -> None:
    first = made(error)
    again = error_of({"type": "error", "code": first.code, "message": first.message})
    assert again.code == first.code
    assert again.message == first.message
    assert isinstance(first, type(again)) or error in (LifesignsError, SessionError, Internal)


def test_an_error_brings_its_field_and_the_state_of_the_agent() -> None:
    busy = error_of({"code": "busy", "message": "It is.", "state": "draining", "field": "agent"})
    assert isinstance(busy, Busy)
    assert (busy.state, busy.field) == ("draining", "agent")
    assert type(error_of({"code": "of a later hub", "message": "?"})) is LifesignsError


def test_a_closing_code_is_an_error_too() -> None:
    refused = error_of_close(4001, "unauthorized")
    assert isinstance(refused, Unauthorized)
    assert error_of_close(4000, "").close_code == 4000
