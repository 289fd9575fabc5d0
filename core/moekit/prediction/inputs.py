"""What `predict` is asked to answer: image files, and folders of them."""

from __future__ import annotations

import collections
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from moekit.data.pillow_rules import FORMAT_WORDS
from moekit.data.survey import picture_paths
from moekit.errors import DataError
from moekit.outputs import outputs_note
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


def collect_inputs(
    paths: Sequence[Path], *, tell: Callable[[str], None] = lambda _: None
) -> list[tuple[str, Path]]:
    """Images named one by one or by folder, each once, with a name that is unique.

    Args:
        paths: Files and folders. Folders below them that moekit wrote are left out.
        tell: Called with a sentence on what is left out.

    Raises:
        DataError: A path does not exist, or there is no image at all.
    """
    check_paths(paths)
    found: dict[str, str] = {}
    outputs: list[tuple[str, str]] = []
    real = _Real()
    for path in paths:
        if path.is_dir():
            # Pictures of kinds that are not read are inputs too: they get a row that says so.
            begin = len(os.path.join(path, ""))  # noqa: PTH118
            for image in picture_paths(path, outputs=outputs):
                found.setdefault(real(image), visible_name(image[begin:].replace(os.sep, "/")))
        else:
            found.setdefault(os.path.realpath(path), visible_name(path.name))
    for note in outputs_note(sorted(set(outputs))):
        tell(note)
    if not found:
        raise DataError(
            "there is no image to answer",
            whose=", ".join(str(path) for path in paths),
            fix=f"name image files, or a folder that holds some ({FORMAT_WORDS})",
            code="data/no-image",
        )
    return [(name, Path(path)) for name, path in _with_unique_names(found)]


def _with_unique_names(found: dict[str, str]) -> list[tuple[str, str]]:
    """Names of paths; one that two inputs share gets a part of its path's hash."""
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
        self._folders: dict[str, tuple[str, frozenset[str]]] = {}

    def __call__(self, path: str) -> str:
        cut = path.rindex(os.sep) + 1
        parent, name = path[:cut], path[cut:]
        if parent not in self._folders:
            with os.scandir(parent) as entries:
                links = frozenset(entry.name for entry in entries if entry.is_symlink())
            self._folders[parent] = os.path.join(os.path.realpath(parent), ""), links  # noqa: PTH118
        folder, links = self._folders[parent]
        return os.path.realpath(path) if name in links else folder + name
