"""How a receiver knows that a message is ours, and that nobody has altered it.

Signatures are those of Standard Webhooks 1.0.0; the jobs dialect has one more of its own. Must not
know what time it is, nor where secrets come from.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

from lifesigns.core.errors import BadValue

PREFIX = "whsec_"
SECRET_BYTES = 32  # of those that are made here
FEWEST_BYTES, MOST_BYTES = 24, 64  # as Standard Webhooks wants them


def make_secret(chance: bytes) -> str:
    """Write random bytes as a secret."""
    return PREFIX + b64encode(chance).decode()


def check_secret(value: object, field: str = "secret") -> str:
    """Take a secret that somebody brings along."""
    try:
        if isinstance(value, str) and FEWEST_BYTES <= len(_key(value)) <= MOST_BYTES:
            return value
    except (ValueError, binascii.Error):
        pass  # no base64: refused like a wrong length
    raise BadValue(
        f"A secret is {PREFIX} and {FEWEST_BYTES} to {MOST_BYTES} bytes in base64.", field=field
    )


def sign(secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Sign a message with each of its secrets: one of them will be the receiver's."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    return " ".join(
        "v1," + b64encode(hmac.digest(_key(secret), content, hashlib.sha256)).decode()
        for secret in secrets
    )


def signed(
    secrets: Sequence[str], message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """Make the headers by which a message is known."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(secrets, message_id, timestamp_s, body),
    }


def signed_as_moltjobs(
    secrets: Sequence[str], message_id: str, type_: str, timestamp_s: int, body: bytes
) -> Mapping[str, str]:
    """Make the headers by which receivers of the jobs dialect know a message.

    The key is the text of a secret as it stands, and not what it encodes. Of two, the newest is
    the last: so it is the one that is found by who expects one.
    """
    content = f"{timestamp_s}.".encode() + body
    digests = [hmac.digest(each.encode(), content, hashlib.sha256).hex() for each in secrets]
    return {
        "MoltJobs-Signature": ",".join(
            [f"t={timestamp_s}", *(f"v1={digest}" for digest in reversed(digests))]
        ),
        "MoltJobs-Event": type_,
        "MoltJobs-Delivery": message_id,
    }


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        raise ValueError
    return b64decode(secret.removeprefix(PREFIX), validate=True)
