"""Images that a run has learned from are found by their content, left out of a split and named."""

import dataclasses
import json
import shutil

import pytest
from lightning.fabric import Fabric

from moekit import Recipe, Registry
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.evaluation.given import evaluate_given
from moekit.evaluation.learned import UNKNOWN
from moekit.report.report import render_report
from moekit.runs.run import Run
from moekit.runs.seen import learned_by
from moekit.sealed import write_sealed
from moekit.tasks.segment import LinearSegHead
from moekit.tasks.segment.example import write_example
from moekit.testing import refused
from moekit.testing.reference import QUICK, REFERENCE_KIT, add_reference, small_backbone
from moekit.training.adapt import AdaptJob, adapt

KIT = dataclasses.replace(REFERENCE_KIT, task="segment", build_head=LinearSegHead, metrics=())


@pytest.fixture(scope="module")
def registry():
    return add_reference(Registry())


@pytest.fixture(scope="module")
def trained(tmp_path_factory, registry):
    """A run, and the data that it learned from."""
    home = tmp_path_factory.mktemp("learned")
    (home / "data").mkdir()
    dataset = write_example(home / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moekit.training.adapt.cache_folder", lambda: home / "cache")
        adapted(home / "run", dataset, registry)
    return home / "run", dataset


def adapted(folder, dataset, registry, **changes):
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    recipe = Recipe.model_validate(QUICK)
    job = AdaptJob(kit=KIT, dataset=dataset, run=Run(folder), seed=0, recipe=recipe, **changes)
    quiet = {"on_progress": lambda *_: None, "on_epoch": lambda *_: None}
    return adapt(job, backbone=small_backbone(), registry=registry, fabric=fabric, **quiet)


@pytest.fixture
def job(trained, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    return EvaluateJob(kit=KIT, dataset=trained[1], run=Run(run), batch_size=4)


def made(job, registry):
    return evaluate(job, backbone=small_backbone(), registry=registry, on_progress=lambda *_: None)


def dealt_again(dataset, folder):
    """The set with two images that were learned from in its test split, under other names."""
    moved = {dataset.split("train")[0].id: "a", dataset.split("val")[0].id: "b"}
    samples = []
    for sample in dataset.samples:
        if sample.id in moved:
            path = folder / f"{moved[sample.id]}{sample.path.suffix}"
            shutil.copy(sample.path, path)
            sample = dataclasses.replace(sample, id=path.name, path=path, split="test")
        samples.append(sample)
    return dataset.with_samples(samples), {"a": "train", "b": "val"}


def test_images_that_were_learned_from_are_left_out_counted_and_named(job, registry, tmp_path):
    plain = made(job, registry)
    assert plain["learned_from"] == {"checked": True, "left_out": False, "images": {}}
    assert not any("learned from" in note for note in plain["notes"])
    again, moved = dealt_again(job.dataset, tmp_path)
    result = made(dataclasses.replace(job, dataset=again), registry)
    assert result["n"] == plain["n"]
    assert result["metrics"] == plain["metrics"]
    assert result["inputs"] == plain["inputs"]
    found = {
        name.partition(".")[0]: split for name, split in result["learned_from"]["images"].items()
    }
    assert found == moved
    (note,) = [note for note in result["notes"] if "learned from" in note]
    assert note.startswith("2 images of this split were learned from by the run: left out (a.")
    page = render_report(job.run.folder, registry=registry).read_text(encoding="utf-8")
    assert "2 images of this split were learned from by the run" in page


def test_of_val_only_training_images_are_left_out_and_of_train_none(job, registry, tmp_path):
    again, _ = dealt_again(job.dataset, tmp_path)
    for split, left_out in (("val", ["a"]), ("train", [])):
        samples = [
            dataclasses.replace(one, split=split) if one.path.parent == tmp_path else one
            for one in again.samples
        ]
        result = made(
            dataclasses.replace(job, dataset=again.with_samples(samples), split=split), registry
        )
        found = result["learned_from"]["images"]
        assert [name.partition(".")[0] for name in found] == left_out


def test_a_split_of_nothing_else_is_an_error(job, registry):
    samples = [
        dataclasses.replace(one, split="test" if one.split == "train" else None)
        for one in job.dataset.samples
    ]
    with refused("data/learned-from", match="nothing is left"):
        made(dataclasses.replace(job, dataset=job.dataset.with_samples(samples)), registry)


def test_equal_files_that_are_kept_are_told_of(job, registry, tmp_path):
    again, _ = dealt_again(job.dataset, tmp_path)
    kept = dataclasses.replace(job, dataset=again, duplicates="keep")
    result = made(kept, registry)
    assert result["n"] == len(again.split("test"))
    assert result["learned_from"]["left_out"] is False
    assert len(result["learned_from"]["images"]) == 2
    assert any("figures on them are too good" in note for note in result["notes"])


def test_a_run_that_does_not_record_its_images_says_that_it_cannot_be_checked(job, registry):
    record = json.loads(job.run.record.read_text())
    del record["learned"]
    write_sealed(job.run.record, record)
    result = made(job, registry)
    assert result["learned_from"]["checked"] is False
    assert UNKNOWN in result["notes"]


def test_a_list_that_was_edited_is_refused(job, registry):
    path = job.run.folder / "train_images.txt"
    path.write_text(path.read_text()[65:])
    with refused("data/changed-file", match="learned from"):
        made(job, registry)


def test_peers_are_judged_on_the_same_images(job, registry, tmp_path):
    again, _ = dealt_again(job.dataset, tmp_path)
    moved = dataclasses.replace(job, dataset=again)
    (tmp_path / "peer").mkdir()
    for sample in again.split("test"):
        shutil.copy(sample.mask, tmp_path / "peer" / f"{sample.path.stem}{sample.mask.suffix}")
    result = evaluate_given(moved, tmp_path / "peer", registry=registry)
    assert result["n"] == result["samples"] == len(job.dataset.split("test"))
    assert any("learned from by the run: left out" in note for note in result["notes"])
    for name in result["learned_from"]["images"]:
        (one,) = (tmp_path / "peer").glob(f"{name.partition('.')[0]}.*")
        one.unlink()
    assert (
        evaluate_given(moved, tmp_path / "peer", registry=registry)["metrics"] == result["metrics"]
    )


def test_a_run_that_begins_with_another_has_learned_from_its_images_too(
    trained, registry, tmp_path, monkeypatch
):
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: tmp_path / "cache")
    run, dataset = trained
    gone = dataset.split("train")[0]
    less = dataset.with_samples(one for one in dataset.samples if one.id != gone.id)
    record = adapted(tmp_path / "later", less, registry, start=Run(run))
    assert learned_by(Run(tmp_path / "later")) == learned_by(Run(run))
    assert record["learned"]["train"]["images"] == len(dataset.split("train"))


def test_classes_that_the_split_lacks_are_named_in_the_result_and_in_the_run(
    job, registry, tmp_path, monkeypatch
):
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: tmp_path / "cache")
    lacking = job.dataset.with_samples(
        one if one.split == "train" else dataclasses.replace(one, label=1, labels=(0, 1))
        for one in job.dataset.samples
    )
    missing = f"lacks 1 of 3 classes ({job.dataset.classes[2]})"
    record = adapted(tmp_path / "later", lacking, registry)
    for split in ("val", "test"):
        assert any(note.startswith(f"{split} {missing}") for note in record["notes"])
    result = made(dataclasses.replace(job, dataset=lacking), registry)
    (note,) = [note for note in result["notes"] if "lacks" in note]
    assert note.startswith(f"test {missing}")
