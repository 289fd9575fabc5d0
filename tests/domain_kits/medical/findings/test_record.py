"""Records of findings."""

import csv
import json
import math

import pytest

from moekit.testing import refused
from moekit_medical.findings.record import Finding, in_order, write_csv, write_json


def make(score: float = 0.5, x: float = 1.0, **changes) -> Finding:
    options = {
        "score": score,
        "centre_mm": (x, -2.0, 3.0),
        "centre_index": (4.0, 5.5, 6.25),
        "sop_uid": "1.2.3",
        "size_mm": 8.0,
    }
    return Finding(**{**options, **changes})


def test_json_holds_the_disclaimer_and_rounded_numbers(tmp_path):
    write_json(tmp_path / "f.json", [make(score=1 / 3, x=2 / 3)])
    assert json.loads((tmp_path / "f.json").read_text()) == {
        "disclaimer": "Research software, not for clinical use.",
        "coordinates": "LPS, mm",
        "findings": [
            {
                "score": 0.333333,
                "size_mm": 8.0,
                "centre_mm": [0.667, -2.0, 3.0],
                "centre_index": [4.0, 5.5, 6.25],
                "sop_uid": "1.2.3",
            }
        ],
    }


def test_csv_has_one_row_a_finding_with_fixed_digits(tmp_path):
    write_csv(tmp_path / "f.csv", [make(score=0.1), make(score=0.9)])
    with (tmp_path / "f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["score"] for row in rows] == ["0.900000", "0.100000"]
    assert rows[0]["centre_x_mm"] == "1.000"
    assert rows[0]["centre_w"] == "6.250"
    assert rows[0]["sop_uid"] == "1.2.3"


@pytest.mark.parametrize("write", [write_json, write_csv])
def test_the_same_findings_make_the_same_bytes_in_any_order(tmp_path, write):
    findings = [make(0.5, 2.0), make(0.5, 1.0), make(0.9, 3.0)]
    write(tmp_path / "a", findings)
    write(tmp_path / "b", reversed(findings))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("write", [write_json, write_csv])
def test_a_negative_zero_has_no_sign(tmp_path, write):
    write(tmp_path / "a", [make(x=-0.0001)])
    write(tmp_path / "b", [make(x=0.0)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("write", [write_json, write_csv])
def test_no_findings_are_written_as_such(tmp_path, write):
    write(tmp_path / "f", [])
    assert (tmp_path / "f").stat().st_size > 0


def test_the_best_finding_comes_first_and_ties_go_by_place():
    first, second, third = in_order([make(0.5, 2.0), make(0.5, 1.0), make(0.9, 3.0)])
    assert [f.centre_mm[0] for f in (first, second, third)] == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"score": math.nan},
        {"score": 1.1},
        {"score": -0.1},
        {"size_mm": 0.0},
        {"size_mm": math.inf},
        {"centre_mm": (math.nan, 0.0, 0.0)},
        {"centre_index": (0.0, math.inf, 0.0)},
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes):
    with refused("data/bad-finding"):
        make(**changes)
