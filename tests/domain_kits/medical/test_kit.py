"""The lesion expert, and the way from a path to a summary of findings."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from moekit import Grid, PredictJob
from moekit.testing import refused
from moekit_medical.kit import MEDICAL
from moekit_medical.lesion import LesionExpert
from moekit_medical.predict import predict_series

GRID = Grid(9, 9)


@pytest.fixture
def awake():
    torch.manual_seed(0)
    expert = LesionExpert(8)
    torch.nn.init.normal_(expert.up.weight)
    return expert.eval()


def test_a_patch_is_compared_with_two_rings_and_no_more(awake):
    x_BND = torch.randn(1, 82, 8, generator=torch.Generator().manual_seed(1))
    changed = x_BND.clone()
    changed[0, 1 + 4 * 9 + 4] += 1
    moved = (awake(x_BND, GRID) - awake(changed, GRID)).abs().sum(2)[0, 1:] > 1e-6
    rows, columns = np.nonzero(moved.reshape(9, 9).numpy())
    near = {(4 + y, 4 + x) for y in (-1, 0, 1) for x in (-1, 0, 1)}
    far = {(4 + y, 4 + x) for y in (-2, 0, 2) for x in (-2, 0, 2)}
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == near | far


def test_the_class_token_has_no_surroundings(awake):
    x_BND = torch.randn(1, 82, 8)
    changed = x_BND.clone()
    changed[:, 1:] = 0
    assert torch.equal(awake(x_BND, GRID)[:, 0], awake(changed, GRID)[:, 0])


def task(inputs, out, score=lambda pictures: np.full(len(pictures), 0.5), frames=1):
    return PredictJob(
        inputs=tuple(inputs),
        out=out,
        score=score,
        threshold=0.4,
        provenance={"kit": "medical", "threshold": 0.4},
        batch_size=16,
        on_progress=lambda *_: None,
        frames=frames,
    )


def test_more_than_one_input_is_refused(tmp_path):
    with refused("usage/several-inputs"):
        predict_series(task([tmp_path, tmp_path], tmp_path / "out"))


def test_real_series_are_scored_from_a_folder(shared, tmp_path):
    seen = []

    def brightness(pictures):
        seen.extend(pictures)
        return np.array([np.asarray(picture).mean() / 255 for picture in pictures])

    folder = shared / "data" / "lung_ct_dicom" / "Lung_Dx-A0002"
    summary = predict_series(task([folder], tmp_path / "out", brightness))
    assert summary["scored"] == 2
    assert summary["findings"] > 0
    assert all(isinstance(picture, Image.Image) and picture.mode == "RGB" for picture in seen)
    json.dumps(summary)
    again = predict_series(task([folder], tmp_path / "again", brightness))
    assert again == summary
    first, second = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (tmp_path / "out", tmp_path / "again")
    )
    assert first == second


def height(path):
    return float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])


def test_a_run_on_stacks_is_asked_for_stacks_of_pictures(shared, tmp_path):
    folder = shared / "data" / "lung_ct_dicom" / "Lung_Dx-A0002" / "610983"
    (tmp_path / "part").mkdir()
    paths = [path for path in folder.rglob("*") if path.is_file()]
    for path in sorted(paths, key=height)[13:17]:
        shutil.copy(path, tmp_path / "part")
    seen = []

    def brightness(stacks):
        seen.extend(stacks)
        return np.array([np.asarray(stack[1]).mean() / 255 for stack in stacks])

    summary = predict_series(task([tmp_path / "part"], tmp_path / "out", brightness, frames=3))
    assert summary["scored"] == 1
    assert {len(stack) for stack in seen} == {3}
    assert all(one.mode == "RGB" and one.size == (100, 100) for stack in seen for one in stack)
    assert sum(stack[0].tobytes() != stack[2].tobytes() for stack in seen) == len(seen)


def test_the_kit_says_that_it_is_not_for_clinical_use():
    assert "not for clinical use" in MEDICAL.disclaimer
    assert dataclasses.asdict(MEDICAL)["predict"] is predict_series
