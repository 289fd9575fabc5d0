"""An evaluation names near-duplicates of what was learned, and gives the figure without them."""

import dataclasses
import json

import numpy as np
import pytest
from lightning.fabric import Fabric
from PIL import Image, ImageEnhance

from moekit import Recipe, Registry, UsageError
from moekit.data.near import find as finding
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.evaluation.near import NO_PAIRS, SKIPPED
from moekit.report.report import render_report
from moekit.runs.near import CODES
from moekit.runs.run import Run
from moekit.sealed import write_sealed
from moekit.testing.inputs import write_images
from moekit.testing.reference import QUICK, REFERENCE_KIT, SIDE, add_reference, small_backbone
from moekit.training.adapt import AdaptJob, adapt

pytestmark = pytest.mark.usefixtures("all_pairs")


@pytest.fixture(scope="module")
def registry():
    return add_reference(Registry())


@pytest.fixture(scope="module")
def job(tmp_path_factory, registry):
    """An evaluation of a run; one test picture is a darker training picture."""
    return made(tmp_path_factory.mktemp("near"), registry)


def made(folder, registry, *, bits=None):
    """The evaluation, its source and its copy; with `bits` all pictures hold such numbers."""
    (folder / "data").mkdir()
    dataset = write_images(folder / "data", None, side=SIDE)
    generator = np.random.default_rng(0)
    samples = []
    for sample in dataset.samples:
        grey = generator.integers(0, 255, (16, 16)).astype(np.uint8)
        Image.fromarray(grey).resize((64, 64)).convert("RGB").save(sample.path, format="PNG")
        samples.append(sample)
    source = next(sample for sample in samples if sample.split == "train")
    target = next(one for one in samples if one.split == "test" and one.label == source.label)
    with Image.open(source.path) as picture:
        ImageEnhance.Brightness(picture).enhance(0.8).save(target.path, format="PNG")
    for sample in samples if bits else ():
        with Image.open(sample.path) as picture:
            grey = np.asarray(picture.convert("L")).astype(np.uint16)
        Image.fromarray(grey << (bits - 8)).save(sample.path, format="PNG")
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moekit.training.adapt.cache_folder", lambda: folder / "cache")
        patch.setattr(finding, "DRAWN", 10)
        adapt(
            AdaptJob(
                kit=REFERENCE_KIT,
                dataset=dataset,
                run=Run(folder / "run"),
                seed=0,
                recipe=Recipe.model_validate({**QUICK, "bits": bits}),
            ),
            backbone=small_backbone(),
            registry=registry,
            fabric=fabric,
            on_progress=lambda *_: None,
            on_epoch=lambda *_: None,
        )
    task = EvaluateJob(kit=REFERENCE_KIT, dataset=dataset, run=Run(folder / "run"), batch_size=3)
    return task, source, target


def evaluated(job, registry, **changes):
    fresh = dataclasses.replace(job, run=Run(job.run.folder), **changes)
    return evaluate(
        fresh, backbone=small_backbone(), registry=registry, on_progress=lambda *_: None
    )


def test_a_near_duplicate_of_a_training_picture_is_named_told_and_drawn(job, registry):
    task, source, target = job
    result = evaluated(task, registry)
    near = result["near_duplicates"]
    assert near["checked"]
    assert near["items"] == 1
    assert near["pairs"][0]["ids"] == [source.id, target.id]
    assert near["pairs"][0]["fit"] == "neither turned nor scaled"
    assert near["between"] == ["test", "train", "val"]
    without = near["without"]
    headline = next(iter(result["metrics"]))
    assert without["metric"] == headline
    assert without["all"] == result["metrics"][headline]
    assert without["without"]["n"] == result["n"] - 1
    assert near["in_words"][0] in result["notes"]
    page = render_report(task.run.folder, registry=registry).read_text(encoding="utf-8")
    assert "<h2>Near-duplicates</h2>" in page
    assert "near-duplicates " + source.id in page.replace("&amp;", "&")
    assert without["in_words"] in page
    assert "data:image/jpeg" in page.partition("<h2>Near-duplicates</h2>")[2]


def test_pictures_of_stated_bits_are_compared_by_them(registry, tmp_path):
    task, source, target = made(tmp_path, registry, bits=12)
    near = evaluated(task, registry)["near_duplicates"]
    assert near["pairs"][0]["ids"] == [source.id, target.id]
    with Image.open(task.run.folder / "near_duplicates/evaluate/pair-1.jpg") as drawn:
        grey = np.asarray(drawn.convert("L"))
    assert grey[:, :240].mean() > 20  # 16 is white otherwise
    assert grey[:, -240:].mean() > 20


def test_a_run_without_codes_says_that_nothing_was_looked_for(job, registry, tmp_path):
    task, _, _ = job
    record = json.loads(task.run.record.read_text())
    known = record.pop("near_duplicates")
    try:
        write_sealed(task.run.record, record)
        near = evaluated(task, registry)["near_duplicates"]
        assert not near["checked"]
        assert "earlier" not in near["in_words"]
        assert "kept no codes" in near["why"]
    finally:
        write_sealed(task.run.record, {**record, "near_duplicates": known})


def test_a_search_that_is_not_wanted_is_left_out_and_said_to_be(job, registry, monkeypatch):
    task, _, _ = job

    def never(*_given, **_named):
        raise AssertionError

    monkeypatch.setattr("moekit.evaluation.near.find_across", never)
    monkeypatch.setattr("moekit.evaluation.near.read_codes", never)
    result = evaluated(task, registry, near_duplicates=False)
    near = result["near_duplicates"]
    assert (near["checked"], near["why"]) == (False, SKIPPED)
    assert SKIPPED in result["notes"]
    page = render_report(task.run.folder, registry=registry).read_text(encoding="utf-8")
    assert SKIPPED in page


@pytest.mark.parametrize(("typed", "wanted"), [((), True), (("--no-near-duplicates",), False)])
def test_the_command_says_whether_they_are_looked_for(moekit, tmp_path, monkeypatch, typed, wanted):
    asked = []

    def evaluate_run(kit, **options):
        asked.append(options["near_duplicates"])
        raise UsageError("enough", whose=kit, fix="-", code="usage/other-run")

    monkeypatch.setattr("moekit.jobs.evaluate.evaluate_run", evaluate_run)
    assert moekit("evaluate", "k", "--data", "d", "--run", tmp_path, *typed).code == 2
    assert asked == [wanted]


def test_a_recipe_that_compares_no_pairs_is_said_to_look_for_none(job, registry):
    task, _, _ = job
    record = json.loads(task.run.record.read_text())
    known = record["request"]["recipe"]["near_duplicate_pairs"]
    try:
        record["request"]["recipe"]["near_duplicate_pairs"] = 0
        write_sealed(task.run.record, record)
        near = evaluated(task, registry)["near_duplicates"]
        assert (near["checked"], near["in_words"]) == (False, [NO_PAIRS])
    finally:
        record["request"]["recipe"]["near_duplicate_pairs"] = known
        write_sealed(task.run.record, record)


def test_damaged_codes_are_told_and_stop_nothing(job, registry):
    task, _, _ = job
    path = task.run.folder / CODES
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1])
        result = evaluated(task, registry)
        assert not result["near_duplicates"]["checked"]
        assert any("near-duplicates were not looked for" in note for note in result["notes"])
    finally:
        path.write_bytes(whole)


def test_other_data_than_those_that_were_learned_are_told(job, registry):
    task, _, _ = job
    others = task.dataset.with_samples(
        sample if sample.split == "test" else dataclasses.replace(sample, id=f"new {sample.id}")
        for sample in task.dataset.samples
    )
    near = evaluated(task, registry, dataset=others)["near_duplicates"]
    assert not near["checked"]
    assert "is not among these data" in near["in_words"][0]
