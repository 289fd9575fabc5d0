"""A small split set of three classes, and a small head, for conformance checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from moekit.contract.outputs import HeadSite
from moekit.data.samples import Dataset, Sample
from moekit.tasks.classify.head import ClassHead

_CLASSES = ("blue", "green", "red")
_COUNTS = {"train": 8, "val": 4, "test": 4}
_SIDE = 32


def write_example(folder: Path) -> Dataset:
    """Writes 48 small pictures, each of a colour with noise.

    Args:
        folder: An empty folder.
    """
    generator = np.random.default_rng(0)
    samples = []
    for split, count in _COUNTS.items():
        for label, name in enumerate(_CLASSES):
            for number in range(count):
                pixels = generator.integers(0, 120, (_SIDE, _SIDE, 3), dtype=np.uint8)
                pixels[..., 2 - label] += 120
                path = folder / f"{split}-{name}-{number}.png"
                Image.fromarray(pixels).save(path)
                samples.append(Sample(id=path.name, path=path, label=label, split=split))
    return Dataset(
        name="example",
        samples=tuple(samples),
        classes=_CLASSES,
        licence="CC0-1.0",
        source="made up",
        split_note="as given",
    )


def small_head(site: HeadSite) -> nn.Module:
    """A linear head on the class token and the mean, without dropout."""
    return ClassHead(site, summaries=("class", "mean"), dropout=0.0)
