"""A run keeps its rule and the model that answers; all commands go by them and say so."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, logit

from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.jobs.trained import Opening, open_trained
from moekit.runs.choices import keep, kept_model, kept_rule
from moekit.runs.run import Run
from moekit.runtime.load import load_answerer
from moekit.sealed import write_sealed
from moekit.tasks.score.predictions import Predictions
from moekit.testing import refused
from moekit.training import selection

RULE = "max-miss=0.25"


@pytest.fixture
def opened(known, kit, small_backbone, monkeypatch):
    """Opens a run as `predict` and `watch` do."""
    monkeypatch.setattr("moekit.jobs.session.open_backbone", lambda **_: small_backbone)
    return lambda folder, **how: open_trained(kit, Run(folder), registry=known, how=Opening(**how))


@pytest.fixture
def judge_run(known, kit, small_backbone, cells):
    """Evaluates a run on the validation split, which is all that the small set has."""

    def call(folder, **changes):
        job = EvaluateJob(kit=kit, dataset=cells, run=Run(folder), split="val", **changes)
        return evaluate(job, backbone=small_backbone, registry=known, on_progress=lambda *_: None)

    return call


@pytest.fixture
def choose_model(monkeypatch):
    """Makes `adapt` find a model best."""

    def force(model):
        found = {"model": model, "rule": "of the test", "in_words": f"{model} wins"}
        monkeypatch.setattr(selection, "select", lambda *_, **__: found)

    return force


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_evaluate_predict_and_watch_take_the_rule_that_adapt_kept(
    tmp_path, finished_run, opened, judge_run
):
    finished_run(tmp_path, rule=RULE)
    kept = record(tmp_path)
    assert kept["rule"] == {"name": RULE, "by": "adapt"}
    low, high = kept["point"]["chosen"]["ci95"]
    threshold = kept["point"]["chosen"]["value"]
    assert low <= threshold <= high
    result = judge_run(tmp_path)
    assert (result["threshold"]["rule"], result["threshold"]["value"]) == (RULE, threshold)
    trained = opened(tmp_path)
    assert (trained.provenance["rule"], trained.provenance["threshold"]) == (RULE, threshold)
    assert any(
        RULE in sentence and f"{threshold:.4f}" in sentence for sentence in trained.sentences
    )
    assert result["point_in_words"] == [one for one in trained.sentences if RULE in one]


def test_a_rule_that_evaluate_was_given_is_kept_and_one_that_predict_was_given_is_not(
    tmp_path, finished_run, opened, judge_run
):
    finished_run(tmp_path)
    assert kept_rule(Run(tmp_path)) == "accuracy"
    judge_run(tmp_path, rule=RULE)
    assert record(tmp_path)["rule"] == {"name": RULE, "by": "evaluate"}
    other = opened(tmp_path, rule="youden")
    assert other.provenance["rule"] == "youden"
    assert opened(tmp_path).provenance["rule"] == RULE
    assert record(tmp_path)["done"]


def test_a_run_of_before_answers_by_the_kits_rule_and_its_specialist(
    tmp_path, finished_run, opened
):
    finished_run(tmp_path)
    old = {
        name: value
        for name, value in record(tmp_path).items()
        if name not in ("rule", "point", "use", "class_counts")
    }
    write_sealed(tmp_path / "run.json", old)
    assert kept_rule(Run(tmp_path)) == ""
    assert kept_model(Run(tmp_path)) == "specialist"
    assert opened(tmp_path).provenance["rule"] == "accuracy"
    with refused("usage/no-such-model"):
        kept_model(Run(tmp_path), "best")


def test_a_rule_that_cannot_be_is_refused_before_the_training(tmp_path, run_adapt):
    with refused("usage/unknown-rule"):
        run_adapt(tmp_path / "a", rule="max-mist=0.1")
    with refused("data/too-few"):
        run_adapt(tmp_path / "b", rule="certified-miss=0.02,0.05")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("model", ["baseline", "mean"])
def test_what_won_on_validation_data_answers_and_the_figures_of_the_specialist_stay(
    tmp_path,
    finished_run,
    run_adapt,
    opened,
    judge_run,
    choose_model,
    cells,
    known,
    kit,
    small_backbone,
    model,
):
    finished_run(tmp_path / "plain")
    choose_model(model)
    run_adapt(tmp_path / "run")
    plain, run = tmp_path / "plain", tmp_path / "run"
    assert (plain / "validation.csv").read_bytes() == (run / "validation.csv").read_bytes()
    first, second = judge_run(plain), judge_run(run)
    assert first["metrics"] == second["metrics"]
    assert first["baseline"] == second["baseline"]
    assert second["used"]["model"] == model
    assert f"{model} wins" in second["used"]["in_words"]
    stored = Predictions.read_csv(run / "validation.csv")
    wanted = _answers(Predictions.read_csv(run / "predictions.csv"), model)
    trained = opened(run)
    assert any(model in sentence for sentence in trained.sentences)
    assert trained.provenance["model"] == model
    paths = {sample.id: sample.path for sample in cells.samples}
    _, answerer = load_answerer(Run(run), kit, backbone=small_backbone, registry=known)
    for made in (trained.answerer, answerer):
        pictures = [_picture(paths[name]) for name in stored.ids]
        found = [answer.score for answer in made.answer(pictures)]
        assert found == pytest.approx(wanted.tolist(), abs=1e-5)
        assert made.point == answerer.point
    if model == "mean":
        mean = Predictions.read_csv(run / "validation_mean.csv")
        assert mean.scores == pytest.approx(_answers(stored, model), abs=1e-9)
        assert set(second["used"]["metrics"]) == set(second["metrics"])
    asked = opened(run, use="specialist")
    assert "model" not in asked.provenance
    assert any("although" in sentence for sentence in asked.sentences)


def _answers(stored, model):
    """What the baseline, or the mean of both models, answers."""
    ours, theirs = stored.scores, stored.baseline_scores
    return theirs if model == "baseline" else expit((logit(ours) + logit(theirs)) / 2)


def _picture(path):
    return Image.open(path).convert("RGB")


def test_use_is_kept_by_evaluate_and_best_goes_back(tmp_path, finished_run, judge_run, opened):
    finished_run(tmp_path)
    judge_run(tmp_path, use="baseline")
    assert kept_model(Run(tmp_path)) == "baseline"
    assert opened(tmp_path).provenance["model"] == "baseline"
    keep(Run(tmp_path), use="best")
    assert kept_model(Run(tmp_path)) == record(tmp_path)["use"]["model"] == "specialist"


def test_classes_and_their_shares_are_kept_and_a_shift_is_told(
    tmp_path, finished_run, judge_run, cells
):
    finished_run(tmp_path)
    counts = record(tmp_path)["class_counts"]
    for split in ("train", "val"):
        labels = [sample.label for sample in cells.split(split)]
        assert list(counts[split].values()) == np.bincount(labels, minlength=2).tolist()
    assert "made up otherwise" not in " ".join(judge_run(tmp_path)["notes"])
