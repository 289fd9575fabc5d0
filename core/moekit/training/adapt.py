"""The gating fine-tune, whole: prefix, baseline, specialists, what the run keeps."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn

from moekit.backbone.model import MoEBackbone
from moekit.backbone.sources import cache_folder
from moekit.contract.jobs import FitJob, FitResult
from moekit.contract.kits import KitSpec
from moekit.contract.recipe import Recipe
from moekit.contract.report import RunEvent
from moekit.data.samples import Dataset
from moekit.errors import UsageError
from moekit.plugins.changes import KitChanges, kit_of_frames, metrics_of
from moekit.plugins.registry import Registry
from moekit.runs.facts import backbone_facts, machine, now, plugin_facts, versions
from moekit.runs.run import Run
from moekit.runtime.device import Arithmetic, pick_arithmetic
from moekit.runtime.kit import KitModules
from moekit.tasks.score.predictions import Predictions
from moekit.training.fit import fit_labelled, score_stored
from moekit.training.prefix import PrefixPlan, PrefixStore, open_prefix
from moekit.training.storage import DEFAULT_LIMIT

OnProgress = Callable[[str, int, int], None]
OnEpoch = Callable[[str, Mapping[str, float]], None]
Part = Literal["kit", "baseline"]
KIT: Part = "kit"
BASELINE: Part = "baseline"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What `adapt` is asked to do.

    Attributes:
        kit: The kit.
        dataset: Split data.
        run: Where everything goes.
        seed: Decides initial weights, order, views and dropout.
        recipe: How to train.
        resume: Whether to go on with a run that is there.
        changes: What was changed in the kit; `kit` has the changes already.
        kit_name: The kit's full name; its short one where None.
        start: A finished run of the same kit whose weights are begun with; None to begin anew.
        cache_limit: Greatest size of the stored prefixes, in bytes.
        command: The command line, for the record.
    """

    kit: KitSpec
    dataset: Dataset
    run: Run
    seed: int
    recipe: Recipe
    resume: bool = False
    changes: KitChanges = dataclasses.field(default_factory=KitChanges)
    kit_name: str | None = None
    start: Run | None = None
    cache_limit: int = DEFAULT_LIMIT
    command: str = ""


def adapt(
    task: Adaptation,
    *,
    backbone: MoEBackbone,
    registry: Registry,
    fabric: Fabric,
    on_progress: OnProgress,
    on_epoch: OnEpoch,
) -> dict[str, Any]:
    """Trains a head on the bare backbone, the baseline, and a kit's specialists with their head.

    Both heads begin alike and are trained on the same images in the same order. The kit's head does
    not begin where the baseline's ended: that head has learned its training images by heart, and
    specialists that follow it learn to please it on those.

    Args:
        task: What to do.
        backbone: The shared backbone, on the device of `fabric`; it is not changed.
        registry: Provides the experts and gates that the kit names.
        fabric: Launched.
        on_progress: Called with a description, the images done and their total.
        on_epoch: Called with the part ("kit" or "baseline") and the epoch's figures.

    Returns:
        The run's record.

    Raises:
        UsageError: The run folder is taken, the kit does not fit the backbone, or the run to begin
            with is another kit's.
        DataError: The data cannot be used.
        StorageError: No space for the prefix or the run.
    """
    task = dataclasses.replace(task, kit=kit_of_frames(task.kit, task.dataset.frames))
    metrics_of(task.kit, registry)
    if fabric.is_global_zero:
        task.run.begin(_request(task, backbone), resume=task.resume)
    fabric.barrier()
    record = task.run.read()
    if record["done"]:
        return record
    if fabric.is_global_zero:
        registry.tell("run_started", _event(task, record["request"]))
    arithmetic = pick_arithmetic(task.recipe.precision, fabric.device)
    parts: dict[Part, KitModules] = {}
    for part, spec in {KIT: task.kit, BASELINE: baseline_of(task.kit)}.items():
        torch.manual_seed(task.seed)
        parts[part] = KitModules(spec=spec, registry=registry, backbone=backbone)
        if task.start is not None:
            known = task.start.read_finished()["weights"][f"{part}_sha256"]
            task.start.load_weights(part, parts[part], expected=known)
        parts[part].to(fabric.device)
    plans: dict[tuple[str, str], PrefixPlan] = {
        (part, split): _plan(task, kit, backbone, arithmetic, split)
        for part, kit in parts.items()
        for split in ("train", "val")
    }
    stores: dict[Part, dict[str, PrefixStore]] = {}
    for part in parts:
        stores[part] = {
            split: _store(task, plans, part, split, backbone, fabric, stores.get(KIT), on_progress)
            for split in ("train", "val")
        }
    outcomes: dict[Part, _Outcome] = {}
    for part, epochs in {BASELINE: task.recipe.baseline_epochs, KIT: task.recipe.epochs}.items():
        fitting = FitJob(
            part=part,
            kit=parts[part],
            backbone=backbone,
            fabric=fabric,
            train=stores[part]["train"],
            val=stores[part]["val"],
            recipe=task.recipe,
            epochs=epochs,
            seed=task.seed,
            checkpoint=task.run.checkpoints / f"{part}.safetensors",
            on_epoch=functools.partial(on_epoch, part),
        )
        outcomes[part] = _Outcome(
            kit=parts[part],
            result=(task.kit.fit or fit_labelled)(fitting),
            scores=score_stored(
                parts[part],
                fitting.val,
                backbone=backbone,
                fabric=fabric,
                batch_size=task.recipe.batch_size,
            ),
            train=stores[part]["train"],
            val=stores[part]["val"],
        )
    if fabric.is_global_zero:
        _keep(task, outcomes, backbone, registry, arithmetic)
        shutil.rmtree(task.run.checkpoints, ignore_errors=True)
        registry.tell("run_finished", _event(task, task.run.read()))
    fabric.barrier()
    return task.run.read()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    kit: KitModules
    result: FitResult
    scores: np.ndarray
    train: PrefixStore
    val: PrefixStore


def _event(task: Adaptation, record: Mapping[str, Any]) -> RunEvent:
    return RunEvent(
        command="adapt",
        folder=task.run.folder,
        kit=task.kit.name,
        dataset=task.dataset.name,
        record=record,
    )


def baseline_of(kit: KitSpec) -> KitSpec:
    """The same head on the bare backbone."""
    return dataclasses.replace(kit, slots=())


def _request(task: Adaptation, backbone: MoEBackbone) -> dict[str, Any]:
    request = {
        "kit": task.kit_name or task.kit.name,
        "changes": task.changes.as_json(),
        "dataset": task.dataset.name,
        "samples": len(task.dataset.samples),
        "frames": task.dataset.frames,
        "negatives_only": task.dataset.negatives_only,
        "split_note": task.dataset.split_note,
        "seed": task.seed,
        "recipe": task.recipe.model_dump(),
        "backbone_sha256": backbone.provenance.sha256,
        "computes": backbone.computes,
        "top_k": backbone.top_k,
    }
    if task.start is None:
        return request
    record = task.start.read_finished()
    alike = (
        "kit",
        "changes",
        "frames",
        "negatives_only",
        "backbone_sha256",
        "computes",
        "top_k",
    )
    other = [name for name in alike if record["request"].get(name) != request[name]]
    if other:
        raise UsageError(
            f"the run was made with another {', '.join(other)}",
            whose=str(task.start.folder),
            fix="begin with a run of the same kit on the same backbone, or leave out --from",
        )
    return {**request, "started_from": record["weights"]}


def _plan(
    task: Adaptation, kit: KitModules, backbone: MoEBackbone, arithmetic: Arithmetic, split: str
) -> PrefixPlan:
    return PrefixPlan.of(
        kit,
        backbone,
        views=task.recipe.views if split == "train" else task.recipe.scoring_views,
        arithmetic=arithmetic,
        size=task.recipe.image_size,
        frames=task.dataset.frames,
    )


def _store(
    task: Adaptation,
    plans: Mapping[tuple[str, str], PrefixPlan],
    part: str,
    split: str,
    backbone: MoEBackbone,
    fabric: Fabric,
    shorter: Mapping[str, PrefixStore] | None,
    on_progress: OnProgress,
) -> PrefixStore:
    plan = plans[part, split]
    name = f"blocks 1 to {plan.end} of the backbone, {split}"
    with fabric.rank_zero_first():
        return open_prefix(
            shorter[split].samples if shorter else task.dataset.split(split),
            backbone=backbone,
            plan=plan,
            folder=cache_folder() / "prefix",
            limit=task.cache_limit,
            beside=plans.values(),
            source=shorter[split] if shorter else None,
            progress=functools.partial(on_progress, name),
        )


def _keep(
    task: Adaptation,
    outcomes: Mapping[Part, _Outcome],
    backbone: MoEBackbone,
    registry: Registry,
    arithmetic: Arithmetic,
) -> None:
    run, kit, baseline = task.run, outcomes[KIT], outcomes[BASELINE]
    hashes = {part: run.save_weights(part, outcome.kit) for part, outcome in outcomes.items()}
    scores = Predictions.of(kit.val.samples, kit.scores, baseline.scores)
    scores.write_csv(run.validation)
    run.write_history(kit.result.history)
    unread = (*task.dataset.skipped, *kit.train.skipped, *kit.val.skipped)
    skipped = {skip.id: skip for skip in unread}
    run.finish(
        {
            "weights": {f"{part}_sha256": value for part, value in hashes.items()},
            "arithmetic": arithmetic,
            "parameters": {
                "trained": _count(kit.kit),
                "baseline": _count(baseline.kit),
                "backbone": _count(backbone),
            },
            "training": {
                part: {
                    "epochs": outcome.result.epochs,
                    "best_epoch": outcome.result.best_epoch,
                    "seconds": round(outcome.result.seconds, 1),
                }
                for part, outcome in outcomes.items()
            },
            "images": {"train": len(kit.train), "val": len(kit.val)},
            "skipped": [dataclasses.asdict(skip) for skip in skipped.values()],
            "backbone": backbone_facts(backbone),
            "plugins": plugin_facts(registry.used()),
            "versions": versions(),
            "machine": machine(),
            "caution": task.dataset.caution,
            "created": now(),
            "command": task.command,
        }
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
