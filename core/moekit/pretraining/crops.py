"""Crops of images at two scales, drawn by the content of the image, so that anybody finds them.

Shapes: H and W rows and columns of a picture.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np

from moekit.data.content import Contents
from moekit.data.geometry import Box, Frame, Size
from moekit.data.samples import Sample
from moekit.data.sizes import header_size

_STRETCH = math.log(4 / 3)
_LEAST_PIXELS = 4


def crop_box(size: Size, area: tuple[float, float], generator: np.random.Generator) -> Box:
    """A random window of a picture, as the crops of Inception are drawn (arXiv:1409.4842).

    Args:
        size: (H, W) of the picture.
        area: Least and greatest share of the picture's area.
        generator: Draws area, shape and place.
    """
    share = generator.uniform(*area)
    shape = math.exp(generator.uniform(-_STRETCH, _STRETCH)) ** 0.5
    sides = [
        min(side, max(min(side, _LEAST_PIXELS), round(side * share**0.5 * stretch)))
        for side, stretch in zip(size, (shape, 1 / shape), strict=True)
    ]
    starts = [
        int(generator.integers(whole - part + 1)) for whole, part in zip(size, sides, strict=True)
    ]
    return Box(starts[0], starts[1], sides[0], sides[1])


def cropped_samples(
    samples: Sequence[Sample],
    contents: Contents,
    *,
    count: int,
    area: tuple[float, float],
    seed: int,
) -> list[Sample]:
    """`count` windows of each sample, those of one next to each other; they share its id.

    A file whose header cannot be read stays as it is: readers report it later.

    Args:
        samples: With or without windows of their own, which are passed over.
        contents: Hashes the files; the windows depend on the hash, not on the name.
        count: Windows of each.
        area: As of `crop_box`.
        seed: Decides them too.
    """
    found = []
    for sample in samples:
        size = header_size(sample.path)
        if size is None:
            found += [sample] * count
            continue
        key = f"{seed} {area} {contents.of(sample.path)}".encode()
        generator = np.random.default_rng(list(hashlib.sha256(key).digest()))
        found += [
            dataclasses.replace(sample, window=crop_box(size, area, generator))
            for _ in range(count)
        ]
    return found


def small_frame(frame: Frame, share: float, patch: int) -> Frame:
    """The input of small crops: a share of the sides, in whole patches, two at least."""
    rows, columns = (
        max(2, round(side * share / patch)) * patch for side in (frame.height, frame.width)
    )
    return dataclasses.replace(frame, height=rows, width=columns)
