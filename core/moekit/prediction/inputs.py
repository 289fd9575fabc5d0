"""What `predict` is asked to answer: image files, and folders of them."""

from __future__ import annotations

import collections
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from moekit.data.pillow_rules import FORMAT_WORDS
from moekit.data.survey import survey_folder
from moekit.errors import DataError
from moekit.text import visible_name


def check_paths(paths: Sequence[Path]) -> None:
    """Checks that inputs are there.

    Raises:
        DataError: One is not.
    """
    for path in paths:
        if not path.exists():
            raise DataError(
                "there is no such file or folder",
                whose=str(path),
                fix="check the path",
                code="data/not-found",
            )


def collect_inputs(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Images named one by one or by folder, each once, with a name that is unique.

    Raises:
        DataError: A path does not exist, or there is no image at all.
    """
    check_paths(paths)
    found: dict[Path, str] = {}
    real = _Real()
    for path in paths:
        if path.is_dir():
            # Pictures of kinds that are not read are inputs too: they get a row that says so.
            for image in survey_folder(path).pictures:
                name = visible_name(image.relative_to(path).as_posix())
                found.setdefault(real(image), name)
        else:
            found.setdefault(path.resolve(), visible_name(path.name))
    if not found:
        raise DataError(
            "there is no image to answer",
            whose=", ".join(str(path) for path in paths),
            fix=f"name image files, or a folder that holds some ({FORMAT_WORDS})",
            code="data/no-image",
        )
    return _with_unique_names(found)


def _with_unique_names(found: dict[Path, str]) -> list[tuple[str, Path]]:
    """A name that two inputs share gets a part of its path's hash."""
    counts = collections.Counter(found.values())
    taken = set(counts)
    unique = []
    for path, name in found.items():
        if counts[name] > 1:
            digest = hashlib.sha256(os.fsencode(path)).hexdigest()
            marked = (f"{digest[:length]}-{name}" for length in range(8, len(digest) + 1))
            name = next(one for one in marked if one not in taken)
            taken.add(name)
        unique.append((name, path))
    return unique


class _Real:
    """Where files lie, links followed; the disk is asked once a folder, not once a file."""

    def __init__(self) -> None:
        self._folders: dict[str, tuple[Path, frozenset[str]]] = {}

    def __call__(self, path: Path) -> Path:
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent not in self._folders:
            with os.scandir(parent) as entries:
                links = frozenset(entry.name for entry in entries if entry.is_symlink())
            self._folders[parent] = Path(parent).resolve(), links
        folder, links = self._folders[parent]
        return path.resolve() if path.name in links else folder / path.name
