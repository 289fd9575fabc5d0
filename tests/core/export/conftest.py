"""A small kit on a small backbone, and a finished run of it on real photographs."""

import dataclasses
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import nn

import moekit
from moekit.data.samples import Dataset, Sample
from moekit.data.stream import Preprocess
from moekit.export.export import ExportJob, export
from moekit.plugins.discovery import discover
from moekit.plugins.resolve import resolve
from moekit.runs.run import VALIDATION, Run
from moekit.runtime.kit import KitModules
from moekit.runtime.predictor import Predictor
from moekit.tasks.score import SCORE
from moekit.tasks.score.predictions import Predictions
from tests.core.export.recordings import Recordings

SIDE = 32


class TokenExpert(nn.Module):
    """A bottleneck, token by token."""

    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.down, self.up = nn.Linear(width, 8), nn.Linear(8, width)

    def forward(self, x_TD):
        return self.up(nn.functional.gelu(self.down(x_TD)))


class Hooks:
    @moekit.hookimpl
    def moekit_experts(self):
        return [moekit.ExpertSpec(name="token", build=TokenExpert, summary="-", source="-")]

    @moekit.hookimpl
    def moekit_gates(self):
        build = moekit.TopKSoftmax
        return [moekit.GateSpec(name="best", build=build, summary="-", source="-")]


SMALL = moekit.KitSpec(
    name="small",
    summary="-",
    slots=(moekit.SpecialistSlot(block=1, experts=("token", "token"), gate="best", top_k=1),),
    head_blocks=(0, 1),
    build_head=moekit.PooledHead,
    recipe=moekit.Recipe(image_size=SIDE),
    metrics=(),
    positive="odd",
    outcome_names={"missed": "miss", "false_alarm": "false alarm"},
    demo_dataset="none",
)


@pytest.fixture
def registry():
    made = moekit.Registry([plugin for plugin in discover() if plugin.distribution == "moekit"])
    made.register(Hooks(), distribution="fake")
    return made


@pytest.fixture
def make_predictor(registry, make_vit, carve, randomise):
    """The small kit, as after a training, the same one each time; `kit` changes its record."""

    def make(*, views=1, top_k=16, experts=16, of=Predictor, **kit):
        spec = dataclasses.replace(SMALL, **kit)
        backbone = carve(make_vit(), experts=experts)
        torch.manual_seed(0)
        modules = KitModules(spec=spec, registry=registry, backbone=backbone)
        randomise(modules, by=0.1)
        return of(
            backbone=backbone,
            kit=modules,
            baseline=None,
            task=SCORE,
            arithmetic="fp32",
            views=views,
            top_k=top_k,
        )

    make.slot = SMALL.slots[0]
    return make


@pytest.fixture
def preprocess(tiny_backbone):
    return Preprocess(size=SIDE, mean=tiny_backbone.mean, std=tiny_backbone.std)


@pytest.fixture(scope="session")
def cells():
    """40 solar cells in two classes, split by their place."""
    source = Path(str(files("elpv_dataset"))) / "data"
    lines = [line.split() for line in (source / "labels.csv").read_text().splitlines()]
    chosen = [
        next_line
        for probability in ("0.0", "1.0")
        for next_line in [line for line in lines if line[1] == probability][:20]
    ]
    samples = tuple(
        Sample(
            id=name,
            path=source / name,
            label=int(probability == "1.0"),
            split=("train", "val")[number % 2],
        )
        for number, (name, probability, _) in enumerate(chosen)
    )
    return Dataset(
        name="cells", samples=samples, classes=("good", "bad"), licence="-", source="the tests"
    )


@pytest.fixture
def make_run(tmp_path, cells):
    """Files a predictor's kit as a finished run."""

    def make(predictor, name="run"):
        run = Run(tmp_path / name)
        sha = predictor.backbone.provenance.sha256
        request = {
            "kit": "fake/small",
            "dataset": cells.name,
            "samples": len(cells.samples),
            "seed": 0,
            "recipe": SMALL.recipe.model_dump(),
            "backbone_sha256": sha,
            "computes": sha,
            "top_k": predictor.top_k,
        }
        run.begin(request, resume=False)
        weights = {"kit_sha256": run.save_weights("kit", predictor.kit)}
        labels = cells.split("val")
        scores = Predictions.of(labels, torch.rand(len(labels)).double().numpy())
        SCORE.judge.save(run.folder, VALIDATION, [scores])
        run.finish({"weights": weights, "arithmetic": "fp32", "backbone": {}, "plugins": []})
        return run

    return make


@pytest.fixture
def make_task(cells):
    """What to export of a run; into RUN/export/NAME."""

    def make(run, name="openvino", **changes):
        options = {"run": run, "dataset": cells, "out": run.folder / "export" / name}
        return ExportJob(**{**options, **changes})

    return make


@pytest.fixture
def resolved(registry):
    """The small kit with what its names mean."""
    return resolve(SMALL, registry)


@pytest.fixture
def write(make_run, make_task, preprocess, resolved):
    """Exports a predictor; returns the run and the record."""

    def call(predictor, name="openvino", run=None, **changes):
        run = run or make_run(predictor)
        task = make_task(run, name, **changes)
        said = []
        record = export(
            task,
            resolved=resolved,
            predictor=predictor,
            preprocess=preprocess,
            on_progress=lambda *step: said.append(step),
        )
        assert said
        return run, record

    return call


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """The graphs of a module's tests; see `recorded_once`."""
    return Recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture
def recorded_once(recordings, monkeypatch):
    """Exports record the same program once: what a recording gives is held in test_graph.py."""
    monkeypatch.setattr("moekit.export.graphs.write_onnx", recordings.write)
    monkeypatch.setattr("moekit.export.split.graphs.write_onnx", recordings.write)
    monkeypatch.setattr("moekit.export.split.graphs.record_onnx", recordings.record)
    return recordings
