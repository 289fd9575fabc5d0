"""Which images are good, and of which type each defect is, in the set of any loader.

Loaders of this kit say it in the fact `defect`. Of other sets, such as `folder=PATH`, the classes
say it: those with a name for good parts are good, and each other class is a type of defect.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from moekit import DataError, Dataset, MaskTable, Sample
from moekit.data import UNSEEN
from moekit_industrial.loaders.rows import GOOD, is_good
from moekit_industrial.report import DEFECT

DEFECTIVE = "defective"
_AROUND = frozenset({"background", "bg"})
"""Names of mask classes for what is no part at all, and so no defect."""


def with_types(dataset: Dataset, _seed: int = 0) -> Dataset:
    """The set as good and defective images, with the type of each defect in the fact `defect`.

    A set with such facts stays as it is, and so does one of two classes of which one is negative.
    An image with several types has their names with `+` between them. Labels and masks of several
    classes go by the same `good_classes`.

    Args:
        dataset: As a loader gives it.

    Raises:
        DataError: As of `good_classes`.
    """
    if says_types(dataset):
        return dataset
    good = good_classes(dataset)
    if dataset.may_lack_positives and good == {0}:
        return dataset
    samples = tuple(_typed(sample, dataset, good) for sample in dataset.samples)
    return dataclasses.replace(
        dataset,
        samples=samples,
        classes=(GOOD, DEFECTIVE),
        has_negative=True,
        positive="",
        skipped=tuple(
            one
            if one.label is None or one.label == UNSEEN
            else dataclasses.replace(one, label=int(one.label not in good))
            for one in dataset.skipped
        ),
        notes=(*dataset.notes, *notes_on_types(dataset)),
    )


def good_or_defective(dataset: Dataset, _seed: int = 0) -> Dataset:
    """As `with_types`; a set without any good image stays as it is, and the task says so."""
    ready = with_types(dataset)
    return ready if any(sample.label == 0 for sample in ready.samples) else dataset


def of_regions(dataset: Dataset, _seed: int = 0) -> Dataset:
    """As `with_types`; sets with objects, or with masks of several classes, stay as they are."""
    several = any(sample.truth or sample.mask_table is not None for sample in dataset.samples)
    return dataset if several else with_types(dataset)


def says_types(dataset: Dataset) -> bool:
    """Whether the loader says types of defects itself."""
    return any(DEFECT in sample.facts for sample in dataset.samples)


def good_classes(dataset: Dataset) -> frozenset[int]:
    """The classes of a set that are good parts, as indices: one table for labels and pixels.

    Those with a name for good parts; in masks of several classes also what is called background.
    Only if no name says it, the first class is good, in masks and where the loader says that the
    first of two is negative.

    Raises:
        DataError: The loader says that one of two classes is good, and the other has a name for
            good parts; or each class of masks has such a name.
    """
    masks = any(one.mask_table for one in dataset.samples)
    named = frozenset(
        number
        for number, name in enumerate(dataset.classes)
        if is_good(name) or (masks and name.strip().lower() in _AROUND)
    )
    if dataset.may_lack_positives and named == {1}:
        raise DataError(
            f"the class {dataset.classes[0]!r} is said to be good, and {dataset.classes[1]!r} has "
            "a name for good parts",
            whose=dataset.name,
            fix=f"exchange the two classes, or call {dataset.classes[1]!r} by the name of a defect",
            code="data/unclear-good",
        )
    if masks and len(named) == len(dataset.classes):
        raise DataError(
            f"each class of the masks has a name for good parts: {', '.join(dataset.classes)}",
            whose=dataset.name,
            fix="call the class of the defects by another name in the list of classes",
            code="data/unclear-good",
        )
    first = masks or dataset.may_lack_positives
    return named or frozenset({0} if first else ())


def types_of(sample: Sample, dataset: Dataset, good: Collection[int]) -> list[str]:
    """The names of a sample's types of defects; empty for a good one, or one of no class."""
    return [dataset.classes[number] for number in sample.all_labels if number not in good]


def notes_on_types(dataset: Dataset) -> list[str]:
    """Sentences on what the classes of a set were taken for."""
    good = good_classes(dataset)
    types = [name for number, name in enumerate(dataset.classes) if number not in good]
    told = [f"taken for types of defects: {', '.join(types)}"] if types else []
    if good:
        named = ", ".join(dataset.classes[number] for number in sorted(good))
        told.append(f"taken for good parts: {named}")
    both = [
        sample
        for sample in dataset.samples
        if sample.mask_table is None
        and good.intersection(sample.all_labels)
        and types_of(sample, dataset, good)
    ]
    if both:
        told.append(
            f"{len(both)} labelled both good and with a defect, such as {both[0].id}, "
            "are taken for defective"
        )
    return told


def _typed(sample: Sample, dataset: Dataset, good: frozenset[int]) -> Sample:
    types = types_of(sample, dataset, good)
    unseen = sample.labels is None and sample.label == UNSEEN
    return dataclasses.replace(
        sample,
        label=UNSEEN if unseen else int(bool(types)),
        labels=None,
        target=_target(sample.target, len(dataset.classes), good),
        facts=sample.facts if unseen else {**sample.facts, DEFECT: "+".join(types) or GOOD},
        mask_table=None if sample.mask_table is None else _two_classes(sample.mask_table, good),
    )


def _target(target: float | None, classes: int, good: frozenset[int]) -> float | None:
    """The annotators' probability of a defect, from that of the second of two classes."""
    if target is None or classes != 2 or len(good) != 1:
        return None
    return target if good == {0} else 1 - target


def _two_classes(table: MaskTable, good: Collection[int]) -> MaskTable:
    """The table with good classes as 0 and all others as 1."""

    def two(number: int) -> int:
        return number if number < 0 else int(number not in good)  # `IGNORED` is negative

    return MaskTable(
        values={value: two(number) for value, number in table.values.items()},
        colours={colour: two(number) for colour, number in table.colours.items()},
        others=None if table.others is None else two(table.others),
    )
