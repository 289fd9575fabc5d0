"""Facts of samples: from tables and headers, and none that identifies anybody."""

import pydicom
import pytest

from moekit.testing import refused
from moekit_medical.loaders import CANDIDATES, DICOM
from moekit_medical.loaders.candidates import write_example
from moekit_medical.loaders.examples import write_dicom_example
from moekit_medical.loaders.facts import maker


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("GE MEDICAL SYSTEMS", "GE"),
        ("ge healthcare", "GE"),
        ("GEMS", "GE"),
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("Philips Medical Systems", "Philips"),
        ("TOSHIBA_MEC", "Canon or Toshiba"),
        ("Canon Medical Systems", "Canon or Toshiba"),
        ("Gene^Doe", "other"),
        ("St. Elsewhere", "other"),
        ("  ", ""),
        ("GE", "GE"),
        ("other", "other"),
    ],
)
def test_a_maker_becomes_a_name_of_a_closed_list(text, name):
    assert maker(text) == name
    assert maker(name) == name


@pytest.fixture
def folder(tmp_path):
    return write_example(tmp_path)


def add_columns(folder, header, cells):
    """Adds columns to labels.csv; `cells` gives them for the number of a row."""
    lines = (folder / "labels.csv").read_text().splitlines()
    lines = [f"{lines[0]},{header}", *(f"{line},{cells(n)}" for n, line in enumerate(lines[1:]))]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def test_columns_of_the_table_become_facts(folder):
    def cells(number):
        lesion = f"L{number}" if number % 2 else ""
        size = f"{number}.50" if number % 2 else ""
        return f"Siemens AG,1.250,{size},Doe_{number // 2},{lesion},Solid"

    add_columns(folder, "manufacturer,slice_thickness_mm,size_mm,scan,lesion,subtype", cells)
    first, second, *_, last = CANDIDATES.load(folder, 0).samples
    assert first.facts == {
        "manufacturer": "Siemens",
        "slice_thickness_mm": "1.25",
        "scan": "scan of line 2",
    }
    assert second.facts["size_mm"] == "1.5"
    assert (second.facts["scan"], second.facts["lesion"]) == ("scan of line 2", "lesion of line 3")
    assert last.facts["scan"] == "scan of line 24"
    assert {first.subtype, last.subtype} == {"solid"}
    assert not any("Doe" in value for value in last.facts.values())


def test_a_row_that_is_left_out_keeps_what_it_counts_by(folder):
    add_columns(folder, "scan", lambda number: f"s{number // 2}")
    (folder / "images" / "15.png").unlink()
    (skipped,) = CANDIDATES.load(folder, 0).skipped
    assert (skipped.label, skipped.split) == (1, "test")
    assert skipped.facts == {"scan": "scan of line 16"}


@pytest.mark.parametrize(
    ("header", "cells", "code"),
    [
        ("size_mm", lambda n: "0", "data/bad-value"),
        ("slice_thickness_mm", lambda n: "thin", "data/bad-value"),
        ("lesion", lambda n: "L1", "data/contradiction"),
        ("scan,lesion", lambda n: f"s{n},{'L' if n % 2 else ''}", "data/contradiction"),
        ("subtype", lambda n: f"t{n}", "data/too-many-values"),
        ("subtype", lambda n: "Doe^Jane", "data/bad-value"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused_by_their_line(folder, header, cells, code):
    add_columns(folder, header, cells)
    with refused(code) as caught:
        CANDIDATES.load(folder, 0)
    assert caught.value.whose.startswith("labels.csv, line ")
    assert "Doe" not in str(caught.value)


def test_headers_of_series_say_maker_and_thickness(tmp_path):
    folder = write_dicom_example(tmp_path)
    for path in folder.glob("s*/*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.Manufacturer, dataset.SliceThickness = "GE MEDICAL SYSTEMS", "2.50"
        if path.parent.name == "s1" and path.stem == "0":
            dataset.Manufacturer = "SIEMENS"
        dataset.save_as(path)
    facts = [sample.facts for sample in DICOM.load(folder, 0).samples]
    assert facts[0] == {
        "manufacturer": "GE",
        "slice_thickness_mm": "2.5",
        "scan": "scan of line 2",
    }
    assert "manufacturer" not in facts[2]  # the slices of this series do not agree
    assert len({fact["scan"] for fact in facts}) == 6
