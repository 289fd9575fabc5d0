"""The true objects of a sample with their pixels.

Shapes: G objects.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from moekit import Sample
from moekit.data import read_size
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import OBJECTS, Objects, objects_of


def instances_of(sample: Sample) -> Objects:
    """The truth of a sample with `masks`.

    An object without a mask that can be used is taken as a crowd that fills its box: nobody knows
    its pixels, so it is neither learned, nor missed, nor is what is found there false.

    Raises:
        DataError: Nobody has looked for objects in it.
    """
    objects = objects_of(sample)
    held: Mapping[str, Any] = (sample.truth or {})[OBJECTS]
    texts = held.get("mask", ("",) * len(objects))
    size = tuple(held["size"]) if "size" in held else read_size(sample.path)
    bare_G = np.array([not text for text in texts], dtype=np.bool_)
    known = Masks.read(size, [text for text in texts if text])
    runs = iter([known.runs(place) for place in range(len(known))])
    masks = [
        _filled(box, size) if bare else next(runs)
        for box, bare in zip(objects.box_G4.tolist(), bare_G.tolist(), strict=True)
    ]
    return dataclasses.replace(
        objects, masks=Masks.of(size, masks), crowd_G=objects.crowd_G | bare_G
    )


def has_masks(sample: Sample) -> bool:
    """Whether an object of the sample has a mask that can be used."""
    held: Mapping[str, Any] = (sample.truth or {}).get(OBJECTS) or {}
    return any(held.get("mask", ()))


def _filled(box: list[float], size: tuple[int, int]) -> np.ndarray:
    """(n, 2) runs of all pixels that a box touches."""
    left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    right = min(size[1], math.ceil(box[0] + box[2]))
    bottom = min(size[0], math.ceil(box[1] + box[3]))
    return runs_of(np.ones((bottom - top, right - left), dtype=bool), (top, left), size[0])
