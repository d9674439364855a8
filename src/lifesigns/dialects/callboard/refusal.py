"""How this API refuses: one map with a code, a sentence, and, where fields are wrong, which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lifesigns.core.errors import BadValue, LifesignsError

# By HTTP status. What is no JSON, or no map, fails as the fields of one do.
CODES: Final[Mapping[int, str]] = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    503: "UNAVAILABLE",
}


class Invalid(BadValue):
    """Fields are not as they have to be; all of them are named at once."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__(next(iter(wrong.values())), field=next(iter(wrong)))
        self.wrong = wrong


def refusal(error: LifesignsError) -> dict[str, Any]:
    """Spell a refusal out."""
    said: dict[str, Any] = {"code": CODES[error.http_status], "message": error.message}
    if isinstance(error, Invalid):
        said["details"] = dict(error.wrong)
    elif error.field is not None:
        said["details"] = {error.field: error.message}
    return {"error": said}
