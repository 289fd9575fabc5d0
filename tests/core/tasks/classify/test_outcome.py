"""What classes come to, in sentences."""

import dataclasses

import numpy as np

from moekit.tasks.classify.outcome import outcome
from moekit.tasks.classify.point import ClassPoint


def test_right_items_are_counted_and_the_hardest_classes_named(tally):
    made = tally(n=40, classes=4, skill=50.0)
    told = outcome(made, None, None)
    assert told == ["40 of 40 items get the right class: 100.0%, 95% interval 91.2% to 100.0%."]
    shares = made.probability_NC.copy()
    wrong = np.flatnonzero(made.labels_N == 2)[:3]
    shares[wrong] = np.eye(4)[0]
    told = outcome(dataclasses.replace(made, probability_NC=shares), None, None)
    assert told[0].startswith("37 of 40 items get the right class: 92.5%")
    assert told[1] == "Hardest: class 2 (7 of 10)."


def test_items_of_no_class_do_not_count(tally):
    made = tally(n=40, classes=4, skill=50.0, unseen=5)
    assert outcome(made, None, None)[0].startswith("35 of 35 items")


def test_what_is_refused_is_counted_apart_from_the_classes(tally):
    made = tally(n=40, classes=4, skill=50.0, unseen=5)
    (_, none) = outcome(made, None, None)
    assert none == "5 items are of no class; no rule says which to refuse (refuse=SHARE does)."
    strange = np.where(made.labels_N < 0, 0.9, 0.1)
    strange[np.flatnonzero(made.labels_N == 0)[:2]] = 0.8
    strange[np.flatnonzero(made.labels_N < 0)[0]] = 0.2
    made = dataclasses.replace(made, unlike_N=strange)
    point = ClassPoint(rule="refuse=0.05", n=20, refuse_above=0.5)
    assert outcome(made, point, None)[1:] == [
        "2 of 35 items of the classes are refused.",
        "4 of 5 items of no class are refused.",
    ]


def test_labels_that_are_found_and_wrongly_given_are_counted(tally):
    made = tally(n=30, classes=3, several=True, skill=60.0)
    there = int(made.labels_NC.sum())
    assert outcome(made, None, None) == [
        f"{there} of {there} labels are found, and 0 are given that are wrong."
    ]
    shares = made.probability_NC.copy()
    shares[:, 1] = 1.0
    told = outcome(dataclasses.replace(made, probability_NC=shares), None, None)
    assert f"and {int((made.labels_NC[:, 1] == 0).sum())} are given that are wrong" in told[0]
