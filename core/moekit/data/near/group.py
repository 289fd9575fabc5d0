"""Near-duplicates made groups, and the split dealt again with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from moekit.data.samples import Dataset, Sample
from moekit.data.splits import deal_again, dealt_samples
from moekit.errors import DataError

PREFIX = "near-duplicates of "
"""How the name of a group begins that near-duplicates form; the id of one follows."""


def joined(samples: Sequence[Sample], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The groups that near-duplicates form: the connected parts, with the groups they had.

    Args:
        samples: All samples.
        pairs: Ids of near-duplicates.

    Returns:
        The new group of each id whose group changes.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    def join(one: str, other: str) -> None:
        low, high = sorted((root(one), root(other)))
        parent[high] = low

    own = {s.id: f"id {s.id}" if s.group is None else f"group {s.group}" for s in samples}
    for one, other in pairs:
        join(own[one], own[other])
    members: dict[str, list[Sample]] = {}
    for sample in samples:
        if own[sample.id] in parent:
            members.setdefault(root(own[sample.id]), []).append(sample)
    groups: dict[str, str] = {}
    for part in members.values():
        known = sorted({sample.group for sample in part if sample.group is not None})
        name = known[0] if known else PREFIX + min(sample.id for sample in part)
        groups |= {sample.id: name for sample in part if sample.group != name}
    return groups


def regrouped(dataset: Dataset, groups: Mapping[str, str]) -> Dataset:
    """The set with these groups, dealt again as it was dealt.

    Args:
        dataset: As its loader dealt it.
        groups: The group of each id whose group changes; ids that are gone are passed over.

    Raises:
        DataError: The split is given by the data, or cannot be dealt with these groups.
    """
    refuse_given(dataset)
    movable = {sample.id for sample in dealt_samples(dataset)}
    with_groups = dataset.with_samples(
        dataclasses.replace(sample, group=groups[sample.id])
        if sample.id in groups and sample.id in movable
        else sample
        for sample in dataset.samples
    )
    again = deal_again(with_groups)
    return dataclasses.replace(
        again, split_note=f"{again.split_note}; near-duplicates are whole groups"
    )


def refuse_given(dataset: Dataset) -> None:
    """Refuses a split that is not dealt by a seed, or that cannot be dealt again as it is.

    Raises:
        DataError: It is one.
    """
    places = {sample.id: sample.split for sample in dataset.samples}
    if dataset.dealt is not None:
        again = {sample.id: sample.split for sample in deal_again(dataset).samples}
        if again == places:
            return
    raise DataError(
        f"the split is given by the data ({dataset.split_note}), so nothing is moved",
        whose=dataset.name,
        fix="leave out the data's own splits, or move near-duplicates to one side by hand",
        code="data/given-split",
    )
