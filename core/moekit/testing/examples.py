"""Folders that checks write into, and examples that several of them look at."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moekit.data.samples import Dataset

Loaded = tuple[Path | None, Dataset]
"""What a loader was given, and the set."""
_PREFIX = "moekit-check-"


class Examples:
    """What loaders give of their examples, each loaded once for all checks that only look at it."""

    def __init__(self) -> None:
        self._loaded: dict[str, Loaded] = {}

    @contextmanager
    def loaded(self, name: str, load: Callable[[Path], Loaded]) -> Iterator[Loaded]:
        """What a loader gives of its example, with the cache that it was loaded with.

        Args:
            name: Of the loader.
            load: Gives it; called with a new folder. What it raises is raised each time.
        """
        folder = self._folder / name
        with caching_in(folder):
            if name not in self._loaded:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                self._loaded[name] = load(folder)
            yield self._loaded[name]

    @functools.cached_property
    def _folder(self) -> Path:
        """A folder that lives as long as this."""
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


@contextmanager
def private_folders() -> Iterator[Path]:
    """A folder for everything that a check writes, the cache included."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, caching_in(Path(name)):
        yield Path(name)


@contextmanager
def caching_in(folder: Path) -> Iterator[None]:
    """The cache lies in this folder."""
    before = os.environ.get("MOEKIT_CACHE_DIR")
    os.environ["MOEKIT_CACHE_DIR"] = str(folder / "cache")
    try:
        yield
    finally:
        if before is None:
            del os.environ["MOEKIT_CACHE_DIR"]
        else:
            os.environ["MOEKIT_CACHE_DIR"] = before
