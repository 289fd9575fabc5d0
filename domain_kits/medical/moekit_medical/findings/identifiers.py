"""Identifiers that follow from content: the same content has the same UID."""

from __future__ import annotations

import hashlib
import uuid


def derive_uid(*parts: str | bytes) -> str:
    """A UID that is always the same for the same parts, and another one for others.

    The first 128 bits of a SHA-256 hash, marked as a name-based UUID (RFC 9562, 5.5) and written
    under the root 2.25 (DICOM PS3.5 B.2).

    Args:
        parts: What the UID stands for; ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return uid_of_hash(digest.digest())


def uid_of_hash(digest: bytes) -> str:
    """The UID of a hash of at least 16 bytes, of which the first 16 count."""
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"
