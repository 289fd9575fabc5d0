"""The gating fine-tune, whole: prefix, baseline, specialists, what the run keeps."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from lightning.fabric import Fabric

from moekit.backbone.model import MoEBackbone
from moekit.backbone.sources import cache_folder
from moekit.contract.jobs import FitJob, FitResult
from moekit.contract.kits import KitSpec
from moekit.contract.recipe import Recipe
from moekit.contract.report import RunEvent
from moekit.data.content import Contents
from moekit.data.geometry import Frame
from moekit.data.near.find import in_steps_of
from moekit.data.samples import Dataset, Sample
from moekit.data.stream import Preprocess
from moekit.data.windows import Tiling
from moekit.plugins.changes import KitChanges
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import resolve
from moekit.runs.facts import backbone_facts, machine, now, plugin_facts, versions
from moekit.runs.licences import licences_of_run
from moekit.runs.run import VALIDATION, Run, hashes_of
from moekit.runs.weights import refuse_lost
from moekit.runtime.device import Arithmetic, pick_arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.tokens import routing_of
from moekit.training.activation_cache import DEFAULT_LIMIT
from moekit.training.counts import image_counts, parameter_count
from moekit.training.domain import keep_domain
from moekit.training.fit import fit
from moekit.training.learned import Learned, frame_for, plan_for, tiling_for
from moekit.training.lengths import length_in_words
from moekit.training.near import check_learned
from moekit.training.prefix import PrefixStore, open_prefix
from moekit.training.prefix_plan import PrefixPlan
from moekit.training.selection import check_rule, settle
from moekit.training.start import Start, keep_lineage, load_beginning, notes_at_start, started_from
from moekit.training.tally import tally_stored
from moekit.training.token_gate import Teaching, with_taught_gate

OnProgress = Callable[[str, int, int], None]
OnEpoch = Callable[[str, Mapping[str, float]], None]
Part = Literal["kit", "baseline"]
KIT: Part = "kit"
BASELINE: Part = "baseline"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptJob:
    """What `adapt` is asked to do.

    Attributes:
        kit: The kit.
        dataset: Split data.
        run: Where everything goes.
        seed: Decides initial weights, order, views and dropout.
        recipe: How to train.
        resume: Whether to go on with a run that is there.
        changes: What was changed in the kit; `kit` has the changes already.
        kit_name: The kit's full name; its short one if None.
        start: A finished run of the same kit, or a pretraining, that is begun with; None for none.
        cache_limit: Greatest size of the stored prefixes, in bytes.
        top_k: Generic experts a token has; as the backbone says if None.
        rule: How the point is chosen on validation data, now and later; the kit's own if empty.
        command: The command line, for the record.
        further: What else the run records of the request, by name: `grouped` near-duplicates,
            `metrics` that evaluations add, what happens to `duplicates`, how
            a `budget` chose the recipe's tokens.
    """

    kit: KitSpec
    dataset: Dataset
    run: Run
    seed: int
    recipe: Recipe
    resume: bool = False
    changes: KitChanges = dataclasses.field(default_factory=KitChanges)
    kit_name: str | None = None
    start: Start | None = None
    cache_limit: int = DEFAULT_LIMIT
    top_k: int | None = None
    rule: str = ""
    command: str = ""
    further: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def adapt(
    job: AdaptJob,
    *,
    backbone: MoEBackbone,
    registry: Registry,
    fabric: Fabric,
    on_progress: OnProgress,
    on_epoch: OnEpoch,
    on_note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Trains a head on the bare backbone, the baseline, and a kit's specialists with their head.

    Both heads begin alike and are trained on the same images in the same order. The kit's head does
    not begin where the baseline's ended: that head has learned its training images by heart, and
    specialists that follow it learn to please it on those.

    Args:
        job: What to do.
        backbone: The shared backbone, on the device of `fabric`; it is not changed.
        registry: Provides the experts and gates that the kit names.
        fabric: Launched.
        on_progress: Called with a description, the images done and their total.
        on_epoch: Called with the part ("kit" or "baseline") and the epoch's figures.
        on_note: Called with each sentence on what was guessed of the data, before the training.

    Returns:
        The run's record.

    Raises:
        UsageError: The run folder is taken, the kit does not fit the backbone, or what is begun
            with is another kit's.
        DataError: The data cannot be used, or have changed since a run was begun that is resumed.
        StorageError: No space for the prefix or the run.
        WeightsError: A loss or a weight is not finite.
    """
    resolved = resolve(job.kit, registry, frames=job.dataset.frames)
    resolved.task.learn.check(job.dataset)
    going_on = job.resume and job.run.record.exists() and job.start is None
    frame = frame_for(job.recipe, job.dataset, backbone, job.run if going_on else None)
    tiling = tiling_for(job.recipe, resolved, frame)
    check_rule(resolved, job.rule, job.dataset)
    learned = Learned.of(job.dataset, on_progress=on_progress)
    job = dataclasses.replace(job, kit=resolved.kit, top_k=job.top_k or backbone.top_k)
    request = {**_request(job, frame, tiling, backbone), "data": learned.known}
    parts = _build(job, backbone, registry, fabric)
    routing = routing_of(job.recipe, parts[KIT], registry, width=backbone.width, seed=job.seed)
    if fabric.is_global_zero:
        job.run.begin(request, resume=job.resume)
    fabric.barrier()
    record = job.run.read()
    if record["done"]:
        return record
    if fabric.is_global_zero:
        registry.tell("run_started", _event(job, record["request"]))
    notes: tuple[str, ...] = ()
    if fabric.is_global_zero:
        notes = notes_at_start(job.start, job.dataset, learned.contents, bits=job.recipe.bits)
    for note in notes:
        on_note(note)
    arithmetic = pick_arithmetic(job.recipe.precision, fabric.device)
    samples = learned.samples(tiling)
    tokens, taught = with_taught_gate(
        Teaching(
            samples=samples["train"],
            preprocess=Preprocess(
                frame=frame,
                mean=backbone.mean,
                std=backbone.std,
                frames=job.dataset.frames,
                bits=job.recipe.bits,
            ),
            backbone=backbone,
            routing=routing,
            arithmetic=arithmetic,
            top_k=cast(int, job.top_k),
            seed=job.seed,
            contents=learned.contents,
        ),
        run=job.run,
        resume=going_on,
        fabric=fabric,
        on_progress=functools.partial(on_progress, "the token gate: what merging loses"),
    )
    how: dict[str, Any] = {"arithmetic": arithmetic, "frame": frame, "tokens": tokens}
    plans: dict[tuple[str, str], PrefixPlan] = {
        (part, split): plan_for(
            *(job.recipe, job.dataset, kit, backbone), split=split, top_k=job.top_k, **how
        )
        for part, kit in parts.items()
        for split in ("train", "val")
    }
    for at in samples:
        plans[BASELINE, at] = plans[KIT, at].in_place_of(plans[BASELINE, at])
    stores: dict[Part, dict[str, PrefixStore]] = {}
    for part in parts:
        stores[part] = {
            split: _store(
                *(job, plans, part, split, found, backbone, fabric),
                *(stores.get(KIT), on_progress, learned.contents),
            )
            for split, found in samples.items()
        }
    outcomes: dict[Part, _Outcome] = {}
    if fabric.is_global_zero and job.kit.fit is None:
        told = length_in_words(job.recipe, len(stores[KIT]["train"]))
        notes = (*notes, *told)
        for note in told:
            on_note(note)
    for part, asked in {BASELINE: job.recipe.baseline_epochs, KIT: job.recipe.epochs}.items():
        recipe, epochs = job.recipe.for_set(asked, len(stores[part]["train"]))
        fitting = FitJob(
            part=part,
            kit=parts[part],
            backbone=backbone,
            fabric=fabric,
            train=stores[part]["train"],
            val=stores[part]["val"],
            task=resolved.task,
            recipe=recipe,
            epochs=epochs,
            seed=job.seed,
            checkpoint=job.run.checkpoints / f"{part}.safetensors",
            on_epoch=functools.partial(on_epoch, part),
            on_step=functools.partial(on_progress, f"training, {part}"),
        )
        outcomes[part] = _Outcome(
            kit=parts[part],
            result=(job.kit.fit or fit)(fitting),
            train=stores[part]["train"],
            val=stores[part]["val"],
        )
        refuse_lost(parts[part], job.run.weights(part))
    tallies = tally_stored(
        [(one.kit, one.val) for one in (outcomes[KIT], outcomes[BASELINE])],
        task=resolved.task,
        context=resolved.context(
            classes=job.dataset.classes, frame=frame, kinds=outcomes[KIT].kit.kinds
        ),
        backbone=backbone,
        fabric=fabric,
        batch_size=job.recipe.batch_size,
    )
    if fabric.is_global_zero:
        resolved.task.judge.check(tallies)
        learned.check(job.run)
        comparing = in_steps_of("looking for near-duplicates, train and val", on_progress)
        near = check_learned(
            *(job.run, stores[KIT], backbone, comparing, on_note),
            most=job.recipe.near_duplicate_pairs,
        )
        written = resolved.task.judge.save(job.run.folder, VALIDATION, tallies[:2])
        chosen, more = settle(job.run, resolved, tallies, rule=job.rule, dataset=job.dataset)
        chosen.update(near_duplicates=near, domain=keep_domain(job.run, stores[KIT]), **taught)
        chosen.update(learned.keep(job.run, job.start))
        _keep(job, outcomes, backbone, registry, arithmetic, notes, [*written, *more], chosen)
        shutil.rmtree(job.run.checkpoints, ignore_errors=True)
        registry.tell("run_finished", _event(job, job.run.read()))
    fabric.barrier()
    return job.run.read(again=not fabric.is_global_zero)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    kit: KitModules
    result: FitResult
    train: PrefixStore
    val: PrefixStore


def _build(
    job: AdaptJob, backbone: MoEBackbone, registry: Registry, fabric: Fabric
) -> dict[Part, KitModules]:
    """The kit and its baseline as they begin."""
    parts: dict[Part, KitModules] = {}
    for part, spec in {KIT: job.kit, BASELINE: job.kit.bare}.items():
        torch.manual_seed(job.seed)
        parts[part] = KitModules(
            spec=spec,
            registry=registry,
            backbone=backbone,
            classes=len(job.dataset.classes),
            frames=job.dataset.frames,
            members=job.recipe.head_members,
        )
        load_beginning(job.start, part, parts[part])
        parts[part].to(fabric.device)
    return parts


def _event(job: AdaptJob, record: Mapping[str, Any]) -> RunEvent:
    return RunEvent(
        command="adapt",
        folder=job.run.folder,
        kit=job.kit.name,
        dataset=job.dataset.name,
        record=record,
    )


def _request(
    job: AdaptJob, frame: Frame, tiling: Tiling | None, backbone: MoEBackbone
) -> dict[str, Any]:
    request = {
        "kit": job.kit_name or job.kit.name,
        "task": job.kit.task,
        "classes": list(job.dataset.classes),
        "frame": dataclasses.asdict(frame),
        "tiling": None if tiling is None else tiling.as_json(),
        "changes": job.changes.as_json(job.kit),
        "dataset": job.dataset.name,
        "samples": len(job.dataset.samples),
        "frames": job.dataset.frames,
        "negatives_only": job.dataset.negatives_only,
        "split_note": job.dataset.split_note,
        "seed": job.seed,
        "recipe": job.recipe.model_dump(),
        "backbone_sha256": backbone.provenance.sha256,
        "computes": backbone.computes_at(cast(int, job.top_k)),
        "top_k": job.top_k,
        **job.further,
    }
    depth = len(backbone.blocks)
    return {**request, **started_from(job.start, request, kit=job.kit, depth=depth)}


def _store(
    job: AdaptJob,
    plans: Mapping[tuple[str, str], PrefixPlan],
    part: str,
    split: str,
    samples: Sequence[Sample],
    backbone: MoEBackbone,
    fabric: Fabric,
    shorter: Mapping[str, PrefixStore] | None,
    on_progress: OnProgress,
    contents: Contents,
) -> PrefixStore:
    plan = plans[part, split]
    name = f"blocks 1 to {plan.end} of the backbone, {split}"
    with fabric.rank_zero_first():
        return open_prefix(
            shorter[split].samples if shorter else samples,
            backbone=backbone,
            plan=plan,
            folder=cache_folder() / "prefix",
            limit=job.cache_limit,
            kept=plans.values(),
            source=shorter[split] if shorter else None,
            progress=functools.partial(on_progress, name),
            contents=contents,
        )


def _keep(
    job: AdaptJob,
    outcomes: Mapping[Part, _Outcome],
    backbone: MoEBackbone,
    registry: Registry,
    arithmetic: Arithmetic,
    notes: Sequence[str],
    written: Sequence[str],
    chosen: Mapping[str, Any],
) -> None:
    run, kit, baseline = job.run, outcomes[KIT], outcomes[BASELINE]
    hashes = {part: run.save_weights(part, outcome.kit) for part, outcome in outcomes.items()}
    run.write_history(kit.result.history)
    stores = (kit.train, kit.val, baseline.train, baseline.val)
    unread = (*job.dataset.skipped, *kit.train.skipped, *kit.val.skipped)
    skipped = {skip.id: skip for skip in unread}
    run.finish(
        {
            "weights": {f"{part}_sha256": value for part, value in hashes.items()},
            "files": hashes_of(run.folder, [*written, "history.jsonl"]),
            "arithmetic": arithmetic,
            "parameters": {
                "trained": parameter_count(kit.kit),
                "baseline": parameter_count(baseline.kit),
                "backbone": parameter_count(backbone),
            },
            "training": {
                part: {
                    "epochs": outcome.result.epochs,
                    "best_epoch": outcome.result.best_epoch,
                    "seconds": round(outcome.result.seconds, 1),
                }
                for part, outcome in outcomes.items()
            },
            **image_counts({"train": kit.train.samples, "val": kit.val.samples}),
            **chosen,
            **keep_lineage(job.start, run),
            "skipped": [dataclasses.asdict(skip) for skip in skipped.values()],
            "activations_made_again": sum(store.made_again for store in stores),
            "backbone": backbone_facts(backbone),
            "plugins": plugin_facts(registry.used()),
            "licences": licences_of_run(
                backbone.provenance, registry.used(), job.dataset, job.start
            ),
            "versions": versions(),
            "machine": machine(),
            "caution": job.dataset.caution,
            "notes": list(notes),
            "created": now(),
            "command": job.command,
        }
    )
