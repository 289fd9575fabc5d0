"""Naming files and series without saying whose they are."""

from __future__ import annotations

import hashlib
import hmac

_DIGITS = 12


def token(value: str, *, salt: bytes) -> str:
    """A name for a path or an identifier that tells nothing about it.

    Equal values have equal tokens under one salt; without the salt a value cannot be guessed from
    its token by trying (HMAC, RFC 2104, with SHA-256).

    Args:
        value: A path, a UID or another identifier.
        salt: Secret of one run.

    Returns:
        12 hexadecimal digits.
    """
    return hmac.new(salt, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[
        :_DIGITS
    ]
