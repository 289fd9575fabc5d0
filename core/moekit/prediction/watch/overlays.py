"""Overlays of a line: of the images that are not passed, the newest so many."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from moekit.tasks.score.overlay import save_overlay
from moekit.tasks.score.threshold import PASS

Which = Literal["all", "rejected", "none"]
FOLDER = "overlays"


class KeptOverlays:
    """Writes overlays and removes the oldest ones.

    Args:
        out: The output folder; overlays are in OUT/overlays.
        which: Of which images: all, those that are not passed, or none.
        keep: Most overlays that are kept.
    """

    def __init__(self, out: Path, *, which: Which, keep: int) -> None:
        self._out, self.which, self._keep = out, which, keep
        found = [path for path in (out / FOLDER).rglob("*.jpg") if not path.name.startswith(".")]
        found.sort(key=lambda path: path.stat().st_mtime_ns)
        self._kept = collections.deque(found)
        self._remove_oldest()

    def save(
        self, name: str, verdict: str, picture: Image.Image | None, evidence: np.ndarray | None
    ) -> str:
        """Writes the overlay of an image where it is to have one.

        Args:
            name: Of the image.
            verdict: Of the image.
            picture: RGB, or None where there is none.
            evidence: (h, w) float in [0, 1], or None where the kit gives none.

        Returns:
            Its name in the output folder; empty where there is none.

        Raises:
            StorageError: It cannot be written.
        """
        wanted = self.which == "all" or (self.which == "rejected" and verdict != PASS)
        if not wanted or picture is None or evidence is None or not self._keep:
            return ""
        overlay = f"{FOLDER}/{name}.jpg"
        save_overlay(self._out / overlay, picture, evidence)
        self._kept.append(self._out / overlay)
        self._remove_oldest()
        return overlay

    def _remove_oldest(self) -> None:
        while len(self._kept) > self._keep:
            oldest = self._kept.popleft()
            oldest.unlink(missing_ok=True)
            folder = oldest.parent
            while folder != self._out / FOLDER and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
