"""Texts of a run's files as a report may show them."""

import pytest

from moekit_medical.report.plain import LEFT_OUT, command, count, figure, interval, scalar, text


@pytest.mark.parametrize(
    "value",
    [
        "/archive/jane/scan",
        "crops of /archive/jane doe/scan",
        "~/scans",
        "../scans",
        r"C:\scans",
        r"\\server\scans",
        "file:///scans",
        "data=/scans",
        "jane/scan 1.dcm",
        "DOE^JANE",
        "1.2.826.0.1.3680043.8.498",
        "jane@hospital.org",
    ],
)
def test_a_text_that_may_hold_a_path_or_a_person_is_left_out_whole(value):
    assert text(value) == LEFT_OUT


@pytest.mark.parametrize(
    "value",
    [
        "train/val/test 60%/15%/25% by seed 0, whole groups",
        "LUNA16 candidates of LIDC-IDRI (Setio et al. 2017; Armato et al. 2011)",
        "a file of MedMNIST v2 (Yang et al. 2023), SHA-256 0123abcd",
        "axial crops of 50 x 50 mm at 0.5 mm a pixel, -1000 to 400 HU",
        "timm/vit_small_patch14_dinov2.lvd142m",
        "https://doi.org/10.1016/j.media.2017.06.015",
        "doi 10.1016/j.media.2017.06.015",
        "python 3.11.7",
    ],
)
def test_what_loaders_and_packages_state_is_shown_as_it_is(value):
    assert text(value) == value


def test_a_long_text_is_cut():
    assert text("a" * 50, limit=10) == f"{'a' * 10} ..."


@pytest.mark.parametrize("value", [None, 3, "", " \n ", ["x"]])
def test_what_is_no_text_is_none(value):
    assert text(value) is None


def test_a_command_keeps_its_options_and_hides_what_may_be_a_path():
    line = "moekit adapt medical --data dicom=/a/Jane Doe?window=-1000,400 --out runs/jane --seed 3"
    expected = "moekit adapt medical --data dicom=... --out ... --seed 3"
    assert command(line.replace("Jane Doe", "Jane_Doe")) == expected
    assert command(line) == expected.replace("dicom=...", "dicom=... ...")


def test_a_command_hides_the_value_that_is_joined_to_an_option():
    assert command("moekit adapt medical --out=/jane --resume") == (
        "moekit adapt medical --out=... --resume"
    )


def test_a_command_keeps_the_rule_of_the_threshold():
    assert command("x evaluate medical --threshold-rule max-miss=0.05") == (
        "moekit evaluate medical --threshold-rule max-miss=0.05"
    )


@pytest.mark.parametrize("value", [None, "", 3, ["moekit"]])
def test_what_is_no_command_is_none(value):
    assert command(value) is None


def test_numbers_are_shown_and_other_values_are_not():
    assert figure(0.12345) == "0.123"
    assert count(3) == "3"
    assert interval([0.1, 0.25]) == "0.100 to 0.250"
    assert (scalar(0.001), scalar(True), scalar("bf16")) == ("0.001", "yes", "bf16")
    for odd in (None, True, "1", float("nan"), float("inf"), 10**400):
        assert figure(odd) is None
        assert count(odd) is None
        assert interval([odd, 0.2]) is None
    assert count(-1) is None
    assert interval([0.1]) is None
