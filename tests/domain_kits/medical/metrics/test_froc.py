"""FROC curves against MONAI and against hand-made ones."""

import math

import numpy as np
import pytest
from monai.metrics import compute_froc_curve_data, compute_froc_score

from moekit import DataError
from moekit.testing import refused
from moekit_medical.metrics.froc import RATES, Candidates, evaluate_froc


def make(rows: list[tuple[str, float, int]], lesions: dict[str, int], **changes) -> Candidates:
    return Candidates(
        lesions=lesions,
        scan_ids=tuple(row[0] for row in rows),
        scores=np.array([row[1] for row in rows], dtype=np.float64),
        hits=np.array([row[2] for row in rows], dtype=np.int64),
        **changes,
    )


def draw(seed: int, scans: int = 20, a_scan: int = 15, digits: int | None = None) -> Candidates:
    generator = np.random.default_rng(seed)
    lesions = {f"s{index:02}": int(generator.integers(0, 4)) for index in range(scans)}
    rows = []
    for name, count in lesions.items():
        for _ in range(a_scan):
            score = float(generator.random())
            rows.append((name, score if digits is None else round(score, digits), -1))
        for lesion in range(count):
            for _ in range(int(generator.integers(0, 3))):
                score = min(1.0, float(generator.random()) + 0.3)
                rows.append((name, score if digits is None else round(score, digits), lesion))
    return make(rows, lesions)


def through_monai(candidates: Candidates) -> tuple[np.ndarray, np.ndarray, float]:
    best: dict[tuple[str, int], float] = {}
    false = []
    for name, score, hit in zip(
        candidates.scan_ids, candidates.scores, candidates.hits, strict=True
    ):
        if hit < 0:
            false.append(score)
        else:
            best[name, hit] = max(score, best.get((name, hit), 0.0))
    rates, sensitivity = compute_froc_curve_data(
        np.array(false),
        np.array(list(best.values())),
        sum(candidates.lesions.values()),
        len(candidates.lesions),
    )
    return rates, sensitivity, compute_froc_score(rates, sensitivity, eval_thresholds=RATES)


@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("seed", range(10))
def test_curve_and_cpm_are_those_of_monai(seed, digits):
    candidates = draw(seed, digits=digits)
    rates, sensitivity, score = through_monai(candidates)
    froc = evaluate_froc(candidates, seed=0, resamples=1)
    # MONAI leaves out the lowest threshold, which lies beyond 8 false alarms a scan here.
    assert rates[0] > 8
    assert froc.fp_per_scan[:-1] == pytest.approx(rates[::-1], abs=0)
    assert froc.sensitivity[:-1] == pytest.approx(sensitivity[::-1], abs=0)
    assert froc.cpm == pytest.approx(score, abs=1e-12)


def test_a_small_case_is_as_computed_by_hand():
    # Two scans, two lesions: found at 0 and at 1 false alarm a scan; 2 false alarms a scan at last.
    candidates = make(
        [
            ("a", 0.9, 0),
            ("a", 0.8, -1),
            ("b", 0.7, -1),
            ("b", 0.6, 0),
            ("a", 0.5, -1),
            ("b", 0.4, -1),
        ],
        {"a": 1, "b": 1},
    )
    froc = evaluate_froc(candidates, seed=0, resamples=1)
    assert froc.thresholds.tolist() == [math.inf, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert froc.fp_per_scan.tolist() == [0, 0, 0.5, 1, 1, 1.5, 2]
    assert froc.sensitivity.tolist() == [0, 0.5, 0.5, 0.5, 1, 1, 1]
    assert froc.sensitivity_at == (0.5, 0.5, 0.5, 1, 1, 1, 1)
    assert froc.cpm == pytest.approx(5.5 / 7)


def test_between_points_of_the_curve_sensitivity_is_interpolated():
    candidates = make([("a", 0.9, 0), ("a", 0.5, -1), ("a", 0.5, 1)], {"a": 2})
    froc = evaluate_froc(candidates, seed=0, resamples=1)
    assert froc.sensitivity.tolist() == [0, 0.5, 1]
    assert froc.sensitivity_at[:4] == pytest.approx((0.5625, 0.625, 0.75, 1))


def test_a_lesion_is_found_by_its_best_hit_and_further_hits_are_no_false_alarms():
    once = make([("a", 0.9, 0), ("a", 0.5, -1)], {"a": 1})
    thrice = make([("a", 0.3, 0), ("a", 0.9, 0), ("a", 0.7, 0), ("a", 0.5, -1)], {"a": 1})
    first, second = (evaluate_froc(given, seed=0, resamples=1) for given in (once, thrice))
    assert second.fp_per_scan.tolist() == first.fp_per_scan.tolist() == [0, 0, 1]
    assert second.sensitivity.tolist() == first.sensitivity.tolist() == [0, 1, 1]


def test_scans_without_lesions_count_in_the_rate_of_false_alarms():
    rows = [("a", 0.9, 0), ("a", 0.5, -1)]
    froc = evaluate_froc(make(rows, {"a": 1, "b": 0, "c": 0, "d": 0}), seed=0, resamples=1)
    assert froc.fp_per_scan[-1] == 0.25


def test_lesions_of_failed_scans_are_missed():
    rows = [("a", 0.9, 0)]
    froc = evaluate_froc(make(rows, {"a": 1, "b": 3}, failed=frozenset({"b"})), seed=0, resamples=1)
    assert (froc.lesions, froc.failed, froc.scans) == (4, 1, 2)
    assert froc.sensitivity[-1] == froc.cpm == 0.25


def test_no_candidate_finds_nothing_and_no_lesion_leaves_cpm_undefined():
    assert evaluate_froc(make([], {"a": 1}), seed=0, resamples=1).cpm == 0
    nothing = evaluate_froc(make([("a", 0.5, -1)], {"a": 0, "b": 0}), seed=0, resamples=5)
    assert math.isnan(nothing.cpm)
    assert nothing.cpm_ci95 is None
    assert nothing.fp_per_scan.tolist() == [0, 0.5]


def test_order_has_no_influence_on_curve_and_interval():
    candidates = draw(1, digits=1)
    order = np.random.default_rng(0).permutation(len(candidates.scores))
    shuffled = Candidates(
        lesions=dict(reversed(candidates.lesions.items())),
        scan_ids=tuple(candidates.scan_ids[index] for index in order),
        scores=candidates.scores[order],
        hits=candidates.hits[order],
    )
    first, second = (evaluate_froc(given, seed=7, resamples=50) for given in (candidates, shuffled))
    assert first.cpm == second.cpm
    assert first.cpm_ci95 == second.cpm_ci95
    assert first.sensitivity.tolist() == second.sensitivity.tolist()


def test_the_interval_is_repeatable_holds_the_value_and_depends_on_the_seed():
    candidates = draw(2)
    first, again, other = (evaluate_froc(candidates, seed=s, resamples=300) for s in (0, 0, 1))
    assert first.cpm_ci95 == again.cpm_ci95 != other.cpm_ci95
    low, high = first.cpm_ci95
    assert low < first.cpm < high


def test_a_resample_counts_a_scan_drawn_twice_twice():
    # One scan is perfect and one finds nothing: the share of draws of the first is the CPM.
    candidates = make([("a", 0.9, 0)], {"a": 1, "b": 1})
    froc = evaluate_froc(candidates, seed=0, resamples=400)
    assert froc.cpm == 0.5
    assert froc.cpm_ci95 == (0.0, 1.0)


@pytest.mark.parametrize(
    ("rows", "lesions", "failed"),
    [
        ([("x", 0.5, -1)], {"a": 1}, ()),
        ([("a", 0.5, 1)], {"a": 1}, ()),
        ([("a", 0.5, -2)], {"a": 1}, ()),
        ([("a", math.nan, -1)], {"a": 1}, ()),
        ([("a", 0.5, -1)], {"a": 1}, ("a",)),
        ([], {"a": 1}, ("b",)),
    ],
)
def test_parts_that_do_not_fit_are_refused(rows, lesions, failed):
    with pytest.raises(DataError):
        make(rows, lesions, failed=frozenset(failed))


def test_an_empty_set_is_refused():
    with refused("data/no-scans"):
        evaluate_froc(make([], {}), seed=0)
