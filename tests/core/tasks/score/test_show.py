"""What scores add to a report."""

from types import SimpleNamespace

import numpy as np
import pytest

from moekit import ReportContext
from moekit.contract.report import HEADER, METRICS, NEXT, WORST
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.score.show import right, sections

RESULT = {
    "kit": "parts",
    "bootstrap_seed": 0,
    "split": "test",
    "classes": ["good", "bad"],
    "positive": "bad",
    "outcome_names": {"missed": "escape", "false_alarm": "overkill"},
    "threshold": {"value": 0.5, "rule": "accuracy", "n": 40, "split": "val"},
    "comparison": {"auroc_difference": 0.125, "ci95": [-0.01, 0.26], "delong_p": 0.0712},
}


def scored(labels=(0, 0, 0, 1, 1), bare=True):
    return Predictions(
        ids=tuple("abcde"),
        labels=np.array(labels),
        scores=np.array([0.1, 0.2, 0.6, 0.4, 0.9]),
        baseline_scores=np.array([0.5, 0.1, 0.3, 0.4, 0.9]) if bare else None,
    )


def made(predictions, validation=None, **changes):
    context = ReportContext(
        result={**RESULT, **changes}, record={}, predictions=predictions, validation=validation
    )
    return {section.title: section for section in sections(context)}


def test_the_sections_come_in_the_order_of_the_page():
    assert list(made(scored())) == [
        *(HEADER, METRICS, WORST, NEXT),
        *("By share of false alarms", "Curves", "Thresholds"),
    ]


@pytest.mark.parametrize(
    ("threshold", "looked_at"),
    [(0.5, "the misses and the false alarms."), (0.95, "the misses."), (0.3, "the false alarms.")],
)
def test_the_page_tells_to_look_at_the_mistakes_that_were_made(threshold, looked_at):
    (first, _) = made(scored(), threshold={**RESULT["threshold"], "value": threshold})[
        NEXT
    ].paragraphs
    assert first.startswith(f"Look at {looked_at}")


def test_without_a_mistake_the_page_tells_to_look_at_none():
    section = made(scored(labels=(0, 0, 1, 0, 1)))[NEXT]
    assert len(section.paragraphs) == 1


def test_found_rows_are_the_positives_at_the_threshold_the_surest_first():
    predictions = scored(labels=(1, 0, 1, 1, 1))
    assert right(predictions, SimpleNamespace(threshold=0.4))["found"].tolist() == [4, 2, 3]


def test_thresholds_by_false_alarms_come_from_validation_and_counts_from_the_split():
    negatives = np.linspace(0.0, 0.7, 200)
    validation = Predictions(
        ids=tuple(map(str, range(201))),
        labels=np.array([0] * 200 + [1]),
        scores=np.append(negatives, 0.99),
    )
    section = made(scored(), validation)["By share of false alarms"]
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["0.5%", "1.0%", "2.0%", "5.0%", "10.0%"]
    for share, row in zip((0.005, 0.01, 0.02, 0.05, 0.1), table.rows, strict=True):
        assert (negatives >= float(row[1])).mean() <= share
        assert (row[2], row[4], row[5]) == ("1 of 2", "1", "0 of 3")
    assert table.rows[0][3] == "9.5% to 90.5%"  # Wilson's interval of 1 of 2
    assert section.notes == ()


def test_a_share_that_validation_data_cannot_resolve_has_a_warning():
    section = made(scored(), scored())["By share of false alarms"]
    assert "max-false-alarm=0.005 rests on 3 negative images" in section.notes[0]


def test_without_validation_scores_there_is_no_table_by_false_alarms():
    assert made(scored())["By share of false alarms"].tables == ()


def test_the_tile_holds_the_paired_test():
    (table,) = made(scored())[HEADER].tables
    remark = "95% interval -0.0100 to +0.2600, DeLong p = 0.071"
    assert table.rows == (("difference in AUROC", "+0.1250", remark),)


def test_a_result_without_a_baseline_has_no_tile():
    assert HEADER not in made(scored(bare=False), comparison=None)


def test_the_threshold_is_told_above_the_metrics():
    said = "Threshold 0.5000, chosen by the rule accuracy on 40 images of the val split."
    assert made(scored())[METRICS].paragraphs == (said,)


def test_the_chosen_threshold_is_told_in_the_words_of_the_kit_and_stands_first():
    section = made(scored())["Thresholds"]
    assert section.paragraphs[0] == (
        "At the chosen threshold 1 of 2 bad are found and 1 missed (escape); "
        "1 of 3 good are false alarms (overkill)."
    )
    (table,) = section.tables
    assert table.rows[0] == ("0.5000 chosen", "1", "50.0%", "1", "33.3%")
    assert table.rows[1] == ("0.4000", "0", "0.0%", "1", "33.3%")


@pytest.mark.parametrize("bare", [True, False])
def test_curves_mark_the_chosen_threshold(bare):
    roc, precise = made(scored(bare=bare))["Curves"].charts
    assert [line.style for line in roc.lines] == ["kit", "baseline"][: 1 + bare]
    assert roc.marks == ((pytest.approx(1 / 3), 0.5, "the chosen threshold"),)
    assert precise.marks == ((0.5, 0.5, "the chosen threshold"),)
    assert all(len(line.band) > 40 for chart in (roc, precise) for line in chart.lines)


def test_where_nothing_is_called_there_is_no_precision_to_mark():
    point = {**RESULT["threshold"], "value": 1.0}
    assert made(scored(), threshold=point)["Curves"].charts[1].marks == ()


@pytest.mark.parametrize("predictions", [None, scored(labels=(0, 0, 0, 0, 0))])
def test_without_scores_of_both_classes_the_page_says_how_they_are_made(predictions):
    found = made(predictions)
    assert "Thresholds" not in found
    assert "`moekit evaluate parts --data D --run RUN`" in found["Curves"].paragraphs[0]
