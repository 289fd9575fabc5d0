"""Sets of pictures with masks for the probe of `token_probe`, and which of them it learns from.

`fit` and `choose` are of the training split, `val` is the split that is judged. Of CamVid `fit` is
the first four fifths of each training sequence and `choose` the rest of it less a gap; of the large
pictures they are whole groups: sequences of a print, or single pictures of a field.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moekit.data.geometry import Frame
from moekit.data.stream import Preprocess
from moekit.moe.specialists import Grid


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, its mask of class numbers, and what it is drawn with for intervals."""

    image: Path
    mask: Path
    group: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """A set.

    Attributes:
        classes: How many; a larger number in a mask is of no class.
        balance: Exponent of the inverse class frequency by which patches weigh when the probe is
            fitted. Printed parts are a hundredth of their pictures: with 0 none is ever found.
        of_split: Pictures by `fit`, `choose` and `val`.
    """

    classes: int
    balance: float = 0.0
    of_split: dict[str, Sequence[Picture]]

    def some(self, split: str, count: int) -> list[Picture]:
        """At most `count` pictures of a split, evenly spread."""
        own = self.of_split[split]
        places = np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(int)
        return [own[place] for place in places]


def reading(backbone, width: int) -> Preprocess:
    """How pictures of about 4 to 3 are read at a width that is a multiple of the patch."""
    height = -(-width * 3 // 4 // backbone.patch) * backbone.patch
    frame = Frame(height=height, width=width, fit="letterbox")
    return Preprocess(frame=frame, mean=backbone.mean, std=backbone.std)


def grid_at(backbone, width: int) -> Grid:
    """Rows and columns of the patches."""
    frame = reading(backbone, width).frame
    return Grid(frame.height // backbone.patch, frame.width // backbone.patch)


def camvid(data: Path) -> ProbeSet:
    """Frames of a drive, eleven classes; each frame is drawn by itself."""
    folder = data / "camvid"
    of_split: dict[str, list[Picture]] = {"fit": [], "choose": [], "val": []}
    rows = _rows(folder)
    for sequence in sorted({row["sequence"] for row in rows}):
        own = {
            split: [
                Picture(
                    folder / "images" / f"{row['id']}.jpg",
                    folder / "masks" / f"{row['id']}.png",
                    row["id"],
                )
                for row in rows
                if (row["split"], row["sequence"]) == (split, sequence)
            ]
            for split in ("train", "val")
        }
        cut = len(own["train"]) * 4 // 5
        of_split["fit"] += own["train"][:cut]
        of_split["choose"] += own["train"][cut + 2 :]
        of_split["val"] += own["val"]
    return ProbeSet(classes=11, of_split=of_split)


def large_pictures(data: Path, name: str) -> ProbeSet:
    """Printed parts (`print3d`, two classes) or plants (`cwfid`, three), drawn by group."""
    folder = data / "hires_seg"
    rows = [row for row in _rows(folder) if row["set"] == name]
    groups = sorted({row["group"] for row in rows if row["split"] == "train"})
    fit = set(groups[: len(groups) * 4 // 5])
    of_split: dict[str, list[Picture]] = {"fit": [], "choose": [], "val": []}
    for row in rows:
        of = "val" if row["split"] == "val" else "fit" if row["group"] in fit else "choose"
        picture = Picture(folder / row["image"], folder / row["mask"], row["group"])
        of_split[of].append(picture)
    classes = {"print3d": 2, "cwfid": 3}[name]
    return ProbeSet(classes=classes, balance=0.5, of_split=of_split)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
