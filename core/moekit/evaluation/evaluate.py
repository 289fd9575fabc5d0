"""Evaluation of a run on one split: answers, metrics with intervals, routing, the worst cases."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moekit.backbone.model import MoEBackbone
from moekit.contract.answers import TaskContext
from moekit.contract.kits import KitSpec
from moekit.contract.report import RunEvent
from moekit.data.content import Contents
from moekit.data.fingerprint import fingerprints, refuse_changes
from moekit.data.many_classes import gap_notes
from moekit.data.near.find import in_steps_of
from moekit.data.samples import Dataset
from moekit.errors import DataError
from moekit.evaluation.counts import count_classes, shifts_in_words
from moekit.evaluation.learned import Unlearned, without_learned
from moekit.evaluation.near import Answered, NearSearch
from moekit.evaluation.routing import RoutingTable
from moekit.evaluation.split_pass import Passed, pass_over
from moekit.evaluation.spool import PictureSpool
from moekit.evaluation.summary import BASELINE as BASELINE_NAME
from moekit.evaluation.summary import summarise
from moekit.evaluation.token_pictures import draw_tokens
from moekit.evaluation.used import outcome_in_words, used_model, used_point
from moekit.evaluation.worst import draw_worst
from moekit.files import check_writable, write_json
from moekit.plugins.registry import Registry
from moekit.plugins.resolve import Resolved, resolve
from moekit.runs.choices import MEAN, keep, kept_model, model_in_words
from moekit.runs.facts import backbone_facts, machine, now, plugin_facts, versions
from moekit.runs.licences import licences_of_answers
from moekit.runs.pretrained import images_before
from moekit.runs.run import PREDICTIONS, Run, hashes_of
from moekit.runs.schema import as_recorded
from moekit.runs.seen import count_seen
from moekit.runtime.load import (
    load_predictor,
    point_in_words,
    point_of,
    points_of,
    preprocess_of,
)
from moekit.sealed import write_sealed

SCHEMA = 1
OnProgress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateJob:
    """What `evaluate` is asked to do.

    Attributes:
        kit: The kit.
        dataset: Split data.
        run: The run folder of its adaptation.
        split: The split to answer.
        rule: How the point is chosen on the validation split, which is then kept with the run; the
            kept rule if empty.
        batch_size: Images a forward pass.
        seed: Of the bootstrap.
        precision: fp32, bf16, or that of the adaptation if None.
        metrics: Names of metrics that are reported after the kit's and the run's own.
        use: Which model answers from now on, see `kept_model`; the kept one if None.
        duplicates: What happens to equal files in two splits, `keep`, `drop` or `refuse`; as the
            run was made if None.
        near_duplicates: Whether near-duplicates of the split are looked for among what the run
            learned from; if not, the result says so.
        command: The command line, for the record.
    """

    kit: KitSpec
    dataset: Dataset
    run: Run
    split: str = "test"
    rule: str = ""
    batch_size: int = 16
    seed: int = 0
    precision: str | None = None
    metrics: Sequence[str] = ()
    use: str | None = None
    duplicates: str | None = None
    near_duplicates: bool = True
    command: str = ""


def evaluate(
    job: EvaluateJob, *, backbone: MoEBackbone, registry: Registry, on_progress: OnProgress
) -> dict[str, Any]:
    """Answers one split with the trained kit and its baseline, and writes the result into the run.

    Writes result.json, the split's tallies, routing.json, overlays/, and tokens/ if not all tokens
    are computed.

    Returns:
        The content of result.json.

    Raises:
        DataError: The split is empty or unreadable, or its samples do not fit the run.
        StorageError: The run cannot be written; raised before anything is answered.
        WeightsError: The run does not fit the backbone.
    """
    check_writable(job.run.folder, *(job.run.folder / one for one in ("overlays", "tokens")))
    with PictureSpool(job.run.folder) as spool:
        return _evaluate(job, backbone, registry, on_progress, spool)


def _evaluate(
    job: EvaluateJob,
    backbone: MoEBackbone,
    registry: Registry,
    on_progress: OnProgress,
    spool: PictureSpool,
) -> dict[str, Any]:
    record = job.run.read_finished()
    check_fits(job.run, job.dataset)
    resolved, added = resolved_of(job, registry)
    task = resolved.task
    model = kept_model(job.run, job.use)
    registry.tell("run_started", _event(job, record["request"]))
    predictor = load_predictor(
        job.run,
        job.kit,
        backbone=backbone,
        registry=registry,
        with_baseline=True,
        precision=job.precision,
        model=model,
    )
    context = resolved.context(
        classes=job.dataset.classes,
        frame=job.run.frame(),
        kinds=predictor.kit.kinds,
        words=job.dataset.words,
    )
    points = points_of(job.run, resolved, rule=job.rule)
    if model == MEAN:
        points = (*points, point_of(job.run, resolved, rule=job.rule, model=model))
    contents = Contents()
    inputs = fingerprints(job.dataset, (job.split,), contents, on_progress=on_progress)
    unlearned = unlearned_of(job, contents)
    job = dataclasses.replace(job, dataset=unlearned.dataset)
    if unlearned.found:
        inputs = fingerprints(job.dataset, (job.split,), contents)
    samples = job.dataset.split(job.split)
    table = RoutingTable(
        classes=job.dataset.classes if task.labelled else ("all",),
        kit=resolved.kit,
        depth=len(backbone.blocks),
    )
    near = NearSearch(job.run, job.dataset, job.split, wanted=job.near_duplicates)
    predictor.with_cells = near.wants_cells
    passed = pass_over(
        samples,
        predictor,
        preprocess_of(job.run, backbone),
        task=task,
        context=dataclasses.replace(context, points=points),
        models=len(points) if model == MEAN else 2,
        batch_size=job.batch_size,
        on_progress=functools.partial(on_progress, f"scoring, {job.split}"),
        routing=table,
        keep=True,
        spool=spool,
        on_cells=near.add,
    )
    check_passed(passed, job.dataset)
    refuse_changes(
        inputs,
        fingerprints(job.dataset, (job.split,), contents),
        whose=job.dataset.name,
        fix="let nothing write to the data, then evaluate again",
    )
    tallies = passed.tallies[: min(len(points), 2)]
    summary = summarise(
        tallies,
        points[:2],
        resolved.metrics,
        task=task,
        seed=job.seed,
        optional=not resolved.kit.metrics and not added,
        baseline=resolved.kit.baseline_name or BASELINE_NAME,
    )
    used = used_model(
        model,
        passed.tallies,
        points,
        resolved.metrics,
        seed=job.seed,
        why=model_in_words(job.run, model),
    )
    made_up, told = _make_up(job, record, task.labelled)
    told += _seen_before(job, contents)
    answered = [item.sample for item in passed.items if item.sample is not None]
    twins = near.finish(
        Answered(
            samples=answered,
            tally=tallies[0],
            point=points[0],
            metrics=resolved.metrics,
            known=summary["metrics"],
            picture=spool.__getitem__,
            seed=job.seed,
        ),
        device=predictor.device,
        on_progress=in_steps_of(f"looking for near-duplicates, {job.split}", on_progress),
    )
    summary["notes"] = [*summary["notes"], *told, *twins["in_words"]]
    result = {
        **header(job, resolved, context, points[0], seed=record["request"]["seed"]),
        **summary,
        "notes": [
            *job.dataset.notes,
            *gap_notes(job.dataset, (job.split,)),
            *passed.remarks,
            *summary["notes"],
            *job.run.unsealed(),
        ],
        "used": used,
        "outcome_in_words": outcome_in_words(model, passed.tallies, points, task, context),
        "point_in_words": list(point_in_words(used_point(model, points))),
        "class_counts": made_up,
        "near_duplicates": twins,
        "throughput": {
            "images_per_s": len(passed.items) / passed.seconds,
            "batch_size": job.batch_size,
            "precision": predictor.arithmetic,
            "device": predictor.device.type,
        },
        "backbone": {
            **backbone_facts(backbone),
            "top_k": predictor.top_k,
            "tokens": None if predictor.tokens is None else predictor.tokens.as_json(),
        },
        **({} if job.run.placement() == "trunk" else {"placement": job.run.placement()}),
        "weights": record["weights"],
        "parameters": record["parameters"],
        "training": record["training"],
        "plugins": plugin_facts(registry.used()),
        "licences": licences_of_answers(record, job.dataset),
        "skipped": [dataclasses.asdict(skip) for skip in (*job.dataset.skipped, *passed.skipped)],
        "versions": versions(),
        "machine": machine(),
        "data": job.dataset.terms,
        "inputs": inputs,
        "learned_from": unlearned.as_json,
        "created": now(),
        "command": job.command,
    }
    folder = job.run.folder
    written = task.judge.save(folder, PREDICTIONS, tallies)
    write_json(folder / "routing.json", table.as_json())
    result["files"] = hashes_of(folder, [*written, "routing.json"])
    draw_tokens(folder / "tokens", answered, predictor, preprocess_of(job.run, backbone))
    draw_worst(folder / "overlays", passed, spool, points[0], task=task, context=context)
    result = write_sealed(folder / "result.json", result)
    keep(job.run, rule=job.rule, use=job.use)
    registry.tell("run_finished", _event(job, result))
    return result


def resolved_of(job: EvaluateJob, registry: Registry) -> tuple[Resolved, tuple[str, ...]]:
    """The kit of a job, and the metrics that the run and the job add to its own.

    Raises:
        DataError: The run names a metric that nobody provides.
        UsageError: The job does.
    """
    kept = tuple(job.run.read()["request"].get("metrics", ()))
    added = (*kept, *job.metrics)
    with as_recorded(job.run.record, "request.metrics"):
        resolve(job.kit, registry, frames=job.dataset.frames, added=kept)
    return resolve(job.kit, registry, frames=job.dataset.frames, added=added), added


def _make_up(
    job: EvaluateJob, record: Mapping[str, Any], labelled: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    """Items of each class by split and how far splits lie apart; and what of it matters.

    None if items have no one class, if a run did not record it, or if the training split
    holds one class by design.
    """
    known = record.get("class_counts") or {}
    if not labelled or not known or record["request"].get("negatives_only"):
        return None, []
    found = count_classes(job.dataset.split(job.split), job.dataset.classes)
    if set(found) != set(known.get("val", found)):  # names of two classes may differ
        found = dict(zip(known["val"], found.values(), strict=True)) if found else {}
    counts = {**known, **({job.split: found} if found and job.split not in known else {})}
    shifts, told = shifts_in_words(counts, job.split)
    return {"counts": counts, "shifts": shifts}, told


def unlearned_of(job: EvaluateJob, contents: Contents) -> Unlearned:
    """The data of a job without images of the split that its run has learned from.

    Raises:
        DataError: The split is empty, or nothing is left of it.
    """
    return without_learned(job.run, job.dataset, job.split, contents, duplicates=job.duplicates)


def _seen_before(job: EvaluateJob, contents: Contents) -> list[str]:
    """A sentence if images of the split were in the pretraining that the run began with."""
    seen = images_before(job.run)
    samples = job.dataset.split(job.split)
    count = count_seen(samples, seen, contents)
    if not count:
        return []
    return [
        f"{count} of {len(samples)} images were seen in the pretraining that the run began with: "
        "figures on them are too good"
    ]


def check_passed(passed: Passed, dataset: Dataset) -> None:
    """Refuses a pass that read nothing.

    Raises:
        DataError: Not one image could be read.
    """
    if not passed.items:
        raise DataError(
            "not one image of the split could be read",
            whose=dataset.name,
            fix=f"check the images; the first fault: {passed.skipped[0].reason}",
            code="data/none-readable",
        )


def header(
    job: EvaluateJob, resolved: Resolved, context: TaskContext, point: Any, *, seed: int
) -> dict[str, Any]:
    """What a result says before its figures."""
    return {
        "schema": SCHEMA,
        "kit": job.kit.name,
        "task": resolved.task.name,
        "dataset": job.dataset.name,
        "split": job.split,
        "split_note": job.dataset.split_note,
        "seed": seed,
        "bootstrap_seed": job.seed,
        "frames": job.dataset.frames,
        "classes": list(job.dataset.classes),
        **resolved.task.judge.words(context, point),
        "disclaimer": job.kit.disclaimer,
    }


def check_fits(run: Run, dataset: Dataset) -> None:
    """Refuses data that a run cannot answer: of other classes, by number or name, or other frames.

    Raises:
        DataError: They do not fit.
    """
    trained, frames = run.frames(), dataset.frames
    if trained != frames:
        raise DataError(
            f"the run was trained on {_frames(trained)}, the data set has {_frames(frames)}",
            whose=dataset.name,
            fix="load the data with as many frames as the run was trained on, or name another run",
            code="data/frame-count",
        )
    learned, given = run.classes(), dataset.classes
    # The order tells two classes apart: sets name them as they like.
    if len(learned) != len(given) or (len(given) > 2 and learned != given):
        raise DataError(
            f"the run was trained on the classes {', '.join(learned[:5])}, the data have "
            f"{', '.join(given[:5])}",
            whose=dataset.name,
            fix="give data with the same classes, or name another run",
            code="data/other-classes",
        )


def _frames(number: int) -> str:
    return "images of one frame" if number == 1 else f"stacks of {number} frames"


def _event(job: EvaluateJob, record: Mapping[str, Any]) -> RunEvent:
    return RunEvent(
        command="evaluate",
        folder=job.run.folder,
        kit=job.kit.name,
        dataset=job.dataset.name,
        record=record,
    )
