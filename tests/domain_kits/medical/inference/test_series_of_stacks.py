"""Whole runs on stacks, with the evidence of the model and what is said of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_series import NODULE_MM
from PIL import Image

from moekit.testing import refused
from moekit_medical.inference.pipeline import run_inference
from moekit_medical.inference.records import InferenceSummary


def run(inputs: Path, out: Path, **options: Any) -> InferenceSummary:
    chosen: dict[str, Any] = {"threshold": 0.72, "salt": b"a salt", "provenance": {}}
    return run_inference(inputs, out=out, **{**chosen, **options})


def test_a_run_on_stacks_is_given_stacks(series: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    def middle(stacks_NTSS: np.ndarray) -> np.ndarray:
        seen.append(stacks_NTSS.shape)
        score_N: np.ndarray = stacks_NTSS[:, 1, 45:55, 45:55].mean((1, 2), dtype=np.float64) / 255
        return score_N

    drawn: list[tuple[int, int]] = []

    def paint(picture: Image.Image) -> Image.Image:
        drawn.append(picture.size)
        return picture

    told = ("answers come from the mean", "Certified: at most 0.05 of the <i>positive</i> images")
    summary = run(
        series,
        tmp_path / "out",
        scorer=middle,
        painter=lambda stacks: [paint] * len(stacks),
        told=told,
        frames=3,
        batch_size=7,
    )
    (record,) = summary.series
    assert record.status == "scored"
    assert {shape[1:] for shape in seen} == {(3, 100, 100)}
    assert sum(shape[0] for shape in seen) == record.candidates
    assert 0 <= record.beyond < record.candidates
    best = record.findings[0]
    assert np.linalg.norm(np.subtract(best.centre_mm, NODULE_MM)) < 3
    written = json.loads((tmp_path / "out" / "series.json").read_text())
    assert written["settings"]["crop"].startswith("stacks of 3 axial crops, neighbours")
    assert written["series"][0]["stacks_beyond_volume"] == record.beyond
    assert written["model"] == list(told)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "answers come from the mean" in page
    assert "at most 0.05 of the &lt;i&gt;positive" in page
    assert "window -1000 to 400 HU" in page
    assert len(drawn) == len(record.findings)


@pytest.mark.parametrize("frames", [0, 2, -1])
def test_an_even_number_of_frames_is_refused(frames: int, series: Path, tmp_path: Path) -> None:
    with refused("usage/out-of-range"):
        run(series, tmp_path / "out", scorer=len, frames=frames)
