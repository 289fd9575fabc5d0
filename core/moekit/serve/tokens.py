"""Tokens that a client must show, from a file."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from moekit.errors import UsageError
from moekit.files import read_text

LEAST = 16
"""Characters that a token has at least."""
_SCHEME = "bearer"


class Tokens:
    """The tokens of a server; only their hashes are kept.

    Args:
        tokens: The tokens themselves.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self._hashes = [_hash(token) for token in tokens]

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Reads a file with one token a line. Empty lines and those that begin with # are none.

        Raises:
            UsageError: The file cannot be read, holds no token, or one that is too short or has a
                character that no header can hold.
        """
        try:
            text = read_text(path, most=2**20)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"the token file cannot be read ({getattr(error, 'strerror', None) or error})",
                whose=str(path),
                fix="name a text file with one token a line",
                code="usage/bad-token-file",
            ) from error
        lines = [line.strip() for line in text.splitlines()]
        tokens = [line for line in lines if line and not line.startswith("#")]
        wrong = [one for one in tokens if len(one) < LEAST or not _fits_a_header(one)]
        if not tokens or wrong:
            raise UsageError(
                "the token file holds no token"
                if not tokens
                else f"{len(wrong)} of its tokens have less than {LEAST} characters, or odd ones",
                whose=str(path),
                fix=f"write one token a line, of {LEAST} or more letters and digits: "
                'python -c "import secrets; print(secrets.token_urlsafe())"',
                code="usage/bad-token-file",
            )
        return cls(tokens)

    def allow(self, header: str | None) -> bool:
        """Whether an `Authorization` header shows one of the tokens.

        The time that this takes does not depend on how much of a token is right, nor on which one.
        """
        scheme, _, shown = (header or "").partition(" ")
        given = _hash(shown.strip())
        matches = [hmac.compare_digest(given, known) for known in self._hashes]
        return scheme.lower() == _SCHEME and any(matches)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _fits_a_header(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token
