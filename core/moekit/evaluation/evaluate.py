"""Evaluation of a run on one split: scores, metrics with intervals, routing, worst misses."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from moekit.backbone.model import MoEBackbone
from moekit.contract.kits import KitSpec
from moekit.contract.recipe import Recipe
from moekit.contract.report import RunEvent
from moekit.data.samples import Dataset
from moekit.data.stream import Preprocess, image_batches
from moekit.errors import DataError, WeightsError
from moekit.evaluation.routing import RoutingTable
from moekit.evaluation.summary import summarise
from moekit.files import write_json
from moekit.moe.stats import RoutingTrace
from moekit.plugins.changes import kit_of_frames, map_metrics_of, metrics_of
from moekit.plugins.registry import Registry
from moekit.runs.facts import backbone_facts, machine, now, plugin_facts, versions
from moekit.runs.run import Run
from moekit.runtime.device import pick_arithmetic
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor
from moekit.tasks.score.localisation import localise
from moekit.tasks.score.map_summary import with_map_metrics
from moekit.tasks.score.misses import draw_misses
from moekit.tasks.score.predictions import RECOGNISED, Predictions
from moekit.tasks.score.scoring import Scored, score_samples
from moekit.tasks.score.threshold import OperatingPoint, choose_threshold
from moekit.tasks.score.words import data_facts, words_of
from moekit.training.adapt import baseline_of

SCHEMA = 1
TRACED_IMAGES = 128
OnProgress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` is asked to do.

    Attributes:
        kit: The kit.
        dataset: Split data.
        run: The run folder of its adaptation.
        split: The split to score.
        rule: How the operating threshold is chosen on the validation scores.
        batch_size: Images a forward pass.
        seed: Of the bootstrap.
        precision: fp32, bf16, or that of the adaptation where None.
        command: The command line, for the record.
    """

    kit: KitSpec
    dataset: Dataset
    run: Run
    split: str = "test"
    rule: str = "accuracy"
    batch_size: int = 16
    seed: int = 0
    precision: str | None = None
    command: str = ""


def check_kit(run: Run, kit: KitSpec) -> None:
    """Refuses a run of another kit.

    Raises:
        DataError: The run is of another kit, or not finished.
    """
    made_by = run.read_finished()["request"]["kit"]
    if made_by.rpartition("/")[2] != kit.name:
        raise DataError(
            f"the run was made by the kit {made_by}, not {kit.name}",
            whose=str(run.folder),
            fix=f"name the kit {made_by}, or another run",
        )


def load_predictor(
    run: Run,
    kit: KitSpec,
    *,
    backbone: MoEBackbone,
    registry: Registry,
    with_baseline: bool,
    precision: str | None = None,
) -> Predictor:
    """A run's trained kit on the backbone that it was trained on.

    Raises:
        DataError: The run is not finished or is of another kit.
        WeightsError: The backbone is another one, or the trained weights are damaged.
    """
    record = run.read_finished()
    request = record["request"]
    check_kit(run, kit)
    if request["backbone_sha256"] != backbone.provenance.sha256:
        raise WeightsError(
            f"the run was trained on other backbone weights ({record['backbone']['origin']})",
            whose=str(run.folder),
            fix="pass the weights that it was trained on with --weights",
        )
    backbone.top_k = request["top_k"]
    if request.get("computes", backbone.provenance.sha256) != backbone.computes:
        raise WeightsError(
            f"the run was trained at top_k {backbone.top_k} with another sparse form "
            f"({record['backbone']['sparse_form']})",
            whose=str(run.folder),
            fix="pass the form that it was trained with with --form",
        )
    kit = kit_of_frames(kit, run.frames())
    device = next(backbone.parameters()).device
    parts = {"kit": kit, "baseline": baseline_of(kit)} if with_baseline else {"kit": kit}
    loaded = {}
    for name, spec in parts.items():
        modules = KitModules(spec=spec, registry=registry, backbone=backbone)
        run.load_weights(name, modules, expected=record["weights"][f"{name}_sha256"])
        loaded[name] = modules.to(device)
    return Predictor(
        backbone=backbone,
        kit=loaded["kit"],
        baseline=loaded.get("baseline"),
        arithmetic=pick_arithmetic(precision or record["arithmetic"], device),
        views=Recipe.model_validate(request["recipe"]).scoring_views,
    )


def preprocess_of(run: Run, backbone: MoEBackbone) -> Preprocess:
    """How the run's images are read."""
    recipe = Recipe.model_validate(run.read_finished()["request"]["recipe"])
    return Preprocess(
        size=recipe.image_size, mean=backbone.mean, std=backbone.std, frames=run.frames()
    )


def evaluate(
    task: Evaluation, *, backbone: MoEBackbone, registry: Registry, on_progress: OnProgress
) -> dict[str, Any]:
    """Scores one split with the trained kit and its baseline, and writes the result into the run.

    Writes result.json, predictions.csv, routing.json and overlays/.

    Returns:
        The content of result.json.

    Raises:
        DataError: The split is empty or unreadable, or its samples have not as many frames as those
            that the run was trained on.
        WeightsError: The run does not fit the backbone.
    """
    record = task.run.read_finished()
    _check_frames(task)
    task = dataclasses.replace(task, kit=kit_of_frames(task.kit, task.dataset.frames))
    metrics_of(task.kit, registry)
    map_metrics_of(task.kit, registry)
    registry.tell("run_started", _event(task, record["request"]))
    samples = task.dataset.split(task.split)
    predictor = load_predictor(
        task.run,
        task.kit,
        backbone=backbone,
        registry=registry,
        with_baseline=True,
        precision=task.precision,
    )
    preprocess = preprocess_of(task.run, backbone)
    scored = score_samples(
        samples,
        predictor,
        preprocess,
        batch_size=task.batch_size,
        on_progress=functools.partial(on_progress, f"scoring, {task.split}"),
    )
    if not scored.samples:
        raise DataError(
            "not one image of the split could be read",
            whose=task.dataset.name,
            fix=f"check the images; the first fault: {scored.skipped[0].reason}",
        )
    predictions = Predictions.of(scored.samples, scored.scores, scored.baseline_scores)
    if scored.kinds:
        predictions = predictions.with_fact(RECOGNISED, scored.kinds)
    validation = Predictions.read_csv(task.run.validation)
    point = choose_threshold(validation.scores, validation.labels, rule=task.rule)
    routing = _trace(task, scored, predictor, preprocess, backbone)
    result = {
        **_header(task, point, seed=record["request"]["seed"]),
        **_summary(task, scored, predictions, validation, point, registry),
        "throughput": {
            "images_per_s": len(scored.samples) / scored.seconds,
            "batch_size": task.batch_size,
            "precision": predictor.arithmetic,
            "device": predictor.device.type,
        },
        "backbone": backbone_facts(backbone),
        "weights": record["weights"],
        "parameters": record["parameters"],
        "training": record["training"],
        "plugins": plugin_facts(registry.used()),
        "skipped": [dataclasses.asdict(skip) for skip in (*task.dataset.skipped, *scored.skipped)],
        "versions": versions(),
        "machine": machine(),
        "data": data_facts(task.dataset),
        "created": now(),
        "command": task.command,
    }
    predictions.write_csv(task.run.folder / "predictions.csv")
    write_json(task.run.folder / "routing.json", routing)
    draw_misses(
        task.run.folder / "overlays",
        scored.samples,
        scored.maps,
        predictions,
        point.threshold,
        frames=task.dataset.frames,
    )
    write_json(task.run.folder / "result.json", result)
    registry.tell("run_finished", _event(task, result))
    return result


def _check_frames(task: Evaluation) -> None:
    trained, given = task.run.frames(), task.dataset.frames
    if trained != given:
        raise DataError(
            f"the run was trained on {_frames(trained)}, the data set has {_frames(given)}",
            whose=task.dataset.name,
            fix="load the data with as many frames as the run was trained on, or name another run",
        )


def _frames(number: int) -> str:
    return "images of one frame" if number == 1 else f"stacks of {number} frames"


def _event(task: Evaluation, record: Mapping[str, Any]) -> RunEvent:
    return RunEvent(
        command="evaluate",
        folder=task.run.folder,
        kit=task.kit.name,
        dataset=task.dataset.name,
        record=record,
    )


def _header(task: Evaluation, point: OperatingPoint, *, seed: int) -> dict[str, Any]:
    kit = task.kit
    return {
        "schema": SCHEMA,
        "kit": kit.name,
        "dataset": task.dataset.name,
        "split": task.split,
        "split_note": task.dataset.split_note,
        "seed": seed,
        "bootstrap_seed": task.seed,
        "frames": task.dataset.frames,
        "classes": list(task.dataset.classes),
        **words_of(kit, task.dataset),
        "disclaimer": kit.disclaimer,
        "threshold": point.as_json(),
    }


def _summary(
    task: Evaluation,
    scored: Scored,
    predictions: Predictions,
    validation: Predictions,
    point: OperatingPoint,
    registry: Registry,
) -> dict[str, Any]:
    baseline_threshold = None
    if validation.baseline_scores is not None:
        baseline_threshold = choose_threshold(
            validation.baseline_scores, validation.labels, rule=task.rule
        ).threshold
    summary = summarise(
        predictions,
        metrics_of(task.kit, registry),
        point.threshold,
        seed=task.seed,
        baseline_threshold=baseline_threshold,
    )
    wanted = map_metrics_of(task.kit, registry)
    if not wanted:
        return {**summary, "localisation": None, "notes": []}
    found = localise(scored.samples, scored.sizes, scored.maps, scored.baseline_maps)
    return with_map_metrics(summary, predictions, wanted, found, seed=task.seed)


def _trace(
    task: Evaluation,
    scored: Scored,
    predictor: Predictor,
    preprocess: Preprocess,
    backbone: MoEBackbone,
) -> dict[str, Any]:
    """Routing of up to `TRACED_IMAGES` images, evenly spread over the split."""
    rows = np.unique(np.linspace(0, len(scored.samples) - 1, TRACED_IMAGES).round().astype(int))
    chosen = [scored.samples[row] for row in rows]
    table = RoutingTable(classes=task.dataset.classes, kit=task.kit, depth=len(backbone.blocks))
    inputs = [(sample.id, sample.path) for sample in chosen]
    for batch in image_batches(inputs, preprocess, batch_size=task.batch_size):
        if batch.rows:
            trace = RoutingTrace()
            predictor(batch.images, trace=trace)
            labels = [chosen[row].label for row in batch.rows]
            table.add(trace, np.repeat(labels, preprocess.frames))
    return {**table.as_json(), "n": len(chosen)}
