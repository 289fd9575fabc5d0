"""Splits: stratified by class, whole groups on one side, the same on every machine."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from moekit.data.checks import check_groups, check_ids
from moekit.data.duplicates import check_content
from moekit.data.many_classes import (
    check_many_classes,
    missing_classes,
    train_what_it_lacks,
    with_gaps_noted,
)
from moekit.data.negatives import SHARE, carve_negatives
from moekit.data.samples import SPLITS, Dataset, Dealt, Sample
from moekit.errors import DataError

FRACTIONS = (0.60, 0.15, 0.25)
Stratum = tuple[int, str, str]


def split_dataset(
    dataset: Dataset,
    *,
    seed: int,
    fractions: tuple[float, float, float] = FRACTIONS,
    every_class: bool = True,
) -> Dataset:
    """Splits a data set into train, val and test.

    Each stratum (class, subtype and training target to one decimal) is spread over the splits in
    proportion. If samples have groups, whole groups are placed, the largest first, each into the
    split that then lacks most of its strata; the last groups of a class go to the splits that have
    none of it.

    Args:
        dataset: Any order of samples gives the same splits.
        seed: Decides which samples go where.
        fractions: Shares of train, val and test; they sum to 1.
        every_class: Whether each split must hold samples of each class.

    Raises:
        DataError: A class has no sample, two samples have one id, or there are too few samples or
            groups.
    """
    check_classes(dataset, every_class=every_class)
    samples = sorted(dataset.samples, key=lambda sample: sample.id)
    generator = np.random.default_rng(seed)
    grouped = any(sample.group is not None for sample in samples)
    split_of = (
        _place_groups(samples, generator, fractions)
        if grouped
        else _deal_strata(samples, generator, fractions)
    )
    moved = {}
    if len(dataset.classes) > 2:
        split_of |= train_what_it_lacks(samples, split_of)
    elif every_class and not grouped:
        moved = _spread_thin(samples, split_of, fractions)
        split_of |= moved
    placed = [dataclasses.replace(sample, split=split_of[sample.id]) for sample in dataset.samples]
    shares = "/".join(f"{fraction:.0%}" for fraction in fractions)
    unit = "whole groups" if grouped else "stratified by class, subtype and target"
    told = f"; {len(moved)} moved so that each split holds both classes" if moved else ""
    done = dataset.with_samples(
        placed, split_note=f"train/val/test {shares} by seed {seed}, {unit}{told}"
    )
    dealt = Dealt(what="all", seed=seed, shares=fractions, every_class=every_class)
    done = dataclasses.replace(done, dealt=dealt)
    needed = [split for split, share in zip(SPLITS, fractions, strict=True) if share > 0]
    check_splits(done, names=needed, every_class=every_class)
    return with_gaps_noted(done) if every_class else done


def check_classes(dataset: Dataset, *, every_class: bool = True) -> None:
    """Checks that ids are unique and, with `every_class`, that each class has samples.

    Raises:
        DataError: They do not.
    """
    check_ids(dataset)
    if not every_class:
        return
    missing = missing_classes(dataset, dataset.samples)
    if missing:
        which = "both classes" if len(dataset.classes) == 2 else "each class"
        raise DataError(
            f"there is no image of the class {missing[0]!r}{dataset.left_out}",
            whose=dataset.name,
            fix=f"training and evaluation need images of {which}; add some",
            code="data/missing-class",
        )


def check_splits(
    dataset: Dataset, *, names: Sequence[str] = ("train", "val"), every_class: bool = True
) -> None:
    """Checks that no group spans two splits and that the splits in `names` hold the classes.

    Of two classes each split must hold both. Of more classes train must hold each, and every other
    split at least one.

    Without `every_class` such a split must hold a sample.

    Raises:
        DataError: A group leaks, or a split cannot be used.
    """
    check_groups(dataset)
    if every_class and len(dataset.classes) > 2:
        check_many_classes(dataset, names=names)
        return
    for name in names:
        part = [sample for sample in dataset.samples if sample.split == name]
        if not every_class and not part:
            raise DataError(
                f"the {name} split would hold no image{dataset.left_out}",
                whose=dataset.name,
                fix="add images, or more groups of them",
                code="data/empty-split",
            )
        missing = missing_classes(dataset, part) if every_class else []
        if missing:
            label = dataset.classes.index(missing[0])
            count = sum(label in sample.all_labels for sample in dataset.samples)
            raise DataError(
                f"the {name} split holds no image of the class {missing[0]!r}, of which there "
                f"{'is 1' if count == 1 else f'are {count}'} in all{dataset.left_out}",
                whose=dataset.name,
                fix="add images of that class, or more groups of it",
                code="data/one-class",
            )


def carve_validation(
    dataset: Dataset, *, seed: int, fraction: float = SHARE, every_class: bool = True
) -> Dataset:
    """Makes a val split out of train, if a data set brings train and test only.

    The test split is left as it is. A train split of negatives only is carved by
    `carve_negatives`.
    """
    if every_class and dataset.negatives_only:
        return carve_negatives(dataset, seed=seed, share=fraction)
    train = dataset.with_samples(sample for sample in dataset.samples if sample.split == "train")
    parts = split_dataset(
        train, seed=seed, fractions=(1 - fraction, fraction, 0.0), every_class=every_class
    )
    split_of = {sample.id: sample.split for sample in parts.samples}
    samples = [
        dataclasses.replace(sample, split=split_of.get(sample.id, sample.split))
        for sample in dataset.samples
    ]
    note = f"test as given; val is {fraction:.0%} of the given train split, by seed {seed}"
    shares = (1 - fraction, fraction, 0.0)
    dealt = Dealt(what="train", seed=seed, shares=shares, every_class=every_class)
    done = dataclasses.replace(dataset.with_samples(samples, split_note=note), dealt=dealt)
    return with_gaps_noted(done)


def dealt_samples(dataset: Dataset) -> tuple[Sample, ...]:
    """The samples that a seed dealt; none if the data bring their splits."""
    if dataset.dealt is None:
        return ()
    if dataset.dealt.what == "all":
        return dataset.samples
    return tuple(sample for sample in dataset.samples if sample.split in ("train", "val"))


def deal_again(dataset: Dataset) -> Dataset:
    """Deals a set as it was dealt before, with the groups that it has now.

    Raises:
        DataError: As of `split_dataset`.
    """
    dealt = dataset.dealt
    if dealt is None:
        return dataset
    movable = {sample.id for sample in dealt_samples(dataset)}
    loose = dataset.with_samples(
        dataclasses.replace(sample, split=None if dealt.what == "all" else "train")
        if sample.id in movable
        else sample
        for sample in dataset.samples
    )
    if dealt.what == "all":
        return split_dataset(
            loose, seed=dealt.seed, fractions=dealt.shares, every_class=dealt.every_class
        )
    share = dealt.shares[1]
    if dealt.what == "negatives":
        return carve_negatives(loose, seed=dealt.seed, share=share)
    return carve_validation(loose, seed=dealt.seed, fraction=share, every_class=dealt.every_class)


def complete_splits(
    dataset: Dataset,
    *,
    seed: int,
    note: str | None = None,
    keep: int | None = None,
    every_class: bool = True,
    partial: bool = False,
) -> Dataset:
    """Splits a set that brings no splits; makes val from train if it brings train and test.

    A set of negatives only that brings no splits becomes train and val. If train holds
    negatives only, a test split may be missing, and val is made of negatives (see
    `carve_negatives`).

    Args:
        dataset: All samples have a split, or none has.
        seed: Decides what the set leaves open.
        note: How the set made its own splits; if None, that they are as given.
        keep: Training images to keep of a train split of negatives only; all if None.
        every_class: Whether each split must hold samples of each class. False for truth that one
            label cannot tell, such as masks; negatives then have no part of their own.
        partial: Whether the set is part of a larger one, so that splits and classes may be missing
            from it; a set that brings no splits is split all the same.

    Raises:
        DataError: A class is missing, a group or an image lies in two splits, or the splits that
            the set brings are not enough.
    """
    names = dataset.split_names()
    if partial and names:
        check_ids(dataset)
        check_groups(dataset)
        check_content(dataset.samples, whose=dataset.name)
        return dataclasses.replace(dataset, split_note=note or "as given", dealt=None)
    labels = {sample.label for sample in dataset.samples}
    if every_class and not names and labels == {0} and dataset.may_lack_positives:
        dataset = dataset.with_samples(
            dataclasses.replace(sample, split="train") for sample in dataset.samples
        )
    if every_class and dataset.negatives_only:
        return _complete_negatives(dataset, seed=seed, note=note, keep=keep)
    check_classes(dataset, every_class=every_class)
    if not names:
        done = split_dataset(dataset, seed=seed, every_class=every_class)
    elif names == ("train", "test"):
        check_groups(dataset)
        done = carve_validation(dataset, seed=seed, every_class=every_class)
        if note is not None:
            done = dataclasses.replace(done, split_note=f"{note}; {done.split_note}")
    elif "train" in names and "val" in names:
        done = dataclasses.replace(dataset, split_note=note or "as given", dealt=None)
        done = with_gaps_noted(done) if every_class else done
        check_splits(done, every_class=every_class)
    else:
        raise DataError(
            f"the data bring the splits {', '.join(names)} alone{dataset.left_out}",
            whose=dataset.name,
            fix="bring train and test (val is then made from train), all three, or none",
            code="data/missing-split",
        )
    check_content(done.samples, whose=dataset.name)
    return done


def _complete_negatives(
    dataset: Dataset, *, seed: int, note: str | None, keep: int | None
) -> Dataset:
    check_ids(dataset)
    check_groups(dataset)
    if "val" in dataset.split_names() and keep is None:
        done = dataclasses.replace(dataset, split_note=note or "as given", dealt=None)
    else:
        done = carve_negatives(dataset, seed=seed, keep=keep)
        if note is not None:
            done = dataclasses.replace(done, split_note=f"{note}; {done.split_note}")
    check_content(done.samples, whose=dataset.name)
    return done


def _stratum(sample: Sample) -> Stratum:
    target = "" if sample.target is None else f"{sample.target:.1f}"
    return sample.label, sample.subtype or "", target


def _deal_strata(
    samples: Sequence[Sample], generator: np.random.Generator, fractions: Sequence[float]
) -> dict[str, str]:
    """Shuffles each stratum and cuts it; the next one makes up for what a cut was short of."""
    strata: dict[Stratum, list[str]] = {}
    for sample in samples:
        strata.setdefault(_stratum(sample), []).append(sample.id)
    split_of: dict[str, str] = {}
    shares = np.cumsum(fractions)[:-1]
    seen, cut = 0, [0] * len(shares)
    for _, names in sorted(strata.items()):
        shuffled = generator.permutation(np.array(names, dtype=object))
        seen += len(names)
        ends, limit = [0] * len(shares), len(names)
        for place in reversed(range(len(shares))):  # a cut never lies behind the next one
            limit = ends[place] = min(limit, round(seen * shares[place]) - cut[place])
            cut[place] += limit
        for split, piece in zip(SPLITS, np.split(shuffled, ends), strict=True):
            split_of |= dict.fromkeys(piece.tolist(), split)
    return split_of


def _spread_thin(
    samples: Sequence[Sample], split_of: Mapping[str, str], fractions: Sequence[float]
) -> dict[str, str]:
    """Moves one sample of a class to each split that has none, from the split that has most.

    Args:
        samples: Without groups, in a fixed order.
        split_of: The split of each id.
        fractions: A split whose share is 0 needs none.

    Returns:
        The splits of the ids that move; none if a class is too rare for it.
    """
    moved: dict[str, str] = {}
    needed = [split for split, share in zip(SPLITS, fractions, strict=True) if share > 0]
    for label in sorted({sample.label for sample in samples}):
        names: dict[str, list[str]] = {split: [] for split in needed}
        for sample in samples:
            if sample.label == label:
                names[split_of[sample.id]].append(sample.id)
        for split in (one for one in needed if not names[one]):
            fullest = max(needed, key=lambda one: len(names[one]))
            if len(names[fullest]) > 1:
                moved[names[fullest].pop()] = split
                names[split].append("")
    return moved


def _place_groups(
    samples: Sequence[Sample], generator: np.random.Generator, fractions: Sequence[float]
) -> dict[str, str]:
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        members.setdefault(sample.group or f"\0{sample.id}", []).append(sample)
    order = generator.permutation(np.array(sorted(members), dtype=object)).tolist()
    order.sort(key=lambda group: -len(members[group]))
    totals = collections.Counter(_stratum(sample) for sample in samples)
    held = {split: collections.Counter[Stratum]() for split in SPLITS}
    open_splits = [split for split, share in zip(SPLITS, fractions, strict=True) if share > 0]
    labels_of = {group: {sample.label for sample in members[group]} for group in order}
    left = collections.Counter(label for labels in labels_of.values() for label in labels)
    lacking = {label: set(open_splits) for label in left}
    split_of: dict[str, str] = {}
    for group in order:
        counts = collections.Counter(_stratum(sample) for sample in members[group])
        scarce = [label for label in labels_of[group] if left[label] <= len(lacking[label])]
        chosen = max(
            open_splits,
            key=lambda split: (
                sum(split in lacking[label] for label in scarce),
                _need(counts, totals, held[split], fractions[SPLITS.index(split)]),
            ),
        )
        held[chosen] += counts
        split_of |= {sample.id: chosen for sample in members[group]}
        left.subtract(labels_of[group])
        for label in labels_of[group]:
            lacking[label].discard(chosen)
    return split_of


def _need(
    counts: Mapping[Stratum, int],
    totals: Mapping[Stratum, int],
    held: Mapping[Stratum, int],
    fraction: float,
) -> float:
    """How much of its due a split still lacks in the strata of a group, as a share of the due."""
    lacks = [
        1 - (held.get(stratum, 0) + count / 2) / (totals[stratum] * fraction)
        for stratum, count in counts.items()
    ]
    weights = list(counts.values())
    return float(np.average(lacks, weights=weights))
