"""Secrets that only one other can read."""

from __future__ import annotations

import pytest

from lifesigns.core.seal import SALT_BYTES, seal, unseal

SALT = bytes(range(SALT_BYTES))


@pytest.mark.parametrize(
    "secret", ["", "x", "ls_abc_" + "k" * 32, "geheim: größer 🐙", "x" * 1_000]
)
def test_the_holder_reads_what_was_sealed_and_nobody_else(secret: str) -> None:
    sealed = seal(secret, "the-holders-own-key", SALT)
    assert unseal(sealed, "the-holders-own-key") == secret
    assert unseal(sealed, "the-holders-own-kez") is None
    assert unseal(sealed, "") is None


def test_nothing_of_the_secret_stands_in_what_was_sealed() -> None:
    sealed = seal("a" * 64, "holder", SALT)
    assert b"aaa" not in sealed
    assert seal("a" * 64, "holder", SALT[::-1])[SALT_BYTES:] != sealed[SALT_BYTES:]


def test_what_was_altered_on_the_way_is_read_by_nobody() -> None:
    sealed = seal("secret", "holder", SALT)
    for i in range(len(sealed)):
        forged = sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :]
        assert unseal(forged, "holder") is None
    for length in range(len(sealed)):
        assert unseal(sealed[:length], "holder") is None
