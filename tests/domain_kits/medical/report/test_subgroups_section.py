"""The section on subgroups, with answers counted by hand."""

import dataclasses

import numpy as np
import pytest

from moekit.tasks.score.predictions import Predictions
from moekit_medical.report.figures import subgroups
from moekit_medical.report.subgroups import SIZE_MM, bin_of, render_subgroups


@pytest.fixture
def scored():
    """GE: one of two positives above the threshold of 0.4321; Siemens: all right."""
    return Predictions(
        ids=tuple("abcdefgh"),
        labels=np.array([1, 1, 0, 0, 1, 1, 0, 0]),
        scores=np.array([0.9, 0.2, 0.3, 0.1, 0.8, 0.7, 0.2, 0.1]),
        facts={
            "manufacturer": ("GE",) * 4 + ("Siemens",) * 3 + ("",),
            "slice_thickness_mm": ("1",) * 4 + ("2.5",) * 4,
            "size_mm": ("12", "4", "", "", "6", "7", "", ""),
        },
        subtypes=("solid",) * 4 + ("part-solid",) * 4,
    )


@pytest.fixture
def tables(context, scored):
    context.result["skipped"] = []
    section = render_subgroups(dataclasses.replace(context, predictions=scored))
    return {table.columns[0]: table.rows for table in section.tables}


def values(row):
    """Name, counts, and figures without their intervals."""
    return (*row[:4], *(cell.split(" (")[0] for cell in row[4:]))


def test_each_maker_has_its_own_figures(tables):
    ge, siemens, unknown = map(values, tables["manufacturer"])
    assert ge == ("GE", "4", "2", "0", "0.750", "0.500", "1.000")
    assert siemens == ("Siemens", "3", "2", "0", "1.000", "1.000", "1.000")
    assert unknown == ("unknown", "1", "0", "0", "undefined", "undefined", "1.000")


def test_thickness_and_types_are_there_too(tables):
    assert [values(row)[:3] for row in tables["slice thickness"]] == [
        ("at most 1.5 mm", "4", "2"),
        ("over 1.5 to 3 mm", "4", "2"),
    ]
    assert [row[0] for row in tables["type"]] == ["part-solid", "solid"]


def test_lesions_of_a_size_are_set_against_all_negatives(tables):
    small, middle, large = map(values, tables["lesion size, against all negatives"])
    assert small == ("at most 6 mm", "6", "2", "0", "0.812", "0.500", "1.000")
    assert middle[:3] == ("over 6 to 8 mm", "5", "1")
    assert large[:3] == ("over 8 mm", "5", "1")


def test_what_was_not_scored_is_counted_in_its_subgroup(context, scored):
    facts = {"manufacturer": "GE", "size_mm": "4"}
    lost = {"id": "x", "reason": "y", "split": "test", "label": 1, "facts": facts}
    philips = {**lost, "facts": {"manufacturer": "Philips"}, "label": 0}
    context.result["skipped"] = [lost, philips]
    section = render_subgroups(dataclasses.replace(context, predictions=scored))
    by_maker, _, by_size, _ = ({row[0]: row[3] for row in table.rows} for table in section.tables)
    assert by_maker == {"GE": "1", "Siemens": "0", "unknown": "0", "Philips": "1"}
    assert by_size["at most 6 mm"] == "1"
    assert "unknown" not in by_size  # what is no lesion has no size


def test_intervals_hold_their_value(tables):
    for rows in tables.values():
        for row in rows:
            for cell in row[4:]:
                if "(" in cell and "no interval" not in cell:
                    value, low, high = (
                        float(part)
                        for part in cell.replace("(", "").replace(")", "").replace("to", "").split()
                    )
                    assert low <= value <= high


def test_it_says_what_is_not_known(context):
    section = render_subgroups(context)
    assert not section.tables
    told = " ".join(section.paragraphs)
    assert "Not known of these data: manufacturer, slice thickness, lesion size, type" in told


def test_values_that_a_file_was_given_by_hand_show_nobody(context, scored):
    facts = {"manufacturer": ("Doe^Jane",) * 8, "size_mm": ("Doe/Jane",) * 8}
    odd = dataclasses.replace(scored, facts=facts, subtypes=("Doe^Jane",) * 8)
    section = render_subgroups(dataclasses.replace(context, predictions=odd))
    shown = str([table.rows for table in section.tables])
    assert "Doe" not in shown
    assert "other" in shown


def test_guidelines_point_to_the_section(context, scored):
    told = subgroups(dataclasses.replace(context, predictions=scored))
    assert told == (
        "results by manufacturer, slice thickness, lesion size, type are in the section on "
        "subgroups"
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [("6", "at most 6 mm"), ("6.1", "over 6 to 8 mm"), ("9", "over 8 mm"), ("", ""), ("nan", "")],
)
def test_a_bin_holds_its_upper_bound(value, name):
    assert bin_of(value, SIZE_MM) == name
