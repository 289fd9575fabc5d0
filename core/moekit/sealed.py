"""JSON files that decide something, with the hash of their own content in their last field.

The hash is of the content, not of the bytes: a file that is only laid out otherwise is the same. A
file without one was written by an earlier version, or somebody took it away to accept an edit. It
stays without one when it is written again, so that it never passes for what was made in one piece.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moekit.errors import DataError
from moekit.files import read_json, write_json
from moekit.json_text import parse_json, to_json

__all__ = ["SEAL", "check_sealed", "is_sealed", "read_sealed", "unsealed_note", "write_sealed"]

SEAL = "content_sha256"
"""The field: SHA-256 of all other fields as JSON, with sorted keys, no spaces, ASCII only, and
numbers without a fraction written without a point, as some programs write them."""

_EXACT = 2**53
"""Whole numbers below it are exact as floats too."""


def write_sealed(path: Path, content: Mapping[str, Any], *, sealed: bool = True) -> dict[str, Any]:
    """Writes a file with the hash of its content, atomically; returns what it holds.

    Args:
        path: The file.
        content: Of the file.
        sealed: False for a file that was without a hash, and stays without one.

    Raises:
        MoekitError: A number in it is not finite.
        StorageError: It cannot be written.
    """
    # As whoever reads the file finds it: tuples are lists there, and all keys are texts.
    plain = parse_json(to_json({key: value for key, value in content.items() if key != SEAL}))
    written: dict[str, Any] = {**plain, SEAL: _hash(plain)} if sealed else plain
    write_json(path, written)
    return written


def read_sealed(path: Path) -> Any:
    """Reads a JSON file whose content must be that of its hash, if it has one.

    Raises:
        DataError: The file is missing, is no JSON, or was edited.
    """
    content = read_json(path)
    check_sealed(content, path)
    return content


def check_sealed(content: Any, path: Path) -> None:
    """Refuses content that is not that of its hash.

    Args:
        content: Of the file; without a hash it passes.
        path: The file, for the message.

    Raises:
        DataError: It was edited after it was written.
    """
    if not is_sealed(content):
        return
    if content[SEAL] != _hash({key: value for key, value in content.items() if key != SEAL}):
        raise DataError(
            f"the file was edited: its content is not that of its {SEAL}",
            whose=str(path),
            fix="restore the file, or make it again by the command that wrote it; to accept the "
            f"edit for good, take out the field {SEAL}: each command then says that the file is "
            "not verified",
            code="data/edited-record",
        )


def is_sealed(content: Any) -> bool:
    """Whether the content of a file has a hash."""
    return isinstance(content, Mapping) and SEAL in content


def unsealed_note(content: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A sentence on a file whose content has no hash; none if it has one.

    Args:
        content: Of the file.
        name: Of the file.
    """
    if is_sealed(content):
        return ()
    return (
        f"{name} holds no hash of its content ({SEAL}), since an earlier version wrote it or "
        "somebody took it out: whether it was edited is not known",
    )


def _hash(content: Mapping[str, Any]) -> str:
    try:
        plain = _whole_numbers(content)
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except RecursionError:
        return ""  # whoever looks at the fields says so
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _whole_numbers(value: Any) -> Any:
    """The same content with 1.0 as 1: whoever lays a file out again may write either."""
    if isinstance(value, Mapping):
        return {key: _whole_numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(one) for one in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value
