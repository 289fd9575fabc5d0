"""What `predict` is asked to answer: image files, and folders of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from moekit.data.images import find_images
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
    for path in paths:
        if path.is_dir():
            for image in find_images(path):
                found.setdefault(image.resolve(), visible_name(image.relative_to(path).as_posix()))
        else:
            found.setdefault(path.resolve(), visible_name(path.name))
    if not found:
        raise DataError(
            "there is no image to answer",
            whose=", ".join(str(path) for path in paths),
            fix="name image files, or a folder that holds some (PNG, JPEG, BMP, TIFF, WebP, PNM)",
            code="data/no-image",
        )
    return _with_unique_names(found)


def _with_unique_names(found: dict[Path, str]) -> list[tuple[str, Path]]:
    """A name that two inputs share gets a part of its path's hash."""
    names = list(found.values())
    unique = []
    for path, name in found.items():
        if names.count(name) > 1:
            mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
            name = f"{mark}-{name}"
        unique.append((name, path))
    return unique
