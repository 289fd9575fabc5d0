"""Golden images and the distribution of scores: does the line still compute and see what it did."""

import json

import numpy as np
import pytest
from scipy.stats import ks_2samp

from moekit.prediction.watch.drift import ProcessDrift, measure_shift
from moekit.prediction.watch.latency import Durations
from moekit.testing import refused


@pytest.fixture
def golden(paint, tmp_path):
    """Two golden images, one of them odd."""
    paint("good.png", folder="gold")
    paint("odd.png", folder="gold", level=0.9)
    return tmp_path / "gold"


def normal(mean, spread=1.0, n=200, seed=0):
    """Scores whose logits are normally distributed."""
    logits = np.random.default_rng(seed).normal(mean, spread, n)
    return 1 / (1 + np.exp(-logits))


def test_golden_scores_are_kept_and_found_again(run_watch, golden, tmp_path):
    first = run_watch(golden=golden)["golden"]
    record = json.loads((tmp_path / "out" / "golden.json").read_text())
    assert record["made_with"] == {"kit": "brightness"}
    assert {name: len(one["sha256"]) for name, one in record["images"].items()} == {
        "good.png": 64,
        "odd.png": 64,
    }
    assert record["images"]["odd.png"]["score"] == pytest.approx(0.9, abs=0.01)
    again = run_watch(golden=golden)["golden"]
    assert first["n"] == again["n"] == 2
    assert again["greatest_difference"] == 0
    assert again["created"] == record["created"]


def test_a_machine_that_computes_otherwise_is_a_failure_with_names(
    run_watch, brightness, golden, paint, tmp_path
):
    run_watch(golden=golden)
    paint("new.png")
    run_watch(brightness(offset=5e-5), golden=golden)
    paint("newer.png")
    with refused("error/golden-scores", match=r"good\.png.*odd\.png") as failure:
        run_watch(brightness(offset=2e-4), golden=golden)
    assert failure.value.exit_code == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["state"] == "failed"
    assert summary["golden"]["code"] == "error/golden-scores"
    assert summary["n"] == 1  # nothing was scored by it
    run_watch(brightness(offset=2e-4), golden=golden, golden_tolerance=1e-3)


def test_a_score_that_is_no_number_is_a_failure(run_watch, brightness, golden):
    run_watch(golden=golden)
    with refused("error/golden-scores"):
        run_watch(brightness(offset=float("nan")), golden=golden)


def test_golden_images_are_scored_again_after_so_many_images(run_watch, brightness, golden, paint):
    paint(*(f"{number}.png" for number in range(7)))
    scorer = brightness()
    run_watch(scorer, golden=golden, golden_every=3)
    assert len(scorer.batches) == 2 + 1 + 7 + 2 * 2  # at the start, warm-up, line, twice again

    class Wearing(brightness):
        def __call__(self, images):
            self.offset = 0.1 * (len(self.batches) > 6)
            return super().__call__(images)

    paint(*(f"later {number}.png" for number in range(7)))
    with refused("error/golden-scores"):
        run_watch(Wearing(), golden=golden, golden_every=3)


def test_golden_images_that_were_changed_added_or_removed_are_named(run_watch, golden, paint):
    run_watch(golden=golden)
    paint("third.png", folder="gold")
    with refused("error/golden-images", match=r"third\.png"):
        run_watch(golden=golden)
    (golden / "third.png").unlink()
    paint("good.png", folder="gold", level=0.2)
    with refused("error/golden-images", match=r"good\.png"):
        run_watch(golden=golden)


def test_golden_scores_of_another_run_are_refused(run_watch, golden, tmp_path):
    run_watch(golden=golden)
    (tmp_path / "out" / "results.jsonl").unlink()
    with refused("usage/other-run"):
        run_watch(golden=golden, made_with={"kit": "another"})


def test_the_shift_is_that_of_scipy_and_of_the_spread():
    shift = measure_shift(normal(2.0), normal(0.0, 2.0, 5000, 1), name="validation")
    expected = ks_2samp(normal(2.0), normal(0.0, 2.0, 5000, 1), method="asymp")
    assert (shift.ks, shift.p) == (expected.statistic, expected.pvalue)
    assert shift.median_shift == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("last", "drifted"),
    [
        (normal(0.0), False),
        (normal(0.3), False),  # too little to matter
        (normal(0.6, n=5000), False),  # significant, but too little to matter
        (normal(1.5, n=2), False),  # too few to tell
        (normal(1.5), True),
        (normal(-1.5), True),
        (np.ones(200), True),
    ],
)
def test_drift_is_a_shift_that_is_both_large_and_significant(last, drifted):
    assert measure_shift(last, normal(0.0, seed=1), name="validation").drifted is drifted


def test_a_reference_without_spread_gives_no_shift():
    shift = measure_shift(normal(0.0), np.full(200, 0.5), name="validation")
    assert shift.median_shift is None
    assert not shift.drifted


def test_the_line_can_be_its_own_reference():
    drift = ProcessDrift(None, window=50)
    for score in [*normal(0.0, n=50), *normal(3.0, n=49)]:
        drift.add(score)
    assert drift.measure() is None
    drift.add(0.9)
    shift = drift.measure()
    assert (shift.reference, shift.n, shift.reference_n, shift.drifted) == ("line", 50, 50, True)


def test_a_line_that_drifts_is_told_once_and_goes_on(run_watch, brightness, paint):
    for number in range(30):
        paint(f"{number:02}.png", level=0.3)
    told = []
    changes = {"window": 10, "summary_every": 0.02}
    summary = run_watch(brightness(seconds=0.01), tell=told.append, **changes)
    assert len(told) == 1
    assert "(validation, n = 50)" in told[0]
    assert "Kolmogorov-Smirnov D = 1.00" in told[0]
    assert summary["n"] == 30
    assert summary["drift"]["drifted"]
    assert summary["drift"]["limits"] == {"largest_p": 1e-4, "large_shift": 1.0}
    again = run_watch(**changes)  # the scores of earlier starts count
    assert again["drift"]["n"] == 10


def test_durations_are_kept_in_bounded_memory():
    durations = Durations(kept=100)
    assert durations.as_json() is None
    for number in range(1000, 0, -1):
        durations.add(number / 1000)
    figures = durations.as_json()
    assert figures["n"] == 100
    assert figures["max"] == 1.0
    assert figures["p50"] == pytest.approx(0.0505)
    assert figures["p99"] == pytest.approx(0.09901)
