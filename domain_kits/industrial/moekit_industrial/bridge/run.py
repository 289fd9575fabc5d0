"""A model of anomalib as a baseline: fitted and judged on moekit's splits by moekit's metrics."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    resolve_model_data_config,
)
from torch import nn

from moekit import (
    DataError,
    Dataset,
    KitSpec,
    Outputs,
    Predictions,
    Provenance,
    Registry,
    Sample,
    TaskContext,
)
from moekit.backbone import WeightFile
from moekit.data import Preprocess
from moekit.evaluation import Passed, PictureSpool, draw_worst, pictured, summarise
from moekit.files import atomic_text, check_writable, sha256
from moekit.occupied import occupied
from moekit.outputs import check_vacant
from moekit.runs import licences_of_run, machine, now, plugin_facts, versions
from moekit.runtime import resolve
from moekit.sealed import write_sealed
from moekit.tables import CsvWriter
from moekit.tasks.score import SCORE, OperatingPoint, Places, choose_threshold, delong_ci
from moekit_industrial.bridge.batches import Batches
from moekit_industrial.bridge.fit import Fitting, fit_model
from moekit_industrial.bridge.fitted import save_fitted
from moekit_industrial.bridge.library import AnomalibModule
from moekit_industrial.bridge.models import build_model, find_class, with_shared_backbone
from moekit_industrial.bridge.offline import offline
from moekit_industrial.bridge.resources import peak_memory
from moekit_industrial.bridge.scores import RawModel, UnitMap, in_unit, score_raw
from moekit_industrial.bridge.weights import shared_weights

SCHEMA = 1
NAME = "anomalib"
"""What result.json calls the kit, and report sections know such runs by."""

OnProgress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is to be fitted and judged.

    Attributes:
        model: Name of a class of anomalib.models, or the path of one.
        arguments: Its arguments.
        dataset: Split data.
        out: A new or empty folder.
        kit: Whose metrics and words are used.
        architecture: timm's name of the backbone.
        weights: Its weights.
        image_size: Side of the square input, in pixels.
        bits: As of `Recipe.bits`.
        fitting: How the model is fitted.
        batch_size: Images a forward pass, of fitting and of scoring.
        rule: How the operating threshold is chosen on the validation scores.
        command: The command line, for the record.
    """

    model: str
    arguments: Mapping[str, Any]
    dataset: Dataset
    out: Path
    kit: KitSpec
    architecture: str
    weights: WeightFile
    image_size: int
    fitting: Fitting
    batch_size: int
    rule: str
    command: str
    bits: int | None = None


def evaluate_baseline(
    job: Baseline, *, registry: Registry, on_progress: OnProgress
) -> dict[str, Any]:
    """Fits a model on the good training parts and scores the validation and the test split.

    Writes result.json, predictions.csv, validation.csv, raw_scores.csv, overlays/, model.json and
    model.safetensors.

    Returns:
        The content of result.json.

    Raises:
        DataError: The data cannot be used.
        UsageError: The model, its arguments or the folder.
        WeightsError: The model wants weights that are not there.
        PluginError: The model fails.
    """
    check_vacant(job.out)
    check_writable(job.out)
    with occupied(job.out), PictureSpool(job.out) as spool:
        return _evaluate(job, registry, on_progress, spool)


def _evaluate(
    job: Baseline, registry: Registry, on_progress: OnProgress, spool: PictureSpool
) -> dict[str, Any]:
    resolved = resolve(job.kit, registry)
    train, val, test = (_split(job.dataset, name) for name in ("train", "val", "test"))
    _check_rule(job.rule, val)
    model_class = find_class(job.model)
    arguments = with_shared_backbone(model_class, job.arguments, job.architecture)
    _seed(job.fitting.seed)
    with offline(model_class.__name__), shared_weights(job.architecture, job.weights) as built:
        model = build_model(model_class, arguments, image_size=job.image_size)
        # Models that fetch or build more when they begin to train are held to the same.
        preprocess = preprocess_of(model, job.image_size, bits=job.bits)
        fitted = _good(train, preprocess, job, shuffle=job.fitting.seed)
        shown = _good(val, preprocess, job)
        fitting = fit_model(model, fitted, shown, job.fitting)
    parts = {id(part) for part in model.modules()}
    backbones = [one for one in built if id(one) in parts]
    context = resolved.context(
        classes=job.dataset.classes, frame=preprocess.frame, words=job.dataset.words
    )
    models = {name: RawModel(model, job.fitting.device) for name in ("val", "test")}
    passes = {
        name: score_raw(
            models[name],
            samples,
            preprocess,
            context=context,
            batch_size=job.batch_size,
            on_progress=functools.partial(on_progress, f"scoring, {name}"),
            spool=spool if name == "test" else None,
        )
        for name, samples in (("val", val), ("test", test))
    }
    memory = peak_memory()
    raw = {name: passed.tallies[0] for name, passed in passes.items()}
    score_map, pixel_map = UnitMap.of(_of_good(raw["val"])), _pixel_map(raw["val"])
    validation, predictions = (in_unit(one, score_map, pixel_map) for one in raw.values())
    judge = resolved.task.judge
    point = judge.choose(validation, job.rule)
    digest = save_fitted(
        job.out,
        model,
        arguments,
        architecture=job.architecture,
        file=job.weights,
        image_size=job.image_size,
    )
    low, high = delong_ci(predictions.scores, predictions.labels, predictions.groups)
    used, read = models["test"].used, len(passes["test"].items)
    skipped = [*job.dataset.skipped, *fitted.skipped.values()]
    skipped += [skip for passed in passes.values() for skip in passed.skipped]
    summary = summarise(
        (predictions,), (point,), resolved.metrics, task=resolved.task, seed=job.fitting.seed
    )
    result = {
        **_header(job, model_class.__name__, judge.words(context, point), shared=bool(backbones)),
        "threshold": {**point.as_json(), "raw": score_map.inverse(point.threshold)},
        **summary,
        "notes": [*job.dataset.notes, *passes["test"].remarks, *summary["notes"]],
        "point_in_words": list(point.in_words()),
        "auroc_delong_ci95": None if np.isnan(low) else [float(low), float(high)],
        "model": {
            "class": f"{model_class.__module__}.{model_class.__qualname__}",
            "arguments": {name: _plain(value) for name, value in arguments.items()},
            "image_size": job.image_size,
            "max_steps": job.fitting.max_steps,
            "presample": job.fitting.presample,
            "shared_backbones": len(backbones),
            "score_map": dataclasses.asdict(score_map),
            "pixel_map": None if pixel_map is None else dataclasses.asdict(pixel_map),
        },
        "resources": {
            "fit_seconds": fitting.seconds,
            "fit_cpu_seconds": fitting.cpu_seconds,
            "peak_memory_bytes": memory,
            "images": {"train": len(train), "val": len(val), "test": len(test)},
        },
        "throughput": {
            "images_per_s": read / used.seconds,
            "images_per_cpu_s": read / used.cpu_seconds,
            "batch_size": job.batch_size,
            "precision": "fp32",
            "device": job.fitting.device.type,
        },
        "backbone": _backbone_facts(job, shared=bool(backbones)),
        "weights": {"kit_sha256": digest},
        "parameters": _parameters(model, backbones),
        "training": {"kit": {"seconds": round(fitting.seconds, 1)}},
        "plugins": plugin_facts(registry.used()),
        "licences": licences_of_run(
            _provenance(job) if backbones else None, registry.used(), job.dataset
        ),
        "skipped": [dataclasses.asdict(skip) for skip in skipped],
        "versions": {**versions(), NAME: importlib.metadata.version(NAME)},
        "machine": machine(),
        "data": job.dataset.terms,
        "created": now(),
        "command": job.command,
    }
    written = judge.save(job.out, "validation", (validation,))
    written += judge.save(job.out, "predictions", (predictions,))
    result["files"] = {name: sha256(job.out / name) for name in written}
    _write_raw(job.out / "raw_scores.csv", raw)
    _draw_worst(job.out / "overlays", passes["test"], spool, predictions, point, context)
    return write_sealed(job.out / "result.json", result)


def preprocess_of(model: nn.Module, image_size: int, *, bits: int | None = None) -> Preprocess:
    """How images are read: a square, normalised as timm says of the first backbone found.

    A model without a timm backbone gets the mean and standard deviation of ImageNet.
    """
    for part in model.modules():
        if isinstance(getattr(part, "pretrained_cfg", None), dict):
            config = resolve_model_data_config(part)
            mean, std = tuple(config["mean"]), tuple(config["std"])
            break
    else:
        mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    return Preprocess(size=image_size, mean=mean, std=std, bits=bits)


def _split(dataset: Dataset, name: str) -> tuple[Sample, ...]:
    samples = dataset.split(name)
    if dataset.frames != 1:
        raise DataError(
            f"the samples are stacks of {dataset.frames} frames, and anomalib's models take images",
            whose=dataset.name,
            fix="load single images",
            code="data/frame-count",
        )
    if name == "train" and all(sample.label for sample in samples):
        raise DataError(
            "the train split holds no good part",
            whose=dataset.name,
            fix="anomalib's models learn from good parts; add some",
            code="data/no-good-image",
        )
    return samples


def _check_rule(rule: str, val: tuple[Sample, ...]) -> None:
    """Says before the fitting, not after it, that a rule is unknown or needs more samples."""
    labels = np.array([sample.label for sample in val])
    groups = [sample.group or "" for sample in val]
    spread = np.linspace(0.1, 0.9, len(labels))
    choose_threshold(spread, labels, rule=rule, groups=groups if any(groups) else None)


def _good(
    samples: tuple[Sample, ...], preprocess: Preprocess, job: Baseline, shuffle: int | None = None
) -> Batches:
    return Batches(
        [sample for sample in samples if not sample.label],
        preprocess,
        batch_size=job.batch_size,
        shuffle_seed=shuffle,
    )


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _of_good(raw: Predictions) -> np.ndarray:
    good = raw.labels == 0
    return raw.scores[good] if good.any() else raw.scores


def _places(scored: Predictions) -> Places:
    assert scored.places is not None
    return scored.places


def _pixel_map(raw: Predictions) -> UnitMap | None:
    maps = [
        one
        for label, one in zip(raw.labels, _places(raw).maps, strict=True)
        if one is not None and not label
    ]
    return UnitMap.of(np.stack(maps)) if maps else None


def _draw_worst(
    folder: Path,
    passed: Passed,
    spool: PictureSpool,
    scored: Predictions,
    point: OperatingPoint,
    context: TaskContext,
) -> None:
    """Draws the worst misses, and some of what was found."""
    outputs: list[Outputs] = [{}] * len(scored)
    for row in np.concatenate([one.rows for one in pictured(scored, point, SCORE)]):
        given = {"logit_B": torch.logit(torch.tensor([scored.scores[row]]))}
        evidence = _places(scored).maps[row]
        if evidence is not None:
            given["map_BHW"] = torch.from_numpy(np.clip(evidence, 0, 1))[None]
        outputs[row] = given
    drawn = dataclasses.replace(passed, tallies=(scored,), outputs=outputs)
    draw_worst(folder, drawn, spool, point, task=SCORE, context=context)


def _header(job: Baseline, name: str, words: Mapping[str, Any], *, shared: bool) -> dict[str, Any]:
    version = importlib.metadata.version(NAME)
    return {
        "schema": SCHEMA,
        "kit": NAME,
        "task": SCORE.name,
        "foreign": f"{name} of anomalib {version}",
        "dataset": job.dataset.name,
        "split": "test",
        "split_note": job.dataset.split_note,
        "seed": job.fitting.seed,
        "bootstrap_seed": job.fitting.seed,
        "frames": 1,
        "classes": list(job.dataset.classes),
        **words,
        "disclaimer": (
            f"A baseline: {name} of anomalib {version}, "
            + (f"on the backbone {job.architecture}" if shared else "which uses no shared weights")
            + ", fitted on the good training parts. Its raw scores are brought between 0 and 1 by "
            "a strictly rising map; none is clamped."
        ),
    }


def _provenance(job: Baseline) -> Provenance:
    file = job.weights
    return Provenance(
        architecture=job.architecture,
        source=file.source,
        origin=file.origin,
        sha256=file.sha256,
        licence=file.licence,
        note=file.note,
    )


def _backbone_facts(job: Baseline, *, shared: bool) -> dict[str, Any]:
    if not shared:
        named = ("architecture", "source", "origin", "sha256", "licence", "note", "provenance")
        return {**dict.fromkeys(named, "none"), "top_k": 1, "experts": 1}
    known = _provenance(job)
    return {
        **dataclasses.asdict(known),
        "provenance": f"{known.origin}. {known.note}",
        "top_k": 1,
        "experts": 1,
    }


def _parameters(model: AnomalibModule, backbones: list[nn.Module]) -> dict[str, int]:
    shared = {id(one) for backbone in backbones for one in backbone.parameters()}
    return {
        "trained": sum(one.numel() for one in model.parameters() if id(one) not in shared),
        "backbone": sum(one.numel() for one in model.parameters() if id(one) in shared),
        "buffers": sum(one.numel() for one in model.buffers()),
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def _write_raw(path: Path, raw: Mapping[str, Predictions]) -> None:
    with atomic_text(path) as file:
        writer = CsvWriter(file)
        writer.writerow(("split", "id", "label", "raw_score"))
        for split, one in raw.items():
            for name, label, score in zip(one.ids, one.labels, one.scores, strict=True):
                writer.writerow((split, name, int(label), repr(float(score))))
