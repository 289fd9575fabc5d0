"""What a set must be, whoever loaded it: checked where it enters, before anything is computed."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from moekit.data.checks import check_groups, check_ids
from moekit.data.samples import SPLITS, UNSEEN, Dataset, Sample, Skipped
from moekit.errors import PluginError


def check_dataset(dataset: object, *, whose: str) -> Dataset:
    """Checks a set that a plugin made.

    Args:
        dataset: What it returned.
        whose: The plugin, for the error.

    Returns:
        The set.

    Raises:
        PluginError: It is no set, or a field of it or of a sample is not what `Sample` says.
        DataError: Two samples share an id, or a group lies in two splits.
    """
    if not isinstance(dataset, Dataset):
        raise _fault(f"it gave a {type(dataset).__name__}, not a moekit.Dataset", whose)
    wrong = next(_faults(dataset), "")
    if wrong:
        raise _fault(wrong, whose)
    check_ids(dataset, whose=whose)
    check_groups(dataset, whose=whose)
    return dataset


def _faults(dataset: Dataset) -> Iterator[str]:
    yield from _faults_of_set(dataset)
    for sample in dataset.samples:
        for what in _faults_of(sample, len(dataset.classes)):
            yield f"the sample {getattr(sample, 'id', sample)!r} {what}"
    split = {sample.split is None for sample in dataset.samples}
    if len(split) > 1:
        yield "some samples have a split and others have none"


def _faults_of_set(dataset: Any) -> Iterator[str]:
    if not isinstance(dataset.name, str) or not dataset.name:
        yield "the set has no name"
    classes = dataset.classes
    if not isinstance(classes, tuple) or not all(isinstance(one, str) and one for one in classes):
        yield "the names of the classes are not a tuple of texts"
    elif len(set(classes)) < len(classes):
        yield f"two classes have one name: {', '.join(classes[:20])}"
    if not isinstance(dataset.samples, tuple):
        yield "the samples are not a tuple"
    if not _is_whole(dataset.frames) or dataset.frames < 1:
        yield f"it has {dataset.frames!r} frames"
    if not all(isinstance(skip, Skipped) for skip in dataset.skipped):
        yield "what it skipped is not a tuple of moekit.Skipped"


def _faults_of(sample: Any, classes: int) -> Iterator[str]:
    if not issubclass(type(sample), Sample):
        yield f"is a {type(sample).__name__}, not a moekit.Sample"
        return
    if not isinstance(sample.id, str) or not sample.id:
        yield "has no id"
    if not isinstance(sample.path, Path):
        yield "has no pathlib.Path"
    if sample.split is not None and sample.split not in SPLITS:
        yield f"is in the split {sample.split!r}, which is none of {', '.join(SPLITS)}"
    for label in (sample.label,) if sample.labels is None else (sample.label, *sample.labels):
        if not _is_whole(label) or not UNSEEN <= label < max(classes, 1):
            yield f"has the label {label!r}; there are {classes} classes"
    if UNSEEN in (sample.labels or ()):
        yield f"has the label {UNSEEN} among several"
    if sample.labels is None and sample.label == UNSEEN and sample.split == "train":
        yield "is of no class and lies in train"
    if sample.target is not None and not _is_share(sample.target):
        yield f"has the target {sample.target!r}, which is no number from 0 to 1"
    if sample.truth is not None and not isinstance(sample.truth, Mapping):
        yield f"has a truth that is a {type(sample.truth).__name__}, not a mapping"
    for name in ("group", "subtype"):
        value = getattr(sample, name)
        if value is not None and not isinstance(value, str):
            yield f"has the {name} {value!r}, which is no text"


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral)


def _is_share(value: object) -> bool:
    return isinstance(value, numbers.Real) and 0 <= float(value) <= 1


def _fault(what: str, whose: str) -> PluginError:
    return PluginError(
        f"the data set cannot be used: {what}",
        whose=whose,
        fix="report it to the loader's authors, or check it with `moekit plugins check`",
        code="plugin/bad-dataset",
    )
