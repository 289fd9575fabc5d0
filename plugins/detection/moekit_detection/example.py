"""A small set with boxes, for conformance checks, loaders and tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from moekit import Dataset, Sample
from moekit_detection.records import Objects

CLASSES = ("square", "disc")
SIZE = (40, 56)
"""Rows and columns: no square, so that a wrong order of them shows."""
_COUNTS = {"train": 12, "val": 6, "test": 6}
_FEW = {"train": 8, "val": 4, "test": 4}
_COLOURS = ((200, 60, 60), (60, 60, 200))
_EMPTY = 3
"""Each picture of that place in its split shows nothing."""


def draw_example(number: int, *, empty: bool = False) -> tuple[np.ndarray, Objects]:
    """One picture, (40, 56, 3) uint8, and its objects.

    Args:
        number: Decides where things lie, and the noise.
        empty: Whether it shows nothing.
    """
    generator = np.random.default_rng(number)
    pixels = np.full((*SIZE, 3), 60)
    row, column = np.ogrid[: SIZE[0], : SIZE[1]]
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    if not empty:
        top, left = (int(one) for one in generator.integers(2, [20, 14]))
        pixels[top : top + 12, left : left + 12] = _COLOURS[0]
        middle = int(generator.integers(12, 28)), int(generator.integers(38, 46))
        pixels[(row - middle[0]) ** 2 + (column - middle[1]) ** 2 < 64] = _COLOURS[1]
        boxes = [(left, top, 12, 12), (middle[1] - 7, middle[0] - 7, 15, 15)]
        labels = [0, 1]
    noise = generator.integers(-30, 31, (*SIZE, 3))
    return (pixels + noise).astype(np.uint8), Objects.of(boxes, labels)


def drawn_splits() -> Iterator[tuple[str, list[tuple[str, np.ndarray, Objects]]]]:
    """Each split with the names, pixels and objects of its pictures, for examples of loaders."""
    number = 0
    for split, count in _FEW.items():
        drawn = []
        for _ in range(count):
            number += 1
            drawn.append((f"{number:02}", *draw_example(number)))
        yield split, drawn


def write_example(folder: Path) -> Dataset:
    """Writes 24 pictures of a square and a disc each, split, in pairs of one group each.

    Args:
        folder: Empty.
    """
    samples: list[Sample] = []
    for split, count in _COUNTS.items():
        for number in range(count):
            path = folder / f"{split}-{number:02}.png"
            pixels, objects = draw_example(len(samples), empty=number == _EMPTY)
            Image.fromarray(pixels).save(path)
            samples.append(
                Sample(
                    id=path.name,
                    path=path,
                    label=0,
                    labels=tuple(sorted(set(objects.label_G.tolist()))),
                    split=split,
                    group=f"{split} {number // 2}",
                    truth=objects.as_truth(),
                )
            )
    return Dataset(
        name="squares and discs",
        samples=tuple(samples),
        classes=CLASSES,
        licence="CC0-1.0",
        source="drawn by moekit-detection",
        split_note="as drawn",
        has_negative=False,
    )
