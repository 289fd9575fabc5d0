"""A run's trained kit as a graph in a folder, checked before it is there.

Shapes: B images or stacks.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moekit.data.samples import Dataset, Sample
from moekit.data.stream import Preprocess, image_batches
from moekit.errors import DataError, UsageError
from moekit.export.graph import INPUT, write_onnx
from moekit.export.libraries import need
from moekit.export.parity import BATCHES, check_parity
from moekit.export.predictor import ExportedPredictor, ExportPrecision
from moekit.export.program import KitProgram
from moekit.export.quantise import kept_in_float, quantise
from moekit.export.record import RECORD, SCHEMA, VALIDATION, weights_of
from moekit.export.sessions import Format, open_session, openvino_model
from moekit.files import atomic_folder, sha256, write_json
from moekit.runs.facts import machine, now, versions
from moekit.runs.run import Run
from moekit.runtime.predictor import Predictor
from moekit.tasks.score.accuracy import check_accuracy
from moekit.tasks.score.delong import delong_ci
from moekit.tasks.score.metrics import auroc
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.scoring import score_samples

CALIBRATION_IMAGES = 200
_LIBRARIES = ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
OnProgress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportTask:
    """What `export` is asked to do.

    Attributes:
        run: The run.
        dataset: The data that it was adapted on.
        out: The folder to make; an export that is there is replaced once the new one is whole.
        format: onnx or openvino.
        int8: Whether to quantise; OpenVINO alone.
        max_loss: Greatest loss by quantisation; see `check_accuracy`.
        batch_size: Images a forward pass when the validation split is scored.
        command: The command line, for the record.
    """

    run: Run
    dataset: Dataset
    out: Path
    format: Format = "openvino"
    int8: bool = False
    max_loss: float | None = None
    batch_size: int = 16
    command: str = ""


def export(
    task: ExportTask, *, predictor: Predictor, preprocess: Preprocess, on_progress: OnProgress
) -> dict[str, Any]:
    """Writes a graph that passed the parity gate, with its validation scores and its record.

    A graph in int8 is quantised from the one in float32 that passed, calibrated on images of the
    training split, and compared with it on the validation split.

    Args:
        task: What to do.
        predictor: The run's kit in float32 on the CPU.
        preprocess: How its images are read.
        on_progress: Called with a description, the images done and their total.

    Returns:
        The content of export.json.

    Raises:
        DataError: The data are not those of the run, or no image can be read.
        MoekitError: The graph is outside the tolerance, or int8 loses too much.
        PluginError: A part of the kit cannot be recorded as a graph.
        UsageError: A library is not installed, or int8 is asked of ONNX.
        StorageError: The folder cannot be written, or holds something else.
    """
    _check_task(task)
    record = task.run.read_finished()
    whose = str(record["request"]["kit"])
    validation = task.dataset.split("val")
    with atomic_folder(task.out, mark=RECORD) as folder:
        graph = folder / "model.onnx"
        on_progress("recording the graph", 0, 1)
        program = KitProgram.of(predictor, preprocess.shape)
        outputs = write_onnx(program, preprocess.shape, graph, whose=whose)
        on_progress("recording the graph", 1, 1)
        model = _load(task, graph)
        predictor_of = functools.partial(_predictor, task, kinds=predictor.kit.kinds)
        parity = check_parity(
            _images(validation, preprocess, sum(BATCHES)),
            graph=predictor_of(model, precision="fp32"),
            kit=predictor,
            whose=str(task.out),
        )
        facts: dict[str, Any] = {"parity": dataclasses.asdict(parity)}
        precision: ExportPrecision = "int8" if task.int8 else "fp32"
        score = functools.partial(_validate, task, validation, preprocess, on_progress=on_progress)
        scores = score(predictor_of(model, precision="fp32"), "fp32")
        if task.int8:
            calibration = _calibration(task, preprocess, on_progress)
            sparse = predictor.backbone.top_k < predictor.backbone.experts
            model = quantise(model, calibration, sparse=sparse)
            fp32, scores = scores, score(predictor_of(model, precision="int8"), "int8")
            accuracy = check_accuracy(
                fp32, scores, limit=task.max_loss, split="val", whose=str(task.out)
            )
            facts["quantisation"] = {
                "calibration": {"split": "train", "n": len(calibration)},
                "kept_in_float32": kept_in_float(sparse=sparse),
                "accuracy": dataclasses.asdict(accuracy),
            }
        scores.write_csv(folder / VALIDATION)
        name = _save(task, model, folder)
        files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        facts |= {"validation": _figures(scores), "files": files, "model": name}
        result = _record(task, record, predictor, preprocess, outputs, precision, facts)
        write_json(folder / RECORD, result)
    return result


def _check_task(task: ExportTask) -> None:
    if task.int8 and task.format != "openvino":
        raise UsageError(
            "int8 is made for OpenVINO alone",
            whose="--int8",
            fix="use --format openvino, or leave out --int8",
        )
    runtime = "onnxruntime" if task.format == "onnx" else "openvino"
    for name in ("onnx", "onnxscript", runtime, *(("nncf",) if task.int8 else ())):
        need(name)
    request = task.run.read_finished()["request"]
    given = {
        "dataset": task.dataset.name,
        "samples": len(task.dataset.samples),
        "frames": task.dataset.frames,
    }
    trained = {"frames": 1, **request}
    other = [name for name, value in given.items() if trained[name] != value]
    if other:
        raise DataError(
            f"the run was made with another {', '.join(other)} "
            f"({', '.join(str(trained[name]) for name in other)})",
            whose=task.dataset.name,
            fix="give the data that the run was adapted on: its validation split has the images "
            "for the thresholds",
        )


def _load(task: ExportTask, graph: Path) -> Any:
    """The graph as the format has it: the path of the ONNX file, or a model of OpenVINO."""
    return openvino_model(graph) if task.format == "openvino" else graph


def _save(task: ExportTask, model: Any, folder: Path) -> str:
    if task.format == "onnx":
        return "model.onnx"
    # Weights are kept in float32: rounded to float16 they would be other weights.
    need("openvino").save_model(model, folder / "model.xml", compress_to_fp16=False)
    for path in folder.glob("model.onnx*"):
        path.unlink()
    return "model.xml"


def _predictor(
    task: ExportTask, model: Any, *, precision: ExportPrecision, kinds: Sequence[str]
) -> ExportedPredictor:
    session = open_session(model, format_=task.format, threads=torch.get_num_threads())
    return ExportedPredictor(session, precision=precision, kinds=kinds)


def _images(samples: Sequence[Sample], preprocess: Preprocess, count: int) -> Tensor:
    """Up to `count` samples that can be read, evenly spread, as a batch."""
    rows = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    inputs = [(samples[row].id, samples[row].path) for row in rows]
    batches = [batch.images for batch in image_batches(inputs, preprocess, batch_size=16)]
    images = torch.cat(batches)
    if not len(images):
        raise DataError(
            "not one image of a split could be read", whose=inputs[0][0], fix="check the images"
        )
    return images


def _calibration(
    task: ExportTask, preprocess: Preprocess, on_progress: OnProgress
) -> list[np.ndarray]:
    on_progress("quantising", 0, 1)
    images = _images(task.dataset.split("train"), preprocess, CALIBRATION_IMAGES)
    return [image[None].numpy() for image in images]


def _validate(
    task: ExportTask,
    samples: Sequence[Sample],
    preprocess: Preprocess,
    graph: ExportedPredictor,
    name: str,
    *,
    on_progress: OnProgress,
) -> Predictions:
    """Scores of the validation split by a graph."""
    scored = score_samples(
        samples,
        graph,
        preprocess,
        batch_size=task.batch_size,
        on_progress=functools.partial(on_progress, f"scoring in {name}, val"),
    )
    return Predictions.of(scored.samples, scored.scores)


def _figures(scores: Predictions) -> dict[str, Any]:
    """AUROC of the validation split, where both classes are there."""
    area = auroc(scores.scores, scores.labels)
    ci95 = delong_ci(scores.scores, scores.labels, scores.groups)
    known = not np.isnan(area)
    return {
        "split": "val",
        "n": len(scores),
        "auroc": area if known else None,
        "ci95": list(ci95) if known and not np.isnan(ci95[0]) else None,
    }


def _record(
    task: ExportTask,
    record: dict[str, Any],
    predictor: Predictor,
    preprocess: Preprocess,
    outputs: Sequence[str],
    precision: ExportPrecision,
    facts: dict[str, Any],
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "format": task.format,
        "precision": precision,
        "kit": record["request"]["kit"],
        **weights_of(record),
        "backbone": record["backbone"],
        "plugins": record["plugins"],
        "dataset": task.dataset.name,
        "seed": record["request"]["seed"],
        "input": {"name": INPUT, "shape": ["batch", *preprocess.shape], "dtype": "float32"},
        "outputs": list(outputs),
        "kinds": list(predictor.kit.kinds),
        "scoring_views": {"number": predictor.views, "averaged": "inside the graph"},
        "preprocess": dataclasses.asdict(preprocess),
        **facts,
        "versions": {**versions(), **_library_versions()},
        "machine": machine(),
        "caution": task.dataset.caution,
        "created": now(),
        "command": task.command,
    }


def _library_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
