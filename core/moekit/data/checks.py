"""Checks of a set that hold whatever its splits are: ids, groups, content, lost classes."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from moekit.data.samples import Dataset
from moekit.errors import DataError
from moekit.text import many


def check_ids(dataset: Dataset, *, whose: str = "") -> None:
    """Checks that ids are unique.

    Args:
        dataset: Any.
        whose: Who made it, for the error; its name if empty.

    Raises:
        DataError: One is not.
    """
    counts = collections.Counter(sample.id for sample in dataset.samples)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise DataError(
            f"{many(len(twice), 'image is', 'images are')} listed twice, such as {twice[0]}",
            whose=whose or dataset.name,
            fix="list each image once",
            code="data/duplicate-id",
        )


def check_groups(dataset: Dataset, *, whose: str = "") -> None:
    """Checks that no group spans two splits.

    Args:
        dataset: Any.
        whose: Who made it, for the error; its name if empty.

    Raises:
        DataError: One does.
    """
    homes: dict[str, set[str]] = {}
    for sample in dataset.samples:
        if sample.group and sample.split is not None:
            homes.setdefault(sample.group, set()).add(sample.split)
    leaks = {group: splits for group, splits in homes.items() if len(splits) > 1}
    if leaks:
        group, splits = min(leaks.items())
        raise DataError(
            f"the group {group!r} lies in the splits {' and '.join(sorted(splits))} "
            f"({len(leaks)} such groups)",
            whose=whose or dataset.name,
            fix="put all images of a group into one split",
            code="data/leaking-group",
        )


def check_named(dataset: Dataset, named: Iterable[int]) -> None:
    """Checks that each class that the source names has samples left.

    A class of which nothing can be used would else be taken for one that nobody has images of.

    Args:
        dataset: As read.
        named: Labels of all images that the source names, those left out included.

    Raises:
        DataError: A class was lost.
    """
    lost = sorted(set(named) - {label for one in dataset.samples for label in one.all_labels})
    if lost and dataset.skipped:
        raise DataError(
            f"no image of the class {dataset.classes[lost[0]]!r} can be used{dataset.left_out}",
            whose=dataset.name,
            fix="restore those images, or leave the class out",
            code="data/missing-class",
        )
