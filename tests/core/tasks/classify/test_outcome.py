"""What classes come to, in sentences."""

import dataclasses

import numpy as np

from moekit.tasks.classify.outcome import outcome


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
