"""FROC and CPM of a split, with answers counted by hand."""

import dataclasses

import numpy as np
import pytest

from moekit.tasks.score.predictions import Predictions
from moekit_medical.report.detection import render_detection


def split(rows, **facts):
    """Predictions of rows (scan, label, score)."""
    scans, labels, scores = zip(*rows, strict=True)
    return Predictions(
        ids=tuple(map(str, range(len(rows)))),
        labels=np.array(labels),
        scores=np.array(scores),
        facts={"scan": scans, **facts},
    )


# Two scans: at 0.9 one lesion, at 0.8 a false positive, at 0.7 the other lesion.
ROWS = [("a", 1, 0.9), ("a", 0, 0.8), ("b", 1, 0.7), ("b", 0, 0.1)]


@pytest.fixture
def found(context):
    context.result["skipped"] = []

    def render(predictions, skipped=()):
        context.result["skipped"] = list(skipped)
        return render_detection(dataclasses.replace(context, predictions=predictions))

    return render


def cells(section):
    (table,) = section.tables
    return {row[0]: row[1] for row in table.rows}


def test_sensitivity_is_read_off_the_curve_at_the_seven_rates(found):
    # Points (rate, sensitivity): (0, 0) (0, .5) (.5, .5) (.5, 1) (1, 1).
    shown = cells(found(split(ROWS)))
    assert shown["1/8"] == shown["1/4"] == "0.500"
    assert shown["1/2"] == shown["1"] == shown["8"] == "1.000"
    assert shown["CPM (95% interval)"].startswith(f"{(2 * 0.5 + 5) / 7:.3f} (")


def test_two_candidates_of_one_lesion_count_once(found):
    rows = [("a", 1, 0.9), ("a", 1, 0.6), ("b", 0, 0.8)]
    one = cells(found(split(rows, lesion=("L", "L", ""))))
    two = cells(found(split(rows)))
    assert one["1/8"] == "1.000"
    assert two["1/8"] == "0.500"
    assert "one lesion" in " ".join(found(split(rows)).paragraphs)


def failure(scan, label, **changes):
    facts = {"scan": scan, **changes.pop("facts", {})}
    return {"id": "x", "reason": "y", "label": label, "split": "test", "facts": facts, **changes}


def test_lesions_that_could_not_be_scored_count_as_missed(found):
    section = found(split(ROWS), [failure("a", 1), failure("c", 1)])
    assert cells(section)["8"] == "0.500"  # 2 of 4
    assert "3 scans with 4 lesions" in section.paragraphs[0]
    assert "1 scans failed" in section.paragraphs[0]


def test_a_lesion_with_another_scored_candidate_is_not_missed(found):
    predictions = split(ROWS, lesion=("L", "", "M", ""))
    section = found(predictions, [failure("a", 1, facts={"lesion": "L"})])
    assert cells(section)["8"] == "1.000"


def test_a_scan_that_failed_without_lesions_lowers_the_rate(found):
    # Three scans: the false positive at 0.8 is a third of one a scan.
    assert cells(found(split(ROWS), [failure("c", 0)]))["1/2"] == "1.000"
    assert "3 scans" in found(split(ROWS), [failure("c", 0)]).paragraphs[0]


def test_failures_of_other_splits_stay_out_and_unplaced_ones_are_told(found):
    other = failure("z", 1, split="train")
    unknown = failure("z", 1, split=None)
    section = found(split(ROWS), [other, unknown, {"id": "old", "reason": "as written before"}])
    assert "2 scans with 2 lesions" in section.paragraphs[0]
    assert "2 skipped inputs are of no known split" in section.paragraphs[0]
    ours = failure("a", 1, split=None)  # of a scan that is in the split
    assert "2 scans with 3 lesions" in found(split(ROWS), [ours]).paragraphs[0]


def test_the_baseline_has_its_own_column(found):
    bare = dataclasses.replace(split(ROWS), baseline_scores=np.array([0.1, 0.8, 0.1, 0.9]))
    (table,) = found(bare).tables
    assert [row[2] for row in table.rows[:3]] == ["0.000", "0.000", "0.000"]


def test_it_says_why_there_is_no_curve(found, context):
    section = found(dataclasses.replace(split(ROWS), facts={}))
    assert "of which scan 4 of the 4 images are" in section.paragraphs[0]
    assert not section.tables
    partly = dataclasses.replace(split(ROWS), facts={"scan": ("a", "a", "", "b")})
    assert "1 of the 4" in found(partly).paragraphs[0]
    gone = render_detection(dataclasses.replace(context, predictions=None))
    assert "not in this run" in gone.paragraphs[0]


def test_what_is_not_counted_is_said(found):
    told = " ".join(found(split(ROWS)).paragraphs)
    assert "never a candidate" in told
    assert "at most 1.00 false positives a scan" in told
