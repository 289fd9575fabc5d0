"""A model of anomalib as a baseline: fitted and judged on moekit's splits by moekit's metrics."""

from __future__ import annotations

import csv
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

from moekit import DataError, Dataset, KitSpec, Registry, Sample, UsageError
from moekit.backbone.sources import WeightFile
from moekit.data.stream import Preprocess
from moekit.evaluation.summary import summarise
from moekit.files import atomic_text, write_json
from moekit.plugins.changes import map_metrics_of, metrics_of
from moekit.runs.facts import machine, now, plugin_facts, versions
from moekit.tasks.score.delong import delong_ci
from moekit.tasks.score.localisation import localise
from moekit.tasks.score.map_summary import with_map_metrics
from moekit.tasks.score.misses import draw_misses
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.threshold import choose_threshold
from moekit.tasks.score.words import data_facts, words_of
from moekit_industrial.bridge.batches import Batches
from moekit_industrial.bridge.fit import Fitting, fit_model
from moekit_industrial.bridge.fitted import save_fitted
from moekit_industrial.bridge.library import AnomalibModule
from moekit_industrial.bridge.models import build_model, find_class, with_shared_backbone
from moekit_industrial.bridge.offline import offline
from moekit_industrial.bridge.resources import peak_memory
from moekit_industrial.bridge.scores import RawScores, UnitMap, score_raw
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


def evaluate_baseline(
    task: Baseline, *, registry: Registry, on_progress: OnProgress
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
    if task.out.exists() and any(task.out.iterdir()):
        raise UsageError("the folder is not empty", whose=str(task.out), fix="choose another --out")
    metrics, map_metrics = metrics_of(task.kit, registry), map_metrics_of(task.kit, registry)
    train, val, test = (_split(task.dataset, name) for name in ("train", "val", "test"))
    _check_rule(task.rule, val)
    kind = find_class(task.model)
    arguments = with_shared_backbone(kind, task.arguments, task.architecture)
    _seed(task.fitting.seed)
    with offline(kind.__name__), shared_weights(task.architecture, task.weights) as built:
        model = build_model(kind, arguments, image_size=task.image_size)
        # Models that fetch or build more when they begin to train are held to the same.
        preprocess = preprocess_of(model, task.image_size)
        fitted = _good(train, preprocess, task, shuffle=task.fitting.seed)
        shown = _good(val, preprocess, task)
        fitting = fit_model(model, fitted, shown, task.fitting)
    parts = {id(part) for part in model.modules()}
    backbones = [one for one in built if id(one) in parts]
    scored = {
        name: score_raw(
            model,
            samples,
            preprocess,
            device=task.fitting.device,
            batch_size=task.batch_size,
            on_progress=functools.partial(on_progress, f"scoring, {name}"),
        )
        for name, samples in (("val", val), ("test", test))
    }
    memory = peak_memory()
    score_map = UnitMap.of(_of_good(scored["val"]))
    pixel_map = _pixel_map(scored["val"])
    validation = _predictions(scored["val"], score_map)
    predictions = _predictions(scored["test"], score_map)
    point = choose_threshold(validation.scores, validation.labels, rule=task.rule)
    maps = [_mapped(one, pixel_map) for one in scored["test"].maps]
    summary = summarise(predictions, metrics, point.threshold, seed=task.fitting.seed)
    found = localise(scored["test"].samples, scored["test"].sizes, maps)
    digest = save_fitted(
        task.out,
        model,
        arguments,
        architecture=task.architecture,
        file=task.weights,
        image_size=task.image_size,
    )
    low, high = delong_ci(predictions.scores, predictions.labels, predictions.groups)
    skipped = [*task.dataset.skipped, *fitted.skipped.values()]
    skipped += [skip for one in scored.values() for skip in one.skipped]
    result = {
        **_header(task, kind.__name__, shared=bool(backbones)),
        "threshold": {**point.as_json(), "raw": score_map.inverse(point.threshold)},
        **with_map_metrics(summary, predictions, map_metrics, found, seed=task.fitting.seed),
        "auroc_delong_ci95": None if np.isnan(low) else [float(low), float(high)],
        "model": {
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "arguments": {name: _plain(value) for name, value in arguments.items()},
            "image_size": task.image_size,
            "max_steps": task.fitting.max_steps,
            "presample": task.fitting.presample,
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
            "images_per_s": len(scored["test"].samples) / scored["test"].used.seconds,
            "images_per_cpu_s": len(scored["test"].samples) / scored["test"].used.cpu_seconds,
            "batch_size": task.batch_size,
            "precision": "fp32",
            "device": task.fitting.device.type,
        },
        "backbone": _backbone_facts(task, shared=bool(backbones)),
        "weights": {"kit_sha256": digest},
        "parameters": _parameters(model, backbones),
        "training": {"kit": {"seconds": round(fitting.seconds, 1)}},
        "plugins": plugin_facts(registry.used()),
        "skipped": [dataclasses.asdict(skip) for skip in skipped],
        "versions": {**versions(), NAME: importlib.metadata.version(NAME)},
        "machine": machine(),
        "data": data_facts(task.dataset),
        "created": now(),
        "command": task.command,
    }
    validation.write_csv(task.out / "validation.csv")
    predictions.write_csv(task.out / "predictions.csv")
    _write_raw(task.out / "raw_scores.csv", scored)
    draw_misses(
        task.out / "overlays",
        scored["test"].samples,
        [None if one is None else np.clip(2 * one - 1, 0, 1) for one in maps],
        predictions,
        point.threshold,
    )
    write_json(task.out / "result.json", result)
    return result


def preprocess_of(model: nn.Module, image_size: int) -> Preprocess:
    """How images are read: a square, normalised as timm says of the first backbone found.

    A model without a timm backbone gets the mean and standard deviation of ImageNet.
    """
    for part in model.modules():
        if isinstance(getattr(part, "pretrained_cfg", None), dict):
            config = resolve_model_data_config(part)
            return Preprocess(size=image_size, mean=tuple(config["mean"]), std=tuple(config["std"]))
    return Preprocess(size=image_size, mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD)


def _split(dataset: Dataset, name: str) -> tuple[Sample, ...]:
    samples = dataset.split(name)
    if dataset.frames != 1:
        raise DataError(
            f"the samples are stacks of {dataset.frames} frames, and anomalib's models take images",
            whose=dataset.name,
            fix="load single images",
        )
    if name == "train" and all(sample.label for sample in samples):
        raise DataError(
            "the train split holds no good part",
            whose=dataset.name,
            fix="anomalib's models learn from good parts; add some",
        )
    return samples


def _check_rule(rule: str, val: tuple[Sample, ...]) -> None:
    """Says before the fitting, not after it, that a rule is unknown or needs more samples."""
    labels = np.array([sample.label for sample in val])
    choose_threshold(np.linspace(0.1, 0.9, len(labels)), labels, rule=rule)


def _good(
    samples: tuple[Sample, ...], preprocess: Preprocess, task: Baseline, shuffle: int | None = None
) -> Batches:
    return Batches(
        [sample for sample in samples if not sample.label],
        preprocess,
        batch_size=task.batch_size,
        shuffle_seed=shuffle,
    )


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _of_good(scored: RawScores) -> np.ndarray:
    good = np.array([not sample.label for sample in scored.samples])
    return scored.scores[good] if good.any() else scored.scores


def _pixel_map(scored: RawScores) -> UnitMap | None:
    maps = [
        one
        for sample, one in zip(scored.samples, scored.maps, strict=True)
        if one is not None and not sample.label
    ]
    return UnitMap.of(np.stack(maps)) if maps else None


def _mapped(raw: np.ndarray | None, pixel_map: UnitMap | None) -> np.ndarray | None:
    return None if raw is None or pixel_map is None else pixel_map(raw)


def _predictions(scored: RawScores, score_map: UnitMap) -> Predictions:
    return Predictions.of(scored.samples, score_map(scored.scores))


def _header(task: Baseline, name: str, *, shared: bool) -> dict[str, Any]:
    version = importlib.metadata.version(NAME)
    return {
        "schema": SCHEMA,
        "kit": NAME,
        "foreign": f"{name} of anomalib {version}",
        "dataset": task.dataset.name,
        "split": "test",
        "split_note": task.dataset.split_note,
        "seed": task.fitting.seed,
        "bootstrap_seed": task.fitting.seed,
        "frames": 1,
        "classes": list(task.dataset.classes),
        **words_of(task.kit, task.dataset),
        "disclaimer": (
            f"A baseline: {name} of anomalib {version}, "
            + (f"on the backbone {task.architecture}" if shared else "which uses no shared weights")
            + ", fitted on the good training parts. Its raw scores are brought between 0 and 1 by "
            "a strictly rising map; none is clamped."
        ),
    }


def _backbone_facts(task: Baseline, *, shared: bool) -> dict[str, Any]:
    file = task.weights
    if not shared:
        named = ("architecture", "source", "origin", "sha256", "licence", "note", "provenance")
        return {**dict.fromkeys(named, "none"), "top_k": 1, "experts": 1}
    return {
        "architecture": task.architecture,
        "source": file.source,
        "origin": file.origin,
        "sha256": file.sha256,
        "licence": file.licence,
        "note": file.note,
        "provenance": f"{file.origin}. {file.note}",
        "sparse_form": None,
        "sparse_sha256": None,
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


def _write_raw(path: Path, scored: Mapping[str, RawScores]) -> None:
    with atomic_text(path) as file:
        writer = csv.writer(file)
        writer.writerow(("split", "id", "label", "raw_score"))
        for split, one in scored.items():
            for sample, score in zip(one.samples, one.scores, strict=True):
                writer.writerow((split, sample.id, sample.label, repr(float(score))))
