"""Metrics that a user adds to a kit by name."""

import dataclasses

import numpy as np
import pytest
from lightning.fabric import Fabric

import moekit
from moekit import MetricSpec, Recipe, Registry
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.plugins.resolve import resolve
from moekit.runs.run import Run
from moekit.testing import refused
from moekit.testing.inputs import write_images
from moekit.testing.reference import QUICK, REFERENCE_KIT, SIDE, add_reference, small_backbone
from moekit.training.adapt import AdaptJob, adapt


def mean_score(scores, labels, threshold):
    del labels, threshold
    return float(np.mean(scores))


def own_metric(**changes):
    fields = {
        "name": "mean_score",
        "compute": mean_score,
        "higher_is_better": True,
        "bounds": (0.0, 1.0),
        "summary": "the mean score",
        "source": "a test",
        "examples": (),
        **changes,
    }
    return MetricSpec(**fields)


@pytest.fixture
def registry():
    class Hooks:
        @moekit.hookimpl
        def moekit_metrics(self):
            return [own_metric(), own_metric(name="leaves", task="classify")]

    registry = add_reference(Registry())
    registry.register(Hooks(), distribution="ours")
    return registry


def names(resolved):
    return [metric.name for metric in resolved.metrics]


def test_added_metrics_stand_behind_those_of_the_kit_and_once(registry):
    own = names(resolve(REFERENCE_KIT, registry))
    added = names(resolve(REFERENCE_KIT, registry, added=("mean_score", "ours/mean_score")))
    assert added == [*own, "mean_score"]
    again = resolve(REFERENCE_KIT, registry, added=("moekit/auroc",))
    assert names(again) == own


def test_a_metric_of_another_task_is_refused_in_words(registry):
    with refused("usage/metric-conflict", match="of the task classify, and the kit answers score"):
        resolve(REFERENCE_KIT, registry, added=("leaves",))


def test_a_metric_that_nobody_provides_is_refused(registry):
    with refused("usage/unknown-name"):
        resolve(REFERENCE_KIT, registry, added=("nonesuch",))


def test_metrics_named_for_the_run_and_for_the_evaluation_are_reported(
    registry, tmp_path, monkeypatch
):
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    dataset = write_images(folder, None, side=SIDE)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    run = Run(tmp_path / "run")
    quiet = {"on_progress": lambda *_: None}
    adapt(
        AdaptJob(
            kit=REFERENCE_KIT,
            dataset=dataset,
            run=run,
            seed=0,
            recipe=Recipe.model_validate(QUICK),
            further={"metrics": ["ours/mean_score"]},
        ),
        backbone=small_backbone(),
        registry=registry,
        fabric=fabric,
        on_epoch=lambda *_: None,
        **quiet,
    )
    job = EvaluateJob(kit=REFERENCE_KIT, dataset=dataset, run=run)
    own = evaluate(job, backbone=small_backbone(), registry=registry, **quiet)["metrics"]
    assert "mean_score" in own
    assert 0 < own["mean_score"]["value"] < 1
    more = dataclasses.replace(job, metrics=("moekit/f1",))
    both = evaluate(more, backbone=small_backbone(), registry=registry, **quiet)["metrics"]
    assert {"mean_score", "f1"} <= set(both)
