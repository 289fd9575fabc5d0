"""What was guessed of the data is in the record of the run, told at the start, and in results."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from lightning.fabric import Fabric
from PIL import Image

from moekit import Recipe, Registry
from moekit.builtin.loaders.folder import load_folder
from moekit.data.stream import Preprocess
from moekit.evaluation.evaluate import EvaluateJob, evaluate
from moekit.prediction.inputs import collect_inputs
from moekit.prediction.predict import notes_on, predict
from moekit.runs.run import Run
from moekit.runtime.answerer import Answerer
from moekit.runtime.load import preprocess_of
from moekit.testing import refused
from moekit.testing.reference import QUICK, REFERENCE_KIT, add_reference, small_backbone
from moekit.training.adapt import AdaptJob, adapt
from moekit.training.recover.pictures import split_pictures


@pytest.fixture
def dark_folder(two_class_folder):
    """The two classes, half of them as 12 bits in 16, with one GIF of several frames."""
    for path in sorted(two_class_folder.glob("*/*.png")):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        if int(path.stem) % 2:
            Image.fromarray(grey * 16).save(path)
    first = two_class_folder / "good/000.png"
    frames = [Image.open(first).convert("P"), Image.open(first).rotate(90).convert("P")]
    frames[0].save(first.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    first.unlink()
    (two_class_folder / "good/photo.heic").write_bytes(b"x")
    return two_class_folder


@pytest.mark.usefixtures("all_pairs")
def test_the_run_the_result_and_the_answers_say_what_was_guessed(
    dark_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: tmp_path / "cache")
    dataset = load_folder(dark_folder, 0)
    registry = add_reference(Registry())
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    for number in range(2):  # the second run finds all activations stored, and decodes nothing
        told = []
        record = adapt(
            AdaptJob(
                kit=REFERENCE_KIT,
                dataset=dataset,
                run=Run(tmp_path / f"run{number}"),
                seed=0,
                recipe=Recipe.model_validate(QUICK),
            ),
            backbone=small_backbone(),
            registry=registry,
            fabric=fabric,
            on_progress=lambda *_: None,
            on_epoch=lambda *_: None,
            on_note=told.append,
        )
        assert record["notes"] == told
        assert any("of full scale" in note for note in told)
        assert any(skip["id"] == "good/photo.heic" for skip in record["skipped"])
    assert json.loads((tmp_path / "run1/run.json").read_text())["notes"] == told
    job = EvaluateJob(kit=REFERENCE_KIT, dataset=dataset, run=Run(tmp_path / "run1"))
    result = evaluate(
        job, backbone=small_backbone(), registry=registry, on_progress=lambda *_: None
    )
    assert any("of full scale" in note for note in result["notes"])


def test_a_run_keeps_the_bits_of_its_data_and_all_that_answers_reads_by_them(
    dark_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("moekit.training.adapt.cache_folder", lambda: tmp_path / "cache")
    registry, run = add_reference(Registry()), Run(tmp_path / "run")
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    job = AdaptJob(
        kit=REFERENCE_KIT,
        dataset=load_folder(dark_folder, 0),
        run=run,
        seed=0,
        recipe=Recipe.model_validate({**QUICK, "bits": 12}),
    )
    how = {
        "backbone": small_backbone(),
        "registry": registry,
        "fabric": fabric,
        "on_progress": lambda *_: None,
        "on_epoch": lambda *_: None,
    }
    record = adapt(job, **how)
    assert record["request"]["recipe"]["bits"] == 12
    assert any("read as numbers of 12 bits" in note for note in record["notes"])
    assert not any("of full scale" in note for note in record["notes"])
    assert preprocess_of(Run(run.folder), how["backbone"]).bits == 12
    for bits in (None, 11):
        recipe = job.recipe.model_copy(update={"bits": bits})
        other = dataclasses.replace(job, run=Run(tmp_path / "other"), start=run, recipe=recipe)
        with refused("usage/other-run", match="--bits"):
            adapt(other, **how)


def test_the_rows_of_predict_keep_what_was_guessed_and_a_second_call_tells_it_too(
    dark_folder, tmp_path, answerer
):
    inputs = collect_inputs([dark_folder / "good"])
    assert "photo.heic" in {name for name, _ in inputs}
    assert len(inputs) == 21

    def answered():
        return predict(
            inputs,
            answerer=answerer,
            provenance={"kit": "k"},
            out=tmp_path / "out",
            batch_size=4,
            on_progress=lambda *_: None,
        )

    rows = answered()
    assert sum(row["verdict"] == "unreadable" for row in rows) == 1
    assert ".heic are not read" in next(row["error"] for row in rows if row["error"])
    notes = notes_on(rows)
    assert any("1 picture with several frames" in note for note in notes)
    assert any("10 pictures of more than 8 bits" in note for note in notes)
    header = (tmp_path / "out/predictions.csv").read_text().splitlines()[0]
    assert "remarks" not in header
    assert notes_on(answered()) == notes


def test_pictures_without_labels_are_counted_when_they_are_left_out(dark_folder):
    shutil.copy(dark_folder / "good/photo.heic", dark_folder / "good/broken.png")
    found = split_pictures(dark_folder, seed=0)
    assert len(found.train) + len(found.held_out) == 32
    assert found.unreadable == 1
    assert any("2 pictures are left out, such as good/photo.heic" in note for note in found.notes)
    assert any("of full scale" in note for note in found.notes)


@pytest.fixture
def answerer():
    """Scores a picture by its brightness."""
    from moekit.contract.answers import TaskContext
    from moekit.runtime.predictor import Computed
    from moekit.tasks.score import SCORE
    from moekit.tasks.score.threshold import OperatingPoint

    def compute(images):
        score_B = images.double().mean((1, 2, 3)).clip(0.01, 0.99)
        maps = images[:, 0, ::4, ::4].clip(0, 1)
        outputs = {"logit_B": score_B.logit(), "map_BHW": maps}
        return Computed(outputs=(outputs,), seconds=0.0)

    preprocess = Preprocess(size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Answerer(
        compute=compute,
        preprocess=preprocess,
        task=SCORE,
        context=TaskContext(
            classes=("good", "odd"), vocabulary={"positive": "odd"}, frame=preprocess.frame
        ),
        point=OperatingPoint(threshold=0.5, rule="accuracy", split="val", n=50, value=1.0),
    )
