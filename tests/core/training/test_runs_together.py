"""Runs that differ in `top_k` and views share one backbone, and answer as each does alone."""

import dataclasses

import pytest
import torch

from moekit import Runtime
from moekit.prediction.predict import predict
from moekit.runs.run import Run
from moekit.runtime.load import load_answerer
from moekit.testing import refused


@pytest.fixture
def runs(tmp_path, run_adapt, recipe):
    """Two runs of one kit: few experts and one view, all experts and three views."""
    run_adapt(tmp_path / "few", top_k=2)
    averaged = recipe.model_copy(update={"scoring_views": 3})
    run_adapt(tmp_path / "views", recipe=averaged)
    return {name: tmp_path / name for name in ("few", "views")}


@pytest.fixture
def known(registry, kit):
    """The registry, in which the small kit is found by its name."""
    registry.kit = lambda name: dataclasses.replace(kit)
    registry.full_name = lambda kind, name, home=None: name
    return registry


def scores(runtime, name, cells):
    paths = [sample.path for sample in cells.samples[:6]]
    return [answer.score for answer in runtime.answer(paths, kit=name)]


def test_two_runs_answer_together_as_each_does_alone(runs, known, small_backbone, cells):
    together = Runtime(small_backbone, registry=known)
    before = small_backbone.top_k
    for name, folder in runs.items():
        together.load(folder, name=name)
    assert small_backbone.top_k == before, "loading a run changes nothing for others"
    found = {name: scores(together, name, cells) for name in (*runs, *reversed(runs))}
    for name, folder in runs.items():
        alone = Runtime(small_backbone, registry=known)
        alone.load(folder, name=name)
        assert scores(alone, name, cells) == found[name]
    assert found["few"] != found["views"]


def test_the_runtime_answers_what_predict_writes(runs, known, kit, small_backbone, cells, tmp_path):
    runtime = Runtime(small_backbone, registry=known)
    runtime.load(runs["views"], name="views")
    _, answerer = load_answerer(Run(runs["views"]), kit, backbone=small_backbone, registry=known)
    rows = predict(
        [(sample.id, sample.path) for sample in cells.samples[:6]],
        answerer=answerer,
        provenance={},
        out=tmp_path / "out",
        batch_size=6,
        on_progress=lambda *_: None,
    )
    assert [row["score"] for row in rows] == scores(runtime, "views", cells)


def test_views_are_averaged_and_few_experts_are_used(runs, known, small_backbone, cells):
    runtime = Runtime(small_backbone, registry=known)
    for name, folder in runs.items():
        runtime.load(folder, name=name)
    images = torch.zeros(1, 3, 32, 32)
    assert runtime.predict(images, kit="few")["logit_B"].shape == (1,)
    with refused("usage/name-taken"):
        runtime.load(runs["few"], name="few")
    runtime.detach("few")
    assert runtime.kits == ("views",)
