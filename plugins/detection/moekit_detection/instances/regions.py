"""Masks of whole pictures, as inspection sets have them, taken apart into objects.

Shapes: H and W rows and columns of a picture, G regions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from moekit import DataError, Dataset, ImageError, MaskTable, Sample, Skipped
from moekit.data import complete_splits, read_mask, read_size
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import OBJECTS, Objects

_DEALT = "images are dealt again, since a split that is learned from shows no object"


def with_regions(dataset: Dataset, seed: int, *, fact: str = "") -> Dataset:
    """A set whose masks of positive pixels are made into objects: each connected region is one.

    Pixels that touch at a corner are of one region. A sample of class 0 without a mask shows
    nothing. One of another class without a mask that can be used is left out and named. If the
    splits train or val then show no object, all are dealt again, whole groups together. Sets with
    objects stay as they are.

    Args:
        dataset: As a loader gives it. Masks have no table of values, or one by which 0 is nothing
            and every other value the same class.
        seed: Of the splits, if they are dealt again.
        fact: Name of the fact that says the class of a sample's regions (`Sample.facts`). If
            samples do not have it, or if it is empty, that is the sample's own class.

    Raises:
        DataError: No sample has objects or a mask that can be used, or a mask has several
            classes.
    """
    if any(OBJECTS in (sample.truth or {}) for sample in dataset.samples):
        return dataset
    if not dataset.has_negative:
        raise _no_masks(dataset, "; and what shows nothing is not known")
    names = {sample.id: _kind(sample, dataset, fact) for sample in dataset.samples if sample.label}
    classes = tuple(sorted(set(names.values())))
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    for sample in dataset.samples:
        made = _of_sample(sample, names.get(sample.id, ""), classes)
        if isinstance(made, Sample):
            samples.append(made)
        else:
            skipped.append(made)
    if not any(sample.labels for sample in samples):
        first = f"; the first: {skipped[0].id}: {skipped[0].reason}" if skipped else ""
        raise _no_masks(dataset, first)
    made_set = dataclasses.replace(
        dataset,
        samples=tuple(samples),
        classes=classes,
        # Their classes are those of the loader, which are gone.
        skipped=tuple(dataclasses.replace(one, label=None) for one in (*dataset.skipped, *skipped)),
        positive="",
        has_negative=False,
        notes=(*dataset.notes, _in_words(samples)),
    )
    shown = {sample.split for sample in samples if sample.labels}
    if {"train", "val"} <= shown:
        return made_set
    loose = made_set.with_samples(dataclasses.replace(one, split=None) for one in samples)
    again = complete_splits(loose, seed=seed, every_class=False)
    return dataclasses.replace(again, split_note=f"{_DEALT}; {again.split_note}")


def regions_of(mask_HW: np.ndarray) -> Masks:
    """(G) the connected regions of a mask, by their uppermost rows."""
    from scipy import ndimage  # type: ignore[import-untyped]

    numbers, _ = ndimage.label(mask_HW, structure=np.ones((3, 3)))
    parts = ndimage.find_objects(numbers)
    runs = [
        runs_of(numbers[part] == place, (part[0].start, part[1].start), len(mask_HW))
        for place, part in enumerate(parts, start=1)
    ]
    return Masks.of((mask_HW.shape[0], mask_HW.shape[1]), runs)


def _no_masks(dataset: Dataset, why: str) -> DataError:
    return DataError(
        f"no sample has objects, or a mask that can be used{why}",
        whose=dataset.name,
        fix="load data with masks (coco=, or a set with masks of what is positive), or use "
        "another task",
        code="data/missing-mask",
    )


def _kind(sample: Sample, dataset: Dataset, fact: str) -> str:
    return sample.facts.get(fact) or dataset.classes[sample.label]


def _of_sample(sample: Sample, kind: str, classes: tuple[str, ...]) -> Sample | Skipped:
    """A sample with objects, all of the class of that name; of none if it is empty."""
    if not _is_of_one_class(sample.mask_table):
        raise DataError(
            "its mask has several values, and what of them is an object is not known",
            whose=sample.id,
            fix="use the task segment, or a set whose masks say what is positive",
            code="data/unknown-mask",
        )
    if sample.mask is None:
        if sample.label:
            return Skipped.of(sample, "it shows something and has no mask")
        return _with(sample, Objects.of([], []))
    try:
        size = read_size(sample.path)
        masks = regions_of(read_mask(sample.mask, size, image=sample.path))
    except ImageError as error:
        return Skipped.of(sample, f"its mask {sample.mask.name} cannot be used: {error.what}")
    if sample.label and not len(masks):
        return Skipped.of(sample, f"its mask {sample.mask.name} is empty")
    if not kind and len(masks):
        return Skipped.of(
            sample, f"its mask {sample.mask.name} is not empty, though it is negative"
        )
    labels = [classes.index(kind) for _ in range(len(masks))]
    objects = Objects.of(masks.box_G4, labels, area_G=masks.area_G, masks=masks)
    return _with(sample, objects, kind)


def _is_of_one_class(table: MaskTable | None) -> bool:
    """Whether what a mask says is whether a value is zero."""
    if table is None:
        return True
    plain = not table.colours and table.others in (None, 1)
    return plain and all(number == int(value != 0) for value, number in table.values.items())


def _with(sample: Sample, objects: Objects, kind: str = "") -> Sample:
    labels = tuple(sorted(set(objects.label_G.tolist())))
    return dataclasses.replace(
        sample,
        label=labels[0] if labels else 0,
        labels=labels,
        subtype=sample.subtype or kind or None,  # so that each split gets its share of each kind
        target=None,
        mask=None,
        mask_table=None,
        truth={**(sample.truth or {}), **objects.as_truth()},
    )


def _in_words(samples: Sequence[Sample]) -> str:
    counts = [len((one.truth or {})[OBJECTS]["label"]) for one in samples]
    return (
        f"{sum(counts)} connected regions of {sum(map(bool, counts))} masks are taken for objects"
    )
