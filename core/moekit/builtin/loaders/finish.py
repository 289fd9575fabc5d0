"""What loaders of classes do at the end: unseen classes, splits, and a number of shots.

Three options behind a path are read here: `?shots=K` keeps K training images of each class,
`?unseen=NAME,NAME` takes classes out of training, whose images then judge what is said of things
that are of no class, and `?partial=yes` takes a part of a larger set as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from moekit.builtin.loaders.labels import order_classes
from moekit.data.checks import check_groups
from moekit.data.duplicates import check_content
from moekit.data.options import PARTIAL, is_partial, whole_number
from moekit.data.samples import UNSEEN, Dataset, Sample
from moekit.data.splits import complete_splits
from moekit.errors import DataError
from moekit.text import many

FINISH_OPTIONS = ("shots", "unseen", PARTIAL)
"""Names of the options, for `parse_source`."""


def finish_dataset(
    dataset: Dataset, options: Mapping[str, str], *, seed: int, note: str | None = None
) -> Dataset:
    """Splits a set and applies the options.

    Args:
        dataset: All samples have a split, or none has.
        options: As they were typed.
        seed: Decides the splits and the shots.
        note: How the set made its own splits; None if they are as given.

    Raises:
        DataError: An option cannot be used, or the splits cannot (see `complete_splits`).
    """
    shots = shots_of(options)
    known, unseen, left_out = _without_unseen(dataset, options.get("unseen", ""))
    partial = is_partial(options)
    done = complete_splits(known, seed=seed, note=note, keep=shots, partial=partial)
    if shots is not None and not done.negatives_only:
        done = keep_shots(done, shots, seed=seed)
    if "unseen" not in options:
        return done
    samples = (*done.samples, *unseen)
    images = many(len(unseen), "image of the classes", "images of the classes")
    words = f"{images} {options['unseen']} {'is' if len(unseen) == 1 else 'are'} of no class"
    lost = f", {left_out} of their training images are left out" if left_out else ""
    done = done.with_samples(samples, split_note=f"{done.split_note}; {words}{lost}")
    check_groups(done)
    check_content(done.samples, whose=done.name)
    return done


def shots_of(options: Mapping[str, str]) -> int | None:
    """The number of shots that options ask for; None if they do not.

    Raises:
        DataError: It is no number, or none from 1 on.
    """
    return _number(options["shots"]) if "shots" in options else None


def keep_shots(dataset: Dataset, shots: int, *, seed: int) -> Dataset:
    """Keeps that many training samples of each class; more of them with one seed hold the same.

    A sample of several classes counts for each of them, and is kept if one of them still lacks
    samples. Those of no class count as a class.

    Args:
        dataset: Split.
        shots: K, at least 1.
        seed: Decides which ones.
    """
    train = sorted(dataset.split("train"), key=lambda sample: sample.id)
    order = np.random.default_rng(seed).permutation(len(train))
    kept: set[str] = set()
    counts: dict[int, int] = {}
    for place in order:
        sample = train[place]
        labels = sample.all_labels or (UNSEEN,)
        if any(counts.get(label, 0) < shots for label in labels):
            kept.add(sample.id)
            for label in labels:
                counts[label] = counts.get(label, 0) + 1
    samples = [s for s in dataset.samples if s.split != "train" or s.id in kept]
    short = sum(count < shots for count in counts.values())
    few = f" ({short} classes have fewer)" if short else ""
    note = (
        f"{dataset.split_note}; {shots} training images a class are kept by seed {seed}{few}, "
        f"{len(train) - len(kept)} are left out"
    )
    return dataset.with_samples(samples, split_note=note)


def _without_unseen(dataset: Dataset, text: str) -> tuple[Dataset, list[Sample], int]:
    """The set of the other classes, the samples of no class, and how many of them are dropped."""
    names = {name.strip() for name in text.split(",")} - {""}
    if not names:
        return dataset, [], 0
    unknown = sorted(names - set(dataset.classes))
    if unknown:
        raise _wrong("unseen", f"there is no class {unknown[0]!r}", "name classes of the data")
    if any(sample.labels is not None for sample in dataset.samples):
        raise _wrong("unseen", "images have several labels", "leave the option out")
    left = [name for name in dataset.classes if name not in names]
    if len(left) < 2:
        raise _wrong("unseen", "fewer than two classes are left", "name fewer classes")
    classes = order_classes(left, whose=dataset.name) if len(left) == 2 else None
    order = classes.names if classes else tuple(left)
    known: list[Sample] = []
    unseen: list[Sample] = []
    dropped = 0
    for sample in dataset.samples:
        name = dataset.classes[sample.label]
        if name not in names:
            known.append(dataclasses.replace(sample, label=order.index(name)))
        elif sample.split == "train":
            dropped += 1
        else:
            split = sample.split or "test"
            unseen.append(dataclasses.replace(sample, label=UNSEEN, split=split))
    done = dataclasses.replace(
        dataset.with_samples(known),
        classes=order,
        has_negative=bool(classes and classes.has_negative),
    )
    return done, unseen, dropped


def _number(text: str) -> int:
    number = whole_number(text, least=1, most=10**6)
    if number is None:
        raise _wrong("shots", f"{text!r} is no number of images", "write it as in ?shots=5")
    return number


def _wrong(option: str, what: str, fix: str) -> DataError:
    return DataError(
        f"the option cannot be used: {what}",
        whose=f"the option {option!r}",
        fix=fix,
        code="data/bad-option",
    )
