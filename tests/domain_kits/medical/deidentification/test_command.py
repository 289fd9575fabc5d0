"""`moekit deidentify`: what is written, told, left out, refused and gone on with."""

from __future__ import annotations

import json
import stat
import threading
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import MediaStorageDirectoryStorage, RLELossless

from moekit.cli.main import main
from moekit.occupied import occupied
from moekit_medical.deidentification import run as under_test
from moekit_medical.deidentification.copies import (
    CUT,
    FLOATS,
    SEVERAL,
    TEXTS,
    TRAILING,
    UNFOLLOWED,
)
from moekit_medical.findings.quiet import quiet


def test_a_folder_becomes_copies_without_whom_they_show(series, tmp_path, run, copies, betrayals):
    before = {path: path.read_bytes() for path in series.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    outcome = run(series, "--out", out)
    assert outcome.code == 0, outcome.err
    assert "5 found, 4 written, 0 already there, 0 duplicate, 1 left out" in outcome.err
    assert "Pixels are not cleaned" in outcome.err
    assert outcome.out == ""
    assert betrayals(series)
    assert not betrayals(out, outcome.err)
    found = copies(out)
    assert [int(ds.pixel_array[0, 0]) for ds in found] == [0, 1, 2, 3]
    assert len({ds.SeriesInstanceUID for ds in found}) == len({ds.PatientID for ds in found}) == 1
    assert len({ds.SOPInstanceUID for ds in found}) == 4
    assert before == {path: path.read_bytes() for path in series.rglob("*") if path.is_file()}


def test_the_summary_is_the_json_and_tells_of_each_file(series, tmp_path, run):
    out = tmp_path / "out"
    told = run(series, "--out", out, "--json").json
    assert told == json.loads((out / "deidentified.json").read_text())
    assert told["finished"] is True
    assert told["counts"] == {
        "found": 5,
        "written": 4,
        "already there": 0,
        "duplicate": 0,
        "left out": 1,
    }
    assert told["left_out"] == {"not DICOM": 1}
    written = [one for one in told["files"] if one["state"] == "written"]
    original = pydicom.dcmread(series / "scan" / "Invented_0.dcm")
    for one in written:
        assert (out / one["copy"]).is_file()
        assert one["kept"] + one["changed"] + one["removed"] == len(original)
        assert one["removed"] == 1  # the institution
    assert len({one["file"] for one in told["files"]}) == 5


def test_the_same_call_with_a_salt_file_goes_on_and_writes_nothing_again(series, tmp_path, run):
    out, salt = tmp_path / "out", tmp_path / "salt"
    arguments = (series, "--out", out, "--salt-file", salt, "--json")
    first = run(*arguments)
    assert "new salt" in first.err
    paths = sorted(out.rglob("*.dcm"))
    paths[0].unlink()
    times = {path: path.stat().st_mtime_ns for path in paths[1:]}
    second = run(*arguments)
    assert "new salt" not in second.err
    assert second.json["counts"]["already there"] == 3
    assert second.json["counts"]["written"] == 1
    assert sorted(out.rglob("*.dcm")) == paths
    assert {path: path.stat().st_mtime_ns for path in paths[1:]} == times


def test_an_interrupted_call_leaves_whole_copies_and_goes_on(
    series, tmp_path, run, copies, monkeypatch
):
    out, salt = tmp_path / "out", tmp_path / "salt"
    make_copy, calls = under_test.make_copy, []

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return make_copy(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(under_test, "make_copy", stopped)
        assert run(series, "--out", out, "--salt-file", salt).code == 130
    assert json.loads((out / "deidentified.json").read_text())["finished"] is False
    done = len(copies(out))
    assert 0 < done < 4
    told = run(series, "--out", out, "--salt-file", salt, "--json").json
    assert told["counts"]["already there"] == done
    assert told["finished"] is True
    assert len(copies(out)) == 4


def test_one_salt_keeps_calls_together_and_another_one_apart(series, tmp_path, run, copies):
    salts = (tmp_path / "salt", tmp_path / "salt", tmp_path / "other", None)
    uids = []
    for number, salt in enumerate(salts):
        options = ("--salt-file", salt) if salt else ()
        assert run(series, "--out", tmp_path / f"out{number}", *options).code == 0
        uids.append(copies(tmp_path / f"out{number}")[0].SeriesInstanceUID)
    assert uids[0] == uids[1]
    assert len(set(uids)) == 3


def test_a_new_salt_file_is_secret_and_is_used_as_it_is(series, tmp_path, run):
    salt = tmp_path / "salt"
    run(series, "--out", tmp_path / "out", "--salt-file", salt)
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    text = salt.read_bytes()
    assert len(text.strip()) == 64
    for data in (text.strip(), text + b"\r\n"):  # white space at the ends does not count
        salt.write_bytes(data)
        told = run(series, "--out", tmp_path / "out", "--salt-file", salt, "--json").json
        assert told["counts"]["already there"] == 4
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or text.strip() not in path.read_bytes()


@pytest.mark.parametrize("kind", ["file", "zip"])
def test_a_file_and_an_archive_are_taken_too(kind, series, tmp_path, run, copies, betrayals):
    path = series / "scan" / "Invented_2.dcm"
    if kind == "zip":
        path = tmp_path / "Invented.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(series / "scan" / "Invented_2.dcm", "Invented/a.dcm")
    outcome = run(path, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert [int(ds.InstanceNumber) for ds in copies(tmp_path / "out")] == [2]
    assert not betrayals(tmp_path / "out", outcome.err)


def index_of(*listed):
    index = Dataset()
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    index.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    patient = Dataset()
    patient.PatientName = "Invented^Patient"
    records = [patient]
    for parts in listed:
        record = Dataset()
        record.add(DataElement("ReferencedFileID", "CS", parts, validation_mode=IGNORE))
        records.append(record)
    index.DirectoryRecordSequence = records
    return index


def write_index(folder, *listed):
    with quiet():  # such names are against the rules of the standard, and are met
        pydicom.dcmwrite(folder / "DICOMDIR", index_of(*listed), enforce_file_format=True)


def test_a_dicomdir_stands_for_the_files_that_it_lists_and_no_others(
    series, tmp_path, run, write, image, copies, betrayals
):
    write(image(9), tmp_path / "outside.dcm")
    listed = (
        ["SCAN", "INVENTED_1.DCM"],
        ["scan", "Invented_3.dcm"],
        ["scan", "gone.dcm"],
        ["..", "outside.dcm"],
    )
    write_index(series, *listed)
    outcome = run(series / "DICOMDIR", "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    assert [int(ds.InstanceNumber) for ds in copies(tmp_path / "out")] == [1, 3]
    assert outcome.json["left_out"] == {"listed by the DICOMDIR and not in its folder": 2}
    assert not betrayals(tmp_path / "out", outcome.err, outcome.out)


def test_a_dicomdir_in_a_folder_is_left_out_with_its_names(series, tmp_path, run, betrayals):
    write_index(series, ["scan", "Invented_1.dcm"])
    told = run(series, "--out", tmp_path / "out", "--json").json
    assert told["counts"]["written"] == 4
    assert any(reason.startswith("a DICOMDIR") for reason in told["left_out"])
    assert not betrayals(tmp_path / "out")


def test_copies_of_one_file_are_duplicates_and_other_bytes_are_not(
    series, tmp_path, run, write, image
):
    (series / "again.dcm").write_bytes((series / "scan" / "Invented_1.dcm").read_bytes())
    twin = image(1)
    twin.PixelData = bytes(128)
    write(twin, series / "twin.dcm")
    counts = run(series, "--out", tmp_path / "out", "--json").json["counts"]
    assert (counts["written"], counts["duplicate"]) == (5, 1)


def test_burned_in_annotation_is_left_out_and_silence_about_it_is_warned_of(
    series, tmp_path, run, write, image
):
    burned, silent, likely = image(5), image(6), image(7)
    burned.BurnedInAnnotation = "YES"
    del silent.BurnedInAnnotation, likely.BurnedInAnnotation
    likely.Modality = "US"
    likely.RecognizableVisualFeatures = "YES"
    for number, dataset in enumerate((burned, silent, likely)):
        write(dataset, series / f"{number}.dcm")
    told = run(series, "--out", tmp_path / "out", "--json").json
    assert told["counts"]["written"] == 6
    assert any("burned-in annotation" in reason for reason in told["left_out"])
    for words in ("does not say whether", "often has burned-in", "recognizable features"):
        assert [number for text, number in told["warnings"].items() if words in text] == [1]


def test_pixels_that_are_cut_off_are_left_out_and_bytes_after_them_warned_of(
    series, tmp_path, run, write, image
):
    short, long = image(5), image(6)
    short.PixelData = bytes(100)
    long.PixelData = bytes(140)
    write(short, series / "short.dcm")
    write(long, series / "long.dcm")
    told = run(series, "--out", tmp_path / "out", "--json").json
    assert told["left_out"]["its pixel data end too early"] == 1
    assert told["warnings"]["has bytes after its pixels, which stay"] == 1


def of_floats(image, number, *, keyword="FloatPixelData", more=b"", less=0):
    ds = image(number)
    dtype = np.float32 if keyword == "FloatPixelData" else np.float64
    data = np.full((8, 8), number, dtype=dtype).tobytes()
    del ds.PixelData
    ds.BitsAllocated = np.dtype(dtype).itemsize * 8
    for gone in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(ds, gone)
    setattr(ds, keyword, data[: len(data) - less] + more)
    return ds


def test_pixels_that_are_floats_are_kept_only_if_they_are_as_long_as_they_say(
    tmp_path, run, write, image
):
    folder = tmp_path / "scans"
    write(of_floats(image, 0), folder / "0.dcm")
    write(of_floats(image, 1, keyword="DoubleFloatPixelData"), folder / "1.dcm")
    write(of_floats(image, 2, more=b"Invented"), folder / "2.dcm")
    write(of_floats(image, 3, less=4), folder / "3.dcm")
    both = of_floats(image, 4)
    both.PixelData = bytes(128)
    both["PixelData"].VR = "OW"
    write(both, folder / "4.dcm")
    told = run(folder, "--out", tmp_path / "out", "--json").json
    assert told["counts"]["written"] == 3
    assert told["left_out"] == {CUT: 1, SEVERAL: 1}
    assert told["warnings"][TRAILING] == 1
    found = {float(np.frombuffer(data, dtype)[0]) for data, dtype in floats_in(tmp_path / "out")}
    assert found == {0.0, 1.0, 2.0}


def floats_in(out):
    for path in out.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        if "FloatPixelData" in ds:
            yield ds.FloatPixelData[:256], np.float32
        else:
            yield ds.DoubleFloatPixelData, np.float64


def test_floats_in_a_transfer_syntax_that_compresses_are_left_out(tmp_path, run, write, image):
    write(image(0), tmp_path / "scans" / "0.dcm")
    ds = of_floats(image, 1)
    ds.file_meta.TransferSyntaxUID = RLELossless
    write(ds, tmp_path / "scans" / "1.dcm")
    told = run(tmp_path / "scans", "--out", tmp_path / "out", "--json").json
    assert told["left_out"] == {FLOATS: 1}


def test_compressed_pixels_that_cannot_be_followed_are_warned_of(tmp_path, run, write, image):
    ds = image(0)
    ds.compress(RLELossless)
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    for number, content in enumerate((frame, frame + b"Invented", frame[:70])):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        ds.PixelData = encapsulate([content])
        write(ds, tmp_path / "scans" / f"{number}.dcm")
    told = run(tmp_path / "scans", "--out", tmp_path / "out", "--json").json
    assert told["warnings"][UNFOLLOWED] == 1
    assert told["warnings"][TEXTS] == 1
    assert not any(b"Invented" in path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm"))


def test_nothing_to_de_identify_is_bad_data_and_is_told_without_a_path(tmp_path, run, write, image):
    burned = image(1)
    burned.BurnedInAnnotation = "YES"
    write(burned, tmp_path / "Invented" / "a.dcm")
    paths = {"none-readable": tmp_path / "Invented", "not-found": tmp_path / "Invented" / "gone"}
    for words, path in paths.items():
        outcome = run(path, "--out", tmp_path / "out")
        assert outcome.code == 4
        assert f"[data/{words}]" in outcome.err
        assert "Invented" not in outcome.err


@pytest.mark.parametrize(
    ("out", "salt", "code"),
    [
        ("Invented_Patient/out", "salt", "usage/nested-folders"),
        ("full", "salt", "usage/exists"),
        ("other", "salt", "usage/other-salt"),
        ("other", None, "usage/other-salt"),
        ("out", "out/salt", "usage/nested-folders"),
        ("out", "short", "usage/short-salt"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_written(out, salt, code, series, tmp_path, run):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "short").write_text("secret")
    (tmp_path / "salt").write_text("s" * 32)
    (tmp_path / "first").write_text("f" * 32)
    run(series, "--out", tmp_path / "other", "--salt-file", tmp_path / "first")
    before = sorted(tmp_path.rglob("*"))
    options = ("--salt-file", tmp_path / salt) if salt else ()
    outcome = run(series, "--out", tmp_path / out, *options)
    assert outcome.code == 2
    assert f"[{code}]" in outcome.err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_cannot_be_written_is_told_without_a_path(series, tmp_path, run):
    (tmp_path / "Invented").write_text("a file")
    outcome = run(series, "--out", tmp_path / "Invented" / "out")
    assert outcome.code == 1
    assert "the output folder" in outcome.err
    assert "Invented" not in outcome.err


def test_an_output_that_another_command_writes_is_told_without_its_path(series, tmp_path, run):
    out, entered, leave = tmp_path / "Invented", threading.Event(), threading.Event()

    def hold():
        with occupied(out):
            entered.set()
            leave.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    entered.wait(60)
    outcome = run(series, "--out", out)
    leave.set()
    other.join()
    assert outcome.code == 2
    assert "[usage/folder-in-use]" in outcome.err
    assert "Invented" not in outcome.err


def test_help_says_what_is_not_done(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["deidentify", "--help"])
    assert stop.value.code == 0
    assert "Pixels are not cleaned" in capsys.readouterr().out


def test_two_persons_of_one_patient_id_are_told(series, tmp_path, run, image, betrayals):
    other = image(9)
    other.PatientBirthDate, other.SeriesInstanceUID = "19900101", f"{other.SeriesInstanceUID}.5"
    other.save_as(series / "other.dcm", enforce_file_format=True)
    outcome = run(series, "--out", tmp_path / "out")
    assert "one PatientID is used for two persons: PatientBirthDate differs" in outcome.err
    assert "share one new PatientID" in outcome.err
    assert not betrayals(tmp_path / "out", outcome.err)
    told = json.loads((tmp_path / "out" / "deidentified.json").read_text())
    assert len(told["doubts"]) == 1
