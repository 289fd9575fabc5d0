"""The section on defect types: escapes of each type, at thresholds from validation data."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest

from moekit import ReportContext
from moekit.evaluation import wilson_interval
from moekit.tasks.score.metrics import auroc
from moekit.tasks.score.predictions import Predictions
from moekit_industrial.report import render_defect_types, threshold_of_overkill


def predictions(*rows, **facts):
    """Rows of (score, defect, product); good parts are of the type `good`."""
    scores, defects, products = zip(*rows, strict=True)
    return Predictions(
        ids=tuple(str(number) for number in range(len(rows))),
        labels=np.array([int(defect != "good") for defect in defects]),
        scores=np.array(scores),
        facts={"defect": defects, "product": products, **facts},
    )


SCORED = predictions(
    *((score, "good", "screw") for score in (0.1, 0.2, 0.3, 0.6)),
    *((score, "scratch", "screw") for score in (0.25, 0.7, 0.9)),
    *((score, "dent", "screw") for score in (0.4, 0.45)),
)
VALIDATION = predictions(*((number / 200, "good", "screw") for number in range(100)))


def context(scored=SCORED, validation=VALIDATION, **result):
    given = {"threshold": {"value": 0.5}, "split": "test", "skipped": [], **result}
    return ReportContext(result=given, record={}, predictions=scored, validation=validation)


def rows_of(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_each_type_has_its_escapes_and_its_auroc_against_all_good_parts():
    (table,) = render_defect_types(context()).tables
    rows = rows_of(table)
    assert list(rows) == ["dent", "scratch"]
    assert rows["scratch"]["defective"] == "3"
    assert rows["scratch"]["escapes at the chosen threshold"] == "1 of 3: 33.3% (6.1% to 79.2%)"
    assert rows["dent"]["escapes at the chosen threshold"].startswith("2 of 2: 100.0%")
    part = SCORED.take(np.array([0, 1, 2, 3, 4, 5, 6]))
    assert rows["scratch"]["AUROC"].startswith(f"{auroc(part.scores, part.labels):.3f} (")


def test_a_fixed_overkill_is_read_from_good_parts_of_the_validation_split():
    section = render_defect_types(context())
    rows = rows_of(section.tables[0])
    # Of 100 good validation parts up to 0.495, 5 may be rejected: those from 0.475.
    assert rows["dent"]["escapes at 5% overkill"].startswith("2 of 2")
    assert rows["scratch"]["escapes at 5% overkill"].startswith("1 of 3")
    assert "n = 100)" in " ".join(section.paragraphs)
    assert "1 of 4: 25.0%" in " ".join(section.paragraphs)
    changed = dataclasses.replace(SCORED, scores=np.where(SCORED.labels, SCORED.scores, 1.0))
    again = rows_of(render_defect_types(context(changed)).tables[0])
    for name, row in rows.items():
        assert again[name]["escapes at 5% overkill"] == row["escapes at 5% overkill"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.02, 0.05, 0.3])
def test_no_more_good_parts_are_rejected_than_allowed_and_the_next_one_would_be(share):
    good = np.random.default_rng(0).random(150).round(2)
    threshold = threshold_of_overkill(good, share)
    assert (good >= threshold).mean() <= share
    below = good[good < threshold].max()
    assert (good >= below).mean() > share


def test_few_good_validation_parts_are_told():
    few = VALIDATION.take(np.arange(20))
    assert "too few to resolve 1%" in " ".join(render_defect_types(context(SCORED, few)).paragraphs)


def test_without_validation_scores_the_chosen_threshold_remains():
    section = render_defect_types(context(validation=None))
    (table,) = section.tables
    assert table.columns == ("defect", "defective", "escapes at the chosen threshold", "AUROC")
    assert "no validation scores" in " ".join(section.paragraphs)


def test_several_products_have_a_table_each_and_the_mean_of_their_aurocs():
    other = predictions(
        *((score, "good", "nut") for score in (0.1, 0.9)),
        *((score, "dent", "nut") for score in (0.5, 0.95)),
    )
    both = Predictions(
        ids=SCORED.ids + tuple(f"nut {name}" for name in other.ids),
        labels=np.concatenate([SCORED.labels, other.labels]),
        scores=np.concatenate([SCORED.scores, other.scores]),
        facts={name: SCORED.facts[name] + other.facts[name] for name in SCORED.facts},
    )
    products, nut, screw = render_defect_types(context(both)).tables
    rows = rows_of(products)
    mean = np.mean([auroc(one.scores, one.labels) for one in (SCORED, other)])
    assert rows["mean of the products"]["AUROC"] == f"{mean:.3f} (of 2)"
    assert rows["nut"]["defective"] == "2"
    assert nut.columns[0] == "defect of nut"
    assert rows_of(nut)["dent"]["AUROC"].startswith("0.750")
    (alone,) = render_defect_types(context()).tables
    assert screw.rows == alone.rows


def test_defects_that_could_not_be_scored_are_counted():
    lost = {"id": "x", "reason": "-", "label": 1, "split": "test", "facts": {"defect": "dent"}}
    other = {**lost, "split": "train"}
    section = render_defect_types(context(skipped=[lost, lost, other]))
    assert "dent: 2 not scored" in rows_of(section.tables[0])


def test_data_without_types_have_no_table():
    bare = dataclasses.replace(SCORED, facts={})
    assert render_defect_types(context(bare)).tables == ()
    assert render_defect_types(context(None)).tables == ()


@pytest.mark.parametrize(("count", "total"), [(0, 7), (3, 10), (119, 119), (15, 148)])
def test_wilson_intervals_are_those_of_scipy(count, total):
    expected = binomtest(count, total).proportion_ci(method="wilson")
    assert wilson_interval(count, total) == pytest.approx((expected.low, expected.high))
