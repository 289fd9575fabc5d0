"""What is no chest, and inputs of which nothing can be used."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from inference_series import Thorax, brightness, draw, write_series
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from moekit import PredictJob
from moekit.testing import refused
from moekit_medical.inference.lungs import find_lungs, why_no_lungs
from moekit_medical.inference.pipeline import run_inference
from moekit_medical.predict import predict_lesions, predict_series

SMALL = Thorax(step_mm=5.0, pixel_mm=3.0)


def job(path: Path, out: Path) -> PredictJob:
    def score(pictures: list[Image.Image]) -> np.ndarray:
        return brightness(np.stack([np.asarray(one)[..., 0] for one in pictures]))

    return PredictJob(
        inputs=(path,),
        out=out,
        score=score,
        answer=lambda pictures, batch_size: [],
        threshold=0.5,
        provenance={"run": "of the tests"},
        batch_size=64,
        on_progress=lambda what, done, total: None,
        frames=1,
    )


def test_a_series_of_a_head_is_not_searched_for_nodules(tmp_path: Path) -> None:
    write_series(tmp_path / "in", draw(SMALL), BodyPartExamined="BRAIN")
    summary = run_inference(
        tmp_path / "in",
        scorer=brightness,
        threshold=0.5,
        out=tmp_path / "out",
        salt=b"salt",
        provenance={},
    )
    (record,) = summary.series
    assert (record.status, record.candidates) == ("no lung found", 0)
    assert record.reason == "BodyPartExamined is BRAIN, which has no lungs"
    assert record.reason in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_air_cells_in_bone_are_no_lungs() -> None:
    chest = draw(SMALL)
    lungs = find_lungs(chest)
    assert lungs is not None
    assert why_no_lungs(chest, lungs) == ""
    hu_DHW = chest.hu_DHW.copy()
    hu_DHW[:, ::2][hu_DHW[:, ::2] > -100] = 1100
    skull = dataclasses.replace(chest, hu_DHW=hu_DHW)
    assert why_no_lungs(skull, find_lungs(skull)) == (
        "what has the density of lung lies in bone, as in a skull"
    )


def test_a_volume_without_air_says_so() -> None:
    chest = draw(SMALL)
    numbers = dataclasses.replace(chest, hu_DHW=np.clip(chest.hu_DHW, 0, 255))
    assert "no voxel is below" in why_no_lungs(numbers, find_lungs(numbers))


@pytest.mark.parametrize(
    ("predict", "record"), [(predict_series, "series.json"), (predict_lesions, "summary.json")]
)
def test_an_input_without_a_usable_series_is_an_error_that_says_why(
    tmp_path: Path, predict, record: str
) -> None:
    write_series(tmp_path / "in", draw(SMALL), RescaleType="US")
    (tmp_path / "in" / "a.dcm.gz").write_bytes(b"\x1f\x8b\x08" + bytes(300))
    with refused("data/no-usable-series") as caught:
        predict(job(tmp_path / "in", tmp_path / "out"))
    assert "RescaleType is not HU (1)" in str(caught.value)
    assert "compressed by gzip" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.exit_code == 4
    told = json.loads((tmp_path / "out" / record).read_text())
    assert told["refused"][0]["code"] == "data/not-hounsfield"


def test_a_dicomdir_named_itself_is_told(tmp_path: Path) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    index = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    index.DirectoryRecordSequence = [Dataset()]
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with refused("data/dicomdir"):
        predict_series(job(tmp_path / "DICOMDIR", tmp_path / "out"))
