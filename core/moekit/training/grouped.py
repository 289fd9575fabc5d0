"""Near-duplicates made groups before a split is dealt, so that none lies on two sides.

They are found by features, which need one pass over all images, of one view each. Its activations
are stored as those of the validation images are, so that these and an interrupted command find them
again. The training images are computed once more if the recipe keeps several views of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lightning.fabric import Fabric

from moekit.backbone.model import MoEBackbone
from moekit.backbone.sources import cache_folder
from moekit.contract.kits import KitSpec
from moekit.contract.recipe import Recipe
from moekit.data.near.find import in_steps_of
from moekit.data.near.group import joined, refuse_given, regrouped
from moekit.data.near.in_words import FAULTS, gaps_in_words, why_failed
from moekit.data.samples import Dataset
from moekit.data.splits import dealt_samples
from moekit.data.windows import cut_samples
from moekit.errors import DataError
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import resolve
from moekit.runs.near import read_groups, write_groups
from moekit.runs.run import Run
from moekit.runtime.device import pick_arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.tokens import learned_part, routing_of
from moekit.text import many
from moekit.training.learned import frame_for, plan_for, tiling_for
from moekit.training.near import find_in_store
from moekit.training.prefix import open_prefix

OnProgress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grouping:
    """What is needed to group the near-duplicates of a set.

    Attributes:
        kit: The kit.
        dataset: Split data, as its loader dealt them.
        run: The run to come, or one that is gone on with.
        recipe: How to train.
        backbone: The shared backbone, on the device of `fabric`.
        registry: The installed plugins.
        fabric: Launched.
        top_k: Generic experts a token has; as the backbone says if None.
        cache_limit: Greatest size of the stored prefixes, in bytes.
        on_progress: Called with a description, what is done and the total.
    """

    kit: KitSpec
    dataset: Dataset
    run: Run
    recipe: Recipe
    backbone: MoEBackbone
    registry: Registry
    fabric: Fabric
    top_k: int | None
    cache_limit: int
    on_progress: OnProgress


def group_near_duplicates(job: Grouping) -> tuple[Dataset, dict[str, Any]]:
    """The set dealt again with near-duplicates in groups, and what is to be recorded of it.

    If the data bring their split, or the search fails, the set stays as it is and the record
    says so; nothing is stopped.
    """
    try:
        if job.run.record.exists():
            return _known(job)
        refuse_given(job.dataset)
        groups, record = _found(job)
        dataset = regrouped(job.dataset, groups) if groups else job.dataset
    except FAULTS as error:
        return job.dataset, _not_grouped(error)
    before = {sample.id: sample.split for sample in job.dataset.samples}
    moved = sum(before[sample.id] != sample.split for sample in dataset.samples)
    if groups:
        record["sha256"] = _written(job, groups)
    told = (
        f"{record['items']} near-duplicates were made {record['groups']} groups before the split "
        f"was dealt; {many(moved, 'image', 'images')} changed sides by it"
        if groups
        else "no near-duplicates were found, so the split is dealt as it would be without them"
    )
    return dataset, {**record, "done": True, "moved": moved, "in_words": [told, *record["gaps"]]}


def _known(job: Grouping) -> tuple[Dataset, dict[str, Any]]:
    """The same of a run that is gone on with; whether it may be is not decided here."""
    record = job.run.read()["request"].get("grouped") or {"done": False, "in_words": []}
    groups = read_groups(job.run)
    return regrouped(job.dataset, groups) if groups else job.dataset, dict(record)


def _found(job: Grouping) -> tuple[dict[str, str], dict[str, Any]]:
    """The groups, and how many there are of how many items."""
    resolved = resolve(job.kit, job.registry, frames=job.dataset.frames)
    frame = frame_for(job.recipe, job.dataset, job.backbone, None)
    kit = KitModules(
        spec=resolved.kit,
        registry=job.registry,
        backbone=job.backbone,
        classes=len(job.dataset.classes),
        frames=job.dataset.frames,
    )
    tokens = routing_of(job.recipe, kit, job.registry, width=job.backbone.width)
    plan = plan_for(
        *(job.recipe, job.dataset, kit, job.backbone),
        split=None,
        arithmetic=pick_arithmetic(job.recipe.precision, job.fabric.device),
        frame=frame,
        top_k=job.top_k,
        tokens=None if learned_part(tokens) else tokens,  # what is learned is not known yet
    )
    samples = dealt_samples(job.dataset)
    with job.fabric.rank_zero_first():
        store = open_prefix(
            cut_samples(samples, tiling_for(job.recipe, resolved, frame)),
            backbone=job.backbone,
            plan=plan,
            folder=cache_folder() / "prefix",
            limit=job.cache_limit,
            progress=lambda done, total: job.on_progress(
                "looking for near-duplicates: features of all images", done, total
            ),
        )
    found = find_in_store(
        store,
        job.backbone,
        on_progress=in_steps_of("looking for near-duplicates", job.on_progress),
    )
    groups = joined(samples, [(pair.first.id, pair.second.id) for pair in found.pairs])
    known = {sample.id: groups.get(sample.id, sample.group) for sample in samples}
    ids = {sample.id for pair in found.pairs for sample in (pair.first, pair.second)}
    record = {
        "items": len(ids),
        "groups": len({known[name] for name in ids}),
        "pairs": len(found.pairs),
        "least_likeness": round(found.least, 4),
        "candidates": found.candidates,
        "verified": found.verified,
        "gaps": gaps_in_words(found),
    }
    return groups, record


def _written(job: Grouping, groups: Mapping[str, str]) -> str:
    """SHA-256 of the file that keeps the groups, the same in all processes."""
    with job.fabric.rank_zero_first():
        return write_groups(job.run, groups)


def _not_grouped(error: Exception) -> dict[str, Any]:
    fix = f"; {error.fix}" if isinstance(error, DataError) else ""
    told = f"near-duplicates were not made groups: {why_failed(error)}{fix}"
    return {"done": False, "in_words": [told]}
