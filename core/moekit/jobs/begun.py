"""What a run that learns from corrections takes over from the run whose answers were corrected."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from moekit.contract.kits import KitSpec
from moekit.contract.recipe import Recipe
from moekit.data.joined import joined
from moekit.data.samples import Dataset
from moekit.jobs.session import load_licensed
from moekit.plugins.changes import KitChanges
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import prepared, variant
from moekit.runs.choices import kept_rule
from moekit.runs.run import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Begun:
    """How the run that is begun with was made.

    Attributes:
        task: Its task.
        changes: What was changed in its kit.
        recipe: How it was trained.
        top_k: Generic experts a token has.
        architecture: Of its backbone.
        rule: How its point is chosen.
        negatives_only: Whether it learned from one class only.
    """

    task: str
    changes: KitChanges
    recipe: Recipe
    top_k: int
    architecture: str
    rule: str
    negatives_only: bool

    @classmethod
    def of(cls, run: Run) -> Begun:
        """Of a finished run.

        Raises:
            DataError: It is none.
        """
        record = run.read_finished()
        request = record["request"]
        return cls(
            task=request["task"],
            changes=KitChanges(**request.get("changes", {})),
            recipe=run.recipe(),
            top_k=request["top_k"],
            architecture=record["backbone"]["architecture"],
            rule=kept_rule(run),
            negatives_only=bool(request.get("negatives_only")),
        )

    def dealt(self, dataset: Dataset) -> Dataset:
        """A set as such a run learns from it: of one that knows one class, the others are test."""
        if not self.negatives_only:
            return dataset
        held = [one for one in dataset.samples if one.label != 0 and one.split != "test"]
        if not held:
            return dataset
        moved = {one.id for one in held}
        words = f"{len(held)} of other classes are held out, since the run learns from one class"
        return dataset.with_samples(
            (
                dataclasses.replace(one, split="test") if one.id in moved else one
                for one in dataset.samples
            ),
            split_note=f"{dataset.split_note}; {words}",
        )


def with_more(
    registry: Registry,
    dataset: Dataset,
    more: Sequence[str],
    *,
    kit: str,
    task: str | None,
    seed: int,
) -> Dataset:
    """A set with further ones, all in the terms of a kit's task.

    Args:
        registry: The installed plugins.
        dataset: What it says of an image counts.
        more: Each as `LOADER` or `LOADER=PATH`.
        kit: Name of the kit.
        task: Its task; its first one if None.
        seed: Of the splits.

    Raises:
        DataError: They do not go together.
    """
    spec: KitSpec = variant(registry.kit(kit), task, whose="--task")
    made = prepared(spec, dataset, seed=seed)
    for text in more:
        other: Any = prepared(spec, load_licensed(registry, text, seed=seed), seed=seed)
        made = joined(made, other)
    return made
