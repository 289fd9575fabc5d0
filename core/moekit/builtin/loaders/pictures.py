"""Pictures that loaders write once below the cache folder, from files that hold many of them.

`CACHE/KIND/KEY/` holds lossless PNG files and `index.json` with the length of each. The folder is
whole or absent; one whose files are not those of its index is written again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from moekit.backbone.sources import cache_folder
from moekit.errors import DataError
from moekit.files import atomic_folder, read_json, write_json

_INDEX = "index.json"
KEY_DIGITS = 32
"""Digits of a hash that are enough for a key."""


def stored_pictures(kind: str, key: str, pictures: Iterable[tuple[str, np.ndarray]]) -> Path:
    """The folder of a key, which is written now if it is not there.

    Args:
        kind: Sub-folder of the cache.
        key: Name of the folder; it must depend on all that the pictures depend on.
        pictures: Names that end with `.png`, and (H, W, 3) or (H, W) uint8; read only if the folder
            must be written.

    Raises:
        StorageError: The cache cannot be written.
    """
    folder = cache_folder() / kind / key
    if _is_whole(folder):
        return folder
    with atomic_folder(folder, mark=_INDEX) as temporary:
        lengths: dict[str, int] = {}
        for name, pixels in pictures:
            path = temporary / name
            Image.fromarray(pixels).save(path, format="PNG", compress_level=1)
            lengths[name] = path.stat().st_size
        write_json(temporary / _INDEX, lengths)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether all files of the index are there, each of its length."""
    if not (folder / _INDEX).is_file():
        return False
    try:
        lengths = read_json(folder / _INDEX)
        return isinstance(lengths, dict) and all(
            (folder / name).stat().st_size == length for name, length in lengths.items()
        )
    except (OSError, DataError, json.JSONDecodeError):
        return False
