"""Names of files that the file system takes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from moekit.text import visible_name

_LONGEST_NAME, _LONGEST_PATH = 255, 4000
"""Bytes of a file's name and of a path that file systems take, if they do not say so."""
_MARK = 12
TEMPORARY = len("..12345678.tmp")
"""Bytes that a temporary file's name has more than its own."""


def fitting_name(folder: Path, name: str, suffix: str) -> str:
    """A name for the file of an item, which the file system takes.

    Args:
        folder: Where the file will lie.
        name: Of the item, with `/` between folders.
        suffix: Of the file, such as `.jpg`.

    Returns:
        `name` with the suffix. What is too long is cut and gets 12 digits of the name's SHA-256; a
        name that leads out of the folder becomes these digits.
    """
    name = visible_name(name)
    mark = hashlib.sha256(name.encode("utf-8")).hexdigest()[:_MARK]
    *parts, last = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in (*parts, last)):
        return f"{mark}{suffix}"
    longest = longest_name(folder)
    fitting = [
        *(_cut(part, "", mark, longest) for part in parts),
        _cut(last, suffix, mark, longest),
    ]
    whole = "/".join(fitting)
    length = len(os.fsencode(folder.absolute() / whole))
    return whole if length + TEMPORARY <= _LONGEST_PATH else f"{mark}{suffix}"


def _cut(name: str, suffix: str, mark: str, longest: int) -> str:
    if len(os.fsencode(name + suffix)) <= longest:
        return name + suffix
    return f"{cut_bytes(name, longest - len(os.fsencode(f'-{mark}{suffix}')))}-{mark}{suffix}"


def cut_bytes(name: str, most: int) -> str:
    """The beginning of a name, cut between letters to at most `most` bytes."""
    if len(os.fsencode(name)) <= most:
        return name
    return os.fsencode(name)[:most].decode("utf-8", "ignore")


def longest_name(folder: Path) -> int:
    """Bytes that a file's name may have in a folder, or in the nearest one above that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        longest = os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return _LONGEST_NAME
    return longest if longest > TEMPORARY + _MARK else _LONGEST_NAME
