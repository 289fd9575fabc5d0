"""What splits must hold if there are more than two classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from moekit.data.samples import SPLITS, Dataset, Sample
from moekit.errors import DataError
from moekit.text import few

_NAMED = 5
"""Classes that a note names; the others are counted."""


def missing_classes(dataset: Dataset, samples: Iterable[Sample]) -> list[str]:
    """The names of the classes that none of the samples is of, in the order of the classes."""
    present = {label for sample in samples for label in sample.all_labels}
    return [name for label, name in enumerate(dataset.classes) if label not in present]


def check_many_classes(dataset: Dataset, *, names: Sequence[str]) -> None:
    """Checks that train holds each class, and every other split in `names` at least one.

    Raises:
        DataError: One does not.
    """
    for name in names:
        part = [sample for sample in dataset.samples if sample.split == name]
        missing = missing_classes(dataset, part)
        if name == "train" and missing:
            raise DataError(
                f"the train split holds no image of the class {missing[0]!r} "
                f"({len(missing)} of {len(dataset.classes)} classes are missing there)"
                f"{dataset.left_out}",
                whose=dataset.name,
                fix="add training images of it, or remove the class from all splits",
                code="data/missing-class",
            )
        if len(missing) == len(dataset.classes):
            raise DataError(
                f"the {name} split holds no image of any class",
                whose=dataset.name,
                fix=f"add images to the {name} split, or let all splits be made by leaving "
                "them out",
                code="data/empty-split",
            )


def with_gaps_noted(dataset: Dataset) -> Dataset:
    """The data set; its note says which classes val or test lacks, if there are more than two."""
    if len(dataset.classes) <= 2:
        return dataset
    note = "; ".join([dataset.split_note, *_gaps(dataset, SPLITS[1:])])
    return dataclasses.replace(dataset, split_note=note)


def gap_notes(dataset: Dataset, names: Iterable[str]) -> tuple[str, ...]:
    """A sentence on each of the splits that lacks a class, which can then not be judged there.

    A set that is learned from one class only lacks the other in train and val by design.

    Args:
        dataset: Split data, as they are used.
        names: Of splits.
    """
    if len(dataset.classes) < 2:
        return ()
    judged = [name for name in names if name == SPLITS[-1] or not dataset.negatives_only]
    return tuple(f"{gap}: what is missing cannot be judged there" for gap in _gaps(dataset, judged))


def _gaps(dataset: Dataset, names: Iterable[str]) -> list[str]:
    gaps = []
    for name in names:
        part = [sample for sample in dataset.samples if sample.split == name]
        missing = missing_classes(dataset, part)
        if part and missing:
            gaps.append(
                f"{name} lacks {len(missing)} of {len(dataset.classes)} classes "
                f"({few(missing, _NAMED)})"
            )
    return gaps


def train_what_it_lacks(
    samples: Sequence[Sample], split_of: Mapping[str, str]
) -> Mapping[str, str]:
    """Moves to train: for each class that train lacks, the smallest group that holds it.

    Args:
        samples: In a fixed order.
        split_of: The split of each id.

    Returns:
        The splits of the ids that move.
    """
    units: dict[str, list[Sample]] = {}
    for sample in samples:
        units.setdefault(sample.group or f"\0{sample.id}", []).append(sample)
    home = {key: split_of[unit[0].id] for key, unit in units.items()}
    labels = {key: {label for s in unit for label in s.all_labels} for key, unit in units.items()}
    moved: dict[str, str] = {}
    for label in sorted({label for found in labels.values() for label in found}):
        holders = [key for key in units if label in labels[key]]
        if any(home[key] == "train" for key in holders):
            continue
        chosen = min(holders, key=lambda key: (len(units[key]), key))
        home[chosen] = "train"
        moved |= {sample.id: "train" for sample in units[chosen]}
    return moved
