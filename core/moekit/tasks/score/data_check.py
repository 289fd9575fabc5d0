"""What data must be to be scored: two classes, of which one is the negative."""

from __future__ import annotations

from moekit.data.samples import Dataset
from moekit.errors import DataError
from moekit.text import many


def two_classes_check(dataset: Dataset) -> None:
    """Checks that there are two classes and that it is clear which of them is the negative one.

    Raises:
        DataError: There are more or fewer classes, the loader cannot tell the negative one, or
            samples have several labels.
    """
    found = dataset.classes
    if len(found) != 2:
        raise DataError(
            f"{many(len(found), 'class was', 'classes were')} found "
            f"({', '.join(found[:5]) or 'none'}), not two",
            whose=dataset.name,
            fix="give two classes: one named good, normal, ok or negative, and one other",
            code="data/class-count",
        )
    if not dataset.has_negative:
        raise DataError(
            f"it is not clear which of {found[0]!r} and {found[1]!r} is the negative class",
            whose=dataset.name,
            fix="name one of them good, normal, ok, negative or 0",
            code="data/unclear-negative",
        )
    several = next((sample for sample in dataset.samples if sample.labels is not None), None)
    if several is not None:
        raise DataError(
            "images have several labels each, but a score needs one",
            whose=several.id,
            fix="give one label an image, or choose a kit of the task classify",
            code="data/several-labels",
        )
