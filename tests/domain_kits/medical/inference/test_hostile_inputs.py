"""`moekit predict medical` on folders full of trouble: nobody is named, the rest goes on.

What the assembler does with each kind of file is held by the tests in `dicom`; these tests look at
all that the command lets out: both streams, log lines and every file.
"""

import dataclasses
import importlib.util
import json
import logging
import shutil
from pathlib import Path

import pydicom
import pytest
from inference_series import PATIENT, Thorax, draw, write_series
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from moekit.cli.main import main

EVIL = '<script>alert("x")</script>'
FOLDER = "Doe_Jane_MRN-4711"
IDENTIFYING = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "AccessionNumber"),
    *("InstitutionName", "InstitutionAddress", "OtherPatientIDs", "ReferringPhysicianName"),
)
SLICES = 6
"""Of the sound series."""

SHORTEST = 5
"""Shorter values, such as an id of 2 or an institution of US, are in any text."""

OWN = ("report.dcm", "segmentation.dcm")
"""They belong to the study of their slices and name the patient as those do (DICOM PS3.3 C.7.1)."""

TROUBLE = {
    "2": "65535 x 65535 x 1 voxels",
    "3": "x 2147483647 voxels",
    "4": "decode",
    "5": "end early",
    "6": "RescaleSlope",
}
"""Words of the reason for each hostile series."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a command let out."""

    code: int
    spoken: str
    files: dict[str, bytes]

    @property
    def record(self):
        return json.loads(self.files["series.json"])


@pytest.fixture
def predict(medical_run, capfd, caplog):
    """Runs `moekit predict medical FOLDER` and returns its outcome."""

    def run(folder, out):
        caplog.set_level(logging.DEBUG)
        capfd.readouterr()
        caplog.clear()
        arguments = ["predict", "medical", folder, "--run", medical_run, "--out", out]
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        spoken = "".join([*capfd.readouterr(), caplog.text])
        files = {
            str(path.relative_to(out)): path.read_bytes()
            for path in (out.rglob("*") if out.is_dir() else ())
            if path.is_file()
        }
        return Outcome(code=stop.value.code, spoken=spoken, files=files)

    return run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A sound series with markup in its tags, six that are not, and the odd files of pydicom."""
    folder = tmp_path_factory.mktemp("in") / FOLDER
    write_series(folder / "sound", draw(Thorax(step_mm=15.0, pixel_mm=2.0)), ConvolutionKernel=EVIL)
    few = draw(Thorax(step_mm=30.0, pixel_mm=4.0))
    write_series(folder / "rows", few, series="2", Rows=65535, Columns=65535)
    write_series(folder / "frames", few, series="3", NumberOfFrames=2**31 - 1)
    write_series(folder / "compressed", few, series="4")
    write_series(folder / "short", few, series="5")
    write_series(folder / "unscaled", few, series="6", RescaleSlope=None)
    for index, path in enumerate(sorted((folder / "compressed").iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = (JPEG2000Lossless, JPEGBaseline8Bit)[index % 2]
        dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51 Doe^Jane " + bytes(50)])
        dataset.save_as(path, enforce_file_format=False)
    cut = sorted((folder / "short").iterdir())[1]
    cut.write_bytes(cut.read_bytes()[:-100])
    nested = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    head = next((folder / "rows").iterdir()).read_bytes()[:400]
    (folder / "Doe_Jane_nested.dcm").write_bytes(head + nested * 5000)
    for package in ("pydicom", "data_store"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            shutil.copytree(Path(spec.submodule_search_locations[0]) / "data", folder / package)
    return folder


def identifiers(folder):
    """Values of the files below a folder that say who it is, as a file might hold them.

    Makers, which the outputs name, are left out: a file of pydicom has one in place of a hospital.
    """
    found, makers = set(), set()
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            elements = [e for e in dataset.iterall() if e.VR == "PN" or e.keyword in IDENTIFYING]
            values = [str(element.value) for element in elements]
            makers.add(str(dataset.get("Manufacturer")))
        except Exception:  # what pydicom cannot read it cannot tell either
            continue
        for value in values:
            parts = {value, value.strip(), json.dumps(value)[1:-1]}
            found |= {part for part in parts if len(part) >= SHORTEST}
    return found - makers


def assert_all_have_a_verdict(record, folder):
    """Each file is ignored, refused or a slice; copies of slices and archives aside."""
    named = [one["file"] for one in record["ignored"]]
    named += [name for one in record["refused"] for name in one["files"]]
    assert len(named) == len(set(named))
    used = sum(one["slices"] for one in record["series"])
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".zip"]
    assert len(named) + used >= len(files)


def assert_nothing_identifies(outcome, secrets, paths):
    assert not [word for word in (*secrets, *paths) if word in outcome.spoken]
    for name, data in outcome.files.items():
        hidden = paths if name.endswith(OWN) else (*secrets, *paths)
        assert not [word for word in hidden if word.encode("utf-8", "surrogatepass") in data], name
        assert not [word for word in paths if word in name]


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*")
def test_a_hostile_folder_is_told_by_tokens_and_its_sound_series_is_scored(
    hostile, predict, tmp_path
):
    outcome = predict(hostile, tmp_path / "out")
    assert outcome.code == 0, outcome.spoken
    record = outcome.record
    assert ("scored", SLICES) in [(one["status"], one["slices"]) for one in record["series"]]
    reasons = [refused["reason"] for refused in record["refused"]]
    for words in TROUBLE.values():
        assert [reason for reason in reasons if words in reason], words
    assert "nested too deeply" in json.dumps(record["ignored"])
    assert_all_have_a_verdict(record, hostile)
    secrets = identifiers(hostile)
    assert {*PATIENT.values(), "CompressedSamples^CT1", "Lestrade^G"} <= secrets
    names = {path.stem for path in hostile.rglob("*") if len(path.stem) > 2 * SHORTEST}
    assert_nothing_identifies(outcome, secrets, [str(hostile), FOLDER, "Jane_Doe", *names])
    page = outcome.files["report.html"].decode()
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    again = predict(hostile, tmp_path / "again")
    assert again.files == outcome.files
    assert again.spoken.replace(str(tmp_path / "again"), str(tmp_path / "out")) == outcome.spoken


def test_a_path_that_is_not_there_is_not_repeated(predict, tmp_path):
    outcome = predict(tmp_path / FOLDER, tmp_path / "out")
    assert outcome.code == 4
    lines = outcome.spoken.splitlines()
    assert [line.split(":")[0].strip() for line in lines[-3:]] == ["moekit", "where", "to do"]
    assert not [word for word in (FOLDER, "Doe", str(tmp_path)) if word in outcome.spoken]


@pytest.mark.bench
def test_real_patients_are_named_nowhere(shared, predict, tmp_path):
    folder = shared / "data" / "lung_ct_dicom"
    outcome = predict(folder, tmp_path / "out")
    assert outcome.code == 0, outcome.spoken
    assert [one["status"] for one in outcome.record["series"]] == ["scored"] * 3
    secrets = identifiers(folder)
    assert "Lung_Dx-A0002" in secrets
    paths = [str(folder), "lung_ct_dicom", "Lung_Dx-A0002/", "ibsi_lung_pat1", "DCM_IMG"]
    assert_nothing_identifies(outcome, secrets, paths)
    assert predict(folder, tmp_path / "again").files == outcome.files
