"""Validation for a data set whose training images are all negative.

Such a set is learnt from negatives only, so its validation images are negatives too. They are
taken from the training images, never from the test split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from moekit.data.content import find_twins
from moekit.data.samples import Dataset, Dealt, Sample
from moekit.errors import DataError

SHARE = 0.2
"""Of the training images, how many become validation images."""

FEWEST = 10
"""Validation images of a set of at least twice as many, whatever the share."""

VERY_FEWEST = 3
"""The same of a smaller set of at least twice as many: fewer tell no spread of their scores."""

Unit = list[Sample]
"""Samples that stay together: those of one group, or of one file under several names."""


def carve_negatives(
    dataset: Dataset, *, seed: int, share: float = SHARE, keep: int | None = None
) -> Dataset:
    """Makes a val split out of a train split of negatives only.

    Validation gets `share` of them, but at least `FEWEST` if there are twice as many, else
    `VERY_FEWEST` if there are twice as many, and at least one; whole groups, so sometimes a few
    more or less. Each subtype is carved for itself, if it has two groups or more. The test split
    is left as it is.

    With `keep` that many training images of each subtype are kept, from as many groups as possible,
    and the others are left out; more of them with the same seed are the same and some others.
    If there are not enough for both, validation shrinks, to one group at the least, and then
    train has what is left.

    Args:
        dataset: Its train split holds negatives only; a val split, if it has one, is left as it
            is.
        seed: Decides which images go where.
        share: Between 0 and 1.
        keep: Training images of each subtype; all if None.

    Raises:
        DataError: There are not two groups to split.
    """
    train = sorted(dataset.split("train"), key=lambda sample: sample.id)
    generator = np.random.default_rng(seed)
    given = "val" in dataset.split_names()
    split_of: dict[str, str | None] = {}
    strata = _strata(_units(train, whose=dataset.name))
    if not given and all(len(units) < 2 for units in strata):
        strata = [[unit for units in strata for unit in units]]
        if len(strata[0]) < 2:
            raise _one_unit(train, dataset)
    for units in strata:
        order = [units[place] for place in generator.permutation(len(units))]
        size = 0 if given or len(units) < 2 else _val_size(units, share, keep)
        val, rest = _choose(order, size)
        split_of |= {sample.id: "val" for unit in val for sample in unit}
        split_of |= {sample.id: "train" for sample in _kept(rest, keep, generator)}
    left_out = {sample.id for sample in train} - set(split_of)
    samples = [
        dataclasses.replace(sample, split=split_of.get(sample.id, sample.split))
        for sample in dataset.samples
        if sample.id not in left_out
    ]
    done = dataset.with_samples(samples, split_note=_note(dataset, samples, seed, len(left_out)))
    again = not given and keep is None
    dealt = Dealt(what="negatives", seed=seed, shares=(1 - share, share, 0.0)) if again else None
    return dataclasses.replace(done, dealt=dealt)


def _one_unit(train: Sequence[Sample], dataset: Dataset) -> DataError:
    twins = find_twins(train, whose=dataset.name)
    if len(train) == 1:
        why = f"are one image, {train[0].id}"
        fix = "add negative images"
    elif len(twins) == len(train) - 1:
        why = f"are one file, such as {train[0].id} and {train[1].id}"
        fix = "add negative images that differ"
    else:
        why = f"belong together, such as {train[0].id}, group {train[0].group!r}"
        fix = "add negative images, of other groups if the images have groups"
    return DataError(
        f"the {len(train)} negative images of the train split {why}; none of them can be set aside "
        f"for validation{dataset.left_out}",
        whose=dataset.name,
        fix=fix,
        code="data/too-few-groups",
    )


def _units(train: Sequence[Sample], *, whose: str) -> list[Unit]:
    twins = find_twins(train, whose=whose)
    units: dict[tuple[str, str], Unit] = {}
    for sample in train:
        key = ("id", twins.get(sample.id, sample).id)
        units.setdefault(key if sample.group is None else ("group", sample.group), []).append(
            sample
        )
    return list(units.values())


def _strata(units: Sequence[Unit]) -> list[list[Unit]]:
    """The units of each subtype; one that spans several subtypes is of a kind of its own."""
    strata: dict[tuple[str, ...], list[Unit]] = {}
    for unit in units:
        key = tuple(sorted({sample.subtype or "" for sample in unit}))
        strata.setdefault(key, []).append(unit)
    return [strata[key] for key in sorted(strata)]


def _val_size(units: Sequence[Unit], share: float, keep: int | None) -> int:
    count = sum(map(len, units))
    enough = [number for number in (FEWEST, VERY_FEWEST) if count >= 2 * number]
    fewest = enough[0] if enough else 1
    size = max(round(share * count), fewest)
    return size if keep is None else min(size, max(1, count - keep))


def _choose(order: Sequence[Unit], size: int) -> tuple[list[Unit], list[Unit]]:
    """Units of `size` samples as nearly as may be, and the others, of which there is at least one.

    Those that fit are taken in order; while there are too few, the smallest ones that do not fit.
    """
    val: list[Unit] = []
    rest: list[Unit] = []
    count = 0
    for place, unit in enumerate(order):
        last = place == len(order) - 1 and not rest
        if count + len(unit) <= size and not last:
            val.append(unit)
            count += len(unit)
        else:
            rest.append(unit)
    while count < min(size, FEWEST) and len(rest) > 1:
        smallest = min(range(len(rest)), key=lambda place: len(rest[place]))
        count += len(rest[smallest])
        val.append(rest.pop(smallest))
    return val, rest


def _kept(rest: Sequence[Unit], keep: int | None, generator: np.random.Generator) -> list[Sample]:
    """The first of each unit, then the second of each that has one, and so on, `keep` in all."""
    turned = [[unit[place] for place in generator.permutation(len(unit))] for unit in rest]
    deepest = max(map(len, turned), default=0)
    ranked = [unit[depth] for depth in range(deepest) for unit in turned if depth < len(unit)]
    return ranked[:keep]


def _note(dataset: Dataset, samples: Sequence[Sample], seed: int, left_out: int) -> str:
    counts = {name: sum(s.split == name for s in samples) for name in ("train", "val", "test")}
    given = "val" in dataset.split_names()
    total = counts["train"] + left_out + (0 if given else counts["val"])
    grouped = any(sample.group is not None for sample in samples if sample.split == "train")
    parts = [
        "test as given" if counts["test"] else "no test images were given",
        "train holds negatives only",
    ]
    if given:
        parts.append("val as given")
    else:
        unit = ", whole groups" if grouped else ""
        parts.append(f"val is {counts['val']} of its {total} images, by seed {seed}{unit}")
    if left_out:
        parts.append(f"{counts['train']} are trained on, by seed {seed}, {left_out} are left out")
    return "; ".join(parts)
