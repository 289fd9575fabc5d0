"""An evaluation opens its run once and decodes each picture once."""

import collections
import dataclasses
import json
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
from lightning.fabric import Fabric
from PIL import Image

from moekit import Recipe, Registry
from moekit.data import images as reading
from moekit.data.pictures import LONG_SIDE
from moekit.evaluation import spool as spools
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.evaluation.spool import PictureSpool
from moekit.evaluation.worst import pictured
from moekit.report.report import render_report
from moekit.runs.run import Run
from moekit.tasks.score import SCORE
from moekit.tasks.score.predictions import Predictions
from moekit.tasks.segment import LinearSegHead
from moekit.tasks.segment.example import write_example
from moekit.testing import refused
from moekit.testing.inputs import write_images
from moekit.testing.reference import QUICK, REFERENCE_KIT, SIDE, add_reference, small_backbone
from moekit.training.adapt import AdaptJob, adapt

KITS = {
    "score": REFERENCE_KIT,
    "segment": dataclasses.replace(
        REFERENCE_KIT, task="segment", build_head=LinearSegHead, metrics=()
    ),
}


@pytest.fixture
def registry():
    return add_reference(Registry())


@pytest.fixture(params=sorted(KITS))
def job(request, tmp_path, registry, monkeypatch):
    """An evaluation of a small run, ready to be made."""
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    if request.param == "score":
        dataset = write_images(folder, None, side=SIDE)
    else:
        dataset = write_example(folder)
    kit, run = KITS[request.param], tmp_path / "run"
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    adapt(
        AdaptJob(
            kit=kit, dataset=dataset, run=Run(run), seed=0, recipe=Recipe.model_validate(QUICK)
        ),
        backbone=small_backbone(),
        registry=registry,
        fabric=fabric,
        on_progress=lambda *_: None,
        on_epoch=lambda *_: None,
    )
    return EvaluateJob(kit=kit, dataset=dataset, run=Run(run), batch_size=3)


def made(job, registry):
    return evaluate(job, backbone=small_backbone(), registry=registry, on_progress=lambda *_: None)


def test_files_that_the_report_draws_from_are_those_of_the_result(job, registry):
    result = made(job, registry)
    assert "routing.json" in result["files"]
    stems = ("validation", "validation_mean", "predictions", "routing", "history")
    for name in (*result["files"], *json.loads(job.run.record.read_text())["files"]):
        assert name.partition(".")[0] in stems
        path = job.run.folder / name
        whole = path.read_bytes()
        path.write_bytes(whole + b" ")
        with refused("data/changed-file", match=name):
            render_report(job.run.folder, registry=registry)
        path.write_bytes(whole)
    render_report(job.run.folder, registry=registry)


def test_an_evaluation_chooses_nothing_from_tallies_that_were_edited(job, registry):
    for name in json.loads(job.run.record.read_text())["files"]:
        path = job.run.folder / name
        path.write_bytes(path.read_bytes() + b"\n")
    with refused("data/changed-file"):
        made(job, registry)


def test_the_record_is_read_once_and_each_picture_decoded_once(job, registry, reads, monkeypatch):
    decoded = collections.Counter()
    decode = reading._decode_page

    def counted(image, file, path, convert):
        decoded[path] += 1
        return decode(image, file, path, convert)

    monkeypatch.setattr(reading, "_decode_page", counted)
    reads.clear()
    made(job, registry)
    assert reads[job.run.record] == 1
    samples = job.dataset.split("test")
    assert {sample.path: decoded[sample.path] for sample in samples} == {
        sample.path: 1 for sample in samples
    }
    index = json.loads((job.run.folder / "overlays/index.json").read_text())
    assert bool(index) == (job.kit.task == "segment")  # the head for scores gives no map
    assert all((job.run.folder / "overlays" / entry["file"]).is_file() for entry in index)
    reads.clear()
    render_report(job.run.folder, registry=registry)
    assert reads[job.run.record] == 1


def test_right_answers_are_drawn_at_even_distances_next_to_all_of_the_worst():
    predictions = Predictions(
        ids=tuple(map(str, range(40))),
        labels=np.array([1] * 40),
        scores=np.linspace(0.99, 0.21, 40),
    )
    missed, alarms, found = pictured(predictions, SimpleNamespace(threshold=0.6), SCORE)
    assert (missed.outcome, missed.right, len(missed.rows)) == ("missed", False, 6)
    assert (alarms.outcome, len(alarms.rows)) == ("false_alarm", 0)
    assert found.right
    assert found.rows.tolist() == [0, 4, 8, 11, 15, 19]


def test_worst_pictures_are_those_of_their_items(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "IN_MEMORY", 1000)  # nearly all lie in the file
    colours = np.random.default_rng(0).integers(0, 256, (9, 3))
    pictures = [Image.new("RGB", (LONG_SIDE, 20), tuple(map(int, one))) for one in colours]
    with PictureSpool(tmp_path) as spool:
        for first in range(0, 9, 4):
            spool.add(pictures[first : first + 4])
        assert len(spool) == 9
        for number in (8, 0, 5):
            found = np.asarray(spool[number].convert("RGB")).reshape(-1, 3).mean(0)
            assert spool[number].size == (LONG_SIDE, 20)
            assert np.abs(found - colours[number]).max() < 3
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_of(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    with PictureSpool(tmp_path) as spool:
        spool.add([Image.new("RGB", (8, 8))])
        with refused("storage/no-space", match="No space left"):
            len(spool)
