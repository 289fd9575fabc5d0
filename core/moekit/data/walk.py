"""The files below a folder: which are looked at, and which are passed over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from moekit.data.suffixes import is_image_name
from moekit.errors import DataError
from moekit.outputs import kind_of_output

_OF_SYSTEMS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information"}
)
"""Folders that systems and storage devices keep, in lower case: rests of archives, small copies of
pictures, and what was deleted."""


def is_hidden(name: str) -> bool:
    """Whether a folder is one that people do not see, or that a system keeps for itself."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def walk_images(
    folder: Path,
    *,
    onerror: Callable[[OSError], None],
    is_wanted: Callable[[str], bool] = is_image_name,
    output: Callable[[str, str], None] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yields what `find_images` finds, unsorted: the folder of each image file, and its name.

    Args:
        folder: Where to begin.
        onerror: Called for each folder that cannot be listed.
        is_wanted: Tells by its name whether a file is yielded.
        output: As of `walk_files`.
    """
    for here, name in walk_files(folder, onerror=onerror, output=output):
        if is_wanted(name):
            yield here, name


def walk_files(
    folder: Path,
    *,
    onerror: Callable[[OSError], None] | None = None,
    again: Callable[[str, str], None] | None = None,
    output: Callable[[str, str], None] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yields each file below a folder that is not hidden, unsorted: its folder and its name.

    Folders that a system keeps for itself are hidden too (see `is_hidden`). Folders that moekit
    wrote, such as runs, are passed over (see `moekit.outputs`); the folder itself is not, since it
    was named.

    Args:
        folder: Where to begin.
        onerror: Called for each folder that cannot be listed; an error if None.
        again: Called with a folder that was met before by another name, which is not looked
            through again, and that name; not for a link to a folder around it.
        output: Called with each folder that moekit wrote, and what it is.
    """
    seen: dict[str, str] = {}
    walked = os.walk(folder, onerror=onerror or refuse_folder, followlinks=True)
    for here, folders, files in walked:
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            around = os.path.realpath(os.path.dirname(here))  # noqa: PTH120
            if again is not None and not f"{around}{os.sep}".startswith(f"{real}{os.sep}"):
                again(here, seen[real])
            continue
        seen[real] = here
        if len(seen) > 1 and (kind := kind_of_output(here, files)):
            folders.clear()
            if output is not None:
                output(here, kind)
            continue
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in files:
            if not name.startswith("."):
                yield here, name


def refuse_folder(error: OSError) -> NoReturn:
    """Names a folder that cannot be listed.

    Raises:
        DataError: Always.
    """
    raise DataError(
        f"the folder cannot be listed ({error.strerror or error})",
        whose=str(error.filename),
        fix="check that it exists, is a folder and may be read",
        code="data/unreadable",
    ) from error
