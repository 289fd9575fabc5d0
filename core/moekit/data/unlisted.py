"""Pictures that lie next to those that a table or a file of annotations lists."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from moekit.data.suffixes import is_picture_name
from moekit.text import many


def unlisted_notes(listed: Iterable[Path], *, named: bool = True) -> tuple[str, ...]:
    """A sentence on the picture files that nobody lists, if there are any.

    Folders that hold none of the listed files, and those below them, are not looked at.

    Args:
        listed: All files that are listed, those of targets too.
        named: Whether the sentence names a picture as an example. Names of files may identify a
            person: then it must not.
    """
    folders: dict[Path, set[str]] = {}
    for path in listed:
        folders.setdefault(path.parent, set()).add(path.name)
    others = [folder / name for folder, names in folders.items() for name in _others(folder, names)]
    if not others:
        return ()
    first = min(others)
    example = f", such as {first.parent.name}/{first.name}" if named else ""
    told = many(
        len(others),
        "picture lies next to listed ones, is not listed and is",
        "pictures lie next to listed ones, are not listed and are",
    )
    return (f"{told} left out{example}",)


def _others(folder: Path, names: set[str]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if entry.name not in names and is_picture_name(entry.name) and entry.is_file()
            ]
    except OSError:  # the listed files are named as missing
        return []
