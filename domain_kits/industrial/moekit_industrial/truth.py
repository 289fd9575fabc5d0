"""What an inspection set says beyond good and defective: types of defects, and where they lie.

Loaders name the type of a defect in the fact `defect`, or the classes of a set do
(`moekit_industrial.types`). Layouts such as MVTec's keep all defects for
the test, since they are made for learning from good images only. A variant that learns defects
needs some in training, so such a set is dealt again, whole groups together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from moekit import DataError, Dataset, ImageError, MaskTable, Sample, Skipped
from moekit.data import UNSEEN, complete_splits, read_mask, read_size
from moekit_industrial.loaders.rows import GOOD
from moekit_industrial.report import DEFECT
from moekit_industrial.types import (
    good_classes,
    notes_on_types,
    says_types,
    types_of,
    with_types,
)

_DEALT = "good and defective images are dealt again, since the set keeps all defects for its test"
_ANY = MaskTable(values={0: 0}, others=1)
"""Every value of a mask but zero is a defect."""


def defect_types(dataset: Dataset, seed: int) -> Dataset:
    """The set with the type of its defect as the class of each image, good images first.

    The loader says the types, or else the classes of the set are types (see `with_types`). Where
    images have several labels each, they keep those that are types of defects; one without any is
    good.

    Args:
        dataset: As a loader gives it.
        seed: Of the splits, if they are dealt again.

    Raises:
        DataError: The set does not name at least two classes, or a class is too rare to be split.
    """
    if any(sample.labels is not None for sample in dataset.samples):
        return _several_types(dataset)
    ready = with_types(dataset)
    told = says_types(ready)
    types: dict[str, str | None] = {
        sample.id: _type_of(sample, ready, told) for sample in ready.samples
    }
    skipped = [
        Skipped.of(sample, "the set does not say of which type its defect is")
        for sample in ready.samples
        if types[sample.id] is None
    ]
    found = sorted({name for name in types.values() if name and name != GOOD})
    has_good = GOOD in types.values()
    classes = (*([GOOD] if has_good else []), *found)
    if not found or len(classes) < 2:
        raise _no_types(dataset, found)
    samples = [
        dataclasses.replace(sample, label=classes.index(name) if name else UNSEEN)
        for sample in ready.samples
        if (name := types[sample.id]) is not None
    ]
    if not says_types(dataset) and dataset.may_lack_positives:
        ready = dataclasses.replace(ready, notes=(*ready.notes, *notes_on_types(dataset)))
    ready = dataclasses.replace(ready, has_negative=has_good)
    return _dealt(ready, samples, classes, skipped, seed=seed, every_class=True)


def defect_masks(dataset: Dataset, seed: int) -> Dataset:
    """The set with masks of two classes: what is good, and what is a defect.

    Where masks tell several classes apart, those of `good_classes` are good and all others are
    defects. A defective image whose mask is missing or cannot be used is left out and named, and so
    is a good one whose mask shows a defect. A good one needs none.

    Args:
        dataset: As a loader gives it.
        seed: Of the splits, if they are dealt again.

    Raises:
        DataError: No defective image has a mask.
    """
    dataset = with_types(dataset)
    faults = {
        sample.id: fault for sample in dataset.samples if (fault := _mask_fault(sample)) is not None
    }
    usable = [sample for sample in dataset.samples if sample.id not in faults]
    if not any(sample.label for sample in usable):
        raise DataError(
            f"no defective image has a mask that can be used{_first(faults)}",
            whose=dataset.name,
            fix="give data with masks, such as masks=PATH or mvtec=PATH (with "
            "ground_truth/TYPE/NAME_mask.png), or use --task score",
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
            mask_table=(sample.mask_table or _ANY) if sample.mask else None,
        )
        for sample in usable
    ]
    return _dealt(dataset, samples, (GOOD, "defect"), skipped, seed=seed, every_class=False)


def _type_of(sample: Sample, dataset: Dataset, told: bool) -> str | None:
    """The type of a sample's defect, `GOOD`, empty if it is of no class; None if not known.

    Args:
        sample: Of the set.
        dataset: With one label an image.
        told: Whether facts say the types; else the class of a defective image is its type.
    """
    if sample.label in (0, UNSEEN):
        return GOOD if sample.label == 0 else ""
    return sample.facts.get(DEFECT) or (None if told else dataset.classes[sample.label])


def _several_types(dataset: Dataset) -> Dataset:
    """The set with the types of defects as classes, any number of them an image."""
    good = good_classes(dataset)
    classes = tuple(name for number, name in enumerate(dataset.classes) if number not in good)
    if len(classes) < 2:
        raise _no_types(dataset, classes)
    samples = []
    for sample in dataset.samples:
        labels = tuple(classes.index(name) for name in types_of(sample, dataset, good))
        samples.append(dataclasses.replace(sample, label=labels[0] if labels else 0, labels=labels))
    return dataclasses.replace(
        dataset,
        samples=tuple(samples),
        classes=classes,
        # Their classes are numbered in another way.
        skipped=tuple(dataclasses.replace(one, label=None) for one in dataset.skipped),
        notes=(*dataset.notes, *notes_on_types(dataset)),
    )


def _no_types(dataset: Dataset, found: Sequence[str]) -> DataError:
    told = f"only one is named: {found[0]}" if found else "none is named"
    return DataError(
        f"there are no types of defects to tell apart; {told}",
        whose=dataset.name,
        fix="use a folder a type (good/IMAGE, TYPE/IMAGE), the layout of MVTec AD, a labels.csv "
        "with the type as label, or the task score",
        code="data/no-defect-types",
    )


def _mask_fault(sample: Sample) -> str | None:
    """Why the mask of a sample cannot be used; None if it can, or if none is needed."""
    if sample.mask is None:
        return "it is defective and has no mask" if sample.label else None
    try:
        size_hw = read_size(sample.path)
    except ImageError:
        return None  # the image is the fault, and is named when it is read
    try:
        marked = read_mask(sample.mask, size_hw, image=sample.path).any()
    except ImageError as error:
        return f"its mask {sample.mask.name} cannot be used: {error.what}"
    if marked and sample.label == 0 and sample.mask_table is None:
        return f"it is labelled good, and its mask {sample.mask.name} shows a defect"
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
    if len(seen) == len(classes) or any(sample.label == UNSEEN for sample in samples):
        return made
    loose = made.with_samples(dataclasses.replace(sample, split=None) for sample in samples)
    again = complete_splits(loose, seed=seed, every_class=every_class)
    return dataclasses.replace(again, split_note=f"{_DEALT}; {again.split_note}")
