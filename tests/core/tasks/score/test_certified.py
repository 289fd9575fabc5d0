"""Certified thresholds keep their promise over draws, and are refused if data are too few."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from moekit.tasks.parts.support import needed
from moekit.tasks.score.certified import certify
from moekit.tasks.score.judge import check_rule, choose, review
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.threshold import choose_threshold
from moekit.testing import refused

DRAWS = 200


def failures_allowed(risk):
    """The most failures of 200 draws that a risk of that size gives in 999 of 1,000 simulations."""
    return int(stats.binom.isf(1e-3, DRAWS, risk))


def scored(seed, positives, negatives, groups=None):
    generator = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [positives, negatives])
    scores = np.concatenate(
        [generator.beta(5, 2, size=positives), generator.beta(2, 5, size=negatives)]
    )
    return Predictions(
        ids=tuple(str(row) for row in range(len(labels))),
        labels=labels,
        scores=scores,
        groups=groups,
    )


def true_rate(rule, threshold):
    if "miss" in rule:
        return stats.beta(5, 2).cdf(threshold)
    return stats.beta(2, 5).sf(threshold)


@pytest.mark.parametrize(
    ("rule", "at_most", "risk"),
    [
        ("certified-miss=0.05,0.1", 0.05, 0.1),
        ("certified-false-alarm=0.05,0.1", 0.05, 0.1),
        ("certified-miss=0.02,0.2", 0.02, 0.2),
    ],
)
def test_the_bound_fails_in_at_most_its_share_of_200_draws(rule, at_most, risk):
    failed, rates = 0, []
    for seed in range(DRAWS):
        given = scored(seed, 130, 130)
        rate = true_rate(rule, choose_threshold(given.scores, given.labels, rule=rule).threshold)
        rates.append(rate)
        failed += rate > at_most
    assert failed <= failures_allowed(risk)
    # It is not safe by standing still: the rates come near what is allowed.
    assert max(rates) > 0.8 * at_most
    assert np.mean(rates) > 0.2 * at_most


def test_a_rule_without_a_guarantee_fails_in_many_more_draws():
    """The simulation can tell: what only looks at the share of the validation split is too bold."""
    failed = 0
    for seed in range(DRAWS):
        given = scored(seed, 130, 130)
        point = choose_threshold(given.scores, given.labels, rule="max-miss=0.05")
        failed += true_rate("miss", point.threshold) > 0.05
    assert failed > failures_allowed(0.1)


def grouped(seed, groups, size=6):
    """Positives in groups that are alike; of each its own level, and a little noise."""
    generator = np.random.default_rng(seed)
    level = np.repeat(generator.beta(5, 2, size=groups), size)
    scores = np.clip(level + generator.normal(0, 0.02, groups * size), 0, 1)
    names = tuple(str(row // size) for row in range(groups * size))
    return scores, names


def test_of_groups_the_bound_holds_for_new_groups():
    """The rate is of groups with a missed image; counted by image it would fail far too often."""
    worst = np.sort(grouped(99_999, 20_000)[0].reshape(-1, 6).min(1))
    failed = by_image = 0
    for seed in range(DRAWS):
        scores, names = grouped(seed, 80)
        candidates = np.concatenate([[0.0], np.unique(scores)])
        for groups in (names, None):
            threshold, promise = certify(
                scores, candidates, rate="missed", at_most=0.1, risk=0.1, groups=groups
            )
            rate = np.searchsorted(worst, threshold, side="left") / len(worst)
            if groups is None:
                by_image += rate > 0.1
            else:
                assert (promise.unit, promise.n) == ("group", 80)
                failed += rate > 0.1
    assert failed <= failures_allowed(0.1) < by_image


@pytest.mark.parametrize(
    ("at_most", "risk", "count"), [(0.02, 0.05, 149), (0.05, 0.1, 45), (0.5, 0.5, 1)]
)
def test_the_number_that_is_needed_is_the_least_that_certifies(at_most, risk, count):
    assert needed(at_most, risk) == count
    rule = f"certified-miss={at_most},{risk}"
    given = scored(0, count, 5)
    point = choose_threshold(given.scores, given.labels, rule=rule)
    assert point.guarantee.errors == point.value == 0
    if count > 1:
        less = scored(0, count - 1, 5)
        with refused("data/too-few", match=rf"\b{count - 1} images"):
            choose_threshold(less.scores, less.labels, rule=rule)


def test_the_walk_ends_where_the_exact_p_value_passes_the_risk():
    given = scored(3, 400, 400)
    point = choose_threshold(given.scores, given.labels, rule="certified-miss=0.05,0.1")
    promise = point.guarantee
    assert stats.binom.cdf(promise.errors, 400, 0.05) <= 0.1
    assert stats.binom.cdf(promise.errors + 1, 400, 0.05) > 0.1
    assert (given.scores[given.labels == 1] < point.threshold).sum() == promise.errors


def test_false_alarms_are_certified_from_negatives_only():
    given = scored(1, 0, 200)
    point = choose_threshold(given.scores, given.labels, rule="certified-false-alarm=0.05,0.1")
    assert point.guarantee.n == 200
    with refused("data/one-class"):
        choose_threshold(given.scores, given.labels, rule="certified-miss=0.05,0.1")


def test_the_point_states_its_promise_and_its_assumption():
    given = scored(0, 150, 150, groups=tuple(str(row // 2) for row in range(300)))
    told = choose(given, "certified-miss=0.1,0.1")
    made = told.as_json()
    assert (made["guarantee"]["at_most"], made["guarantee"]["risk"]) == (0.1, 0.1)
    assert (made["guarantee"]["unit"], made["guarantee"]["n"]) == ("group", 75)
    assert "exchangeable" in made["guarantee"]["assumption"]
    assert made["missed"]["ci95"][0] <= made["missed"]["value"] <= made["missed"]["ci95"][1]
    assert any("Learn then Test" in sentence for sentence in told.in_words())
    low, high = made["ci95"]
    assert low <= made["value"] <= high


@pytest.mark.parametrize(
    "rule",
    [
        "certified-miss",
        "certified-miss=0.02",
        "certified-miss=0.02,",
        "certified-miss=0,0.05",
        "certified-miss=0.02,1",
        "certified-miss=0.02,0.05,0.1",
        "max-miss=0.02,0.05",
        "certified-alarm=0.1,0.1",
    ],
)
def test_a_promise_that_is_none_is_an_unknown_rule(rule):
    given = scored(0, 20, 20)
    with refused("usage/unknown-rule"):
        choose_threshold(given.scores, given.labels, rule=rule)


@pytest.mark.parametrize(
    ("rule", "negatives", "needs"),
    [("max-false-alarm=0.02", 4, ("50", "149")), ("max-false-alarm=0.05", 19, ("20", "59"))],
)
def test_a_share_that_the_data_cannot_tell_is_warned_of_with_the_number_that_would(
    rule, negatives, needs
):
    given = scored(0, 30, negatives)
    point = choose(given, rule)
    for number in needs:
        assert number in point.warning.split(" of the validation split", 1)[1]
    assert point.as_json()["warning"] == point.warning == point.in_words()[-1]
    enough = scored(0, 30, int(needs[0]))
    assert choose(enough, rule).warning == ""
    names = tuple(str(row // 10) for row in range(30 + int(needs[0])))
    assert choose(dataclasses.replace(enough, groups=names), rule).warning


@pytest.mark.parametrize("rule", ["accuracy", "f1", "youden"])
@pytest.mark.parametrize(("positives", "negatives"), [(6, 40), (40, 6), (3, 3)])
def test_a_best_threshold_that_rests_on_very_few_images_is_warned_of(rule, positives, negatives):
    point = choose(scored(0, positives, negatives), rule)
    for count, what in ((positives, "positive"), (negatives, "negative")):
        assert (f"{count} {what} images" in point.warning) == (count < 20)
    assert point.as_json()["warning"] == point.warning == point.in_words()[-1]
    enough = scored(0, 20, 20)
    assert choose(enough, rule).warning == ""
    names = tuple(str(row // 10) for row in range(40))
    assert "2 groups of" in choose(dataclasses.replace(enough, groups=names), rule).warning


def test_a_tail_of_very_few_negatives_is_warned_of():
    point = choose(scored(0, 30, 19), "tail=0.02")
    assert "19 negative images" in point.warning
    assert point.as_json()["warning"] == point.warning == point.in_words()[-1]
    enough = scored(0, 0, 20)
    assert choose(enough, "tail=0.02").warning == ""
    names = tuple(str(row // 10) for row in range(20))
    grouped = dataclasses.replace(enough, groups=names)
    assert "2 groups of negative images" in choose(grouped, "tail=0.02").warning


def test_a_review_zone_that_the_data_cannot_tell_is_warned_of():
    given = scored(0, 200, 30)
    point = dataclasses.replace(choose(given, "max-miss=0.01"), threshold=0.99)
    assert point.warning == ""
    zone = review(given, point, f"max-false-alarm={0.5 / 30}")
    assert "30 negative images" in zone.warning
    assert zone.review < zone.threshold


def test_the_interval_of_a_threshold_is_drawn_from_the_validation_data():
    few, many = (choose(scored(0, count, count), "max-miss=0.1") for count in (40, 1000))
    widths = [high - low for low, high in (few.threshold_ci95, many.threshold_ci95)]
    assert widths[0] > 2 * widths[1] > 0
    assert few == choose(scored(0, 40, 40), "max-miss=0.1")


def test_a_rule_is_checked_before_anything_is_learned(tmp_path):
    class Sample:
        group = ""

        def __init__(self, label):
            self.label = label

    samples = [Sample(row % 2) for row in range(40)]
    check_rule("max-miss=0.1", samples)
    with refused("usage/unknown-rule"):
        check_rule("max-mist=0.1", samples)
    with refused("data/too-few", match="149"):
        check_rule("certified-miss=0.02,0.05", samples)
