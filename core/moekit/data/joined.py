"""Two sets made one, where what the first says of an image counts."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from moekit.data.checks import check_groups, check_ids
from moekit.data.content import Contents
from moekit.data.samples import Dataset, Sample
from moekit.errors import DataError


def joined(first: Dataset, second: Dataset) -> Dataset:
    """Both sets. An image of both is the first one's, in the split that the second has it in.

    So nothing that was held out is learned from because somebody labelled it again.

    Args:
        first: Split data, such as corrections.
        second: Split data of the same classes, such as what a run was trained on.

    Raises:
        DataError: They have other classes or frames, two images have one id, or a group lies in
            two splits.
    """
    for what in ("classes", "frames"):
        ours, theirs = getattr(first, what), getattr(second, what)
        if ours != theirs:
            raise DataError(
                f"the sets have other {what}: {_told(ours)} and {_told(theirs)}",
                whose=f"{first.name} and {second.name}",
                fix="give data of the same classes and frames",
                code="data/other-classes",
            )
    contents = Contents()
    known = {contents.of(sample.path): sample for sample in second.samples}
    known.pop("", None)
    taken: list[Sample] = []
    replaced: set[str] = set()
    for sample in first.samples:
        twin = known.get(contents.of(sample.path))
        if twin is not None:
            replaced.add(twin.id)
            sample = dataclasses.replace(sample, split=twin.split, group=twin.group or sample.group)
        taken.append(sample)
    kept = [sample for sample in second.samples if sample.id not in replaced]
    note = f"{len(first.samples)} images of {first.name} and {len(kept)} of {second.name}"
    if replaced:
        note += f"; {len(replaced)} are in both, and count as {first.name} says"
    made = dataclasses.replace(
        second,
        name=f"{first.name}, {second.name}",
        samples=(*taken, *kept),
        source=f"{first.source}; {second.source}",
        split_note=f"{first.name}: {first.split_note}; {second.name}: {second.split_note}",
        skipped=tuple({one.id: one for one in (*first.skipped, *second.skipped)}.values()),
        notes=tuple(dict.fromkeys(itertools.chain(first.notes, second.notes, [note]))),
        dealt=None,
        ready=True,
    )
    check_ids(made)
    check_groups(made)
    return made


def _told(value: Any) -> str:
    return ", ".join(value[:5]) if isinstance(value, tuple) else str(value)
