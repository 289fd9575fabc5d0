"""A small set with masks, and a small head, for conformance checks and tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from torch import nn

from moekit import Dataset, HeadSite, Sample
from moekit_detection.example import SIZE, write_example
from moekit_detection.instances.head import MaskHead
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import Objects, objects_of


def with_masks(objects: Objects) -> Objects:
    """The objects of a drawn picture with their pixels: squares fill their boxes, discs do not."""
    row, column = np.ogrid[: SIZE[0], : SIZE[1]]
    runs = []
    for box, label in zip(objects.box_G4.tolist(), objects.label_G.tolist(), strict=True):
        left, top, across, down = box
        if label:
            middle = top + down // 2, left + across // 2
            inside = (row - middle[0]) ** 2 + (column - middle[1]) ** 2 < 64
        else:
            inside = (row >= top) & (row < top + down) & (column >= left) & (column < left + across)
        runs.append(runs_of(inside))
    masks = Masks.of(SIZE, runs)
    return dataclasses.replace(objects, masks=masks, area_G=masks.area_G.astype(np.float64))


def write_masked_example(folder: Path) -> Dataset:
    """Writes the 24 pictures of the task `detect`, with masks.

    Args:
        folder: Empty.
    """
    dataset = write_example(folder)
    return dataset.with_samples(_masked(sample) for sample in dataset.samples)


def _masked(sample: Sample) -> Sample:
    return dataclasses.replace(sample, truth=with_masks(objects_of(sample)).as_truth())


def small_mask_head(site: HeadSite) -> nn.Module:
    """Few channels and queries."""
    return MaskHead(
        site, width=16, channels=4, stem=16, queries=20, layers=2, heads=2, points=2, pairs=1
    )
