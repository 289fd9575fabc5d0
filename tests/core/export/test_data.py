"""An export chooses its point on the validation split that the run knows, and on no other."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from moekit.data.content import Contents
from moekit.data.fingerprint import changes, fingerprint
from moekit.data.samples import Dataset, Sample
from moekit.export.data import check_data
from moekit.runs.run import Run
from moekit.testing import refused


@pytest.fixture
def dataset(tmp_path):
    samples = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(path)
        split = ("train", "val")[number % 2]
        samples.append(Sample(id=path.name, path=path, label=number // 3, split=split))
    return Dataset(name="parts", classes=("good", "odd"), samples=tuple(samples))


@pytest.fixture
def run(dataset, tmp_path):
    run = Run(tmp_path / "run")
    contents = Contents()
    data = {name: fingerprint(dataset.split(name), contents) for name in ("train", "val")}
    run.begin({"kit": "parts", "data": data}, resume=False)
    run.finish({})
    return Run(tmp_path / "run")


def checked(run, dataset, *splits):
    return check_data(run, dataset, splits, on_progress=lambda *_: None)


def test_the_data_of_the_run_are_taken(run, dataset):
    found = checked(run, dataset, "train", "val")
    assert found == run.read()["request"]["data"]
    assert found["val"]["n"] == 3


def test_a_validation_image_that_changed_in_place_is_refused(run, dataset):
    path = dataset.samples[1].path
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(path)
    with refused("data/changed", match="images of val") as failure:
        checked(run, dataset, "val")
    assert failure.value.exit_code == 4
    checked(run, dataset, "train")


def test_calibration_images_are_compared_where_they_are_used(run, dataset):
    dataset.samples[0].path.write_bytes(b"")
    checked(run, dataset, "val")
    with refused("data/changed", match="images of train"):
        checked(run, dataset, "train", "val")


def test_labels_are_compared_and_files_elsewhere_are_the_same(run, dataset, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = []
    for one in dataset.samples:
        path = tmp_path / "elsewhere" / one.path.name
        path.write_bytes(one.path.read_bytes())
        moved.append(dataclasses.replace(one, path=path))
    checked(run, dataset.with_samples(moved), "val")
    moved[1] = dataclasses.replace(moved[1], label=1)
    with refused("data/changed", match="labels of val"):
        checked(run, dataset.with_samples(moved), "val")


def test_a_run_that_does_not_say_what_its_data_were_is_told(dataset, tmp_path, caplog):
    run = Run(tmp_path / "old")
    run.begin({"dataset": "parts"}, resume=False)
    run.finish({})
    assert set(checked(run, dataset, "val")) == {"val"}
    assert "is not known" in caplog.text


def test_what_changed_is_named_part_by_part(dataset):
    known = {"val": fingerprint(dataset.split("val"), Contents())}
    other = fingerprint(dataset.split("val")[::-1], Contents())
    assert changes(known, known) == []
    assert changes(known, {"val": other}) == [
        "the ids of val",
        "the labels of val",
        "the images of val",
    ]
    assert changes(known, {"train": other}) == []
