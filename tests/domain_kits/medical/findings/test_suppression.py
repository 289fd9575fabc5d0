"""Non-maximum suppression of findings."""

import itertools

import numpy as np
import pytest

from moekit.testing import refused
from moekit_medical.findings.record import Finding
from moekit_medical.findings.suppression import suppress


def at(x: float, score: float) -> Finding:
    return Finding(
        score=score, centre_mm=(x, 0.0, 0.0), centre_index=(0.0, 0.0, x), sop_uid="1", size_mm=5.0
    )


def kept(findings: list[Finding], distance_mm: float) -> list[float]:
    return [finding.centre_mm[0] for finding in suppress(findings, distance_mm=distance_mm)]


def test_the_best_of_close_findings_stays():
    assert kept([at(0, 0.5), at(3, 0.9), at(20, 0.1)], 10) == [3, 20]


def test_a_dropped_finding_drops_nothing():
    assert kept([at(0, 0.9), at(6, 0.8), at(12, 0.7)], 10) == [0, 12]


def test_findings_at_exactly_the_distance_are_both_kept():
    assert kept([at(0, 0.9), at(10, 0.8)], 10) == [0, 10]
    assert kept([at(0, 0.9), at(10, 0.8)], 10.001) == [0]


def test_a_distance_of_zero_keeps_all_and_none_makes_none():
    assert kept([at(0, 0.9), at(0, 0.9)], 0) == [0, 0]
    assert suppress([], distance_mm=5) == ()


def test_ties_do_not_depend_on_the_order_of_input():
    findings = [at(x, 0.5) for x in (0, 6, 12, 18)]
    results = {tuple(kept(list(order), 10)) for order in itertools.permutations(findings)}
    assert results == {(0, 12)}


def test_kept_findings_are_apart_and_each_dropped_one_is_close_to_a_better():
    generator = np.random.default_rng(0)
    findings = [
        Finding(
            score=float(generator.random()),
            centre_mm=tuple(generator.uniform(0, 60, 3).tolist()),
            centre_index=(0.0, 0.0, 0.0),
            sop_uid="1",
            size_mm=5.0,
        )
        for _ in range(200)
    ]
    result = suppress(findings, distance_mm=15)
    for a, b in itertools.combinations(result, 2):
        assert np.linalg.norm(np.subtract(a.centre_mm, b.centre_mm)) >= 15
    for finding in set(findings) - set(result):
        assert any(
            better.score > finding.score
            and np.linalg.norm(np.subtract(better.centre_mm, finding.centre_mm)) < 15
            for better in result
        )


@pytest.mark.parametrize("distance", [-1.0, float("nan"), float("inf")])
def test_a_distance_that_is_none_is_refused(distance):
    with refused("usage/out-of-range"):
        suppress([at(0, 0.5)], distance_mm=distance)
