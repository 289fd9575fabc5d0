"""What a report says of classes."""

import numpy as np
import pytest

from moekit.contract.report import NEXT, ReportContext
from moekit.tasks.classify.per_class import confusions
from moekit.tasks.classify.sections import MOST_SHOWN, class_sections


def context(tallies=(), validation=(), **result):
    return ReportContext(
        result=result,
        record={},
        predictions=None,
        validation=None,
        tallies=tallies,
        validation_tallies=validation,
    )


def test_without_tallies_nothing_is_said():
    assert class_sections(context()) == ()


def test_confusions_are_shares_of_rows(tally):
    made = tally(80, 4, skill=1.0)
    confused, classes, _ = class_sections(context((made,), (made,)))
    (grid,) = confused.grids
    counts = confusions(made, None)[:4, :4]
    assert grid.rows == grid.columns == made.classes
    np.testing.assert_allclose(grid.shares, counts / counts.sum(1, keepdims=True))
    assert grid.cells[0][0] == str(counts[0, 0])
    assert classes.title == "Class by class"


def test_pairs_are_the_most_frequent_ones_first(tally):
    made = tally(200, 4, skill=0.5)
    table = class_sections(context((made,)))[0].tables[0]
    counts = confusions(made, None)
    wrong = counts - np.diag(np.diagonal(counts))
    assert int(table.rows[0][2]) == wrong.max()
    assert [int(row[2]) for row in table.rows] == sorted(int(r[2]) for r in table.rows)[::-1]


def test_of_many_classes_the_most_confused_are_shown_and_nothing_is_lost(tally):
    made = tally(400, 60, skill=1.5)
    section = class_sections(context((made,)))[0]
    (grid,) = section.grids
    assert len(grid.rows) == MOST_SHOWN
    assert grid.rows[-1] == "others"
    assert sum(int(cell) for row in grid.cells for cell in row) == 400
    assert any("most" in note for note in section.notes)


def test_the_class_that_is_found_least_comes_first_with_its_interval(tally):
    made = tally(120, 4, skill=1.0)
    table = class_sections(context((made,)))[1].tables[0]
    recalls = [float(row[2].rstrip("%")) for row in table.rows]
    assert recalls == sorted(recalls)
    assert " to " in table.rows[0][3]
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_items_of_no_class_have_a_section_only_if_there_are_some(tally):
    made, validation = tally(100, 4, unseen=30), tally(100, 4, seed=1)
    sections = class_sections(context((made,), (validation,)))
    assert sections[2].title == "Items of no class"
    assert "30 of 100" in sections[2].paragraphs[0]
    assert "5%" in sections[2].paragraphs[1]
    assert len(class_sections(context((validation,), (validation,)))) == 3


def test_the_rule_of_the_run_refuses_in_the_confusions(tally):
    made = tally(100, 4)
    refused = class_sections(context((made,), (made,), point={"rule": "refuse=0.3"}))[0]
    assert "none of these" in refused.grids[0].columns
    plain = class_sections(context((made,), (made,), point={"rule": "top"}))[0]
    assert "none of these" not in plain.grids[0].columns


@pytest.mark.parametrize("rule", ["f1", "nonesuch", None])
def test_several_labels_have_a_table_whatever_the_rule_says(tally, rule):
    made = tally(60, 4, several=True)
    sections = class_sections(context((made,), (made,), point={"rule": rule}))
    assert [section.title for section in sections] == ["Class by class", NEXT]
    assert len(sections[0].tables[0].rows) == 4
    assert class_sections(context((made,))) == ()


def test_nothing_confused_is_said_so(tally):
    made = tally(20, 4, skill=100.0)
    assert class_sections(context((made,)))[0].tables[0].rows == (("none", "", "", ""),)


def test_steps_name_the_pair_that_is_confused_most_and_the_class_that_is_found_least(tally):
    made = tally(200, 4, skill=0.5)
    confused, classes, steps = class_sections(context((made,), (made,), point={"rule": "top"}))
    truth, answer, count, share = confused.tables[0].rows[0]
    assert steps.title == NEXT
    assert f"{count} items of {truth} that are taken for {answer} ({share}" in steps.paragraphs[0]
    assert classes.tables[0].rows[0][0] in steps.paragraphs[1]
    assert "refuse=0.05" in steps.paragraphs[2]


def test_a_run_that_refuses_is_not_asked_to_refuse(tally):
    made = tally(100, 4, skill=0.5)
    steps = class_sections(context((made,), (made,), point={"rule": "refuse=0.3"}))[-1]
    assert not any("refuse=" in step for step in steps.paragraphs)
