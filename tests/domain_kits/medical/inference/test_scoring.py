"""Crops that one view settles, and those that all views are asked for."""

from collections.abc import Callable

import numpy as np
import pytest

from moekit_medical.inference.failures import BadAnswersError
from moekit_medical.inference.scoring import LEAST, Scores, score_crops

COUNT = 400


def crops() -> np.ndarray:
    """(N, 4, 4) uint8, each with its number in its first two pixels."""
    crops_NSS = np.zeros((COUNT, 4, 4), dtype=np.uint8)
    crops_NSS[:, 0, 0], crops_NSS[:, 0, 1] = np.divmod(np.arange(COUNT), 256)
    return crops_NSS


def numbers(crops_NSS: np.ndarray) -> np.ndarray:
    found: np.ndarray = crops_NSS[:, 0, 0].astype(int) * 256 + crops_NSS[:, 0, 1]
    return found


class By:
    """Scores crops by what is known of their numbers, and keeps which were asked."""

    def __init__(self, logit_N: np.ndarray) -> None:
        self.logit_N = logit_N
        self.asked: list[int] = []

    def __call__(self, crops_NSS: np.ndarray) -> np.ndarray:
        found = numbers(crops_NSS)
        self.asked += found.tolist()
        score_N: np.ndarray = 1 / (1 + np.exp(-self.logit_N[found]))
        crops_NSS[:] = 0  # what a scorer does to its pixels reaches no other
        return score_N


@pytest.fixture
def pair() -> tuple[By, By]:
    """All views, and one view that differs by at most half a unit of log-odds."""
    generator = np.random.default_rng(0)
    logit_N = generator.normal(-5, 3, COUNT)
    return By(logit_N), By(logit_N + generator.uniform(-0.5, 0.5, COUNT))


def scored(*scorers: By, threshold: float = 0.5, tell: Callable[[int], None] = print) -> Scores:
    return score_crops(
        crops(),
        scorers=scorers,
        threshold=threshold,
        batch_size=32,
        progress=tell,
    )


def test_findings_are_those_of_all_views(pair: tuple[By, By]) -> None:
    whole, glance = pair
    truth_N = scored(By(whole.logit_N)).score_N
    scores = scored(glance, whole)
    np.testing.assert_array_equal(scores.score_N >= 0.5, truth_N >= 0.5)
    settled = ~scores.by_one_view_N
    np.testing.assert_array_equal(scores.score_N[settled], truth_N[settled])
    assert LEAST <= settled.sum() < COUNT / 2
    assert sorted(whole.asked) == np.flatnonzero(settled).tolist()
    assert sorted(glance.asked) == list(range(COUNT))


def test_two_views_settle_some_that_one_did_not(pair: tuple[By, By]) -> None:
    whole, glance = pair
    two, least = By((whole.logit_N + glance.logit_N) / 2), 0.02
    truth_N = scored(By(whole.logit_N)).score_N
    plain = scored(glance, By(whole.logit_N), threshold=least)
    scores = scored(glance, two, whole, threshold=least)
    np.testing.assert_array_equal(scores.score_N >= least, truth_N >= least)
    np.testing.assert_array_equal(scores.score_N[scores.by_all_N], truth_N[scores.by_all_N])
    assert LEAST <= scores.by_all_N.sum() < plain.by_all_N.sum()
    assert (~scores.by_one_view_N & ~scores.by_all_N).any()
    assert sorted(whole.asked) == np.flatnonzero(scores.by_all_N).tolist()


def test_the_more_views_disagree_the_more_crops_are_asked_for_all(pair: tuple[By, By]) -> None:
    whole, glance = pair
    few = (~scored(glance, whole).by_one_view_N).sum()
    wild = By(whole.logit_N + 6 * (glance.logit_N - whole.logit_N))
    assert (~scored(wild, whole).by_one_view_N).sum() > few


def test_each_crop_is_asked_for_all_views_if_each_is_a_finding(pair: tuple[By, By]) -> None:
    whole, glance = pair
    assert not scored(glance, whole, threshold=0.0).by_one_view_N.any()


def test_without_another_view_all_are_scored_once(pair: tuple[By, By]) -> None:
    whole, _ = pair
    scores = scored(whole)
    assert not scores.by_one_view_N.any()
    assert scores.by_all_N.all()
    assert sorted(whole.asked) == list(range(COUNT))


def test_progress_only_grows_and_ends_with_all(pair: tuple[By, By]) -> None:
    told: list[int] = []
    whole, glance = pair
    scored(glance, whole, tell=told.append)
    assert told == sorted(told)
    assert told[-1] == COUNT


@pytest.mark.parametrize("wrong", [np.zeros(3), np.full(32, np.nan), np.full(32, 1.5)])
def test_what_is_no_probability_is_refused(pair: tuple[By, By], wrong: np.ndarray) -> None:
    whole, _ = pair
    with pytest.raises(BadAnswersError):
        score_crops(
            crops(),
            scorers=[lambda _: wrong, whole],
            threshold=0.5,
            batch_size=32,
            progress=print,
        )
