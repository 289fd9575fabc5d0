"""Kinds of mistakes, and by how much AP50 rises without one."""

import numpy as np
import pytest

from moekit_detection.judging.average import figures_of, mean_of
from moekit_detection.judging.fixes import gains_of
from moekit_detection.judging.matches import Matches
from moekit_detection.judging.mistakes import MISSED, NAMES, Mistakes
from moekit_detection.records import Objects

BOX = (100.0, 100.0, 100.0, 100.0)


def shifted(by, box=BOX):
    return (box[0] + by, *box[1:])


def kinds(found, true, classes=2):
    boxes, labels, scores = zip(*found, strict=True)
    matches = Matches.of(
        [
            (
                Objects.of(boxes, labels, score_G=scores),
                Objects.of([box for box, _ in true], [label for _, label in true]),
            )
        ],
        classes,
    )
    order = np.argsort(-matches.score_D, kind="stable")
    return [Mistakes(kind).name for kind in matches.mistake_D[order]], matches


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ((BOX, 0), "NONE"),
        ((BOX, 1), "CLASS"),
        ((shifted(60), 0), "PLACE"),
        ((shifted(60), 1), "BOTH"),
        ((shifted(300), 0), "NOTHING"),
        ((shifted(95), 0), "NOTHING"),
    ],
)
def test_each_kind_by_its_overlap(found, kind):
    assert kinds([(*found, 0.9)], [(BOX, 0)])[0] == [kind]


def test_the_second_of_two_is_found_twice():
    found, matches = kinds([(BOX, 0, 0.9), (shifted(5), 0, 0.8)], [(BOX, 0)])
    assert found == ["NONE", "TWICE"]
    assert matches.found_G.tolist() == [0.9]


def test_a_badly_placed_object_excuses_the_one_that_it_means():
    _, matches = kinds([(shifted(60), 0, 0.9)], [(BOX, 0), (shifted(400), 0)])
    assert matches.excused_G.tolist() == [True, False]


def test_what_lies_on_a_crowd_is_no_mistake():
    found = Objects.of([(120, 120, 20, 20)], [0], score_G=[0.9])
    true = Objects.of([BOX], [0], crowd_G=[True])
    matches = Matches.of([(found, true)], 1)
    assert matches.mistake_D.tolist() == [Mistakes.NONE]
    assert matches.counted_GA.any() == False  # noqa: E712
    assert np.isnan(matches.found_G).all()


def test_gains_are_those_of_the_mended_answers():
    """What is mended by hand has the AP50 that the gain says."""
    far = (400.0, 400.0, 50.0, 50.0)
    true = Objects.of([BOX, far, shifted(300)], [0, 1, 0])
    given = [
        (BOX, 1, 0.9),  # wrong class
        (far, 1, 0.8),  # right
        (shifted(60), 0, 0.7),  # badly placed
        (far, 1, 0.6),  # twice
        (shifted(200, far), 0, 0.95),  # background
    ]
    mended = {
        "wrong class": [(BOX, 0, 0.9), *given[1:]],
        "badly placed": [*given[:2], (BOX, 0, 0.7), *given[3:]],
        "found twice": [*given[:3], given[4]],
        "background": given[:4],
    }

    def ap50(found, true=true):
        boxes, labels, scores = zip(*found, strict=True)
        matches = Matches.of([(Objects.of(boxes, labels, score_G=scores), true)], 2)
        return mean_of(figures_of(matches, np.ones(1, dtype=np.int64)).ap50_AC[0]), matches

    plain, matches = ap50(given)
    gains = gains_of(matches, np.ones(1, dtype=np.int64))
    assert set(gains) == {*NAMES.values(), MISSED}
    for name, found in mended.items():
        assert gains[name] == pytest.approx(ap50(found)[0] - plain), name
    assert gains["wrong class and badly placed"] == 0
    # Of the missed ones only the third is excused by nothing.
    assert gains[MISSED] == pytest.approx(ap50(given, true.take([0, 1]))[0] - plain)
