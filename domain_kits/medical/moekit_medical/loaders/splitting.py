"""Splits as a set brings them, or by whole groups and a seed."""

from __future__ import annotations

from moekit import DataError, Dataset, split_dataset
from moekit.data.splits import (
    carve_validation,
    check_classes,
    check_content,
    check_groups,
    check_splits,
)


def with_splits(dataset: Dataset, *, seed: int, note: str) -> Dataset:
    """Splits a set that brings no splits; makes val from train where it brings train and test.

    Args:
        dataset: All samples have a split, or none has.
        seed: Decides what the set leaves open.
        note: How the set made its own splits.

    Raises:
        DataError: A class is missing, a group or an image lies in two splits, or the splits that
            the set brings are not enough.
    """
    check_classes(dataset)
    names = dataset.split_names()
    if not names:
        done = split_dataset(dataset, seed=seed)
    elif names == ("train", "test"):
        check_groups(dataset)
        carved = carve_validation(dataset, seed=seed)
        done = carved.with_samples(carved.samples, split_note=f"{note}; {carved.split_note}")
    elif "train" in names and "val" in names:
        done = dataset.with_samples(dataset.samples, split_note=note)
        check_splits(done)
    else:
        raise DataError(
            f"the set brings the splits {', '.join(names)} alone",
            whose=dataset.name,
            fix="bring train and test (val is then made from train), all three, or none",
        )
    check_content(done.samples, whose=dataset.name)
    return done
