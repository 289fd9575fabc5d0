"""What an evaluation says: which model is better, and whether the classes are made up alike."""

import pytest

from moekit.evaluation.counts import shift_between, shifts_in_words
from moekit.evaluation.verdict import better_in_words, sides_of

UP, DOWN = {"higher_is_better": True}, {"higher_is_better": False}


@pytest.mark.parametrize(
    ("entry", "difference", "ci95", "better", "proven"),
    [
        (UP, 0.05, [0.01, 0.09], "specialist", True),
        (UP, -0.05, [-0.09, -0.01], "baseline", True),
        (DOWN, -0.05, [-0.09, -0.01], "specialist", True),
        (UP, 0.05, [-0.01, 0.11], "specialist", False),
        (UP, -0.05, [-0.11, 0.01], "baseline", False),
        (UP, 0.05, None, "specialist", False),
        (UP, 0.0, [-0.1, 0.1], None, False),
    ],
)
def test_the_better_model_is_named_and_whether_that_is_proven(
    entry, difference, ci95, better, proven
):
    gaps = {"auroc": {"difference": difference, "ci95": ci95}}
    found = better_in_words(
        {"auroc": entry}, gaps, sides_of("frozen backbone, same head"), units=20
    )
    assert (found["better"], found["proven"]) == (better, proven)
    if better:
        assert better in found["in_words"]
        assert ("is proven" in found["in_words"]) == proven


def test_without_a_difference_nothing_is_said():
    assert better_in_words({"auroc": UP}, {}, sides_of("-"), units=20) is None
    gaps = {"auroc": {"difference": None, "ci95": None}}
    assert better_in_words({"auroc": UP}, gaps, sides_of("-"), units=20) is None


def test_few_items_prove_nothing():
    gaps = {"auroc": {"difference": 0.2, "ci95": [0.1, 0.3]}}
    found = better_in_words({"auroc": UP}, gaps, sides_of("-"), units=19)
    assert (found["better"], found["proven"]) == ("specialist", False)
    assert "19" in found["in_words"]


@pytest.mark.parametrize(
    ("difference", "ci95", "held"),
    [
        (5e-6, [0.0, 1e-5], ("less than 0.0001", "may be 0")),
        (0.05, None, ("0.0500", "no interval")),
    ],
)
def test_what_is_not_proven_says_why(difference, ci95, held):
    gaps = {"miou": {"difference": difference, "ci95": ci95}}
    found = better_in_words({"miou": UP}, gaps, sides_of("-"), units=20)
    assert all(words in found["in_words"] for words in held)


@pytest.mark.parametrize("entry", [UP, DOWN])
def test_the_interval_is_that_of_how_far_the_better_model_is_ahead(entry):
    gaps = {"auroc": {"difference": -0.05, "ci95": [-0.11, 0.01]}}
    found = better_in_words({"auroc": entry}, gaps, sides_of("-"), units=20)
    assert "by 0.0500 of auroc [-0.0100, +0.1100]" in found["in_words"]


def test_a_shift_of_the_classes_is_told_with_the_shares():
    counts = {
        "train": {"good": 20, "bad": 180},
        "val": {"good": 5, "bad": 45},
        "test": {"good": 38, "bad": 62},
    }
    shifts, told = shifts_in_words(counts, "test")
    assert shifts["val/test"]["distance"] == pytest.approx(0.28)
    assert [shifts[name]["shifted"] for name in ("val/test", "train/test", "train/val")] == [
        True,
        True,
        False,
    ]
    assert len(told) == 2
    assert all("62% bad" in sentence and "90% bad" in sentence for sentence in told)


@pytest.mark.parametrize(
    ("first", "second", "shifted"),
    [
        ((50, 50), (55, 45), False),
        ((5, 5), (7, 3), False),
        ((500, 500), (700, 300), True),
        ((9000, 1000), (9200, 800), False),
    ],
)
def test_small_and_chance_shifts_are_not_told(first, second, shifted):
    known, found = (dict(zip("ab", counts, strict=True)) for counts in (first, second))
    assert shift_between(known, found)["shifted"] is shifted


def test_splits_that_cannot_be_compared_have_no_shift():
    assert shift_between({"a": 5, "b": 0}, {"a": 5, "b": 0}) is None
    assert shift_between({"a": 5, "b": 5}, {"a": 0, "b": 0}) is None
