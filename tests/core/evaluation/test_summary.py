"""Summaries: intervals cover, groups widen them, undefined values stay undefined."""

import dataclasses
import json
import time

import numpy as np
import pytest

from moekit import MetricSpec, PluginError
from moekit.data.predictions import Predictions
from moekit.evaluation.bootstrap import Resamples
from moekit.evaluation.metrics import METRICS, auroc
from moekit.evaluation.summary import summarise


def make(n=200, seed=0, groups=None, subtypes=None, strength=0.4):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    return Predictions(
        ids=tuple(str(row) for row in range(n)),
        labels=labels,
        scores=np.clip(strength * labels + generator.random(n) * 0.6, 0, 1),
        baseline_scores=np.clip(0.2 * labels + generator.random(n) * 0.8, 0, 1),
        groups=groups,
        subtypes=subtypes,
    )


def test_a_summary_is_json_with_an_interval_around_each_value():
    result = summarise(make(), METRICS, 0.5, seed=0, baseline_threshold=0.5, resamples=200)
    json.dumps(result, allow_nan=False)
    for part in (result, result["baseline"]):
        for entry in part["metrics"].values():
            low, high = entry["ci95"]
            assert low <= entry["value"] <= high
            assert entry["n"] == 200
    assert result["comparison"]["delong_p"] < 0.05


def test_the_same_seed_gives_the_same_intervals_and_another_does_not():
    first, again, other = (
        summarise(make(), METRICS, 0.5, seed=seed, resamples=100)["metrics"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth = auroc(make(40_000, seed=99).scores, make(40_000, seed=99).labels)
    covered = 0
    for seed in range(60):
        drawn = make(120, seed=seed)
        low, high = Resamples(drawn, seed=0, count=200).interval(
            lambda rows, drawn=drawn: auroc(drawn.scores[rows], drawn.labels[rows])
        )
        covered += low <= truth <= high
    assert covered >= 51


def test_images_of_one_group_count_as_one():
    single = make(40, strength=0.1)
    repeated = Predictions(
        ids=tuple(str(row) for row in range(400)),
        labels=np.repeat(single.labels, 10),
        scores=np.repeat(single.scores, 10),
        groups=tuple(str(row) for row in np.repeat(np.arange(40), 10)),
    )
    naive = dataclasses.replace(repeated, groups=None)
    width = {}
    for name, given in (("grouped", repeated), ("naive", naive)):
        entry = summarise(given, METRICS, 0.5, seed=0, resamples=200)["metrics"]["auroc"]
        width[name] = entry["ci95"][1] - entry["ci95"][0]
    assert width["grouped"] > 2 * width["naive"]


def test_a_subset_of_one_class_has_no_auroc():
    drawn = make()
    subtypes = tuple("all bad" if label else "all good" for label in drawn.labels)
    given = dataclasses.replace(drawn, subtypes=subtypes)
    subsets = summarise(given, METRICS, 0.5, seed=0, resamples=50)["subsets"]
    assert subsets["all bad"]["metrics"]["auroc"] == {
        "value": None,
        "ci95": None,
        "higher_is_better": True,
        "n": int(drawn.labels.sum()),
    }


@pytest.mark.parametrize("value", [1.5, -0.1, "raise"])
def test_a_metric_that_breaks_its_word_is_named(value):
    def compute(scores, labels, threshold):
        if value == "raise":
            raise RuntimeError("no")
        return value

    spec = MetricSpec(
        name="odd", compute=compute, higher_is_better=True, bounds=(0, 1), summary="-", source="-"
    )
    with pytest.raises(PluginError, match="odd"):
        summarise(make(), [spec], 0.5, seed=0, resamples=10)


def test_predictions_come_back_from_their_file_to_the_last_bit(tmp_path):
    given = make(groups=tuple("ab" * 100), subtypes=tuple("xy" * 100))
    given.write_csv(tmp_path / "p.csv")
    back = Predictions.read_csv(tmp_path / "p.csv")
    assert (back.scores == given.scores).all()
    assert (back.baseline_scores == given.baseline_scores).all()
    assert (back.ids, back.groups, back.subtypes) == (given.ids, given.groups, given.subtypes)


def test_the_figures_of_a_real_evaluation_take_seconds():
    given = make(656, subtypes=tuple(["mono", "poly"] * 328))
    began = time.perf_counter()
    summarise(given, METRICS, 0.5, seed=0, baseline_threshold=0.5)
    assert time.perf_counter() - began < 20
