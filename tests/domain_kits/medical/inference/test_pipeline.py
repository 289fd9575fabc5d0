"""Whole runs on drawn chests."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from inference_series import NODULE_MM, PATIENT, ROOT, Thorax, brightness, draw, write_series

from moekit import UsageError
from moekit.testing import refused
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.findings.seg import read_segmentation
from moekit_medical.inference.crops import PIXELS
from moekit_medical.inference.pipeline import NEIGHBOUR_MM, run_inference
from moekit_medical.inference.records import InferenceSummary
from moekit_medical.privacy import token
from moekit_medical.volume import Volume

SALT = b"a salt"
NAME = token(f"{ROOT}1", salt=SALT)
EACH = ("candidates.csv", "findings.csv", "findings.json", "report.dcm", "segmentation.dcm")


def run(inputs: Path, out: Path, **options: Any) -> InferenceSummary:
    chosen = {"scorer": brightness, "threshold": 0.72, "salt": SALT, "provenance": {"model": "m"}}
    return run_inference(inputs, out=out, **{**chosen, **options})


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def small(**changes: Any) -> Thorax:
    return Thorax(**{"step_mm": 5.0, "pixel_mm": 2.0, **changes})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that several tests look at."""

    out: Path
    inputs: Path
    summary: InferenceSummary


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, thorax: Volume) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    write_series(folder / "Jane_Doe" / "ct", thorax)
    summary = run(folder / "Jane_Doe", folder / "out", threshold=0.72)
    return Finished(out=folder / "out", inputs=folder / "Jane_Doe", summary=summary)


def test_a_nodule_becomes_a_finding_in_every_output(finished: Finished, thorax: Volume) -> None:
    summary, out = finished.summary, finished.out
    (record,) = summary.series
    assert (record.name, record.status, record.problems) == (NAME, "scored", ())
    assert summary.counts == {"scored": 1, "no lung found": 0, "failed": 0, "refused": 0}
    written = contents(out)
    assert {f"{NAME}/{name}" for name in EACH} < set(written)

    records = json.loads(written[f"{NAME}/findings.json"])["findings"]
    assert np.linalg.norm(np.subtract(records[0]["centre_mm"], NODULE_MM)) < 3
    assert records[0]["sop_uid"] == thorax.sop_uids[round(records[0]["centre_index"][0])]
    assert len(records) == len(record.findings) >= 1

    number_DHW = read_segmentation(out / NAME / "segmentation.dcm", thorax)
    d, h, w = thorax.to_index(np.array([NODULE_MM]))[0].round().astype(int)
    assert number_DHW[d, h, w] == 1
    assert number_DHW.max() == record.regions
    report = pydicom.dcmread(out / NAME / "report.dcm")
    assert report.SOPClassUID.name == "Comprehensive 3D SR Storage"
    pictures = [name for name in written if name.endswith(".png")]
    assert len(pictures) == min(20, len(records))


def test_all_candidates_are_kept_with_their_scores(finished: Finished) -> None:
    with (finished.out / NAME / "candidates.csv").open() as file:
        scores = [float(row["score"]) for row in csv.DictReader(file)]
    with (finished.out / NAME / "findings.csv").open() as file:
        found = list(csv.DictReader(file))
    assert min(scores) < 0.72 <= max(scores)
    assert all(float(row["score"]) >= 0.72 for row in found)
    places = np.array([[float(row[f"centre_{axis}_mm"]) for axis in "xyz"] for row in found])
    away = np.linalg.norm(places[:, None] - places, axis=2)[~np.eye(len(places), dtype=bool)]
    assert (away >= NEIGHBOUR_MM - 0.01).all()


def test_candidates_that_are_not_scored_are_counted_in_every_output(
    finished: Finished, series: Path, tmp_path: Path
) -> None:
    total = finished.summary.series[0].candidates
    assert finished.summary.series[0].dropped == 0
    assert finished.summary.dropped_in_words == ()
    summary = run(series, tmp_path / "out", most=4)
    (record,) = summary.series
    assert (record.candidates, record.dropped) == (4, total - 4)
    (problem,) = (one for one in record.problems if one.startswith("candidates: "))
    assert f"{total - 4} are not" in problem
    assert f"?candidates={total} " in problem
    written = json.loads((tmp_path / "out" / "series.json").read_text())
    assert written["series"][0]["candidates_not_scored"] == total - 4
    assert written["series"][0]["problems"] == list(record.problems)
    assert written["settings"]["candidates at most"] == 4
    assert problem in (tmp_path / "out" / "report.html").read_text()
    (told,) = summary.dropped_in_words
    assert told.startswith(f"{total - 4} candidates of 1 series ")


def test_a_repeat_gives_the_same_bytes_even_over_an_earlier_run(
    finished: Finished, tmp_path: Path
) -> None:
    run(finished.inputs, tmp_path / "second", threshold=0.68, batch_size=7)
    assert contents(finished.out) != contents(tmp_path / "second")
    run(finished.inputs, tmp_path / "second", threshold=0.72, batch_size=5)
    first = contents(finished.out)
    assert first == contents(tmp_path / "second")
    assert len(first) >= 8


def test_names_of_the_files_have_no_influence_on_what_is_found(
    finished: Finished, series: Path, tmp_path: Path
) -> None:
    for path in list(series.rglob("*.dcm")):
        path.rename(path.with_name(f"{hash(path.name) % 9973}-{path.name}"))
    run(series, tmp_path / "second")
    assert contents(finished.out) == contents(tmp_path / "second")


def test_a_series_from_head_to_feet_has_the_same_candidates_on_the_same_slices(
    finished: Finished, thorax: Volume, tmp_path: Path
) -> None:
    """The columns run to the front, so the slices are ordered from the head to the feet."""
    write_series(tmp_path / "in", dataclasses.replace(thorax, hu_DHW=thorax.hu_DHW[:, ::-1]))
    for path in (tmp_path / "in").iterdir():
        dataset = pydicom.dcmread(path)
        _, y, z = map(float, dataset.ImagePositionPatient)
        y += (dataset.Rows - 1) * float(dataset.PixelSpacing[0])
        dataset.ImagePositionPatient = [dataset.ImagePositionPatient[0], y, z]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        dataset.save_as(path)
    run(tmp_path / "in", tmp_path / "out")
    here, there = (
        list(csv.DictReader((out / NAME / "candidates.csv").read_text().splitlines()))
        for out in (tmp_path / "out", finished.out)
    )
    for key in ("score", "size_mm", "centre_x_mm", "centre_y_mm", "centre_z_mm", "sop_uid"):
        assert [row[key] for row in here] == [row[key] for row in there]
    assert here[0]["centre_d"] != there[0]["centre_d"]


def test_slices_displaced_by_less_than_a_pixel_have_a_segmentation_where_they_lie(
    thorax: Volume, tmp_path: Path
) -> None:
    write_series(tmp_path / "in", thorax)
    last = len(thorax.hu_DHW) - 1
    for path in (tmp_path / "in").iterdir():
        dataset = pydicom.dcmread(path)
        x, y, z = map(float, dataset.ImagePositionPatient)
        y += 0.4 * (dataset.InstanceNumber - 1) / last
        dataset.ImagePositionPatient = [x, y, z]
        dataset.save_as(path)
    (record,) = run(tmp_path / "in", tmp_path / "out").series
    assert (record.repairs, record.problems, record.regions) == ((), (), len(record.findings))
    segmentation = pydicom.dcmread(tmp_path / "out" / NAME / "segmentation.dcm")
    place_of = {
        dataset.SOPInstanceUID: dataset.ImagePositionPatient
        for dataset in map(pydicom.dcmread, (tmp_path / "in").iterdir())
    }
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        np.testing.assert_allclose(
            np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float),
            np.array(place_of[source], dtype=float),
            atol=1e-3,
        )


def test_a_body_without_lungs_is_recorded_and_not_scored(tmp_path: Path) -> None:
    write_series(tmp_path / "in", draw(small(lungs=False)))

    def never(crops_NSS: np.ndarray) -> np.ndarray:
        raise AssertionError

    summary = run(tmp_path / "in", tmp_path / "out", scorer=never)
    assert [record.status for record in summary.series] == ["no lung found"]
    assert set(contents(tmp_path / "out")) == {"report.html", "series.json"}
    assert "no lung found" in (tmp_path / "out" / "report.html").read_text()


def test_a_scorer_that_fails_on_one_series_leaves_the_other(series: Path, tmp_path: Path) -> None:
    write_series(series / "second", draw(small(seed=1)), series="2")
    calls: list[int] = []

    def fails_once(crops_NSS: np.ndarray) -> np.ndarray:
        calls.append(len(crops_NSS))
        if len(calls) == 1:
            raise RuntimeError("/archive/Jane_Doe/weights is broken")
        return brightness(crops_NSS)

    summary = run(series, tmp_path / "out", scorer=fails_once)
    assert [record.status for record in summary.series] == ["failed", "scored"]
    assert summary.series[0].reason == "scoring failed (RuntimeError)"
    folders = [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert folders == [summary.series[1].name]
    assert b"Jane" not in b"".join(contents(tmp_path / "out" / folders[0]).values()).replace(
        b"Doe^Jane", b""
    )
    assert "scoring failed (RuntimeError)" in (tmp_path / "out" / "report.html").read_text()


def test_scores_that_are_no_numbers_fail_the_series(series: Path, tmp_path: Path) -> None:
    summary = run(series, tmp_path / "out", scorer=lambda crops: np.full(len(crops), np.nan))
    assert summary.series[0].status == "failed"
    assert "not in [0, 1]" in summary.series[0].reason


def test_a_wrong_number_of_scores_fails_the_series(series: Path, tmp_path: Path) -> None:
    summary = run(series, tmp_path / "out", scorer=lambda crops: np.zeros((len(crops), 2)))
    assert "not one score for each crop" in summary.series[0].reason


def test_crops_come_in_batches_and_progress_is_told(series: Path, tmp_path: Path) -> None:
    shapes, told = [], []

    def scorer(crops_NSS: np.ndarray) -> np.ndarray:
        assert crops_NSS.dtype == np.uint8
        shapes.append(crops_NSS.shape)
        return np.zeros(len(crops_NSS))

    summary = run(
        series,
        tmp_path / "out",
        scorer=scorer,
        batch_size=10,
        progress=lambda *step: told.append(step),
    )
    count = summary.series[0].candidates
    assert sum(shape[0] for shape in shapes) == count
    assert {shape[1:] for shape in shapes} == {(PIXELS, PIXELS)}
    assert max(shape[0] for shape in shapes) == 10
    assert {what for what, _, _ in told} == {"read", NAME}
    assert told[-1] == (NAME, count, count)


def test_without_findings_the_report_says_so_and_there_is_no_segmentation(
    series: Path, tmp_path: Path
) -> None:
    summary = run(
        series, tmp_path / "out", threshold=1.0, scorer=lambda crops: crops[:, 0, 0] * 0.0
    )
    assert summary.series[0].findings == ()
    assert not (tmp_path / "out" / NAME / "segmentation.dcm").exists()
    assert (tmp_path / "out" / NAME / "report.dcm").exists()


def test_markup_and_names_in_a_series_never_reach_the_page(tmp_path: Path, thorax: Volume) -> None:
    evil = "<script>alert(1)</script>"
    write_series(
        tmp_path / "in",
        thorax,
        SeriesDescription=evil,
        ConvolutionKernel="<b>K",
        Manufacturer="<img src=x onerror=alert(1)>",
    )
    run(tmp_path / "in", tmp_path / "out", provenance={"<i>model": evil, "nested": {"a": evil}})
    page = (tmp_path / "out" / "report.html").read_text()
    for raw in ("<script", "<b>K", "<img src=x", "<i>model"):
        assert raw not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "&lt;script&gt;" in page
    assert page.index(DISCLAIMER) < page.index("<h1>")


def test_the_page_is_whole_in_itself_and_small(finished: Finished) -> None:
    page = (finished.out / "report.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == page.count("<img")
    assert "<img" in page
    for word in ("http://", "https://", "url(", "<link", "<script"):
        assert word not in page
    assert len(page.encode()) < 2_000_000


def test_neither_patient_nor_path_is_in_any_output(series: Path, tmp_path: Path) -> None:
    (series / "Jane_Doe.txt").write_text("Doe^Jane MRN-4711")
    (series / "loop").symlink_to(series)
    write_series(series / "two", draw(small(lungs=False)), series="2")
    (series / "two" / "Jane_Doe_4.dcm").unlink()
    write_series(series / "three", draw(small(lungs=False)), series="3", Modality="MR")
    for path in (series / "two").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientBirthDate = "19900101"
        dataset.save_as(path)
    summary = run(series, tmp_path / "out")
    assert len(summary.refused) >= 1
    assert len(summary.ignored) >= 2
    assert "one PatientID is used for two persons" in "".join(summary.notes)
    own = {f"{NAME}/report.dcm", f"{NAME}/segmentation.dcm"}
    words = [*PATIENT.values(), "Jane", "Doe", str(tmp_path), "20200102"]
    for name, data in contents(tmp_path / "out").items():
        assert "Jane" not in name
        # Three letters are found by chance among compressed pixels.
        least = 4 if name.endswith((".png", ".html")) else 1
        hidden = [str(tmp_path)] if name in own else [one for one in words if len(one) >= least]
        assert not [word for word in hidden if word.encode() in data], name
        assert b"Jane_Doe" not in data
    for name in own:
        assert b"General Hospital" not in contents(tmp_path / "out")[name]


def test_refused_series_and_files_left_aside_are_named_by_token_with_a_reason(
    series: Path, tmp_path: Path
) -> None:
    (series / "notes.txt").write_text("not an image")
    write_series(series / "three", draw(small(lungs=False)), series="3", Modality="MR")
    run(series, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "series.json").read_text())
    page = (tmp_path / "out" / "report.html").read_text()
    assert record["disclaimer"] == DISCLAIMER
    assert record["provenance"] == {"model": "m"}
    (refused,), (ignored,) = record["refused"], record["ignored"]
    assert refused["series"] == token(f"{ROOT}3", salt=SALT)
    assert "not CT" in refused["reason"]
    assert ignored["file"] == token(str(series / "notes.txt"), salt=SALT)
    for word in (refused["series"], refused["reason"], ignored["file"], ignored["reason"]):
        assert word in page


def test_two_parts_of_one_series_have_folders_of_their_own(tmp_path: Path, thorax: Volume) -> None:
    write_series(tmp_path / "in" / "a", thorax)
    shifted = dataclasses.replace(thorax, hu_DHW=thorax.hu_DHW[:, 4:-4])
    write_series(tmp_path / "in" / "b", shifted, series="1")
    for path in (tmp_path / "in" / "b").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.7"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path)
    summary = run(tmp_path / "in", tmp_path / "out")
    assert [record.name for record in summary.series] == [f"{NAME}-1", f"{NAME}-2"]
    assert [record.problems for record in summary.series] == [(), ()]
    assert (tmp_path / "out" / f"{NAME}-2" / "segmentation.dcm").exists()


def test_slices_without_a_frame_of_reference_give_records_but_no_dicom(
    tmp_path: Path, thorax: Volume
) -> None:
    write_series(tmp_path / "in", thorax, FrameOfReferenceUID="")
    summary = run(tmp_path / "in", tmp_path / "out")
    (record,) = summary.series
    assert record.status == "scored"
    assert [problem.split(":")[0] for problem in record.problems] == list(EACH[:2:-1])
    assert (tmp_path / "out" / NAME / "findings.json").exists()
    assert "frame of reference" in (tmp_path / "out" / "report.html").read_text()


def test_a_nifti_file_is_scored_without_dicom_outputs(tmp_path: Path, thorax: Volume) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ thorax.affine[:, [2, 1, 0, 3]]
    data_IJK = thorax.hu_DHW.transpose(2, 1, 0).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(data_IJK, affine), tmp_path / "Jane_Doe.nii.gz")
    summary = run(tmp_path / "Jane_Doe.nii.gz", tmp_path / "out")
    (record,) = summary.series
    assert np.linalg.norm(np.subtract(record.findings[0].centre_mm, NODULE_MM)) < 3
    written = contents(tmp_path / "out" / record.name)
    assert not [name for name in written if name.endswith(".dcm")]
    assert {"findings.json", "findings.csv", "candidates.csv", "overlays/01.png"} <= set(written)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"batch_size": 0},
        {"most": 0},
        {"salt": b""},
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        run(tmp_path, tmp_path.with_name("out"), **wrong)


def test_an_output_folder_within_the_input_is_refused(series: Path) -> None:
    with refused("usage/nested-folders"):
        run(series, series / "out")


def test_nothing_at_the_path_is_an_error_without_the_path(tmp_path: Path) -> None:
    with refused("data/not-found") as caught:
        run(tmp_path / "Jane_Doe", tmp_path / "out")
    assert "Jane" not in str(caught.value)
