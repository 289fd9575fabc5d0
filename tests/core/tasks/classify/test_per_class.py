"""Confusions, the classes one by one, and kit against baseline."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from moekit.tasks.classify.compare import compare_models, mcnemar
from moekit.tasks.classify.per_class import class_rows, confusions
from moekit.tasks.classify.point import choose_point


def test_confusions_are_scikit_learns_and_hold_refusals_and_unseen_items(tally):
    made = tally(100, 4, unseen=20)
    plain = confusions(made, None)
    known = made.labels_N >= 0
    np.testing.assert_array_equal(
        plain[:4, :4], confusion_matrix(made.labels_N[known], made.probability_NC[known].argmax(1))
    )
    assert plain[:, 4].sum() == 0
    assert plain[4].sum() == 20
    point = choose_point(made, "refuse=0.25")
    counts = confusions(made, point)
    assert counts[:4, 4].sum() == round(point.refused * 80)
    assert counts.sum() == 100


@pytest.mark.parametrize("several", [False, True])
def test_recall_and_precision_are_scikit_learns(tally, several):
    made = tally(90, 4, several=several)
    point = choose_point(made, "top")
    rows = class_rows(made, point)
    if several:
        truth, said = made.labels_NC, made.probability_NC >= point.thresholds_C
    else:
        truth, said = made.labels_N, made.probability_NC.argmax(1)
    assert [row.recall for row in rows] == pytest.approx(recall_score(truth, said, average=None))
    assert [row.precision for row in rows] == pytest.approx(
        precision_score(truth, said, average=None)
    )
    told = rows[0].as_json()
    assert told["recall_ci95"][0] < told["recall"] < told["recall_ci95"][1]
    copies = np.repeat(np.arange(90), 5)
    grouped = dataclasses.replace(made.take(copies), groups=tuple(map(str, copies)))
    (row, *_) = class_rows(grouped, point)
    assert row.recall == pytest.approx(rows[0].recall)
    low, high = row.recall_ci95
    assert high - low > 0.9 * (told["recall_ci95"][1] - told["recall_ci95"][0])


def test_a_class_without_items_or_answers_has_no_share(tally):
    made = tally(40, 4)
    rows = np.flatnonzero((made.labels_N != 1) & (made.probability_NC.argmax(1) != 1))
    row = class_rows(made.take(rows), None)[1]
    assert row.as_json() == {
        "class": "class 1",
        "n": 0,
        "called": 0,
        "recall": None,
        "recall_ci95": None,
        "precision": None,
        "precision_ci95": None,
    }


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 1), (3, 3), (10, 0), (800, 700)])
def test_mcnemar_is_the_exact_binomial_test(first, second):
    count = first + second
    expected = stats.binomtest(first, count).pvalue if count else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_a_better_kit_is_better_and_the_interval_holds_the_difference(tally):
    kit, baseline = tally(200, 4, skill=4.0), tally(200, 4, seed=1, skill=0.5)
    told = compare_models(kit, baseline)
    right = [(made.probability_NC.argmax(1) == made.labels_N).mean() for made in (kit, baseline)]
    assert told["top1_difference"] == pytest.approx(right[0] - right[1])
    assert told["ci95"][0] < told["top1_difference"] < told["ci95"][1]
    assert told["mcnemar_p"] < 1e-6
    assert told["interval"] == "by item"
    assert told["note"] == ""


def test_groups_widen_the_interval_and_are_noted(tally):
    names = tuple(f"g{place // 40}" for place in range(200))
    order = np.argsort(tally(200, 4).labels_N, kind="stable")
    kit, baseline = (tally(200, 4, seed=s, skill=k).take(order) for s, k in ((0, 4.0), (1, 0.5)))
    alone = compare_models(kit, baseline)["ci95"]
    for made in (kit, baseline):
        object.__setattr__(made, "groups", names)
    told = compare_models(kit, baseline)
    assert told["interval"] == "by group"
    assert "not independent" in told["note"]
    assert told["ci95"] != alone


def test_several_labels_have_no_test_and_no_item_of_a_known_class_neither(tally):
    assert set(compare_models(tally(several=True), tally(several=True, seed=1))) == {"note"}
    assert compare_models(tally(4, 4, unseen=4), tally(4, 4, unseen=4)) is None


def test_the_same_models_do_not_differ(tally):
    told = compare_models(tally(), tally())
    assert (told["top1_difference"], told["mcnemar_p"]) == (0.0, 1.0)
    low, high = told["ci95"]
    assert low == pytest.approx(-high)
    assert 0 < high < 0.1
