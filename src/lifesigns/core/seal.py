"""A secret that only the holder of another one can read again.

A key that the hub makes for an agent is shown to whoever asked for it, once, perhaps by another
hub than the one that made it. In between it lies in the store, sealed with the asker's own key:
whoever reads the store has nothing. Must not know where either is kept.
"""

from __future__ import annotations

import hashlib
import hmac

SALT_BYTES = 16
_TAG_BYTES = 16


def seal(secret: str, holder: str, salt: bytes) -> bytes:
    """Seal a secret for the holder of another; ``salt`` is random, and used once."""
    key = _key(holder, salt)
    plain = secret.encode()
    sealed = bytes(a ^ b for a, b in zip(plain, _pad(key, len(plain)), strict=True))
    return salt + _tag(key, sealed) + sealed


def unseal(sealed: bytes, holder: str) -> str | None:
    """Read it again; None for anybody but the holder."""
    salt, rest = sealed[:SALT_BYTES], sealed[SALT_BYTES:]
    tag, content = rest[:_TAG_BYTES], rest[_TAG_BYTES:]
    key = _key(holder, salt)
    if not hmac.compare_digest(tag, _tag(key, content)):
        return None
    return bytes(a ^ b for a, b in zip(content, _pad(key, len(content)), strict=True)).decode()


def _key(holder: str, salt: bytes) -> bytes:
    return hmac.digest(salt, holder.encode("utf-8", "surrogatepass"), "sha256")


def _pad(key: bytes, length: int) -> bytes:
    return hashlib.shake_256(key + b"pad").digest(length)


def _tag(key: bytes, sealed: bytes) -> bytes:
    return hmac.digest(key, b"tag" + sealed, "sha256")[:_TAG_BYTES]
