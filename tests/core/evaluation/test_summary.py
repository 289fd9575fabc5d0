"""Summaries: intervals cover, groups widen them, undefined values stay undefined."""

import dataclasses
import json
import time

import numpy as np
import pytest

from moekit import MetricSpec, PluginError
from moekit.evaluation import bootstrap
from moekit.evaluation import summary as engine
from moekit.evaluation.bootstrap import Resamples, percentile_interval
from moekit.tasks.score import SCORE
from moekit.tasks.score.judge import paired
from moekit.tasks.score.metrics import METRICS, auroc
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.threshold import OperatingPoint
from moekit.testing import refused


def summarise(given, metrics, threshold, *, seed, baseline_threshold=0.5, resamples=2000):
    """The summary of scores and, next to them, of the baseline's."""
    tallies = paired(given)
    thresholds = [threshold, baseline_threshold][: len(tallies)]
    points = [
        OperatingPoint(threshold=value, rule="-", split="val", n=1, value=0.0)
        for value in thresholds
    ]
    return engine.summarise(tallies, points, metrics, task=SCORE, seed=seed, resamples=resamples)


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


def test_a_metric_without_a_value_says_why():
    alone = Predictions(ids=("a", "b"), labels=np.array([1, 1]), scores=np.array([0.2, 0.9]))
    result = summarise(alone, METRICS, 0.5, seed=0, resamples=20)
    without = [name for name, one in result["metrics"].items() if one["value"] is None]
    assert without == ["auroc", "average_precision", "specificity"]
    assert [note.partition(" ")[0] for note in result["notes"]] == without


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


def test_a_metric_that_writes_into_its_input_spoils_no_other():
    def compute(scores, labels, threshold):
        scores[:] = 0
        labels[:] = 0
        return 0.0

    greedy = MetricSpec(
        name="greedy", compute=compute, higher_is_better=True, bounds=(0, 1), summary="", source=""
    )
    alone = summarise(make(), METRICS, 0.5, seed=0, resamples=20)["metrics"]
    beside = summarise(make(), [greedy, *METRICS], 0.5, seed=0, resamples=20)["metrics"]
    assert {name: beside[name] for name in alone} == alone


@dataclasses.dataclass(frozen=True)
class Cuts:
    cuts_C: np.ndarray


def test_arrays_of_the_point_are_the_same_in_each_resample():
    def compute(scores, cuts_C):
        assert cuts_C.tolist() == [0.25, 0.5]
        value = float((scores >= cuts_C[1]).mean())
        cuts_C[:] = 0  # spoils no other resample
        return value

    metric = MetricSpec(
        name="above",
        compute=compute,
        higher_is_better=True,
        bounds=(0, 1),
        summary="",
        source="",
        needs=("scores", "cuts_C"),
    )
    given = make(30)
    point = Cuts(np.array([0.25, 0.5]))
    (measured,) = engine.measure([metric], given, point, Resamples(given, seed=0, count=50))
    assert measured.value == (given.scores >= 0.5).mean()
    low, high = measured.ci95
    assert low < measured.value < high


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 1.01, -0.01])
@pytest.mark.parametrize("field", ["scores", "baseline_scores"])
def test_a_score_that_is_no_probability_is_named_by_its_image(score, field):
    drawn = make()
    scores = getattr(drawn, field).copy()
    scores[7] = score
    with refused("data/bad-scores") as caught:
        summarise(dataclasses.replace(drawn, **{field: scores}), METRICS, 0.5, seed=0, resamples=10)
    assert caught.value.whose == "7"


def test_a_label_of_a_third_class_is_refused():
    drawn = make()
    labels = drawn.labels.copy()
    labels[3] = 2
    with refused("data/unknown-class"):
        summarise(dataclasses.replace(drawn, labels=labels), METRICS, 0.5, seed=0, resamples=10)


def test_differences_are_paired_on_the_same_resamples():
    drawn = make(2000, strength=0.3)
    near = dataclasses.replace(drawn, baseline_scores=np.clip(drawn.scores - 0.01, 0, 1))
    result = summarise(near, METRICS, 0.5, seed=0, baseline_threshold=0.49, resamples=200)
    own = result["metrics"]["accuracy"]["ci95"]
    gap = result["comparison"]["metrics"]["accuracy"]
    assert gap["difference"] == pytest.approx(
        result["metrics"]["accuracy"]["value"] - result["baseline"]["metrics"]["accuracy"]["value"]
    )
    assert gap["ci95"][1] - gap["ci95"][0] < (own[1] - own[0]) / 4


def test_the_comparison_counts_groups_not_images():
    single = make(40, strength=0.1)
    groups = tuple(str(row) for row in np.repeat(np.arange(40), 10))
    repeated = Predictions(
        ids=tuple(str(row) for row in range(400)),
        labels=np.repeat(single.labels, 10),
        scores=np.repeat(single.scores, 10),
        baseline_scores=np.repeat(single.baseline_scores, 10),
        groups=groups,
    )
    once, tenfold = (
        summarise(given, METRICS, 0.5, seed=0, baseline_threshold=0.5, resamples=20)["comparison"]
        for given in (single, repeated)
    )
    assert tenfold["delong_p"] == pytest.approx(once["delong_p"])


def test_images_without_a_group_are_drawn_alone():
    drawn = make(groups=("",) * 200)
    lone = dataclasses.replace(drawn, groups=None)
    assert [rows.tolist() for rows in Resamples(drawn, seed=0, count=3)] == [
        rows.tolist() for rows in Resamples(lone, seed=0, count=3)
    ]


def test_every_pass_draws_the_same_samples_and_counts_those_drawn_again():
    drawn = make(40, groups=tuple(str(row // 2) for row in range(40)))
    rare = dataclasses.replace(drawn, labels=np.array([1, 1] + [0] * 38))
    resamples = Resamples(rare, seed=0, count=50)
    first = [rows.tolist() for rows in resamples]
    redrawn = resamples.redrawn
    assert first == [rows.tolist() for rows in resamples]
    assert redrawn == resamples.redrawn > 0
    assert all({0, 1} <= set(rows) for rows in first)


@pytest.mark.parametrize("groups", [None, tuple(str(row // 2) for row in range(40))])
def test_samples_that_are_kept_are_those_that_are_drawn_again(groups, monkeypatch):
    drawn = make(40, groups=groups)
    kept = Resamples(drawn, seed=3, count=20)
    first = [rows.tolist() for rows in kept]
    monkeypatch.setattr(bootstrap, "_KEPT", 20 * 40 - 1)
    again = Resamples(drawn, seed=3, count=20)
    for resamples in (kept, again, again):
        assert [rows.tolist() for rows in resamples] == first
    assert len(kept._kept) == 20
    assert not again._kept


def test_without_a_number_there_are_as_many_samples_as_the_module_says(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 7)
    result = summarise(make(), METRICS, 0.5, seed=0, resamples=None)
    assert result["interval"]["resamples"] == Resamples(make(), seed=0).count == 7


def test_one_group_alone_has_no_interval():
    drawn = make(groups=("same patient",) * 200)
    entry = summarise(drawn, METRICS, 0.5, seed=0, resamples=20)["metrics"]["auroc"]
    assert entry["ci95"] is None
    assert entry["value"] is not None


def test_an_interval_is_not_drawn_from_the_few_samples_that_define_it():
    values = np.arange(100.0)
    values[:5] = np.nan
    assert percentile_interval(values) is not None
    values[5] = np.nan
    assert percentile_interval(values) is None


def test_images_without_a_subtype_make_no_subset():
    given = make(subtypes=tuple(["mono", ""] * 100))
    assert list(summarise(given, METRICS, 0.5, seed=0, resamples=20)["subsets"]) == ["mono"]
