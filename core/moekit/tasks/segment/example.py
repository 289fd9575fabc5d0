"""A small set with masks, for conformance checks and tests: squares and discs on noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from moekit.data.mask_table import MaskTable
from moekit.data.samples import Dataset, Sample

CLASSES = ("ground", "square", "disc")
SIZE = (40, 56)
"""Rows and columns: no square, so that a wrong order of them shows."""

_COUNTS = {"train": 12, "val": 6, "test": 6}
_COLOURS = ((60, 60, 60), (200, 60, 60), (60, 60, 200))


def draw_example(number: int) -> tuple[np.ndarray, np.ndarray]:
    """One picture, (40, 56, 3) uint8, and its classes, (40, 56) uint8.

    Args:
        number: Decides where things lie, and the noise.
    """
    generator = np.random.default_rng(number)
    class_HW = np.zeros(SIZE, dtype=np.uint8)
    row, column = np.ogrid[: SIZE[0], : SIZE[1]]
    top, left = generator.integers(2, 16), generator.integers(2, 14)
    class_HW[top : top + 16, left : left + 12] = 1
    middle = generator.integers(12, 28), generator.integers(38, 46)
    class_HW[(row - middle[0]) ** 2 + (column - middle[1]) ** 2 < 64] = 2
    noise = generator.integers(-30, 31, (*SIZE, 3))
    picture = np.array(_COLOURS)[class_HW] + noise
    return picture.astype(np.uint8), class_HW


def write_example(folder: Path) -> Dataset:
    """Writes 24 pictures with masks of three classes, split, in pairs of one group each.

    Args:
        folder: Empty.
    """
    samples = []
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    splits = [split for split, count in _COUNTS.items() for _ in range(count)]
    for number, split in enumerate(splits):
        image, mask = (folder / name / f"{number:02}.png" for name in ("images", "masks"))
        picture, class_HW = draw_example(number)
        Image.fromarray(picture).save(image)
        Image.fromarray(class_HW).save(mask)
        samples.append(
            Sample(
                id=f"images/{number:02}.png",
                path=image,
                label=1,
                labels=(1, 2),
                split=split,
                group=f"{split} {number // 2}",
                mask=mask,
                mask_table=MaskTable(values={0: 0, 1: 1, 2: 2}),
            )
        )
    return Dataset(
        name="squares and discs",
        samples=tuple(samples),
        classes=CLASSES,
        licence="CC0-1.0",
        source="drawn by moekit",
        split_note="as drawn",
    )
