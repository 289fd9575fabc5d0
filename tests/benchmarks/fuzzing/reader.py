"""What is fuzzed: a reader, the files that it reads, and how it is called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of files that nobody vouches for.

    Attributes:
        name: Of the reader, in the table of counts.
        prepare: Writes sound files into a folder; returns what `read` needs next to the folder.
        read: Reads the folder; what was answered in a word or two, `read` if nothing is said.
    """

    name: str
    prepare: Callable[[Path], Any]
    read: Callable[[Path, Any], str | None]


def put(folder: Path, name: str, content: str | bytes) -> None:
    """Writes a file and the folders above it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def text_of(path: Path) -> str:
    """The text of a file as a command line could bring it: no null characters."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape").replace("\0", "").strip("\n")
    except OSError:
        return ""
