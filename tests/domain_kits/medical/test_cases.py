"""DICOM files that went wrong, made of pydicom's own test file by a script of the cases."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from moekit_medical.deidentification.copies import BITS
from moekit_medical.deidentification.run import deidentify_files
from moekit_medical.dicom.assemble import assemble
from moekit_medical.inference.lungs import why_no_lungs

SALT = b"a secret of the tests"
REFUSED = {
    "hu_one_slice_unsigned": "data/contradiction",
    "hu_one_slice_negative_slope": "data/contradiction",
    "hu_intercept_minus_8192": "data/not-hounsfield",
    "hu_one_slice_shifted_by_a_byte": "data/not-hounsfield",
    "interleaved_acquisitions": "data/mixed-acquisitions",
    "one_id_two_persons": "data/several-patients",
    "j2k_sign": "data/contradiction",
}


@pytest.fixture(scope="module")
def cases(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    script = shared / "cases" / "dicom" / "make_inputs.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("name", "code"), REFUSED.items())
def test_a_series_that_contradicts_itself_is_refused(cases: Path, name: str, code: str) -> None:
    if not (cases / name).is_dir():
        pytest.skip("the script has no encoder for JPEG 2000")
    assembly = assemble(cases / name, salt=SALT)
    assert not assembly.volumes
    assert [one.code for one in assembly.refused] == [code]


@pytest.mark.parametrize("word", ["MINIP", "SUBTRACTION", "IODINE", "TOPOGRAM"])
def test_images_that_are_no_slices_are_counted(cases: Path, word: str) -> None:
    assembly = assemble(cases / f"imagetype_{word}", salt=SALT)
    assert not assembly.volumes
    assert len(assembly.ignored) == 4


def test_a_brain_has_no_lungs(cases: Path) -> None:
    (volume,) = assemble(cases / "body_part_brain", salt=SALT).volumes
    assert "BRAIN" in why_no_lungs(volume, None)


def test_texts_in_numbers_are_in_no_copy(cases: Path, tmp_path: Path) -> None:
    deidentify_files(cases / "deid_leak", out=tmp_path / "out", salt=SALT)
    copies = list((tmp_path / "out").rglob("*.dcm"))
    assert len(copies) == 3
    for copy in copies:
        content = copy.read_bytes()
        assert b"JANE" not in content
        assert b"19700101" not in content


def test_an_overlay_in_high_bits_is_in_no_copy(cases: Path, tmp_path: Path) -> None:
    summary = deidentify_files(cases / "deid_overlay_bits", out=tmp_path / "out", salt=SALT)
    assert summary.warnings()[BITS] == 1
    (copy,) = (tmp_path / "out").rglob("*.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = np.frombuffer(pydicom.dcmread(copy).PixelData, "<u2")
    assert not (stored & 0xF000).any()
    assert stored.any()
