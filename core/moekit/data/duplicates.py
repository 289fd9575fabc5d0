"""Equal files in two splits: whether they are kept, dropped or refused."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from moekit.data.content import find_twins
from moekit.data.samples import SPLITS, Dataset, Sample
from moekit.errors import DataError

KEEP, DROP, REFUSE = "keep", "drop", "refuse"
SHOWN = 10
"""Pairs that an error names."""
_policy: contextvars.ContextVar[str | None] = contextvars.ContextVar("duplicates", default=None)
Pair = tuple[Sample, Sample]


@contextlib.contextmanager
def duplicates(policy: str | None) -> Iterator[None]:
    """Decides for loaders that check their files, as long as the context lasts.

    Args:
        policy: `keep`, `drop` or `refuse`; None leaves it to the loader.
    """
    token = _policy.set(policy)
    try:
        yield
    finally:
        _policy.reset(token)


def check_content(samples: Iterable[Sample], *, whose: str) -> None:
    """Checks that no file lies in two splits or in two classes under two names.

    Nothing is checked if a user keeps or drops such files; see `settle_duplicates`.

    Raises:
        DataError: The same bytes are in two splits or two classes, or a file cannot be read. Its
            `details` name all pairs.
    """
    if _policy.get() not in (KEEP, DROP):
        listed = list(samples)
        _refuse(_equal(listed, whose), len(listed), whose=whose)


def settle_duplicates(dataset: Dataset, policy: str | None) -> Dataset:
    """Does what the policy says with files that lie in two splits, whichever loader read them.

    Args:
        dataset: Split data.
        policy: As of `duplicates`. `drop` leaves out of train what val or test holds too, and of
            val what test holds.

    Returns:
        The data, with a note if files lie in two splits.

    Raises:
        DataError: There are such files and the policy refuses them; equal files of one split are of
            two classes; or dropping takes all training samples of a class.
    """
    if policy is None:
        return dataset
    groups, whose = _equal(dataset.samples, dataset.name), dataset.name
    if policy == REFUSE:
        _refuse(groups, len(dataset.samples), whose=whose)
        return dataset
    across = [pair for pair in _pairs(groups) if pair[0].split != pair[1].split]
    if not across:
        if policy == DROP:
            _refuse(groups, len(dataset.samples), whose=whose)
        return dataset
    first = f"such as {' and '.join(map(_named, across[0]))}"
    if policy == KEEP:
        note = (
            f"{len(across)} pairs of equal files lie in two splits, {first}: they are kept, and "
            "figures may be too good"
        )
        return dataclasses.replace(dataset, notes=(*dataset.notes, note))
    left_out = {one.id: one.split or "" for group in groups for one in _earlier(group)}
    kept = [sample for sample in dataset.samples if sample.id not in left_out]
    rest = [[one for one in group if one.id not in left_out] for group in groups]
    _refuse(rest, len(kept), whose=whose)
    lost = _classes(dataset.samples) - _classes(kept)
    if lost:
        raise DataError(
            f"all training images of the class {dataset.classes[min(lost)]!r} are in val or test "
            "too, and would be dropped",
            whose=whose,
            fix="add training images of that class, or leave the class out",
            code="data/missing-class",
        )
    counts = collections.Counter(left_out.values())
    parts = " and ".join(f"{counts[split]} of {split}" for split in SPLITS if counts[split])
    note = f"{parts} are left out, since a later split holds the same file, {first}"
    return dataclasses.replace(dataset.with_samples(kept), notes=(*dataset.notes, note))


def _equal(samples: Sequence[Sample], whose: str) -> list[list[Sample]]:
    """The samples that share a file with others, by file."""
    twins = find_twins(samples, whose=whose)
    groups: dict[str, list[Sample]] = {first.id: [first] for first in twins.values()}
    for sample in samples:
        if sample.id in twins:
            groups[twins[sample.id].id].append(sample)
    return list(groups.values())


def _pairs(groups: Iterable[Sequence[Sample]]) -> list[Pair]:
    """Each sample of a group behind the group's first."""
    return [(group[0], other) for group in groups for other in group[1:]]


def _refuse(groups: Sequence[Sequence[Sample]], count: int, *, whose: str) -> None:
    """Refuses equal files of two splits or classes; `count` is that of all files."""
    pairs = _pairs(groups)
    wrong = [(a, b) for a, b in pairs if (a.split, a.label) != (b.split, b.label)]
    if not wrong:
        return
    (twin, sample), *others = wrong
    what = "in two splits" if twin.split != sample.split else "of two classes"
    more = f", as {len(others)} other pairs of files {what} are" if others else ""
    named = "".join(f"; {_named(a)} and {_named(b)}" for a, b in others[: SHOWN - 1])
    raise DataError(
        f"{_named(twin)} and {_named(sample)} are the same file{more}{named}; "
        f"{len(pairs)} of {count} files are copies of others",
        whose=whose,
        fix="keep one file of each, or give all the same class, split and group; --duplicates drop "
        "leaves them out of training, and --json names all",
        code="data/same-image",
        details={"pairs": [[[one.id, one.split] for one in pair] for pair in wrong]},
    )


def _earlier(group: Sequence[Sample]) -> list[Sample]:
    """Those of a group that lie in an earlier split than its last, of train, val and test."""
    last = max((SPLITS.index(one.split) for one in group if one.split), default=0)
    return [one for one in group if one.split and SPLITS.index(one.split) < last]


def _classes(samples: Iterable[Sample]) -> set[int]:
    return {label for one in samples if one.split == "train" for label in one.all_labels}


def _named(sample: Sample) -> str:
    return f"{sample.id} ({sample.split})"
