"""A run's trained kit as a graph in a folder, checked before it is there.

Shapes: B images or stacks.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moekit.contract.answers import TaskContext
from moekit.contract.metrics import MetricSpec
from moekit.contract.tasks import TaskSpec
from moekit.data.samples import Dataset, Sample
from moekit.data.stream import Preprocess, image_batches
from moekit.data.windows import cut_samples
from moekit.errors import DataError, MoekitError, UsageError
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.evaluate import check_passed
from moekit.evaluation.needs import headline
from moekit.evaluation.split_pass import pass_over
from moekit.evaluation.summary import difference_ci95, measure, value_of
from moekit.export.data import check_data
from moekit.export.graph import INPUT
from moekit.export.graphs import Graphs, OnProgress, WholeGraph, is_sparse
from moekit.export.libraries import library_versions, need
from moekit.export.parity import BATCHES
from moekit.export.predictor import ExportPrecision
from moekit.export.quantise import kept_in_float
from moekit.export.record import RECORD, SCHEMA, weights_of, write_card
from moekit.export.sessions import Format
from moekit.export.speed import check_faster
from moekit.export.split.graphs import SplitGraphs
from moekit.files import atomic_folder, sha256
from moekit.plugins.resolve import Resolved
from moekit.runs.choices import SPECIALIST, Model
from moekit.runs.facts import machine, now, versions
from moekit.runs.licences import licences_of_answers
from moekit.runs.run import VALIDATION, Run
from moekit.runtime.load import choose, point_in_words
from moekit.runtime.predictor import Compute, Predictor
from moekit.sealed import write_sealed

CALIBRATION_IMAGES = 200
LARGEST_LOSS = 0.01
"""Of the headline metric by quantisation, if the task has no comparison of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportJob:
    """What `export` is asked to do.

    Attributes:
        run: The run.
        dataset: The data that it was adapted on.
        out: The folder to make; an export that is there is replaced once the new one is whole.
        format: onnx or openvino.
        int8: Whether to quantise; OpenVINO only.
        max_loss: Greatest loss by quantisation; None for what the task says.
        allow_slower: Whether int8 may be no faster than float32 on this machine.
        batch_size: Images a forward pass when the validation split is scored.
        use: Which of the run's models it is.
        split: Whether the blocks that kits share are a graph of their own.
        prefix: Then the folder of an export whose prefix is used; None for one of its own.
        command: The command line, for the record.
    """

    run: Run
    dataset: Dataset
    out: Path
    format: Format = "openvino"
    int8: bool = False
    max_loss: float | None = None
    allow_slower: bool = False
    batch_size: int = 16
    use: Model = SPECIALIST
    split: bool = False
    prefix: Path | None = None
    command: str = ""


def export(
    job: ExportJob,
    *,
    resolved: Resolved,
    predictor: Predictor,
    preprocess: Preprocess,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Writes a graph that passed the parity gate, with its validation tallies and its record.

    A graph in int8 is quantised from the one in float32 that passed, calibrated on images of the
    training split, and compared with it on the validation split and by its speed.

    Args:
        job: What to do.
        resolved: The run's kit and task.
        predictor: The run's kit in float32 on the CPU.
        preprocess: How its images are read.
        on_progress: Called with a description, the images done and their total.

    Returns:
        The content of export.json.

    Raises:
        DataError: The data are not those of the run, or no image can be read.
        MoekitError: The graph is outside the tolerance, or int8 loses too much or is not faster.
        PluginError: A part of the kit cannot be recorded as a graph.
        UsageError: A library is not installed, int8 is asked of ONNX, or no graph can hold how the
            run routes tokens.
        StorageError: The folder cannot be written, or holds something else.
    """
    _check_task(job)
    splits = ("train", "val") if job.int8 else ("val",)
    data = check_data(job.run, job.dataset, splits, on_progress=on_progress)
    record = job.run.read_finished()
    whose, task = str(record["request"]["kit"]), resolved.task
    context = resolved.context(
        classes=job.run.classes(), frame=job.run.frame(), kinds=predictor.kit.kinds
    )
    validation = job.dataset.split("val")
    graphs = _graphs(job, predictor, preprocess, whose, data)
    with atomic_folder(job.out, mark=RECORD) as folder:
        on_progress("recording the graph", 0, 1)
        outputs = graphs.write(folder)
        on_progress("recording the graph", 1, 1)
        in_fp32 = graphs.compute("fp32")
        images = _images(validation, preprocess, sum(BATCHES))
        facts: dict[str, Any] = {
            "parity": graphs.parity(images),
            "data": data,
            "licences": licences_of_answers(record),
        }
        precision: ExportPrecision = "int8" if job.int8 else "fp32"
        tally_of = functools.partial(
            _validate,
            job,
            validation,
            preprocess,
            task=task,
            context=context,
            on_progress=on_progress,
        )
        tally = tally_of(in_fp32, "fp32")
        if job.int8:
            calibration = _calibration(job, preprocess)
            graphs.quantise(calibration, on_progress=on_progress)
            in_int8 = graphs.compute("int8")
            speed = check_faster(
                images,
                fp32=in_fp32,
                int8=in_int8,
                whose=str(job.out),
                allow_slower=job.allow_slower,
                on_progress=on_progress,
            )
            fp32, tally = tally, tally_of(in_int8, "int8")
            accuracy = _quantised(resolved, fp32, tally, job)
            facts["quantisation"] = {
                "calibration": {"split": "train", "n": len(calibration)},
                "kept_in_float32": kept_in_float(sparse=is_sparse(predictor)),
                "accuracy": accuracy,
                "speed": speed,
                **graphs.drift(images),
            }
        task.judge.save(folder, VALIDATION, (tally,))
        facts |= graphs.save(write_card(folder, facts["licences"]))
        files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
        facts |= {"validation": _figures(resolved, tally, job.run), "files": files}
        result = _record(job, record, predictor, preprocess, outputs, precision, facts)
        return write_sealed(folder / RECORD, result)


def _check_task(job: ExportJob) -> None:
    if job.int8 and job.format != "openvino":
        raise UsageError(
            "int8 is made for OpenVINO only",
            whose="--int8",
            fix="use --format openvino, or leave out --int8",
            code="usage/option-conflict",
        )
    runtime = "onnxruntime" if job.format == "onnx" else "openvino"
    for name in ("onnx", "onnxscript", runtime, *(("nncf",) if job.int8 else ())):
        need(name)
    request = job.run.read_finished()["request"]
    data = job.dataset
    given = {"dataset": data.name, "samples": len(data.samples), "frames": data.frames}
    trained = {"frames": 1, **request}
    other = [name for name, value in given.items() if trained[name] != value]
    if other:
        raise DataError(
            f"the run was made with another {', '.join(other)} "
            f"({', '.join(str(trained[name]) for name in other)})",
            whose=job.dataset.name,
            fix="give the data that the run was adapted on; the point is chosen on its "
            "validation split",
            code="data/other-data",
        )


def _graphs(
    job: ExportJob, predictor: Predictor, preprocess: Preprocess, kit: str, data: Mapping[str, Any]
) -> Graphs:
    if not job.split:
        return WholeGraph(predictor, preprocess, format_=job.format, kit=kit, out=job.out)
    train = data.get("train")
    return SplitGraphs(
        predictor,
        preprocess,
        format_=job.format,
        int8=job.int8,
        kit=kit,
        out=job.out,
        computes=str(weights_of(job.run.read_finished())["computes"]),
        calibration={"dataset": job.dataset.name, "split": "train", **train} if train else None,
        prefix=job.prefix,
    )


def _images(samples: Sequence[Sample], preprocess: Preprocess, count: int) -> Tensor:
    """Up to `count` samples that can be read, or windows of large ones, evenly spread."""
    samples = cut_samples(samples, preprocess.tiling)
    rows = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    inputs = [(samples[row].id, samples[row].path) for row in rows]
    windows = [samples[row].window for row in rows]
    at_once = dataclasses.replace(preprocess, tiling=None)
    batches = [
        batch.images for batch in image_batches(inputs, at_once, batch_size=16, windows=windows)
    ]
    images = torch.cat(batches)
    if not len(images):
        raise DataError(
            "not one image of a split could be read",
            whose=inputs[0][0],
            fix="check the images",
            code="data/none-readable",
        )
    return images


def _calibration(job: ExportJob, preprocess: Preprocess) -> list[np.ndarray]:
    images = _images(job.dataset.split("train"), preprocess, CALIBRATION_IMAGES)
    return [image[None].numpy() for image in images]


def _validate(
    job: ExportJob,
    samples: Sequence[Sample],
    preprocess: Preprocess,
    graph: Compute,
    name: str,
    *,
    task: TaskSpec,
    context: TaskContext,
    on_progress: OnProgress,
) -> Any:
    """The tally of the validation split by a graph."""
    passed = pass_over(
        samples,
        graph,
        preprocess,
        task=task,
        context=context,
        models=1,
        batch_size=job.batch_size,
        on_progress=functools.partial(on_progress, f"scoring in {name}, val"),
    )
    check_passed(passed, job.dataset)
    return passed.tallies[0]


def _headline(resolved: Resolved, tally: Any, run: Run) -> tuple[MetricSpec, Any]:
    """The kit's headline metric on such a tally, and the point that it is computed at."""
    point = choose(resolved, tally, None, run)
    metric = headline(resolved.metrics, tally, point)
    if metric is None:
        raise UsageError(
            "it has no metric of values, by which an export is judged",
            whose=f"kit {resolved.kit.name}",
            fix="give the kit a metric",
            code="usage/no-metric",
        )
    return metric, point


def _quantised(resolved: Resolved, fp32: Any, int8: Any, job: ExportJob) -> dict[str, Any]:
    """What int8 loses, by the task's own comparison or by the headline metric.

    Raises:
        MoekitError: It loses more than is allowed.
    """
    judge = resolved.task.judge
    judge.check((int8,))
    if judge.quantised is not None:
        return judge.quantised(fp32, int8, job.max_loss)
    metric, point = _headline(resolved, fp32, job.run)
    before, after = (value_of(metric, tally, point) for tally in (fp32, int8))
    loss = before - after if metric.higher_is_better else after - before
    limit = LARGEST_LOSS if job.max_loss is None else job.max_loss
    if not loss <= limit:
        raise MoekitError(
            f"int8 loses {loss:.4f} of {metric.name} on {len(int8)} images of the val split "
            f"({before:.4f} to {after:.4f}); at most {limit:g} is allowed",
            whose=str(job.out),
            fix="export without --int8, or allow more with --max-loss",
            code="error/int8-loss",
        )
    drawn = Resamples(fp32, seed=0)
    (one,), (other,) = (measure([metric], tally, point, drawn) for tally in (fp32, int8))
    better, worse = (one, other) if metric.higher_is_better else (other, one)
    return {
        "split": "val",
        "n": len(int8),
        "measure": metric.name,
        "fp32": before,
        "int8": after,
        "loss": loss,
        "ci95": difference_ci95(better, worse),
        "limit": limit,
    }


def _figures(resolved: Resolved, tally: Any, run: Run) -> dict[str, Any]:
    """The point that the graph's answers choose, and the headline if it is defined there."""
    metric, point = _headline(resolved, tally, run)
    value = value_of(metric, tally, point)
    drawn = Resamples(tally, seed=0)
    known = np.isfinite(value)
    return {
        "split": "val",
        "n": len(tally),
        metric.name: value if known else None,
        "ci95": measure([metric], tally, point, drawn)[0].ci95,
        "point": None if point is None else point.as_json(),
        "point_in_words": list(point_in_words(point)),
    }


def _record(
    job: ExportJob,
    record: dict[str, Any],
    predictor: Predictor,
    preprocess: Preprocess,
    outputs: Sequence[str],
    precision: ExportPrecision,
    facts: dict[str, Any],
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "format": job.format,
        "precision": precision,
        "kit": record["request"]["kit"],
        "task": predictor.task.name,
        "use": job.use,
        **weights_of(record),
        "backbone": record["backbone"],
        "plugins": record["plugins"],
        "dataset": job.dataset.name,
        "seed": record["request"]["seed"],
        "input": {"name": INPUT, "shape": ["batch", *preprocess.shape], "dtype": "float32"},
        "outputs": list(outputs),
        "kinds": list(predictor.kit.kinds),
        "scoring_views": {"numbers": list(predictor.views), "merged": "inside the graph"},
        "preprocess": {
            "frame": dataclasses.asdict(preprocess.frame),
            "mean": preprocess.mean,
            "std": preprocess.std,
            "frames": preprocess.frames,
            "tiling": None if preprocess.tiling is None else dataclasses.asdict(preprocess.tiling),
            "bits": preprocess.bits,
        },
        **facts,
        "versions": {**versions(), **library_versions()},
        "machine": machine(),
        "caution": job.dataset.caution,
        "notes": list(job.run.unsealed()),
        "created": now(),
        "command": job.command,
    }
