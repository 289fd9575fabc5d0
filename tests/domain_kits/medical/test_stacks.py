"""Stacks of slices from real series: adapted, evaluated, resumed and predicted end to end."""

import csv
import functools
import json
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from lightning.fabric import Fabric
from PIL import Image

from moekit import PredictJob, Registry
from moekit.data import image_batches
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.runs import Run
from moekit.runtime import load_predictor, preprocess_of
from moekit.runtime.load import load_answerer
from moekit.testing import refused
from moekit.training.adapt import AdaptJob, adapt
from moekit_medical.kit import MEDICAL
from moekit_medical.predict import predict_series

FRAMES = 3
RECIPE = MEDICAL.recipe.changed(
    {
        "image_size": 56,
        "precision": "fp32",
        "views": 1,
        "epochs": 1,
        "baseline_epochs": 1,
        "batch_size": 4,
        "learning_rate": 1e-4,
        "specialist_rate": 3e-3,
    }
)


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def series(shared, tmp_path_factory):
    """Two real series and a third, with tumours that radiologists marked and lung next to them."""
    source = shared / "data" / "lung_ct_dicom"
    folder = tmp_path_factory.mktemp("series")
    shutil.copytree(source / "Lung_Dx-A0002", folder / "a")
    shutil.copytree(source / "ibsi_lung_pat1" / "ct", folder / "b")
    with (source / "boxes.csv").open(encoding="utf-8") as file:
        boxes = {row["sop_instance_uid"]: row for row in csv.DictReader(file)}
    lines = ["series,label,patient,x,y,z,split"]

    def add(uid, patient, split, centre, beside):
        x, y, z = centre
        lines.append(f"{uid},1,{patient},{x},{y},{z},{split}")
        lines.append(f"{uid},0,{patient},{x + beside[0]},{y + beside[1]},{z},{split}")

    for path in sorted(path for path in (folder / "a").rglob("*") if path.is_file()):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        box = boxes.get(str(header.SOPInstanceUID))
        if box is not None:
            centre = [float(box[name]) for name in ("x_mm_center", "y_mm_center", "z_mm")]
            add(header.SeriesInstanceUID, "a", "train", centre, (-40, 0))
    header = pydicom.dcmread(next((folder / "b").iterdir()), stop_before_pixels=True)
    for centre in tumour_centres(source / "ibsi_lung_pat1" / "nifti" / "mask"):
        add(header.SeriesInstanceUID, "b", "val", centre, (0, -45))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def tumour_centres(folder):
    """LPS mm, of every third slice of the outlined tumour."""
    mask = nibabel.load(next(folder.iterdir()))
    inside_IJK = np.asarray(mask.dataobj) > 0
    for k in np.flatnonzero(inside_IJK.any(axis=(0, 1)))[::3]:
        ij = np.argwhere(inside_IJK[..., k]).mean(axis=0)
        ras = mask.affine @ (*ij, k, 1)
        yield (-ras[0], -ras[1], ras[2])


@pytest.fixture(scope="module")
def work(series, backbone, tmp_path_factory):
    """Adapts on the stacks of the series, in a cache of its own."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CACHE_DIR", str(folder / "cache"))
        registry = Registry()
        dataset = registry.load_dataset(f"dicom={series}?slices={FRAMES}", seed=0)
        fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
        fabric.launch()

        def run(name, *, on_epoch=lambda *_: None, resume=False):
            return adapt(
                AdaptJob(
                    kit=MEDICAL,
                    dataset=dataset,
                    run=Run(folder / name),
                    seed=0,
                    recipe=RECIPE,
                    resume=resume,
                ),
                backbone=backbone,
                registry=registry,
                fabric=fabric,
                on_progress=lambda *_: None,
                on_epoch=on_epoch,
            )

        record = run("whole")
        yield run, record, dataset, registry, Run(folder / "whole")


@pytest.fixture
def predictor(work, backbone):
    *_, registry, run = work
    return load_predictor(run, MEDICAL, backbone=backbone, registry=registry, with_baseline=False)


def test_a_run_on_stacks_of_real_series_is_made_and_evaluated(work, backbone, series):
    _, record, dataset, registry, run = work
    assert dataset.frames == record["request"]["frames"] == FRAMES
    assert dataset.skipped == ()
    assert record["images"]["train"] == 36
    assert record["images"]["val"] >= 6
    assert record["training"]["kit"]["best_epoch"] == 1
    task = functools.partial(EvaluateJob, kit=MEDICAL, run=run, split="val")
    score = functools.partial(
        evaluate, backbone=backbone, registry=registry, on_progress=lambda *_: None
    )
    result = score(task(dataset=dataset))
    assert result["n"] == record["images"]["val"]
    assert 0 <= result["metrics"]["auroc"]["value"] <= 1
    routing = json.loads((run.folder / "routing.json").read_text())
    options = {one["option"] for one in routing["specialists"]}
    assert options == {"lesion 1", "lesion 2", "axial", "none"}
    images = registry.load_dataset(f"dicom={series}", seed=0)
    with refused("data/frame-count"):
        score(task(dataset=images))


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(work):
    run, record, *_ = work

    def kill(part, figures):
        if part == "kit":
            raise Killed

    with pytest.raises(Killed):
        run("torn", on_epoch=kill)
    assert run("torn", resume=True)["weights"] == record["weights"]


def test_a_score_depends_on_the_order_of_slices_and_not_on_that_of_stacks(
    work, predictor, backbone
):
    *_, dataset, _, run = work
    inputs = [(one.id, one.path) for one in dataset.samples[:6]]
    (batch,) = image_batches(inputs, preprocess_of(run, backbone), batch_size=6)
    stacks, order = batch.images, [3, 5, 0, 1, 4, 2]
    assert stacks.shape == (6, FRAMES, 3, 56, 56)

    def score(stacks):
        return predictor(stacks).kit["logit_B"].sigmoid()

    score_B = score(stacks)
    torch.testing.assert_close(score(stacks[order]), score_B[order])
    moved = (score(stacks[:, [1, 0, 2]]) - score_B).abs()
    assert moved.max() > 1e-5
    assert moved.max() > 20 * (score(stacks[order]) - score_B[order]).abs().max()


def part_of(series, folder):
    """Six neighbouring slices of a real series with a tumour."""
    headers = [
        (pydicom.dcmread(path, stop_before_pixels=True), path)
        for path in (series / "a" / "610983").rglob("*")
        if path.is_file()
    ]
    headers.sort(key=lambda pair: float(pair[0].ImagePositionPatient[2]))
    folder.mkdir()
    for _, path in headers[12:18]:
        shutil.copy(path, folder)
    return folder


@pytest.mark.bench
def test_a_real_series_is_predicted_with_stacks(work, backbone, series, tmp_path):
    *_, registry, run = work
    _, answerer = load_answerer(run, MEDICAL, backbone=backbone, registry=registry)
    assert answerer.preprocess.frames == FRAMES
    seen = []

    def score(pictures):
        seen.extend(pictures)
        answers = answerer.answer(pictures, batch_size=64)
        return np.array([answer.score for answer in answers])

    task = PredictJob(
        inputs=(part_of(series, tmp_path / "part"),),
        out=tmp_path / "out",
        score=score,
        threshold=0.5,
        provenance={"kit": "medical"},
        batch_size=64,
        on_progress=lambda *_: None,
        frames=answerer.preprocess.frames,
    )
    assert predict_series(task)["scored"] == 1
    assert seen
    assert all(
        len(stack) == FRAMES and all(isinstance(one, Image.Image) for one in stack)
        for stack in seen
    )
