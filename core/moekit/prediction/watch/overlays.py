"""Overlays of a line: the newest of the images that are not passed."""

from __future__ import annotations

import collections
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from PIL import Image

from moekit.data.pictures import save_jpeg
from moekit.names import fitting_name

Which = Literal["all", "rejected", "none"]
FOLDER = "overlays"


class KeptOverlays:
    """Writes overlays and removes the oldest ones.

    Args:
        out: The output folder; overlays are in OUT/overlays.
        which: Of which images: all, those that are not passed, or none.
        keep: Most overlays that are kept.
        quiet: Verdicts that need no overlay but with `all`.
    """

    def __init__(self, out: Path, *, which: Which, keep: int, quiet: Collection[str] = ()) -> None:
        self._out, self.which, self._keep, self._quiet = out, which, keep, frozenset(quiet)
        found = [path for path in (out / FOLDER).rglob("*.jpg") if not path.name.startswith(".")]
        found.sort(key=lambda path: path.stat().st_mtime_ns)
        self._kept = collections.deque(found)
        self._remove_oldest()

    def wants(self, verdict: str) -> bool:
        """Whether an image of that verdict is to have an overlay."""
        chosen = self.which == "all" or (self.which == "rejected" and verdict not in self._quiet)
        return chosen and bool(self._keep)

    def save(self, name: str, picture: Image.Image) -> str:
        """Writes the overlay of an image.

        Args:
            name: Of the image.
            picture: The overlay, RGB.

        Returns:
            Its name in the output folder.

        Raises:
            StorageError: It cannot be written.
        """
        self.forget(name)
        overlay = f"{FOLDER}/{fitting_name(self._out / FOLDER, name, '.jpg')}"
        save_jpeg(self._out / overlay, picture)
        self._kept.append(self._out / overlay)
        self._remove_oldest()
        return overlay

    def forget(self, name: str) -> None:
        """Removes the overlay of an image, if there is one."""
        path = self._out / FOLDER / fitting_name(self._out / FOLDER, name, ".jpg")
        if path.is_file():
            path.unlink(missing_ok=True)
            if path in self._kept:
                self._kept.remove(path)

    def _remove_oldest(self) -> None:
        while len(self._kept) > self._keep:
            oldest = self._kept.popleft()
            oldest.unlink(missing_ok=True)
            folder = oldest.parent
            while folder != self._out / FOLDER and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
