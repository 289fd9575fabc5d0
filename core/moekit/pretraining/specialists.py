"""Pretraining a kit's specialists on the frozen trunk, whole: crops, training, what is kept."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from moekit.backbone.model import MoEBackbone
from moekit.contract.kits import KitSpec
from moekit.data.content import Contents
from moekit.data.fingerprint import fingerprint, refuse_changes
from moekit.data.geometry import Frame
from moekit.data.samples import Dataset, Sample
from moekit.errors import DataError, UsageError
from moekit.plugins.changes import KitChanges
from moekit.plugins.registry import Registry
from moekit.pretraining.bank import Activations, Bank, Progress
from moekit.pretraining.fit import Fitting, fit
from moekit.pretraining.judge import judge_of, judged_samples, worse_in_words
from moekit.pretraining.learner import Learner, OverTrunk
from moekit.pretraining.objectives import target_of
from moekit.pretraining.recipe import PretrainRecipe
from moekit.runs.facts import backbone_facts, machine, now, plugin_facts, versions
from moekit.runs.licences import licences_of_run
from moekit.runs.pretrained import Pretrained, slots_of
from moekit.runtime.device import pick_arithmetic
from moekit.runtime.kit import KitModules
from moekit.training.counts import parameter_count
from moekit.training.prefix_plan import PrefixPlan

OnFigures = Callable[[Mapping[str, float]], None]
_LEAST = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainJob:
    """What a pretraining of specialists is asked to do.

    Attributes:
        kit: The kit, with its changes.
        kit_name: Its full name.
        changes: What was changed in it.
        dataset: Split data; labels are not learned from.
        out: Where everything goes.
        frame: How whole pictures and large crops lie in the input.
        seed: Decides initial weights, crops, order and what is hidden.
        recipe: How to train.
        resume: Whether to go on with what is there.
        top_k: Generic experts a token has.
        folder: Holds stored activations.
        cache_limit: Their greatest size, in bytes.
        command: The command line, for the record.
    """

    kit: KitSpec
    kit_name: str
    changes: KitChanges
    dataset: Dataset
    out: Pretrained
    frame: Frame
    seed: int
    recipe: PretrainRecipe
    top_k: int
    folder: Path
    cache_limit: int
    resume: bool = False
    command: str = ""


def pretrain_specialists(
    job: PretrainJob,
    *,
    backbone: MoEBackbone,
    registry: Registry,
    fabric: Fabric,
    on_progress: Progress,
    on_figures: OnFigures,
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    """Trains a kit's specialists without labels; the backbone stays as it is.

    Args:
        job: What to do.
        backbone: The shared backbone, on the device of `fabric`.
        registry: Provides the experts and gates that the kit names.
        fabric: Launched.
        on_progress: Called with a description, what is done and the total.
        on_figures: Called with the figures of each judgement of the features.
        on_note: Called with each sentence on what was left out.

    Returns:
        The record.

    Raises:
        DataError: The data cannot be used, or changed since.
        StorageError: No space for the activations or the record.
        UsageError: The kit has no specialists, or the folder is taken.
        WeightsError: The features collapsed, or a number is not finite.
    """
    _check_kit(job.kit)
    contents = Contents()
    seen, notes = seen_samples(job.dataset, contents, on_progress, limit=job.recipe.limit)
    known = {"train": fingerprint(seen, contents)}
    if fabric.is_global_zero:
        job.out.begin({**_request(job, backbone), "data": known}, resume=job.resume)
    fabric.barrier()
    record = job.out.read()
    if record["done"]:
        return record
    for note in notes:
        on_note(note)
    kit = _built(job, backbone, registry)
    learner, bank, judge, target = _parts(job, kit, backbone, fabric, contents, seen, on_progress)
    progress = fit(
        Fitting(
            learner=learner,
            specialists=kit.sets,
            target=target,
            bank=bank,
            judge=judge,
            recipe=job.recipe,
            seed=job.seed,
            fabric=fabric,
            checkpoint=job.out.checkpoints / "pretrain.safetensors",
            on_step=functools.partial(on_progress, "pretraining, steps"),
            on_figures=on_figures,
        )
    )
    if fabric.is_global_zero:
        again = {"train": fingerprint(seen, contents)}
        fix = "let nothing write to the data, then begin again with another --out"
        refuse_changes(known, again, whose=str(job.out.folder), fix=fix)
        notes += worse_in_words(progress.history)
        by_id = {one.id: contents.of(one.path) for one in seen}
        skipped = (*job.dataset.skipped, *bank.skipped)
        job.out.finish(
            kit.sets,
            [by_id[name] for name in bank.images],
            {
                "arithmetic": pick_arithmetic(job.recipe.precision, fabric.device),
                "parameters": {
                    "kept": parameter_count(kit.sets),
                    "trained": parameter_count(learner),
                    "backbone": parameter_count(backbone),
                },
                "seconds": round(progress.seconds, 1),
                "curves": progress.history,
                "skipped": [dataclasses.asdict(one) for one in skipped],
                "backbone": backbone_facts(backbone),
                "plugins": plugin_facts(registry.used()),
                "licences": licences_of_run(backbone.provenance, registry.used(), job.dataset),
                "notes": [*job.dataset.notes, *notes],
                "versions": versions(),
                "machine": machine(),
                "created": now(),
                "command": job.command,
            },
        )
        shutil.rmtree(job.out.checkpoints, ignore_errors=True)
    fabric.barrier()
    return job.out.read()


def seen_samples(
    dataset: Dataset, contents: Contents, on_progress: Progress, *, limit: int | None
) -> tuple[tuple[Sample, ...], list[str]]:
    """The images of the training split whose content no other split has, and what was left out.

    Args:
        dataset: Split data.
        contents: Hashes the files.
        on_progress: Called with a description, the files hashed and their total.
        limit: Most images, evenly spread; all if None.

    Raises:
        DataError: Fewer than two are left.
    """
    kept_apart: set[str] = set()
    others = [one for one in dataset.samples if one.split not in (None, "train")]
    for done, one in enumerate(others, start=1):
        kept_apart.add(contents.of(one.path))
        on_progress("hashing the files of other splits", done, len(others))
    whole = dataset.split("train")
    count = min(limit or len(whole), len(whole))
    train = [unlabelled(whole[place * len(whole) // count]) for place in range(count)]
    seen = tuple(one for one in train if contents.of(one.path) not in kept_apart - {""})
    notes = []
    if len(seen) < len(train):
        notes.append(
            f"{len(train) - len(seen)} images of the training split lie in another split too; "
            "they are not learned from"
        )
    if len(seen) < _LEAST:
        raise DataError(
            f"{len(seen)} images are left to learn from{dataset.left_out}",
            whose=dataset.name,
            fix="give more images; some hundreds are few",
            code="data/too-few",
        )
    return seen, notes


def unlabelled(sample: Sample) -> Sample:
    """The image alone: what is known of it neither decides nor identifies a pretraining."""
    return Sample(id=sample.id, path=sample.path, label=0, split=sample.split)


def _check_kit(kit: KitSpec) -> None:
    if not kit.slots:
        raise UsageError(
            "the kit has no specialists for this task, so nothing is there to pretrain",
            whose=f"kit {kit.name}",
            fix="choose another --task, or another kit",
            code="usage/no-experts",
        )
    if kit.placement != "trunk":
        raise UsageError(
            "its specialists act in a stream of their own, whose features no later block reads",
            whose=f"kit {kit.name}",
            fix="choose a kit or a task whose specialists act in the trunk",
            code="usage/no-experts",
        )


def _request(job: PretrainJob, backbone: MoEBackbone) -> dict[str, Any]:
    return {
        "kit": job.kit_name,
        "task": job.kit.task,
        "changes": job.changes.as_json(job.kit),
        "slots": slots_of(job.kit.slots, len(backbone.blocks)),
        "dataset": job.dataset.name,
        "frames": job.dataset.frames,
        "split_note": job.dataset.split_note,
        "frame": dataclasses.asdict(job.frame),
        "seed": job.seed,
        "recipe": job.recipe.model_dump(mode="json"),
        "backbone_sha256": backbone.provenance.sha256,
        "computes": backbone.computes_at(job.top_k),
        "top_k": job.top_k,
    }


def _built(job: PretrainJob, backbone: MoEBackbone, registry: Registry) -> KitModules:
    torch.manual_seed(job.seed)
    return KitModules(
        spec=job.kit,
        registry=registry,
        backbone=backbone,
        classes=max(2, len(job.dataset.classes)),
        frames=job.dataset.frames,
    )


def _parts(
    job: PretrainJob,
    kit: KitModules,
    backbone: MoEBackbone,
    fabric: Fabric,
    contents: Contents,
    seen: Sequence[Sample],
    on_progress: Progress,
) -> tuple[Learner, Bank, Any, Any]:
    recipe = job.recipe
    plan = PrefixPlan.of(
        kit,
        backbone,
        views=recipe.views,
        arithmetic=pick_arithmetic(recipe.precision, fabric.device),
        frame=job.frame,
        frames=job.dataset.frames,
        top_k=job.top_k,
        order=job.kit.recipe.view_order,
        bits=job.kit.recipe.bits,
    )
    activations = Activations(
        backbone=backbone,
        plan=plan,
        folder=job.folder,
        limit=job.cache_limit,
        contents=contents,
        on_progress=on_progress,
    )
    plans = activations.plans(recipe)
    train, other = judged_samples(job.dataset, recipe.probe_images)
    told = f"blocks 1 to {plan.end} of the backbone, images to judge by"
    with fabric.rank_zero_first():
        bank = Bank(seen, activations=activations, recipe=recipe, seed=job.seed)
        stores = [
            activations.open(part, plans[2], told, plans) if part else None
            for part in (train, other)
        ]
    assert stores[0] is not None
    target = target_of(recipe)
    learner = Learner(
        OverTrunk(
            kit.sets,
            backbone=backbone,
            start=kit.prefix_end,
            stop=max(kit.head_blocks[-1], *kit.branches) + 1,
            top_k=job.top_k,
        ),
        head=functools.partial(target.head, backbone.width),
        large=bank.large,
        small=bank.small,
    )
    return learner, bank, judge_of(stores[0], stores[1]), target
