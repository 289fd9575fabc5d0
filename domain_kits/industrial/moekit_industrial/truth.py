"""What an inspection set says beyond good and defective: types of defects, and where they lie.

Loaders name the type of a defect in the fact `defect`. Layouts such as MVTec's keep all defects for
the test, since they are made for learning from good images only. A variant that learns defects
needs some in training, so such a set is dealt again, whole groups together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from moekit import DataError, Dataset, ImageError, MaskTable, Sample, Skipped
from moekit.data import complete_splits, read_mask, read_size
from moekit_industrial.loaders.rows import GOOD
from moekit_industrial.report import DEFECT

_DEALT = "good and defective images are dealt again, since the set keeps all defects for its test"
_ANY = MaskTable(values={0: 0}, others=1)
"""Every value of a mask but zero is a defect."""


def defect_types(dataset: Dataset, seed: int) -> Dataset:
    """The set with the type of its defect as the class of each image, good images first.

    Args:
        dataset: As a loader gives it.
        seed: Of the splits, if they are dealt again.

    Raises:
        DataError: The set does not name at least two classes, or a class is too rare to be split.
    """
    known = [sample for sample in dataset.samples if not sample.label or sample.facts.get(DEFECT)]
    skipped = [
        Skipped.of(sample, "the set does not say of which type its defect is")
        for sample in dataset.samples
        if sample.label and not sample.facts.get(DEFECT)
    ]
    types = sorted({sample.facts[DEFECT] for sample in known if sample.label})
    if not types:
        raise DataError(
            "the set does not say of which type a defect is",
            whose=dataset.name,
            fix="use a layout with one folder a type (TYPE/IMAGE), or --task score",
            code="data/no-defect-types",
        )
    classes = (GOOD, *types)
    samples = [
        dataclasses.replace(
            sample, label=classes.index(sample.facts[DEFECT]) if sample.label else 0
        )
        for sample in known
    ]
    return _dealt(dataset, samples, classes, skipped, seed=seed, every_class=True)


def defect_masks(dataset: Dataset, seed: int) -> Dataset:
    """The set with masks of two classes: what is good, and what is a defect.

    A defective image whose mask is missing or cannot be used is left out and named. A good one
    needs none.

    Args:
        dataset: As a loader gives it.
        seed: Of the splits, if they are dealt again.

    Raises:
        DataError: No defective image has a mask.
    """
    faults = {
        sample.id: fault for sample in dataset.samples if (fault := _mask_fault(sample)) is not None
    }
    usable = [sample for sample in dataset.samples if sample.id not in faults]
    if not any(sample.label for sample in usable):
        raise DataError(
            f"no defective image has a mask that can be used{_first(faults)}",
            whose=dataset.name,
            fix="add masks as the layout has them (ground_truth/TYPE/NAME_mask.png), or use "
            "--task score",
            code="data/no-mask",
        )
    skipped = [
        Skipped.of(sample, faults[sample.id]) for sample in dataset.samples if sample.id in faults
    ]
    samples = [
        dataclasses.replace(
            sample,
            label=0,
            labels=(0, 1) if sample.label else None,
            subtype=sample.subtype or sample.facts.get(DEFECT),
            mask_table=_ANY if sample.mask else None,
        )
        for sample in usable
    ]
    return _dealt(dataset, samples, (GOOD, "defect"), skipped, seed=seed, every_class=False)


def _mask_fault(sample: Sample) -> str | None:
    """Why the mask of a sample cannot be used; None if it can, or if none is needed."""
    if sample.mask is None:
        return "it is defective and has no mask" if sample.label else None
    try:
        size_hw = read_size(sample.path)
    except ImageError:
        return None  # the image is the fault, and is named when it is read
    try:
        read_mask(sample.mask, size_hw)
    except ImageError as error:
        return f"its mask {sample.mask.name} cannot be used: {error.what}"
    return None


def _first(faults: Mapping[str, str]) -> str:
    if not faults:
        return ""
    name, fault = next(iter(faults.items()))
    return f", such as {name}: {fault}"


def _dealt(
    dataset: Dataset,
    samples: Sequence[Sample],
    classes: tuple[str, ...],
    skipped: Sequence[Skipped],
    *,
    seed: int,
    every_class: bool,
) -> Dataset:
    """The set with these samples; dealt again if its training split lacks a class."""
    made = dataclasses.replace(
        dataset,
        samples=tuple(samples),
        classes=classes,
        skipped=(*dataset.skipped, *skipped),
        positive="",
    )
    seen = {
        label
        for sample in samples
        if sample.split == "train"
        for label in (sample.labels or (sample.label,))
    }
    if len(seen) == len(classes):
        return made
    loose = made.with_samples(dataclasses.replace(sample, split=None) for sample in samples)
    again = complete_splits(loose, seed=seed, every_class=every_class)
    return dataclasses.replace(again, split_note=f"{_DEALT}; {again.split_note}")
