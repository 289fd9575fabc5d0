"""Readers of what moekit itself wrote and somebody changed: runs, results, tallies, weights."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import moekit
from moekit.backbone.build import build_backbone
from moekit.backbone.sparse.form import load_form, save_form
from moekit.backbone.sparse.neurons import Neurons
from moekit.backbone.upcycle import upcycle
from moekit.backbone.upcycled_file import load_upcycled, save_upcycled
from moekit.errors import MoekitError
from moekit.evaluation.summary import summarise
from moekit.export.record import open_export
from moekit.files import sha256
from moekit.plugins.lock import read_lock
from moekit.prediction.predict import notes_on, read_rows
from moekit.prediction.watch.golden import GoldenSet
from moekit.prediction.watch.tally import starts_of
from moekit.report.report import render_report
from moekit.runs.choices import kept_model, kept_rule, model_in_words
from moekit.runs.journal import Journal
from moekit.runs.run import PREDICTIONS, VALIDATION, Run
from moekit.runs.schema import read_result
from moekit.runtime.load import validation_of
from moekit.scale.checkpoint import load_sharded, save_sharded
from moekit.tasks.classify.spec import CLASSIFY
from moekit.tasks.classify.tally import ClassTally
from moekit.tasks.score import SCORE
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.segment.tally import SegmentTally
from moekit.tasks.segment.task import SEGMENT
from moekit.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from tests.benchmarks.fuzzing.reader import Reader, put
from tests.core.backbone.sparse.test_closed_form import whole_form
from tests.core.report.test_report import write_run
from tests.core.runs.test_schema import RECORD, RESULT

TASKS = {"score": SCORE, "classify": CLASSIFY, "segment": SEGMENT}


def _all_of(*reads: Any) -> None:
    """Calls each; the first refusal is raised at the end."""
    lost: list[MoekitError] = []
    for read in reads:
        try:
            read()
        except MoekitError as error:
            lost.append(error)
    if lost:
        raise lost[0]


def _write_run(folder: Path) -> None:
    module = nn.Linear(3, 2)
    run = Run(folder)
    digest = run.save_weights("kit", module)
    files = {"validation.csv": "0" * 64}
    rule = {"name": "youden", "by": "evaluate"}
    use = {"model": "baseline", "kept": "best", "in_words": "better by far"}
    record = {**RECORD, "weights": {"kit_sha256": digest}, "rule": rule, "use": use, "files": files}
    put(folder, "run.json", json.dumps(record))
    put(folder, "result.json", json.dumps(RESULT))


def _read_run(folder: Path, _: Any) -> None:
    run = Run(folder)
    record = run.read_finished()
    _all_of(
        run.frames,
        run.classes,
        run.frame,
        run.tiling,
        partial(kept_rule, run),
        lambda: model_in_words(run, kept_model(run)),
        partial(run.check_files, VALIDATION),
        lambda: run.load_weights("kit", nn.Linear(3, 2), expected=record["weights"]["kit_sha256"]),
        partial(read_result, folder / "result.json"),
        partial(read_lock, folder / "run.json"),
    )


def _tallies(task: str) -> list[Any]:
    labels = np.arange(20) % 2
    scores = np.linspace(0.1, 0.9, 20)
    ids = tuple(f"{n}.png" for n in range(20))
    names = {"groups": tuple(f"g{n // 2}" for n in range(20)), "subtypes": ("a", "b") * 10}
    facts = {"maker": ("x", "y") * 10}
    if task == "score":
        made = Predictions(ids=ids, labels=labels, scores=scores, facts=facts, **names)
        return [made, dataclasses.replace(made, scores=scores[::-1].copy())]
    if task == "classify":
        two = np.stack([scores, 1 - scores], axis=1)
        made_class = ClassTally(
            ids=ids,
            classes=("a", "b"),
            probability_NC=two,
            labels_N=labels,
            labels_NC=None,
            facts=facts,
            unlike_N=scores,
            **names,
        )
        return [made_class, dataclasses.replace(made_class, probability_NC=two[::-1].copy())]
    counts = np.ones((20, 2, 2), dtype=np.int64)
    pixels = SegmentTally(
        ids=ids,
        classes=("a", "b"),
        background=(0,),
        facts=facts,
        confusion_NCC=counts,
        boundary_NC3=np.ones((20, 2, 3), dtype=np.int64),
        predicted_NC=counts.sum(1),
        ignored_N=np.zeros(20, dtype=np.int64),
        missed_NL=None,
        **names,
    )
    return [pixels, pixels]


def _write_tallies(task: str, folder: Path) -> None:
    put(folder, "run.json", json.dumps(RECORD))
    for stem in (VALIDATION, PREDICTIONS):
        TASKS[task].judge.save(folder, stem, _tallies(task))


def _read_tallies(task: str, folder: Path, _: Any) -> None:
    spec, run = TASKS[task], Run(folder)
    tallies = validation_of(run, spec)
    spec.judge.load(folder, PREDICTIONS)
    points = [spec.judge.choose(tally, next(iter(spec.judge.rules), "")) for tally in tallies]
    summarise(tallies, points, (), task=spec, seed=0, resamples=10)


def _write_report(folder: Path) -> None:
    write_run(folder, images=1)
    put(folder, "run.json", json.dumps(RECORD))


def _read_report(folder: Path, _: Any) -> None:
    render_report(folder)


_PROVENANCE = {"kit": "small", "threshold": 0.5}
_COLUMNS = ("file", "verdict", "score")


def _write_journal(folder: Path) -> None:
    row = {"verdict": "good", "score": 0.5, "content": "ab", "remarks": ["16-bit"]}
    rows = [{"file": f"{n}.png", **row} for n in range(5)]
    with Journal(folder / "journal.jsonl", _PROVENANCE) as journal:
        journal.append(rows)
    images = {"a.png": {"sha256": sha256(folder.parent / "golden/a.png"), "score": 0.5}}
    known = {"created": "2026", "made_with": _PROVENANCE, "images": images}
    put(folder, "golden.json", json.dumps(known))
    put(folder, "summary.json", json.dumps({"starts": ["2026"]}))


def _read_journal(folder: Path, golden: Any) -> None:
    def rows() -> None:
        notes_on(list(read_rows(folder / "journal.jsonl", _PROVENANCE, _COLUMNS)))

    _all_of(
        rows,
        lambda: starts_of(folder / "summary.json"),
        lambda: golden(folder),
        lambda: Journal(folder / "journal.jsonl", _PROVENANCE).__exit__(None, None, None),
    )


def _prepare_journal(folder: Path) -> Any:
    from PIL import Image

    pictures = folder.parent / "golden"
    pictures.mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "a.png")
    _write_journal(folder)

    def check(here: Path) -> None:
        GoldenSet(
            pictures,
            record=here / "golden.json",
            provenance=_PROVENANCE,
            measure=lambda _: 0.5,
        ).check()

    return check


def _write_export(folder: Path) -> None:
    put(folder, "run.json", json.dumps(RECORD))
    put(folder, "export/onnx/model.onnx", b"a graph")
    record = {
        "schema": 1,
        "format": "onnx",
        "precision": "fp32",
        "kit": "industrial",
        "kit_sha256": "0" * 64,
        "backbone_sha256": "0" * 64,
        "computes": "dense",
        "preprocess": {
            "frame": {"height": 56, "width": 56, "fit": "squash"},
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "frames": 1,
            "tiling": {"height": 56, "width": 56, "overlap": 0.25},
        },
        "model": "model.onnx",
        "files": {"model.onnx": sha256(folder / "export/onnx/model.onnx")},
    }
    put(folder, "export/onnx/export.json", json.dumps(record))


def _read_export(folder: Path, _: Any) -> None:
    found = open_export(Run(folder), "onnx")
    assert found.preprocess.frames >= 1
    assert found.model.is_file()


def _trained() -> tuple[dict[str, nn.Module], torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"kit": module}, optimizer


def _write_checkpoint(folder: Path) -> Any:
    modules, optimizer = _trained()
    progress = Progress(epoch=1, history=[{"epoch": 1, "train_loss": 0.5}])
    path = folder / "kit.safetensors"
    save_checkpoint(path, modules=modules, optimizer=optimizer, progress=progress)
    return modules, optimizer


def _read_checkpoint(folder: Path, trained: Any) -> None:
    modules, optimizer = trained
    found = load_checkpoint(folder / "kit.safetensors", modules=modules, optimizer=optimizer)
    assert isinstance(found.epoch, int)
    assert isinstance(found.history, list)


def _write_form(folder: Path) -> None:
    source = torch.Generator().manual_seed(0)
    neurons = Neurons(
        w1_FD=torch.randn(64, 24, generator=source),
        b1_F=torch.full((64,), -2.0),
        w2_FD=torch.randn(64, 24, generator=source),
        activation=nn.GELU(),
    )
    tokens_TD = torch.randn(200, 24, generator=source)
    save_form(whole_form(neurons, tokens_TD), folder / "form.safetensors")


def _read_form(folder: Path, _: Any) -> None:
    load_form(folder / "form.safetensors")


SMALL = "test_vit"
"""The smallest vision transformer of timm: its weights are written again for each input."""


def _small() -> VisionTransformer:
    torch.manual_seed(0)
    model: VisionTransformer = timm.create_model(SMALL, pretrained=False, num_classes=0)
    return model


def _write_dense(folder: Path) -> None:
    save_file(_small().state_dict(), folder / "dense.safetensors")


def _read_dense(folder: Path, _: Any) -> None:
    build_backbone(SMALL, weights=str(folder / "dense.safetensors"), form="none")


def _tiny() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=0
    )


def _provenance(architecture: str = "tests") -> moekit.Provenance:
    return moekit.Provenance(
        architecture=architecture,
        source="file",
        origin="-",
        sha256="0" * 64,
        licence="-",
        note="-",
    )


def _write_upcycled(folder: Path) -> None:
    model = upcycle(
        _small(),
        provenance=_provenance(SMALL),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        experts=4,
        slices=2,
    )
    save_upcycled(model, folder / "upcycled.safetensors")


def _read_upcycled(folder: Path, _: Any) -> None:
    load_upcycled(folder / "upcycled.safetensors")


def _write_sharded(folder: Path) -> nn.Module:
    half = (0.5, 0.5, 0.5)
    model = moekit.carve(_tiny(), provenance=_provenance(), mean=half, std=half, experts=4)
    save_sharded(folder / "sharded", model)
    return model


def _read_sharded(checked: bool, folder: Path, model: nn.Module) -> None:
    place = folder / "sharded"
    if not checked and place.is_dir():  # as if somebody had made the hashes again
        parts = {path.name: sha256(path) for path in place.glob("*.safetensors") if path.is_file()}
        hashes = place / "hashes.json"
        if hashes.is_file() or not os.path.lexists(hashes):
            hashes.write_text(json.dumps(parts))
    load_sharded(place, model)


def _write_weights(folder: Path) -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    Run(folder).save_weights("kit", module)
    return module


def _read_weights(folder: Path, module: nn.Module) -> None:
    run = Run(folder)
    try:
        digest = sha256(run.weights("kit"))  # as if somebody had made the hash again
    except OSError:
        digest = "0" * 64
    run.load_weights("kit", module, expected=digest)


READERS = (
    Reader(name="run.json, result.json", prepare=_write_run, read=_read_run),
    *(
        Reader(
            name=f"tallies, {task}",
            prepare=partial(_write_tallies, task),
            read=partial(_read_tallies, task),
        )
        for task in TASKS
    ),
    Reader(name="report of a run", prepare=_write_report, read=_read_report),
    Reader(name="journal, golden scores", prepare=_prepare_journal, read=_read_journal),
    Reader(name="export.json", prepare=_write_export, read=_read_export),
    Reader(name="weights of a run", prepare=_write_weights, read=_read_weights),
    Reader(name="checkpoint", prepare=_write_checkpoint, read=_read_checkpoint),
    Reader(name="sharded checkpoint", prepare=_write_sharded, read=partial(_read_sharded, False)),
    Reader(name="sparse form", prepare=_write_form, read=_read_form),
    Reader(name="backbone weights", prepare=_write_dense, read=_read_dense),
    Reader(name="upcycled backbone", prepare=_write_upcycled, read=_read_upcycled),
)
